"""A first look at a mistake: float64 without bounds, at a few values, from the node on that makes it."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from parity.arithmetic import Array, Bounded, Looped, Number
from parity.arithmetic.floats import FLOAT64
from parity.arithmetic.number import Function, Move
from parity.errors import Unjudged
from parity.judging.causes.mistake import MISFITS
from parity.judging.causes.search.stretch import Stretch
from parity.judging.causes.search.wrong import Wrong
from parity.operators.operator import random_points

LOOKED_AT = 16  # values
# How far from the candidate's values a mistake may be that is evaluated with its bound: relative to the
# largest of them, in roundings of the candidate's format, and in bounds of the right operator.
NEAR, ROUNDINGS, BOUNDS = 1e-3, 64, 4
# Nodes behind which a tensor has the right shape though one before has not.
ANY_SIZE = ("Global", "Reduce", "Resize", "Upsample", "Reshape", "Flatten", "Slice", "Shape", "Gather")


# Nodes that choose a place by its rounding, which in float64 is another than in the candidate's format.
UNSURE = ("Resize", "Upsample", "GridSample", "Round", "Floor", "Ceil", "Cast", "QuantizeLinear")


@dataclass(frozen=True, eq=False)
class Fast(Looped):
    """Values in float64, added up in NumPy's order; NaN where implementations may return other values.

    A look takes thousands of these operations on few values each, so they do without what a loop needs:
    another format, warnings that are turned off, errors of functions.
    """

    def move(self, rearrange: Move) -> "Fast":
        return Fast(rearrange(self.value), FLOAT64)

    def either(self, other: Looped) -> "Fast":
        if self.value.dtype.kind != "f":
            return Fast(other.value, FLOAT64)
        return Fast(np.where(self.value == other.value, self.value, np.nan), FLOAT64)

    def dot(self, other: Looped, bias: Looped | None = None, products: int | None = None) -> "Fast":
        if self.value.dtype.kind in "biu":
            return Fast(super().dot(other, bias, products).value, FLOAT64)
        total = self._in_format(self.value) @ self._in_format(other.value)
        return Fast(total if bias is None else total + bias.value, FLOAT64)

    def sum(self, axes: tuple[int, ...]) -> "Fast":
        if self.value.dtype.kind in "biu":
            return Fast(super().sum(axes).value, FLOAT64)
        return Fast(self._computed().sum(axes, keepdims=True), FLOAT64)

    def apply(self, function: Function, *others: Looped | float) -> "Fast":
        scalars = self.value.dtype if self.value.dtype.kind in "iu" else np.float64
        rest = [one.value if isinstance(one, Looped) else np.asarray(one, scalars) for one in others]
        operands = [self._kept(x) if function.exact else self._in_format(x) for x in (self.value, *rest)]
        return Fast(function.f(*operands), FLOAT64)

    def _with(self, operation: np.ufunc, other: Looped | float) -> "Fast":
        own = self.value.dtype if self.value.dtype.kind in "iu" else None
        y = other.value if isinstance(other, Looped) else np.asarray(other, own)
        if self.value.dtype.kind in "biu" and y.dtype.kind in "biu":
            return Fast(operation(self.value, y), FLOAT64)
        return Fast(operation(self._in_format(self.value), self._in_format(y)), FLOAT64)

    def _in_format(self, x: Array) -> Array:
        return x.astype(np.float64, copy=False)

    def _made(self, value: Array) -> "Fast":
        return Fast(value, FLOAT64)


def fast(x: Bounded | None) -> Fast | None:
    """The values in this arithmetic."""
    if x is None:
        return None
    return Fast(x.value.astype(np.float64) if x.value.dtype.kind in "fV" else x.value, FLOAT64)


class Look:
    """Compares stretches with mistakes with a wrong tensor.

    Attributes:
        right: all tensors without a mistake, by name.
    """

    def __init__(self, wrong: Wrong) -> None:
        stretch = wrong.question.operator
        assert isinstance(stretch, Stretch)
        self.wrong, self.stretch = wrong, stretch
        self.right: Mapping[str, Number] = stretch.values([fast(x) for x in wrong.question.bounded])
        self.points = random_points(np.random.default_rng(1), wrong.found.shape, LOOKED_AT)
        self.sees = wrong.found.dtype.kind in "fV"
        self.seen = wrong.found[self.points].astype(np.float64) if self.sees else np.zeros(0)
        finite = self.seen[np.isfinite(self.seen)]
        largest = float(np.abs(finite).max(initial=0.0))
        self.allowed: Array | float = max(NEAR, ROUNDINGS * wrong.form.u) * largest
        if self.sees and not wrong.points and wrong.right.shape == wrong.found.shape:
            self.allowed = np.fmax(self.allowed, BOUNDS * wrong.right.bound[self.points])

    def is_near(self, stretch: Stretch, start: int, known: Mapping[str, Number] | None = None) -> bool:
        """Whether a few values are about the candidate's.

        Args:
            stretch: with a mistake.
            start: the node from which on it is evaluated.
            known: the tensors before that; by default those without a mistake.
        """
        if not self.sees or (known is None and any(node.type in UNSURE for node in stretch.nodes[start:])):
            return True
        values = self.right if known is None else known
        with suppress(Unjudged, *MISFITS):
            last = len(stretch.nodes) - 1
            if start < last:
                values = stretch.run(values, start, start + 1)
                if not self._may_fit(stretch, start, values):
                    return False
                start += 1
            result = stretch.sampled(self.points, values, start)
            assert isinstance(result, Looped)
            off = np.abs(result.value.astype(np.float64) - self.seen)
            open_ = np.isnan(result.value) | ~np.isfinite(self.seen)
            return bool(((off <= self.allowed) | open_).all())
        return False

    def _may_fit(self, stretch: Stretch, place: int, values: Mapping[str, Number]) -> bool:
        """Whether the shape that the mistake leaves can lead to the candidate's."""
        if self.wrong.report.misshapen:
            return True
        behind = stretch.nodes[place + 1 :]
        if any(node.type.startswith(ANY_SIZE) for node in behind):
            return True
        return all(
            values[name].shape == self.right[name].shape for name in stretch.nodes[place].outputs if name
        )
