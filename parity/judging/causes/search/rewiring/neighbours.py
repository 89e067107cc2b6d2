"""Mistakes at two nodes in a row: their order exchanged, a bias added behind the activation."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from parity.arithmetic import Number
from parity.graph import Node
from parity.judging.causes.mistake import Changed, Inputs, Mistake, with_input
from parity.judging.causes.search.stretch import Stretch

BIASED = ("Conv", "ConvTranspose", "Gemm")
PRODUCTS = (*BIASED, "MatMul")
# Nodes that stand in the place of an activation, or around one.
MOVABLE = (
    *("Relu", "LeakyRelu", "Clip", "Elu", "Selu", "Sigmoid", "Tanh", "Gelu", "HardSwish", "Softplus"),
    *("Softmax", "LogSoftmax", "BatchNormalization", "MaxPool", "AveragePool", "Add", "Mul", "Div", "Sub"),
)


def neighbours(stretch: Stretch) -> Iterator[tuple[int, dict[int, Mistake]]]:
    """The place of the first of two nodes, and what both do instead."""
    uses = [name for node in stretch.nodes for name in node.inputs]
    for place, node in enumerate(stretch.nodes):
        for behind, other in enumerate(stretch.nodes[place + 1 :], place + 1):
            if other.inputs[:1] != node.outputs[:1] or uses.count(node.outputs[0]) > 1:
                continue
            if node.type in BIASED and len(node.inputs) > 2 and other.type in MOVABLE:
                yield place, _bias_behind(node, other, place, behind)
            later = {name for one in stretch.nodes[place:] for name in one.outputs}
            if any(name in later for name in other.inputs[1:]):
                continue  # what the other one needs is not there before the first one
            if node.type in MOVABLE and other.type in MOVABLE and node.type != other.type:
                yield place, _exchanged(node, other, place, behind)


def _exchanged(node: Node, other: Node, place: int, behind: int) -> dict[int, Mistake]:
    assert node.operator is not None
    assert other.operator is not None
    said: Mapping[str, Any] = {
        "name": f"{other.type} before {node.type}",
        "explanation": f"{node.type} and {other.type} are computed in the opposite order.",
        "remedy": f"Compute {node.type} first.",
    }
    return {
        place: Mistake(
            **said, operator=other.operator, inputs=(node.inputs[0], *(n for n in other.inputs[1:] if n))
        ),
        behind: Mistake(
            **said, operator=node.operator, inputs=(node.outputs[0], *(n for n in node.inputs[1:] if n))
        ),
    }


def _bias_behind(node: Node, other: Node, place: int, behind: int) -> dict[int, Mistake]:
    assert node.operator is not None
    assert other.operator is not None
    said: Mapping[str, Any] = {
        "name": f"bias added behind {other.type}",
        "explanation": f"The bias of {node.type} is added to the result of {other.type}.",
        "remedy": f"Add the bias before {other.type}.",
    }
    axis = -1 if node.type == "Gemm" else 1
    own = len(other.inputs)

    def after(y: Number, inputs: Inputs) -> Number:
        b = inputs[own]
        assert b is not None
        shape = [1] * y.ndim
        shape[axis] = -1
        return y + b.reshape(*shape)

    return {
        place: Mistake(**said, operator=with_input(node.operator, 2, lambda b: b.move(np.zeros_like))),
        behind: Mistake(
            **said,
            operator=Changed(other.operator, lambda inputs: inputs[:own], after),
            inputs=(*other.inputs, node.inputs[2]),
        ),
    }
