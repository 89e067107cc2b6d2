"""A file that is not the network is caught, and the layer, the header or the runtime named."""

import dataclasses

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

from export import runtimes
from export.check import SAME, check_file
from export.port import Opened
from lenet import ports
from lenet.compare import compare
from tests.export.changed import change, drop, nodes, renamed
from tests.export.exported import EXPORTERS, model_of, needs


@pytest.fixture(params=EXPORTERS)
def exporter(request):
    needs(f"{request.param}/reference")
    return request.param


class Mutated(ports.ForwardPort):
    """The port of a changed file, judged with the weights that it should have."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        super().__init__("onnx:numpy/onnxruntime")

    def _setup(self) -> None: ...

    def _load(self, params):
        self.opened = Opened(self.model, "onnxruntime")

    def _inputs(self, images):
        return images

    def _forward(self, inputs):
        return self.opened.logits(inputs)

    def _activations(self, images):
        return self.opened.activations(images)

    _outputs = _activations

    def _params(self):
        return self.opened.reading.params


def test_each_exporters_file_is_the_network(exporter, judge):
    found = judge(model_of(exporter))
    assert (found.summary, found.different, found.layer) == (SAME, False, None)
    assert found.header == []
    assert found.weights == {}
    assert all(len(ran.local) == 12 and ran.end_to_end is not None for ran in found.ran.values())


def test_one_weight_changed_is_named(exporter, judge, params, digits):
    model = model_of(exporter)
    change(model, (84, 120), (3, 4), 1e-3)
    found = judge(model)
    assert (found.different, found.layer) == (True, "fc2")
    assert found.weights == {"fc2.weight": "1 of 10,080 values differ, by at most 0.001, first [3, 4]"}
    assert found.summary == "the same network with other weights, first fc2.weight"
    assert "changed after export" in found.header[0]
    report = compare([Mutated(model)], params, digits[:100]).ports[0]  # and by its values alone
    assert (report.verdict, report.first_different) == ("different", "fc2")


def test_pads_changed_are_named(exporter, judge):
    model = model_of(exporter)
    (pads,) = (attribute for attribute in nodes(model, "Conv")[0].attribute if attribute.name == "pads")
    pads.ints[:] = [1, 1, 3, 3]  # the image shifted by a pixel: every shape is as before
    found = judge(model)
    assert (found.different, found.layer) == (True, "conv1")
    assert "has pads [1, 1, 3, 3], expected [2, 2, 2, 2]" in found.summary
    assert all(ran.end_to_end > 1 for ran in found.ran.values())  # and by its values


@pytest.mark.parametrize("which", [1, 2, 3, 4])
def test_relu_removed_is_named(exporter, judge, which):
    model = model_of(exporter)
    drop(model, nodes(model, "Relu")[which - 1])
    found = judge(model)
    assert (found.different, found.layer) == (True, f"relu{which}")
    assert f"relu{which}: expected Relu, found " in found.summary
    assert all(ran.end_to_end > 1 for ran in found.ran.values())


@pytest.mark.slow
def test_transpose_dropped_is_named(judge, params, digits):
    model = model_of("tf")
    drop(model, *nodes(model, "Transpose"))
    found = judge(model)
    assert (found.different, found.layer) == (True, "fc1")
    assert "they are the same values in another order" in found.weights["fc1.weight"]
    report = compare([Mutated(model)], params, digits[:100]).ports[0]
    assert (report.verdict, report.first_different) == ("different", "fc1")


def test_network_of_other_weights_is_said_to_be_that(judge, params):
    from export import from_numpy

    found = judge(from_numpy.export({name: array * np.float32(1.5) for name, array in params.items()}))
    assert found.summary == "the same network with other weights, first conv1.weight"
    assert list(found.weights) == list(params)
    assert all(ran.first_different is None for ran in found.ran.values())  # judged with its own weights


def test_same_function_by_another_graph_is_said_to_be_that(judge):
    model = model_of("numpy")  # max pooling and ReLU commute, exactly
    relu, pool = nodes(model, "Relu")[0], nodes(model, "MaxPool")[0]
    relu.op_type, pool.op_type = "MaxPool", "Relu"
    relu.attribute.extend(pool.attribute)
    del pool.attribute[:]
    found = judge(model)
    assert (found.different, found.layer) == (True, "relu1")
    assert found.summary.endswith("but its logits are within rounding of the network's")
    assert all(list(ran.local) == ["conv1"] for ran in found.ran.values())


def of_fixed_batch() -> ModelProto:
    model = model_of("numpy")
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 3
    return model


def of_rank_two() -> ModelProto:
    model = model_of("numpy")
    shape = numpy_helper.from_array(np.array([-1, 1, 28, 28]), "shape")
    model.graph.initializer.append(shape)
    model.graph.node.insert(0, helper.make_node("Reshape", ["pixels", "shape"], ["image"], "in"))
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("pixels", onnx.TensorProto.FLOAT, ["n", 784]))
    return model


def of_other_metadata() -> ModelProto:
    model = model_of("numpy")
    next(prop for prop in model.metadata_props if prop.key == "weights_sha256").value = "0" * 64
    return model


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: renamed("input"), "the input is renamed float32 [batch, 1, 28, 28], expected image float32"),
        (lambda: renamed("output"), "the output is renamed float32 [batch, 10], expected logits float32"),
        (
            of_fixed_batch,
            "the input is image float32 [3, 1, 28, 28], expected image float32 [batch",
        ),
        (of_rank_two, "the input is pixels float32 [n, 784], expected image float32 [batch, 1, 28, 28]"),
        (of_other_metadata, "the checksum in its metadata is of other weights"),
    ],
    ids=["input-name", "output-name", "batch", "rank", "checksum"],
)
def test_another_header_is_said_and_all_else_judged(make, text, judge):
    found = judge(make())
    assert text in found.header[0]
    assert found.summary.startswith(f"{SAME}, but {text[:12]}")
    assert all(len(ran.local) == 12 and ran.first_different is None for ran in found.ran.values())


def test_input_that_no_digit_fits_is_said(judge):
    model = model_of("numpy")
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 32
    del model.graph.output[0].type.tensor_type.shape.dim[1]
    found = judge(model)
    assert found.layer == "image"
    assert "image float32 [batch, 1, 32, 28]" in found.summary


def test_runtime_that_computes_one_layer_wrongly_is_named(judge, monkeypatch):
    reference = runtimes.RUNTIMES["reference"].start

    def planted(model):
        run = reference(model)

        def wrong(images):
            values = run(images)
            return values | {"conv2": values["conv2"] * np.float32(1.001)} if "conv2" in values else values

        return wrong

    line = dataclasses.replace(runtimes.RUNTIMES["reference"], start=planted)
    monkeypatch.setitem(runtimes.RUNTIMES, "reference", line)
    found = judge(model_of("numpy"))
    assert (found.different, found.layer) == (True, "conv2")
    assert "reference computes something else: conv2 is outside its rounding bound" in found.summary


def test_runtime_that_is_wrong_only_where_no_layer_is_shown_is_caught(judge, monkeypatch):
    reference = runtimes.RUNTIMES["reference"].start

    def planted(model):
        run, fused = reference(model), len(model.graph.output) == 1
        return lambda images: {name: value + fused * np.float32(0.1) for name, value in run(images).items()}

    line = dataclasses.replace(runtimes.RUNTIMES["reference"], start=planted)
    monkeypatch.setitem(runtimes.RUNTIMES, "reference", line)
    found = judge(model_of("numpy"))
    assert (found.different, found.layer) == (True, "logits")


def test_external_data_is_read(tmp_path, params, digits):
    path = tmp_path / "a.onnx"
    onnx.save(model_of("numpy"), path, save_as_external_data=True, location="a.data", size_threshold=0)
    assert (tmp_path / "a.data").stat().st_size > 240_000
    assert check_file(path, params, digits.images[:1]).summary == SAME
