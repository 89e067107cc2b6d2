"""Einstein summation, computed as a matrix product."""

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from parity.arithmetic import Number
from parity.errors import Unjudged
from parity.operators.operator import Operator, register


@register
@dataclass(frozen=True)
class Einsum(Operator):
    """Einstein summation over two operands, computed as a matrix product."""

    TYPE: ClassVar[str] = "Einsum"

    equation: str = ""

    def terms(self, *operands: Number) -> int:
        if len(operands) != 2:
            return 1
        left, right, out = self._labels(*operands)
        sizes = dict(zip(left + right, operands[0].shape + operands[1].shape, strict=True))
        return prod(size for label, size in sizes.items() if label not in out)

    def evaluate(self, *operands: Number) -> Number:
        if len(operands) != 2:
            raise Unjudged(f"Einsum with {len(operands)} operands")
        a, b = operands
        left, right, out = self._labels(a, b)
        if len(set(left)) < len(left) or len(set(right)) < len(right):
            raise Unjudged("Einsum with a diagonal")
        a, left = _sum_alone(a, left, right + out)
        b, right = _sum_alone(b, right, left + out)
        batch = [label for label in left if label in right and label in out]
        summed = [label for label in left if label in right and label not in out]
        rows = [label for label in left if label not in right]
        columns = [label for label in right if label not in left]
        sizes = dict(zip(left, a.shape, strict=True))
        for label, size in zip(right, b.shape, strict=True):
            sizes[label] = max(size, sizes.get(label, 1))
        a = _arranged(a, left, (batch, rows, summed), sizes)
        b = _arranged(b, right, (batch, summed, columns), sizes)
        y = a.wide().dot(b.wide()).reshape(*(sizes[label] for label in batch + rows + columns))
        order = [(batch + rows + columns).index(label) for label in out]
        return y.transpose(*order)

    def _labels(self, a: Number, b: Number) -> tuple[list[str], list[str], list[str]]:
        """The labels of the axes of both operands and of the result; new labels replace an ellipsis."""
        equation = self.equation.replace(" ", "")
        inputs, arrow, out = equation.partition("->")
        left, right = inputs.split(",")
        if not arrow:
            letters = sorted(set(left + right) - set(",."))
            out = ("..." if "." in inputs else "") + "".join(
                c for c in letters if (left + right).count(c) == 1
            )
        spans = [
            x.ndim - len(side.replace("...", "")) for x, side in ((a, left), (b, right)) if "..." in side
        ]
        dots = [f"…{k}" for k in range(max(spans, default=0))]

        def labels(side: str, ndim: int | None) -> list[str]:
            before, ellipsis, after = side.partition("...")
            width = len(dots) if ndim is None else ndim - len(before) - len(after)
            return [*before, *(dots[len(dots) - width :] if ellipsis else []), *after]

        return labels(left, a.ndim), labels(right, b.ndim), labels(out, None)


def _sum_alone(x: Number, labels: list[str], others: list[str]) -> tuple[Number, list[str]]:
    """Sum over the axes whose label occurs neither in the other operand nor in the result."""
    axes = tuple(k for k, label in enumerate(labels) if label not in others)
    if not axes:
        return x, labels
    return x.sum(axes).move(lambda m: m.squeeze(axes)), [label for label in labels if label in others]


def _arranged(x: Number, labels: list[str], groups: tuple[list[str], ...], sizes: dict[str, int]) -> Number:
    """x with its axes in the order of three groups, each group merged into one axis."""
    order = [labels.index(label) for group in groups for label in group]
    full = [sizes[label] for group in groups for label in group]
    shape = [prod(sizes[label] for label in group) for group in groups]
    return x.move(lambda m: np.broadcast_to(m.transpose(order), full).reshape(shape))
