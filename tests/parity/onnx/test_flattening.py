"""Functions that are written out, and branches whose tensors get other names."""

import numpy as np
import pytest
from onnx import FunctionProto, GraphProto, ModelProto, TensorProto, helper, numpy_helper

from parity import read_onnx
from parity.onnx.flatten import subgraphs
from tests.parity.onnx.read_models import a_function, kinds, product, refused
from tests.parity.small import loop, model, normal


def calling(functions: list[FunctionProto]) -> ModelProto:
    """A model that calls the first of these functions."""
    call = helper.make_node(functions[0].name, ["x", "m"], ["y"], domain="own")
    weights = {"m": normal(3, 4)}
    return model([call], {"x": [2, 3]}, ["y"], weights, functions=functions, domains={"own": 1})


def test_nodes_are_counted_as_if_functions_were_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    outer, inner = a_function("Outer", "Inner"), a_function("Inner", "MatMul")
    outer.node.append(helper.make_node("Inner", ["a", "b"], ["d"], domain="own"))
    inner.node.extend(helper.make_node("Mul", ["a", "a"], [name]) for name in ("e", "f"))
    monkeypatch.setattr("parity.onnx.flatten.MOST", 6)
    assert kinds(read_onnx(calling([outer, inner]))) == ["MatMul", "Mul", "Mul"] * 2
    monkeypatch.setattr("parity.onnx.flatten.MOST", 5)
    refused(calling([outer, inner]), "^small: has more than 5 nodes after its functions are written out$")


@pytest.mark.parametrize(("depth", "deep"), [(201, False), (202, True)])
def test_functions_call_one_another_at_most_200_deep(depth: int, deep: bool) -> None:
    functions = [a_function(f"F{level}", f"F{level + 1}") for level in range(depth - 1)]
    proto = calling([*functions, a_function(f"F{depth - 1}", "MatMul")])
    if deep:
        refused(proto, "^small: functions call one another more than 200 deep$")
    else:
        assert kinds(read_onnx(proto)) == ["MatMul"]


def test_a_list_of_graphs_is_a_graph_within_the_graph() -> None:
    """What they read must be made, as what a branch reads."""
    proto = product()
    inner = helper.make_graph([helper.make_node("Abs", ["late"], ["end"])], "inner", [], [])
    proto.graph.node[0].attribute.append(helper.make_attribute("graphs", [inner]))
    refused(proto, "^small: MatMul '' needs 'late', which nothing makes$")
    proto.graph.node.append(helper.make_node("Abs", ["x"], ["late"]))
    graph = read_onnx(proto)
    assert kinds(graph) == ["Abs", "MatMul"]
    assert graph.nodes[1].problem == "MatMul, which runs a graph within the graph"


def test_what_the_inliner_refuses_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(proto: ModelProto) -> ModelProto:
        raise RuntimeError("no reason")

    monkeypatch.setattr("onnx.inliner.inline_local_functions", refuses)
    proto = calling([a_function("F", "MatMul")])
    refused(proto, "^small: its functions cannot be written out: no reason$")


def test_a_tensor_of_a_branch_that_is_called_as_an_input_gets_another_name() -> None:
    nodes = [helper.make_node("Abs", ["m"], ["x"]), helper.make_node("Abs", ["x"], ["out"])]
    out = [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)]
    branch = helper.make_graph(nodes, "branch", [], out)
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    proto = model([node], {"x": [2, 3]}, ["y"], {"c": np.array(True), "m": normal(3, 4)})
    assert [node.outputs for node in read_onnx(proto).nodes] == [("y/x",), ("y",)]


def test_a_weight_of_a_branch_decides_an_if_within_it() -> None:
    inner = helper.make_node("If", ["d"], ["in"], then_branch=chosen("Abs"), else_branch=chosen("Neg"))
    out = [helper.make_tensor_value_info("in", TensorProto.FLOAT, None)]
    branch = helper.make_graph([inner], "branch", [], out, [numpy_helper.from_array(np.array(False), "d")])
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=chosen("Exp"))
    proto = model([node], {"x": [2, 3]}, ["y"], {"c": np.array(True), "d": np.array(True)})
    assert kinds(read_onnx(proto)) == ["Neg"]


def chosen(kind: str) -> GraphProto:
    """A branch of one node, which reads x."""
    out = [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)]
    return helper.make_graph([helper.make_node(kind, ["x"], ["out"])], kind, [], out)


def a_branch() -> GraphProto:
    """A branch that makes `inner`, `other` and `value`, and a loop that reads one of them.

    The loop has an input and a weight of its own, which are called as the two others are.
    """
    nodes = [helper.make_node("Abs", ["x"], [name]) for name in ("inner", "other", "value")]
    looped = loop("rounds", "start", "out")
    body = looped.attribute[0].g
    body.initializer.append(numpy_helper.from_array(np.ones((), np.float32), "other"))
    body.node.append(helper.make_node("Sum", ["inner", "other", "value"], ["sum"]))
    body.output.append(helper.make_tensor_value_info("inner", TensorProto.FLOAT, None))
    out = [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)]
    return helper.make_graph([*nodes, looped], "branch", [], out)


def test_a_loop_in_a_branch_reads_the_tensors_of_this_branch_and_its_own() -> None:
    branch = a_branch()
    ifs = [helper.make_node("If", ["c"], [y], then_branch=branch, else_branch=branch) for y in ("y", "z")]
    weights = {"c": np.array(True), "rounds": np.array(2), "start": np.array(1, np.float32)}
    nodes = read_onnx(model(ifs, {"x": [2, 3]}, ["y", "z"], weights)).nodes
    assert [node.type for node in nodes] == ["Abs", "Abs", "Abs", "Loop"] * 2
    for first, looped, made in ((nodes[0], nodes[3], "inner"), (nodes[4], nodes[7], "z/inner")):
        assert first.outputs == (made,)
        (body,) = subgraphs(looped.source)
        assert list(body.node[-1].input) == [made, "other", "value"]
        assert [one.name for one in body.output] == ["onward", "same", made]
