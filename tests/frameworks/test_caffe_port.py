"""The port on Caffe's files: judged as every port is, and what it refuses."""

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lenet import ports
from lenet.compare import compare
from lenet.compare.speed import Stopwatch, bench
from lenet.network import weights
from lenet.network.architecture import ACTIVATION_SHAPES
from lenet.network.recipe import Batch, Recipe
from lenet.ports import Unsupported
from lenet.reference import forward
from lenet.reference.distance import ratio
from lenet.reference.exact import EXACT, coarsen
from parity.errors import MissingFramework, UserError, pip
from tests.helpers import one_line


@pytest.fixture
def port(open_port, params):
    """The port, with the trained weights."""
    port = open_port("caffe")
    port.load(params)
    return port


@pytest.mark.slow
def test_every_layer_is_rounding(port, params, digits):
    report = compare([port], params, digits[:100]).ports[0]
    assert report.verdict == "rounding", (report.first_different, report.problem)
    assert report.same_predictions == report.digits == 100
    assert list(report.layers) == list(ACTIVATION_SHAPES)
    assert {report.layers[n].local_ratio for n in ("relu1", "pool1", "relu2", "pool2", "flatten")} == {0.0}


def test_exact_weights_give_the_same_bits(port, digits):
    params, images = weights.read(EXACT), coarsen(digits.images[:20])
    port.load(params)
    expected = forward.reference(params, images)  # no sum of these weights rounds, in float32 or here
    assert_array_equal(port.logits(images), expected["logits"].value)
    for layer, found in port.activations(images).items():
        assert_array_equal(found, expected[layer].value, err_msg=layer)


@pytest.mark.parametrize("batch", [7, 1, 64])
def test_the_batch_is_free_and_outputs_have_the_shapes_of_the_table(port, params, digits, batch):
    images = digits.images[:batch]
    expected, outputs = forward.reference(params, images), port.activations(images)
    assert list(outputs) == list(ACTIVATION_SHAPES)
    for layer, bounded in expected.items():
        assert (outputs[layer].shape, outputs[layer].dtype) == (bounded.value.shape, np.float32)
        assert ratio(outputs[layer], bounded).max() <= 1, layer
    assert_array_equal(port.logits(images), outputs["logits"], strict=True)


def test_outputs_and_weights_are_copies(port, params, digits):
    first = port.activations(digits.images[:2]) | {"alone": port.logits(digits.images[:2])}
    kept = {name: array.copy() for name, array in first.items()}
    port.activations(digits.images[2:4])
    port.logits(digits.images[2:4])
    for name, array in first.items():
        assert_array_equal(array, kept[name], err_msg=name)
    port.params()["fc1.bias"][:] = 0
    assert_array_equal(port.params()["fc1.bias"], params["fc1.bias"])


def test_other_weights_are_taken(port, params, digits):
    others = dict(params) | {"logits.bias": params["logits.bias"] + 1}
    port.load(others)
    logits = port.logits(digits.images[:1])
    assert ratio(logits, forward.reference(others, digits.images[:1])["logits"]).max() <= 1
    assert ratio(logits, forward.reference(params, digits.images[:1])["logits"]).min() > 1


def test_what_the_port_cannot_do_is_refused_with_the_reason(port, digits):
    images, labels = digits.images[:2], digits.labels[:2]
    for what, call in (
        ("gradients", lambda: port.gradients(images, labels)),
        ("gradients", lambda: port.backward(images, np.ones((2, 10)))),
        ("training", lambda: next(port.train([Batch(images, labels, 0.1)], Recipe()))),
    ):
        with pytest.raises(Unsupported) as refusal:
            call()
        reason = "OpenCV imports Caffe's network for inference; Caffe itself trained it"
        assert one_line(refusal) == f"port 'caffe' has no {what}: {reason}"
    with pytest.raises(Unsupported, match="computes in float32 alone, not float64"):
        ports.open_port("caffe", "float64")


def test_its_training_is_not_timed(port, params, digits):
    rows = bench([Stopwatch([port], params, digits)], ["caffe"], sizes=(2,), rounds=1).timings
    assert [(row.task, row.microseconds is None) for row in rows] == [("forward", False), ("train", True)]


def test_the_version_is_opencvs(port):
    import cv2

    assert port.version.startswith(f"OpenCV {cv2.__version__}")


@pytest.mark.usefixtures("port")
def test_opencv_5_is_refused_with_the_line_that_installs_4(monkeypatch):
    from lenet_caffe import port as module

    monkeypatch.setattr(module, "cv2", SimpleNamespace(__version__="5.0.0", dnn=SimpleNamespace()))
    with pytest.raises(MissingFramework) as refusal:
        ports.open_port("caffe")
    wanted = "port 'caffe' needs OpenCV 4, as 5.0.0 cannot read Caffe's files: "
    assert one_line(refusal) == wanted + f"{pip()} install 'lenet-migrations[opencv]'"


EDITED = {
    "a bottom that is not there": (
        'bottom: "relu1"',
        'bottom: "relu"',
        "layer 'pool1' reads 'relu', which no layer",
    ),
    "a bottom that comes later": (
        'bottom: "relu3"',
        'bottom: "relu4"',
        "layer 'fc2' reads 'relu4', which no layer",
    ),
    "a layer by another name": ('name: "fc1"', 'name: "ip1"', "no layer 'fc1' with a top of that name"),
    "a ReLU in place": ('top: "relu4"', 'top: "fc2"', "layer 'logits' reads 'relu4', which no layer"),
    "no prototxt": ("layer {", "layer [", "no NetParameter as text ("),
    "a field that is not there": ("pad: 2", "padding: 2", 'has no field named "padding"'),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", EDITED)
def test_an_edited_prototxt_that_is_no_net_is_refused(how, port, tmp_path, monkeypatch):
    from lenet_caffe import model

    old, new, message = EDITED[how]
    text = model.DEPLOY.read_text()
    edited = tmp_path / "deploy.prototxt"
    edited.write_text(text.replace(old, new, 1))
    assert edited.read_text() != text
    monkeypatch.setattr(model, "DEPLOY", edited)
    with pytest.raises(UserError) as refusal:
        ports.open_port("caffe")
    assert message in one_line(refusal)


def test_a_prototxt_that_opencv_cannot_run_is_one_line(port, params, digits, tmp_path, monkeypatch):
    from lenet_caffe import model

    edited = tmp_path / "deploy.prototxt"
    edited.write_text(model.DEPLOY.read_text().replace("num_output: 120", "num_output: 121"))
    monkeypatch.setattr(model, "DEPLOY", edited)
    other = ports.open_port("caffe")
    with pytest.raises(UserError, match=r"OpenCV cannot run deploy\.prototxt: ") as refusal:
        compare([other], params, digits[:1])
    one_line(refusal)


@pytest.mark.slow
def test_a_prototxt_of_another_function_is_told_by_the_comparison(
    port, params, digits, tmp_path, monkeypatch
):
    from lenet_caffe import model

    edited = tmp_path / "deploy.prototxt"
    edited.write_text(model.DEPLOY.read_text().replace("pool: MAX", "pool: AVE", 1))
    monkeypatch.setattr(model, "DEPLOY", edited)
    report = compare([ports.open_port("caffe")], params, digits[:5]).ports[0]
    assert (report.verdict, report.first_different) == ("different", "pool1")
