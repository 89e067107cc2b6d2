"""Every exporter in every runtime, judged as a port is."""

import importlib.util
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from export.port import exporter_of
from export.runtimes import RUNTIMES, open_runtime
from lenet import ports
from lenet.compare import compare
from lenet.network import architecture, weights
from lenet.network.recipe import Batch, Recipe
from lenet.ports import Unsupported, registry
from lenet.reference import forward
from lenet.reference.distance import ratio
from lenet.reference.exact import EXACT, coarsen
from parity.errors import MissingFramework, UserError, pip
from tests.export.exported import EXPORTED, EXPORTERS, MODES, model_of, needs, needs_port
from tests.helpers import one_line


@pytest.fixture(params=EXPORTED)
def exported_port(request, open_port):
    return open_port(request.param)


@pytest.fixture(params=RUNTIMES)
def runtime(request):
    needs(f"numpy/{request.param}")
    return request.param


def test_every_exporter_in_every_runtime_is_a_mode():
    assert [f"onnx:{exporter}/{runtime}" for exporter in EXPORTERS for runtime in RUNTIMES] == MODES


@pytest.mark.parametrize(("exporter", "first"), [("tf", ["triton"]), ("torch", [])])
def test_triton_is_imported_before_tensorflow(exporter, first, monkeypatch):
    order = []

    def noted(module):
        order.append(module)
        return SimpleNamespace(export=None)

    monkeypatch.setattr(registry, "sys", SimpleNamespace(modules={}))
    with monkeypatch.context() as patched:
        patched.setattr(importlib, "import_module", noted)
        exporter_of(exporter)
    assert order == [*first, f"export.from_{exporter}"]


def test_every_mode_is_rounding(exported_port, params, digits):
    report = compare([exported_port], params, digits[:100]).ports[0]
    assert report.verdict == "rounding", (report.first_different, report.problem)
    assert report.same_predictions == report.digits == 100
    assert list(report.layers) == list(architecture.ACTIVATION_SHAPES)
    assert {report.layers[n].local_ratio for n in ("relu1", "pool1", "relu2", "pool2", "flatten")} == {0.0}


def test_exact_weights_give_the_same_bits_in_every_mode(exported_port, digits):
    params, images = weights.read(EXACT), coarsen(digits.images[:20])
    exported_port.load(params)
    expected = forward.reference(params, images)  # no sum of these weights rounds, in float32 or here
    assert np.array_equal(exported_port.logits(images), expected["logits"].value)
    for layer, found in exported_port.activations(images).items():
        assert np.array_equal(found, expected[layer].value), layer


@pytest.mark.parametrize("batch", [1, 7])
def test_batch_is_free(exported_port, params, digits, batch):
    exported_port.load(params)
    images = digits.images[:batch]
    expected = forward.reference(params, images)
    assert ratio(exported_port.logits(images), expected["logits"]).max() <= 1
    outputs = exported_port.activations(images)
    for layer, bounded in expected.items():
        assert outputs[layer].shape == bounded.value.shape
        assert ratio(outputs[layer], bounded).max() <= 1, layer


def test_weights_come_back_bit_for_bit(exported_port, params):
    exported_port.load(params)
    for name, array in exported_port.params().items():
        assert array.tobytes() == params[name].tobytes(), name
    exported_port.params()["fc1.bias"][:] = 0  # a copy: the port is as it was
    assert exported_port.params()["fc1.bias"].tobytes() == params["fc1.bias"].tobytes()


def test_outputs_are_not_overwritten_by_the_next_call(exported_port, params, digits):
    exported_port.load(params)
    first = exported_port.activations(digits.images[:2]), exported_port.logits(digits.images[:2])
    kept = {name: array.copy() for name, array in first[0].items()}, first[1].copy()
    exported_port.activations(digits.images[2:4])
    exported_port.logits(digits.images[2:4])
    assert (first[1] == kept[1]).all()
    assert all((first[0][name] == kept[0][name]).all() for name in kept[0])


def test_other_weights_are_taken(params, digits, open_port):
    port, images = open_port("onnx:numpy/onnxruntime"), digits.images[:1]
    port.load(params)
    others = params | {"logits.bias": params["logits.bias"] + 1}
    port.load(others)
    assert ratio(port.logits(images), forward.reference(others, images)["logits"]).max() <= 1
    assert ratio(port.logits(images), forward.reference(params, images)["logits"]).min() > 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "makes"), [("litert", "export.litert.opened"), ("onnx:torch/onnxruntime", "export.port.Opened")]
)
def test_what_was_made_of_two_sets_of_weights_is_kept(name, makes, params, digits, open_port, monkeypatch):
    """`lenet compare` loads ordinary and exact weights in turn."""
    port, images = open_port(name), digits.images[:2]
    others = params | {"logits.bias": params["logits.bias"] + 1}
    for own in (params, others):
        port.load(own)
    monkeypatch.delattr(makes)
    for own in (params, others):
        port.load(own)
        assert ratio(port.logits(images), forward.reference(own, images)["logits"]).max() <= 1
    with pytest.raises(NameError):
        port.load(params | {"logits.bias": params["logits.bias"] + 2})


@pytest.mark.slow
def test_litert_says_nothing_and_warns_of_nothing():
    needs_port("litert")
    code = "from lenet import ports; from lenet.network import weights as w; "
    code += "ports.open_port('litert').load(w.read())"
    command = [sys.executable, "-W", "error", "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_gradients_and_training_are_refused_with_the_reason(params, digits, open_port):
    port = open_port("onnx:numpy/onnxruntime")
    port.load(params)
    images, labels = digits.images[:2], digits.labels[:2]
    with pytest.raises(Unsupported) as gradients:
        port.gradients(images, labels)
    with pytest.raises(Unsupported) as backward:
        port.backward(images, np.ones((2, 10)))
    with pytest.raises(Unsupported) as training:
        next(port.train([Batch(images, labels, 0.1)], Recipe()))
    assert one_line(gradients) == one_line(backward)
    assert "'onnx:numpy/onnxruntime' has no gradients: an ONNX file holds the forward pass" in one_line(
        gradients
    )
    assert "'onnx:numpy/onnxruntime' has no training: an ONNX file holds the forward pass" in one_line(
        training
    )


def test_float64_is_refused_with_the_reason():
    with pytest.raises(Unsupported) as refusal:
        ports.open_port("onnx:numpy/reference", "float64")
    assert one_line(refusal) == "port 'onnx:numpy/reference' computes in float32 alone, not float64"


def test_forward_only_ports_are_listed_when_asked_for():
    assert not set(EXPORTED) & set(ports.names())
    assert set(ports.names(forward_only=True)) == {*EXPORTED, "caffe", *ports.names()}
    assert all(ports.framework(name).forward_only for name in EXPORTED)
    assert not any(ports.framework(name).forward_only for name in ports.names())


@pytest.mark.parametrize(
    ("package", "lost", "install"),
    [
        ("cv2", [m for m in MODES if "opencv" in m], "'lenet-migrations[opencv]'"),
        ("openvino", [m for m in MODES if "openvino" in m], "'lenet-migrations[openvino]'"),
        ("ai_edge_litert", ["litert"], "'lenet-migrations[litert]'"),
        ("torch", [m for m in MODES if ":torch/" in m], "'lenet-migrations[torch]'"),
        ("tf2onnx", [m for m in MODES if ":tf/" in m], "'lenet-migrations[export]'"),
        ("onnxruntime", [m for m in MODES if "onnxruntime" in m], "onnxruntime"),
        ("onnx", MODES, "onnx"),
    ],
)
def test_missing_package_takes_its_modes_alone(package, lost, install, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else found(name))
    assert [mode for mode in EXPORTED if package in ports.missing(mode)] == lost
    with pytest.raises(MissingFramework) as refusal:
        ports.open_port(lost[0])
    assert one_line(refusal).endswith(f"needs {package}: {pip()} install {install}")


def test_model_that_a_runtime_refuses_is_one_line(runtime):
    model = model_of("numpy")
    model.graph.node[4].op_type = "Relulu"
    with pytest.raises(UserError) as refusal:
        open_runtime(runtime, model)
    assert f"{runtime} cannot load the model: " in one_line(refusal)


def test_input_that_a_runtime_refuses_is_one_line(runtime, digits):
    run = open_runtime(runtime, model_of("numpy"))
    with pytest.raises(UserError) as refusal:
        run(digits.images[:2].reshape(2, 28, 28)[:, :5])
    assert f"{runtime} cannot run the model: " in one_line(refusal)
