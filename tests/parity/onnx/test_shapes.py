"""Shapes that are inferred from small constants, wherever a file keeps them."""

from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from parity import read_onnx
from tests.parity.onnx.read_models import floats, product, sparse
from tests.parity.small import model, saved


def reshaped(*constants: onnx.NodeProto, **weights: np.ndarray) -> ModelProto:
    """x [2, 6], reshaped to what the tensor `to` says."""
    nodes = [*constants, helper.make_node("Reshape", ["x", "to"], ["y"])]
    return model(nodes, {"x": [2, 6]}, ["y"], weights)


def test_the_sizes_of_a_reshape_are_read_from_a_weight_or_a_constant() -> None:
    held = reshaped(to=np.array([3, 4]))
    assert read_onnx(held).declared["y"].shape == (3, 4)
    for kind in ({"value_ints": [3, 4]}, {"value": numpy_helper.from_array(np.array([3, 4]))}):
        held = reshaped(helper.make_node("Constant", [], ["to"], **kind))
        assert read_onnx(held).declared["y"].shape == (3, 4)


def test_texts_large_and_sparse_constants_hide_no_other() -> None:
    constants = [
        helper.make_node("Constant", [], ["text"], value_strings=["a", "b"]),
        helper.make_node("Constant", [], ["large"], value_ints=list(range(5000))),
        helper.make_node("Constant", [], ["sparse"], sparse_value=sparse("", [5], [1], [3])),
        helper.make_node("Constant", [], ["to"], value_ints=[3, 4]),
    ]
    graph = read_onnx(reshaped(*constants))
    assert graph.declared["y"].shape == (3, 4)
    np.testing.assert_array_equal(graph.constants["sparse"], floats([0, 5, 0]))


def test_sizes_that_the_graph_computes_are_known() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["sizes"]),
        helper.make_node("Gather", ["sizes", "swapped"], ["to"]),
        helper.make_node("Reshape", ["x", "to"], ["y"]),
    ]
    proto = model(nodes, {"x": [2, 6]}, ["y"], {"swapped": np.array([1, 0])})
    assert read_onnx(proto).declared["y"].shape == (6, 2)


def test_external_data_hide_no_shape(tmp_path: Path) -> None:
    proto = product()
    tensor = proto.graph.initializer[0]
    (tmp_path / "weights.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    assert read_onnx(saved(proto, tmp_path)).declared["y"].shape == (2, 4)


def test_the_shape_of_an_input_that_declares_none_is_that_of_the_recorded_array() -> None:
    proto = product()
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    assert read_onnx(proto).inputs["x"].shape is None
    assert read_onnx(proto, shapes={"x": (5, 3)}).declared["y"].shape == (5, 4)
