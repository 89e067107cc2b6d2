"""Mistakes of rotary embedding that the graph holds as x·cos + rotated(x)·sin."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from parity.arithmetic import Number
from parity.graph import Node
from parity.judging.causes.decomposed.recognised import agree
from parity.judging.causes.mistake import Mistake, Seen, made_in, mistakes
from parity.operators import Operator
from parity.operators.attention import RotaryEmbedding


@dataclass(frozen=True)
class OfFullTables(Operator):
    """Rotary embedding of (B, H, S, D), with cosines and sines of (..., S, D) whose halves are the same.

    Attributes:
        right: the operator with tables of (B, S, D/2), perhaps with a mistake.
    """

    TYPE: ClassVar[str] = "rotary embedding with full tables"

    right: Operator

    def evaluate(self, *inputs: Number | None) -> Number:
        x, cos, sin = inputs
        assert x is not None
        result = self.right.evaluate(x, *(half(one, x) for one in (cos, sin)))
        assert isinstance(result, Number)
        return result


def half(table: Number | None, x: Number) -> Number:
    """(B, S, D/2): the first half of a table that broadcasts to (B, 1, S, D)."""
    assert table is not None
    batch, _, steps, size = x.shape
    whole = table.move(lambda a: np.broadcast_to(a, (batch, 1, steps, size)))
    return whole.move(lambda a: a[:, 0, :, : size // 2])


@made_in("Add")
def rotations(operator: Any, seen: Seen) -> Iterator[Mistake]:
    names = _parts(seen)
    if names is None:
        return
    inputs = [seen.values[name] for name in names]
    right = OfFullTables(RotaryEmbedding())
    if inputs[0].ndim != 4 or not agree(right, inputs, operator.evaluate(*seen.inputs)):
        return
    halves = [inputs[0], *(half(one, inputs[0]) for one in inputs[1:])]
    for one in mistakes(right.right, Seen(halves, None)):
        yield replace(one, operator=OfFullTables(one.operator), inputs=names)


def _parts(seen: Seen) -> tuple[str, str, str] | None:
    """The names of x, the cosines and the sines."""
    maker = {name: node for node in seen.nodes for name in node.outputs if name}
    products = [maker.get(name) for name in (seen.node.inputs if seen.node else ())]
    for straight, turned in (products, products[::-1]) if len(products) == 2 else ():
        if straight is None or turned is None or {straight.type, turned.type} != {"Mul"}:
            continue
        for x, cos in (straight.inputs, straight.inputs[::-1]):
            for other, sin in (turned.inputs, turned.inputs[::-1]):
                joined = maker.get(other)
                if joined is not None and joined.type == "Concat" and _reads(joined, x, maker):
                    return x, cos, sin
    return None


def _reads(node: Node, name: str, maker: dict[str, Node]) -> bool:
    """Whether a node depends on a tensor, over at most a few others."""
    stack = [node]
    while stack:
        one = stack.pop()
        if name in one.inputs:
            return True
        stack += [maker[n] for n in one.inputs if n in maker and maker[n].type in ("Neg", "Slice", "Split")]
    return False
