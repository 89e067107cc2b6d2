"""Models that are read, and how one is refused."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, SparseTensorProto, TensorProto, helper, numpy_helper

from parity import Graph, UserError, read_onnx
from tests.parity.small import model, normal


def refused(source: Path | ModelProto, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        read_onnx(source)
    assert "\n" not in str(caught.value)


def product(weights: dict[str, np.ndarray] | None = None, **options: object) -> ModelProto:
    node = helper.make_node("MatMul", ["x", "m"], ["y"])
    return model([node], {"x": [2, 3]}, ["y"], {"m": normal(3, 4)} if weights is None else weights, **options)  # type: ignore[arg-type]


def floats(values: list) -> np.ndarray:
    return np.array(values, np.float32)


def sparse(name: str, values: list, places: list, shape: list[int]) -> SparseTensorProto:
    """A sparse tensor of these values at these flat places."""
    held = numpy_helper.from_array(floats(values), name)
    return helper.make_sparse_tensor(held, numpy_helper.from_array(np.array(places, np.int64)), shape)


def kinds(graph: Graph) -> list[str]:
    return [node.type for node in graph.nodes]


def a_function(name: str, calls: str, domain: str = "own") -> onnx.FunctionProto:
    inner = [helper.make_node(calls, ["a", "b"], ["c"], domain="" if calls == "MatMul" else domain)]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(domain, 1)]
    return helper.make_function(domain, name, ["a", "b"], ["c"], inner, imports)


def a_branch(name: str, weight: str) -> onnx.GraphProto:
    """A branch whose inner names are those of the other one."""
    nodes = [
        helper.make_node("MatMul", ["x", weight], ["inner"]),
        helper.make_node("MatMul", ["inner", "s"], ["out"]),
    ]
    out = [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)]
    return helper.make_graph(nodes, name, [], out, [numpy_helper.from_array(normal(4, 4), "s")])


def an_if(condition: np.ndarray | None) -> ModelProto:
    branches = {"then_branch": a_branch("yes", "m"), "else_branch": a_branch("no", "n")}
    nodes = [helper.make_node("If", ["c"], [output], **branches) for output in ("y", "z")]
    weights = {"m": normal(3, 4), "n": normal(3, 4, seed=1)} | ({} if condition is None else {"c": condition})
    proto = model(nodes, {"x": [2, 3]}, ["y", "z"], weights)
    if condition is None:
        proto.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    return proto
