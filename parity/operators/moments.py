"""What normalizations share: the moments of rows, and the ways in which libraries compute them.

A variance is computed as the mean of squared deviations, or as E[x²] − E[x]², which is less accurate by the
factor 1 + mean²/variance; Welford's updates lie between both, inside the bound of the first. The result is
then (x − mean)·s + b or x·s + (b − mean·s). Libraries use all of these, and each is a form of an operator. An
operator that is read from a file may be computed in any of these ways: its bound is the largest of theirs.
"""

from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import partial
from math import frexp, prod
from typing import Any, ClassVar

import numpy as np

from parity.arithmetic import Array, Bounded, Number
from parity.operators.functions import inverse_root
from parity.operators.operator import Operator, Points, at

LARGEST = 2**20  # number of values that are normalized at once
Moments = tuple[Number, ...]


@dataclass(frozen=True)
class Way:
    """How a variance and a standardized value are computed; None means in any way.

    Attributes:
        one_pass: whether the variance is computed as E[x²] − E[x]².
        shifted: whether the value is computed as x·s + (b − mean·s).
    """

    one_pass: bool | None = None
    shifted: bool | None = None

    def __str__(self) -> str:
        variance = "E[x²] − E[x]²" if self.one_pass else "the mean of squared deviations"
        return f"the variance is {variance}, the result {self.result}"

    @property
    def result(self) -> str:
        """The formula of the result."""
        return "x·s + (b − mean·s)" if self.shifted else "(x − mean)·s + b"


WAYS = (Way(False, False), Way(False, True), Way(True, False), Way(True, True))


def stated(x: Number, value: float) -> Number | float:
    """An attribute, in the arithmetic of x. A file holds it in float32, a framework perhaps in float64.

    A number with few digits (1, 0.75) is the same in every format; other numbers are rounded once.
    """
    mantissa, _ = frexp(value)
    if (mantissa * 2**8).is_integer():
        return value
    return x.move(lambda a: np.zeros((1,) * a.ndim)) + value


def either(one: Number, other: Number) -> Number:
    """A value that is computed in one of two ways: its bound holds for both. A plain loop takes the larger,
    since a variance that is a difference may be nothing but rounding."""
    if isinstance(one, Bounded) and isinstance(other, Bounded):
        return one.either(other)
    return one.maximum(other)


def variance(x: Number, mean: Number, axes: tuple[int, ...], one_pass: bool | None) -> Number:
    """The variance over these axes: the sum is divided by the number of values; never negative."""
    if one_pass is None:
        return either(variance(x, mean, axes, False), variance(x, mean, axes, True))
    if one_pass:
        return ((x * x).mean(axes) - mean * mean).maximum(0.0)
    apart = x - mean
    return (apart * apart).mean(axes)


def inverse_deviation(
    x: Number, mean: Number, axes: tuple[int, ...], epsilon: float, one_pass: bool | None
) -> Number:
    """1 / sqrt(variance + ε).

    It is at most 1 / sqrt(ε), except where the variance is computed as E[x²] − E[x]²: not all libraries clip
    this difference at zero, so any result is possible where the difference may be negative.
    """
    if one_pass is None:
        ways = (inverse_deviation(x, mean, axes, epsilon, way) for way in (False, True))
        return either(*ways)
    spread = variance(x, mean, axes, one_pass) + stated(x, epsilon)
    return spread.apply(inverse_root(0.0 if one_pass else epsilon))


def standardized(
    x: Number, mean: Number, factor: Number, bias: Number | None, shifted: bool | None
) -> Number:
    """(x − mean) · factor + bias."""
    if shifted is None:
        return either(standardized(x, mean, factor, bias, False), standardized(x, mean, factor, bias, True))
    if shifted:
        return x.affine(mean, factor, bias)
    y = (x - mean) * factor
    return y if bias is None else y + bias


@dataclass(frozen=True)
class Rowwise(Operator):
    """An operator that normalizes each value with the moments of its row: of all values over some axes.

    The axes are those of a view of the input. Scale and bias get a shape that broadcasts to this view.
    """

    def view(self, x: Number) -> tuple[int, ...]:
        """The input's shape, perhaps with an axis split in two."""
        return x.shape

    @abstractmethod
    def row_axes(self, x: Number) -> tuple[int, ...]:
        """Axes of the view that a row spans."""

    def spread(self, x: Number, parameter: Number) -> Number:
        """Scale or bias in a shape that broadcasts to the view."""
        return parameter

    @abstractmethod
    def moments(self, x: Number, axes: tuple[int, ...]) -> Moments:
        """The moments of each row: the axes stay, with length 1."""

    @abstractmethod
    def result(self, x: Number, moments: Moments, scale: Number | None, bias: Number | None) -> Number:
        """The first output."""

    def terms(self, x: Number, *_: Any) -> int:
        view = self.view(x)
        return prod(view[axis] for axis in self.row_axes(x))

    def shared(self, x: Number, *_: Any) -> int:
        return Rowwise.terms(self, x)

    def gathered(self, *inputs: Any) -> int:
        return 1  # a sample copies each row once, and only a few rows at a time

    def evaluate(self, *inputs: Any) -> Number | tuple[Number, ...]:
        return self.outputs(*inputs)[0]

    def outputs(
        self, x: Number, scale: Number | None = None, bias: Number | None = None
    ) -> tuple[Number, ...]:
        """The first output and all moments, in pieces along the longest axis that no row spans."""
        view, axes = self.view(x), self.row_axes(x)
        parameters = [None if one is None else self.spread(x, one) for one in (scale, bias)]
        arrays = [x.reshape(*view), *parameters]
        outer = [axis for axis in range(len(view)) if axis not in axes]
        if not outer:
            y, *moments = self._piece(axes, *arrays)
            return y.reshape(*x.shape), *moments
        along = max(outer, key=lambda axis: view[axis])
        step = max(1, LARGEST * view[along] // max(x.size, 1))
        pieces = [
            self._piece(axes, *(_cut(one, along, len(view), start, start + step) for one in arrays))
            for start in range(0, max(view[along], 1), step)
        ]
        y, *moments = (one[0].join(one[1:], along) for one in zip(*pieces, strict=True))
        return y.reshape(*x.shape), *moments

    def _piece(self, axes: tuple[int, ...], x: Any, scale: Any, bias: Any) -> tuple[Number, ...]:
        moments = self.moments(x, axes)
        return self.result(x, moments, scale, bias), *moments

    def sample(self, points: Points, *inputs: Any) -> Number:
        x, scale, bias = (*inputs, None, None)[:3]
        view = self.view(x)
        inner = np.unravel_index(np.ravel_multi_index(points, x.shape), view)
        scale, bias = (None if one is None else at(self.spread(x, one), view, inner) for one in (scale, bias))
        return self.result(x.move(lambda a: a[points]), self._moments_at(inner, x), scale, bias)

    def _moments_at(self, points: Points, x: Number) -> Moments:
        """(M,) each: the moments of the rows in which these points of the view lie."""
        view, axes = self.view(x), self.row_axes(x)
        outer = [axis for axis in range(len(view)) if axis not in axes]
        sizes = [view[axis] for axis in outer]
        length = Rowwise.terms(self, x)
        rows = np.ravel_multi_index([points[axis] for axis in outer], sizes) if outer else 0 * points[0]
        chosen, back = np.unique(rows, return_inverse=True)
        step = max(1, LARGEST // max(length, 1))
        pieces = []
        for start in range(0, len(chosen), step):
            index = np.unravel_index(chosen[start : start + step], sizes) if outer else (None,)
            lay_out = partial(_rows, view=view, order=(*outer, *axes), index=index, length=length)
            pieces.append(self.moments(x.move(lay_out), (1,)))
        joined = (one[0].join(one[1:], 0) for one in zip(*pieces, strict=True))
        return tuple(one.move(lambda a: a[back, 0]) for one in joined)


def _rows(a: Array, view: tuple[int, ...], order: tuple[int, ...], index: Any, length: int) -> Array:
    """(rows, length): the rows of an array's view at `index` on the first axes of `order`."""
    return a.reshape(view).transpose(order)[index].reshape(-1, length)


def _cut(x: Number | None, axis: int, ndim: int, start: int, stop: int) -> Number | None:
    """A part of x along an axis, which is counted in the shape that x broadcasts to, with `ndim` axes."""
    if x is None:
        return None
    own = axis - (ndim - x.ndim)
    if own < 0 or x.shape[own] == 1:
        return x
    return x.move(lambda a: a[(slice(None),) * own + (slice(start, stop),)])


@dataclass(frozen=True)
class Formed(Rowwise):
    """An operator that standardizes values in one of several ways.

    Attributes:
        form: which way; by default any.
    """

    OWN: ClassVar[tuple[str, ...]] = ("form",)

    form: Way = Way()

    def forms(self) -> tuple[Operator, ...]:
        return tuple(replace(self, form=way) for way in WAYS)

    @property
    def form_name(self) -> str:
        return str(self.form)

    def result(self, x: Number, moments: Moments, scale: Number | None, bias: Number | None) -> Number:
        mean, inverse = moments
        factor = inverse if scale is None else inverse * scale
        return standardized(x, mean, factor, bias, self.form.shifted)


@dataclass(frozen=True)
class Standardization(Formed):
    """(x − mean) / sqrt(variance + ε) · scale + bias."""

    epsilon: float = 1e-5

    def moments(self, x: Number, axes: tuple[int, ...]) -> Moments:
        mean = x.mean(axes)
        return mean, inverse_deviation(x, mean, axes, self.epsilon, self.form.one_pass)
