"""What is said of a file that cannot be read, or of a node that cannot be judged: which one, and why."""

from pathlib import Path

import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from parity import UserError, read_onnx
from parity.errors import Unjudged
from parity.onnx import reading
from parity.onnx.reading import attribute_value
from tests.parity.onnx.read_models import an_if, kinds, product, refused, sparse
from tests.parity.small import convolutions, saved


def elsewhere(tensor: TensorProto, location: str | bytes = "weights.bin") -> None:
    """Store a tensor outside of the model."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)


def test_external_data_of_a_model_that_is_no_file() -> None:
    proto = product()
    elsewhere(proto.graph.initializer[0])
    said = "pass the path of the model instead of the model"
    refused(proto, f"^m is stored in the file 'weights.bin': {said}$")


def test_external_data_that_are_strings(tmp_path: Path) -> None:
    proto = product()
    proto.graph.initializer[0].data_type = TensorProto.STRING
    elsewhere(proto.graph.initializer[0])
    refused(saved(proto, tmp_path), "^m is stored as external data, which strings cannot be$")


def test_external_data_of_a_sparse_weight() -> None:
    proto = product({})
    proto.graph.sparse_initializer.append(sparse("m", [1], [1], [3, 4]))
    elsewhere(proto.graph.sparse_initializer[0].values)
    refused(proto, "^m is sparse and stored as external data, which is not supported$")


def test_a_sparse_weight_may_have_no_values() -> None:
    proto = product({})
    proto.graph.sparse_initializer.append(sparse("m", [], [], [3, 0]))
    assert read_onnx(proto).constants["m"].shape == (3, 0)


def test_a_weight_with_too_few_numbers_is_named_when_it_is_read() -> None:
    proto = product({})
    proto.graph.initializer.add(name="m", data_type=TensorProto.FLOAT, dims=[3, 4], float_data=[1.0])
    refused_at_use(proto, "^m cannot be read: ")


def refused_at_use(proto: ModelProto, said: str) -> None:
    graph = read_onnx(proto)
    with pytest.raises(UserError, match=said):
        graph.constants["m"]


def test_a_file_needs_a_graph_with_a_node_or_an_output(tmp_path: Path) -> None:
    proto = product()
    del proto.graph.output[:]
    assert kinds(read_onnx(saved(proto, tmp_path))) == ["MatMul"]
    for lacking in (ModelProto(ir_version=9), ModelProto(graph=onnx.GraphProto(name="empty"))):
        refused(saved(lacking, tmp_path), "model.onnx: not an ONNX file, or one without a graph$")


def test_an_operator_that_is_newer_than_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "NEWEST", 12)
    assert read_onnx(product(opset=17)).nodes[0].problem == "MatMul of opset 13: known up to 12"


def test_attributes_that_are_no_values() -> None:
    text = helper.make_attribute("mode", "cubic")
    text.s = b"\xffcubic"
    assert attribute_value(text) == "\ufffdcubic"
    branch = an_if(None).graph.node[0].attribute[0]
    with pytest.raises(Unjudged, match=f"^attribute {branch.name}, a graph$"):
        attribute_value(branch)


def test_a_node_without_a_name_is_called_after_its_output_or_its_type() -> None:
    proto = convolutions()
    for node in proto.graph.node:
        node.ClearField("name")
    assert [node.name for node in read_onnx(proto).nodes] == ["conv1", "conv2", "y"]
    proto = product()
    del proto.graph.output[:], proto.graph.node[0].output[:]
    assert [node.name for node in read_onnx(proto).nodes] == ["MatMul"]
