"""What each exporter writes: the stated interface and versions, valid, whole, nothing of this machine."""

import hashlib
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import lenet
from export.check import SAME, check_model
from export.onnx_file import NEWEST, OLDEST, OPSET, finish, metadata, opset_in
from export.port import exporter_of
from lenet.network import architecture
from parity.errors import UserError
from tests.export.exported import EXPORTERS, model_of, needs
from tests.helpers import one_line


@pytest.fixture(params=EXPORTERS)
def exporter(request):
    needs(f"{request.param}/reference")
    return request.param


@pytest.fixture
def model(exporter):
    return model_of(exporter)


def shape(value):
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def test_interface_is_the_stated_one(model):
    (image,), (logits,) = model.graph.input, model.graph.output
    assert (image.name, shape(image)) == ("image", ["batch", 1, 28, 28])
    assert (logits.name, shape(logits)) == ("logits", ["batch", 10])
    assert {v.type.tensor_type.elem_type for v in (image, logits)} == {onnx.TensorProto.FLOAT}


def test_opset_and_ir_version_are_the_stated_ones(model):
    assert model.ir_version == 8
    assert [(one.domain, one.version) for one in model.opset_import] == [("", OPSET)]
    assert all(node.domain == "" for node in model.graph.node)  # no operator beyond the standard's


def test_importers_that_infer_little_are_told_what_they_need(model):
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        told = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        if node.op_type == "Conv":
            assert told["kernel_shape"] == [5, 5], node.name
        if node.op_type == "MaxPool":
            assert told["kernel_shape"] == [2, 2], node.name
        if node.op_type == "Reshape":
            assert list(constants[node.input[1]]) in ([-1, 400], [-1, 1, 28, 28])
    assert not model.graph.value_info  # in PyTorch's, shapes with a symbolic batch
    read = {name for node in model.graph.node for name in node.input}
    assert set(constants) <= read


@pytest.mark.parametrize(("opset", "ir_version"), [(OLDEST, 4), (11, 6), (13, 7), (NEWEST, None)])
def test_other_opsets_are_the_same_network(exporter, params, digits, opset, ir_version):
    model = exporter_of(exporter)(params, opset)
    assert opset_in(model) == opset
    assert model.ir_version == ir_version or ir_version is None
    schemas = {node.op_type: onnx.defs.get_schema(node.op_type, opset) for node in model.graph.node}
    for node in model.graph.node:
        assert {one.name for one in node.attribute} <= set(schemas[node.op_type].attributes)
    verdict = check_model(model, params, digits.images[:20], exporter, ["reference"])
    assert verdict.summary == SAME


@pytest.mark.parametrize("opset", [OLDEST - 1, NEWEST + 1])
def test_an_opset_that_cannot_be_written_is_refused(params, opset):
    with pytest.raises(UserError) as refusal:
        exporter_of("numpy")(params, opset)
    assert one_line(refusal) == f"opset {opset} cannot be written: expected {OLDEST} to {NEWEST}"


def test_a_node_that_an_older_opset_lacks_is_refused(params):
    model = model_of("numpy")
    model.graph.node[2].attribute.append(onnx.helper.make_attribute("ceil_mode", 1))
    with pytest.raises(UserError) as refusal:
        finish(model, params, "somebody", OLDEST)
    assert "somebody: not a valid ONNX model: Unrecognized attribute: ceil_mode" in one_line(refusal)


def test_checker_and_strict_inference_accept_the_file(model):
    content = model.SerializeToString()
    onnx.checker.check_model(content, full_check=True)
    onnx.shape_inference.infer_shapes(content, check_type=True, strict_mode=True, data_prop=True)


def test_metadata_says_weights_version_exporter_and_preprocessing(model, exporter, params):
    digest = hashlib.sha256(
        b"".join(params[name].tobytes() for name in architecture.PARAM_SHAPES)
    ).hexdigest()
    found = metadata(model)
    assert found["weights_sha256"] == digest
    assert found["lenet"] == lenet.__version__
    assert {"numpy": "by hand", "torch": "torch ", "tf": "tf2onnx "}[exporter] in found["exporter"]
    for word in ("/ 255", "float32", "NCHW", "white ink", "black"):
        assert word in found["preprocessing"]


def test_weights_are_inside_the_one_file(model, params):
    assert not any(onnx.external_data_helper.uses_external_data(t) for t in model.graph.initializer)
    stored = sum(
        numpy_helper.to_array(tensor).size
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT
    )
    assert stored == architecture.PARAM_COUNT


def test_file_names_nothing_of_the_machine(model):
    content = model.SerializeToString()
    for path in (Path.cwd(), Path(sys.prefix), Path(onnx.__file__).parent.parent, Path.home()):
        assert str(path).encode() not in content


def test_file_by_hand_is_nodes_and_tensors_named_as_the_table():
    graph = model_of("numpy").graph
    layers = [layer.name for layer in architecture.LAYERS]
    assert [node.name for node in graph.node] == [node.output[0] for node in graph.node] == layers
    assert [tensor.name for tensor in graph.initializer] == list(architecture.PARAM_SHAPES)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(exporter, params, value):
    broken = params["fc1.bias"].copy()
    broken[7] = value
    with pytest.raises(UserError) as refusal:
        exporter_of(exporter)(params | {"fc1.bias": broken})
    assert "fc1.bias holds a NaN or an infinity" in one_line(refusal)


def test_another_interface_is_refused(params):
    model = model_of("numpy")
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 3
    with pytest.raises(UserError) as refusal:
        finish(model, params, "somebody")
    assert "made image float32 [batch, 3, 28, 28], not image float32 [batch, 1, 28, 28]" in one_line(refusal)


def test_an_invalid_graph_is_refused(params):
    model = model_of("numpy")
    model.graph.node[1].op_type = "Rrelu"
    with pytest.raises(UserError) as refusal:
        finish(model, params, "somebody")
    assert "somebody: not a valid ONNX model" in one_line(refusal)
    assert "Rrelu" in one_line(refusal)
