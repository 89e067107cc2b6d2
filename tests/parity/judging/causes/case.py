"""A graph of one layer, its right port, and ports with one mistake each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from parity.graph import Graph
from parity.judging.causes import judge
from parity.onnx import read_onnx

Array = np.ndarray
Port = Callable[[Array], Array]
N = helper.make_node


def drawing(seed: int) -> Callable[..., Array]:
    """A function that draws normal float32 numbers, others at each call."""
    rng = np.random.default_rng(seed)

    def drawn(*shape: int, scale: float = 1.0) -> Array:
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    return drawn


@dataclass(frozen=True)
class Case:
    """A graph of x and y.

    Attributes:
        nodes: the last one returns y.
        constants: by name; a number or an array.
        x: its input.
        right: what a right port computes.
        wrong: {the name of a cause: a port that makes this mistake}.
    """

    nodes: Sequence[NodeProto]
    constants: dict[str, Array | float]
    x: Array
    right: Port
    wrong: dict[str, Port]

    @property
    def proto(self) -> ModelProto:
        given = [
            numpy_helper.from_array(
                np.asarray(one, None if isinstance(one, np.ndarray) else np.float32), name
            )
            for name, one in self.constants.items()
        ]
        ends = [helper.make_tensor_value_info(name, 1, None) for name in "xy"]
        graph = helper.make_graph(self.nodes, "decomposed", ends[:1], ends[1:], given)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)

    @property
    def graph(self) -> Graph:
        return read_onnx(self.proto)

    def named(self, port: Port) -> list[str]:
        y = port(self.x).astype(np.float32)
        (one,) = judge(self.graph, {"x": self.x, "y": y}).tensors
        return [one.verdict, *(cause.name for cause in one.causes)]


def case(node: dict[str, Any], constants: dict[str, Array | float], x: Array, wrong: dict[str, Port]) -> Case:
    """One node of x and the constants, in this order."""
    kind = str(node.pop("type"))
    return Case([N(kind, ["x", *constants], ["y"], **node)], constants, x, lambda x: x, wrong)
