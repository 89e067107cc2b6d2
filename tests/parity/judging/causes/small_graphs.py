"""Small graphs, and the names of what is wrong in their values."""

import numpy as np
from onnx import NodeProto, helper, numpy_helper

from parity.graph import Graph
from parity.judging.causes import judge
from parity.onnx import read_onnx

Array = np.ndarray
N = helper.make_node


def drawn(*shape: int, seed: int = 0, scale: float = 1.0) -> Array:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def graph_of(
    nodes: list[NodeProto], constants: dict[str, Array], inputs: str, result: str = "y", opset: int = 20
) -> Graph:
    """A graph of inputs that are named by one letter each."""
    given = [numpy_helper.from_array(a, name) for name, a in constants.items()]
    ends = [helper.make_tensor_value_info(name, 1, None) for name in (*inputs, result)]
    graph = helper.make_graph(nodes, "graph", ends[:-1], ends[-1:], given)
    return read_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]))


def names(graph: Graph, **values: Array) -> list[str]:
    """Of the causes of what is wrong in these values."""
    recorded = {name: one.astype(np.float32) for name, one in values.items()}
    return [cause.name for one in judge(graph, recorded).tensors for cause in one.causes]


def softmax(x: Array, axis: int = -1) -> Array:
    e = np.exp(x - x.max(axis, keepdims=True))
    return np.asarray(e / e.sum(axis, keepdims=True))
