"""Constants within branches, conditions that cannot be known, and the names that a branch gets."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from parity import read_onnx
from parity.onnx import reading
from tests.parity.onnx.read_models import an_if, floats, kinds, product, refused, sparse
from tests.parity.small import model, normal, saved


def an_if_of(*nodes: NodeProto, stored: onnx.SparseTensorProto | None = None) -> ModelProto:
    """If c, then these nodes, which make `out`, else nothing new: x."""
    out, x = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("out", "x"))
    then, otherwise = helper.make_graph(nodes, "then", [], [out]), helper.make_graph([], "else", [], [x])
    if stored is not None:
        then.sparse_initializer.append(stored)
    node = helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=otherwise)
    return model([node], {"x": [2, 3]}, ["y"], {"c": np.array(True), "m": normal(3, 3)})


def test_a_constant_node_of_a_branch_is_a_weight() -> None:
    held = helper.make_node("Constant", [], ["s"], value=numpy_helper.from_array(floats([1, 2, 3])))
    graph = read_onnx(an_if_of(held, helper.make_node("Add", ["x", "s"], ["out"])))
    assert kinds(graph) == ["Add"]
    np.testing.assert_array_equal(graph.constants[graph.nodes[0].inputs[1]], floats([1, 2, 3]))


def test_a_sparse_weight_of_a_branch_is_a_weight() -> None:
    add = helper.make_node("Add", ["x", "s"], ["out"])
    graph = read_onnx(an_if_of(add, stored=sparse("s", [5], [1], [3])))
    np.testing.assert_array_equal(graph.constants[graph.nodes[0].inputs[1]], floats([0, 5, 0]))


def test_what_a_branch_hands_through_has_a_node_with_a_name() -> None:
    proto = an_if_of(helper.make_node("Add", ["x", "x"], ["out"]))
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array(False), "c"))
    (node,) = read_onnx(proto).nodes
    assert (node.type, node.name, node.inputs, node.outputs) == ("Identity", "y/If", ("x",), ("y",))


def test_inner_names_that_are_taken_are_called_after_the_if_or_its_output() -> None:
    """The second If has inner names of the first."""
    named, plain, silent = (an_if(np.array(True)) for _ in range(3))
    for node in named.graph.node:
        node.name = "choice"
    del silent.graph.node[1].output[:]
    found = [read_onnx(one).nodes[2].outputs[0] for one in (named, plain)]
    found += [read_onnx(model_without_output(silent)).nodes[2].outputs[0]]
    assert found == ["choice/inner", "z/inner", "If/inner"]


def model_without_output(proto: ModelProto) -> ModelProto:
    """The same without the output z of the graph, which nothing makes."""
    del proto.graph.output[1]
    return proto


def test_an_if_of_another_domain_or_without_a_condition_is_left_alone() -> None:
    proto = an_if_of(helper.make_node("Add", ["x", "x"], ["out"]))
    proto.graph.node[0].domain = "own"
    proto.opset_import.add(domain="own", version=1)
    assert kinds(read_onnx(proto)) == ["own.If"]
    proto = an_if_of(helper.make_node("Add", ["x", "x"], ["out"]))
    del proto.graph.node[0].input[:]
    (node,) = read_onnx(proto).nodes
    assert node.problem == "If, which runs a graph within the graph"


def test_a_damaged_condition_is_named() -> None:
    proto = an_if(np.array(True))
    condition = next(one for one in proto.graph.initializer if one.name == "c")
    condition.raw_data = b"123"
    refused(proto, r"^c has 3 bytes, but its shape \[\] needs 1$")


def test_a_condition_larger_than_what_is_looked_at_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SMALL", 0)
    assert kinds(read_onnx(an_if(np.array(True)))) == ["If", "If"]


def test_a_condition_that_is_stored_elsewhere_is_not_looked_at(tmp_path: Path) -> None:
    proto = an_if(np.array(True))
    condition = next(one for one in proto.graph.initializer if one.name == "c")
    condition.ClearField("raw_data")
    condition.data_location = TensorProto.EXTERNAL
    condition.external_data.add(key="location", value="condition.bin")
    (tmp_path / "condition.bin").write_bytes(b"\1")
    assert kinds(read_onnx(saved(proto, tmp_path))) == ["If", "If"]


def test_what_each_branch_reads_is_made_before_the_if() -> None:
    proto = an_if(None)
    del proto.graph.initializer[:]
    proto.graph.node.extend(helper.make_node("Identity", ["x"], [name]) for name in "mn")
    assert kinds(read_onnx(proto)) == ["Identity", "Identity", "If", "If"]


def test_a_tensor_that_two_constants_make_is_refused() -> None:
    held = helper.make_node("Constant", [], ["m"], value_float=1.0)
    proto = product()
    proto.graph.node.append(held)
    refused(proto, "^small: the tensor 'm' is made twice$")


def test_a_constant_whose_value_is_that_of_a_function_is_refused() -> None:
    held = helper.make_node("Constant", [], ["c"])
    held.attribute.append(
        onnx.AttributeProto(name="value", ref_attr_name="v", type=onnx.AttributeProto.TENSOR)
    )
    refused(model([held], {}, ["c"]), "^small: the Constant 'c' has no single value$")


@pytest.mark.parametrize("sizes", [None, "unknown"])
def test_parts_whose_sizes_are_no_constant_stay(sizes: str | None) -> None:
    inputs = ["x"] if sizes is None else ["x", sizes]
    nodes = [
        helper.make_node("SplitToSequence", inputs, ["s"]),
        helper.make_node("SequenceAt", ["s", "p"], ["y"]),
    ]
    proto = model(nodes, {"x": [2, 3]}, ["y"], {"p": np.array(1)})
    proto.graph.input.append(helper.make_tensor_value_info("unknown", TensorProto.INT64, [2]))
    graph = read_onnx(proto)
    assert kinds(graph) == (["Slice"] if sizes is None else ["SplitToSequence", "SequenceAt"])
    if sizes is None:
        starts, ends, axes = (graph.constants[name].tolist() for name in graph.nodes[0].inputs[1:])
        assert (starts, ends, axes) == ([1], [2], [0])


def test_names_of_a_part_that_are_taken_are_called_after_its_node() -> None:
    nodes = [
        helper.make_node("SplitToSequence", ["x"], ["s"]),
        helper.make_node("SequenceAt", ["s", "p"], ["y"], "second"),
    ]
    taken = {f"y:{what}": np.array(0) for what in ("starts", "ends", "axes")}
    (node,) = read_onnx(model(nodes, {"x": [2, 3]}, ["y"], {"p": np.array(1), **taken})).nodes
    assert node.inputs == ("x", "second/y:starts", "second/y:ends", "second/y:axes")
