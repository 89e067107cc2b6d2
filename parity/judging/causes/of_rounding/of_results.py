"""A result on the way that is rounded to a shorter format, and products of factors that are split in two."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from parity.arithmetic import Number
from parity.arithmetic.floats import BFLOAT16, FLOAT16, Format
from parity.graph import Node
from parity.judging.causes.mistake import Changed, Inputs, Mistake, Seen, given, made_in
from parity.judging.causes.of_rounding.of_precision import AUTOCAST, ENABLED, PRODUCTS
from parity.judging.causes.of_rounding.shortened import monotone, shortened
from parity.operators import Operator
from parity.operators.operator import Points

# Nodes that only move values: rounding behind them is rounding before them.
MOVING = ("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Slice", "Expand", "Concat")
ROWS = ("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")


def on_the_way(nodes: tuple[Node, ...]) -> Iterator[dict[int, Mistake]]:
    """A result in a shorter format, of each node but the last, or of both tables of angles: what nodes do."""
    tables = [k for k, node in enumerate(nodes) if node.type in ("Cos", "Sin")]
    for form in (BFLOAT16, FLOAT16) if len(tables) > 1 else ():
        yield {k: _rounded(nodes[k].operator, form, "cosines and sines") for k in tables}
    for place, node in enumerate(nodes[:-1]):
        if node.operator is None or node.type in (*MOVING, *PRODUCTS):
            continue  # products are named by their own mistakes
        for form in (BFLOAT16, FLOAT16):
            yield {place: _rounded(node.operator, form, f"result of {node.type}")}


def _rounded(operator: Any, form: Format, what: str) -> Mistake:
    return Mistake(
        f"{what} rounded to {form.name}",
        f"A value between went through {form.name}: what follows is computed from its rounded values.",
        AUTOCAST,
        Changed(operator, after=lambda y, inputs: shortened(form)(y)),
    )


@made_in(*PRODUCTS)
def to_integers(operator: Any, seen: Seen) -> Iterator[Mistake]:
    """A result that was cast to an integer type on the way."""
    if seen.constant:
        return  # zeros are the integers of any small values
    for words, function in (("cut off", np.trunc), ("rounded", np.rint)):
        yield Mistake(
            f"result {words} to integers",
            f"The layer's output is {words} to integers: it was cast to an integer type.",
            "Keep activations in float32: no astype(int), no integer output type.",
            Changed(operator, after=lambda y, inputs, function=function: monotone(function)(y)),  # type: ignore[misc]
            "geomstats/geomstats#775",
        )


@made_in(*ROWS)
def before_the_scale(operator: Any, seen: Seen) -> Iterator[Mistake]:
    """A normalization that casts back to the format of its input before it multiplies, as Llama's does."""
    if given(seen.inputs, 1) is None:
        return

    def without(inputs: list[Number | None]) -> list[Number | None]:
        x, scale = inputs[:2]
        return [x, None if scale is None else scale.move(np.ones_like)]

    for form in (BFLOAT16, FLOAT16):

        def after(y: Number, inputs: Inputs, form: Format = form) -> Number:
            scale, shift = inputs[1], given(inputs, 2)
            assert scale is not None
            result = shortened(form)(y) * scale
            return result if shift is None else result + shift

        yield Mistake(
            f"normalized values rounded to {form.name} before the scale",
            f"What is multiplied by the scale went through {form.name}.",
            AUTOCAST,
            Changed(operator, without, after),
        )


@dataclass(frozen=True)
class Split(Operator):
    """A product of two factors that are each split into two numbers of bfloat16: three of the four products.

    Attributes:
        right: the operator, linear in its first two inputs.
    """

    TYPE: ClassVar[str] = "product in three parts"

    right: Operator

    def evaluate(self, *inputs: Number | None) -> Number:
        return self._sum([self._one(self.right.evaluate(*part)) for part in self._parts(inputs)])

    def sample(self, points: Points, *inputs: Number | None) -> Number:
        return self._sum([self.right.sample(points, *part) for part in self._parts(inputs)])

    def _parts(self, inputs: Inputs) -> list[Inputs]:
        a, b = (_halves(x) for x in inputs[:2])
        return [(a[0], b[0], *inputs[2:]), (a[0], b[1]), (a[1], b[0])]

    @staticmethod
    def _sum(parts: list[Number]) -> Number:
        return parts[0] + (parts[1] + parts[2])

    @staticmethod
    def _one(result: Number | tuple[Number, ...]) -> Number:
        assert isinstance(result, Number)
        return result


def _halves(x: Number | None) -> tuple[Number, Number]:
    """The nearest number of bfloat16, and that of what is left."""
    assert x is not None
    short = shortened(BFLOAT16)
    high = short(x)
    return high, short(x - high)


@made_in(*PRODUCTS)
def in_parts(operator: Any, seen: Seen) -> Iterator[Mistake]:
    if operator.TYPE == "Einsum" and len(seen.inputs) != 2:
        return
    yield Mistake(
        "products in three parts of bfloat16 (bf16x3)",
        "Each factor is split into two numbers of bfloat16, and the product of the two smaller ones is left "
        "out: about 16 bits are right, of float32's 24.",
        ENABLED,
        Split(operator),
    )
