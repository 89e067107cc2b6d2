"""Values picked by position: gathered, scattered, padded, reversed, masked.

Most operators here compute an array of positions in one list: a zero, and then all values of the inputs.
So one line serves every arithmetic, and a zero that is filled in has no error.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from parity.arithmetic import Array, Number
from parity.errors import Unjudged
from parity.operators.cast import exactly, type_of
from parity.operators.operator import Operator, Points, plain_values, register
from parity.operators.shape import axes_of

LARGEST = 2**26  # number of values that a scatter may copy to reduce them


def numbered(x: Number, first: int = 1) -> Array:
    """The position of each value of x in the list, in the shape of x; by default x is the first input."""
    return np.arange(first, first + x.size).reshape(x.shape)


def picked(positions: Array, *parts: Number) -> Number:
    """The values at these positions in the list of a zero and all values of the parts."""
    zero = parts[0].move(lambda a: np.zeros(1, a.dtype))
    return zero.join([part.reshape(-1) for part in parts], 0).move(lambda a: a[positions])


@register
@dataclass(frozen=True)
class Gather(Operator):
    """Whole slices of x by their indices along an axis."""

    TYPE: ClassVar[str] = "Gather"

    axis: int = 0

    def evaluate(self, x: Number, indices: Number) -> Number:
        wanted = plain_values(indices, "an index")
        return x.move(lambda a: np.take(a, wanted, self.axis))

    def sample(self, points: Points, x: Number, indices: Number) -> Number:
        wanted, axis = plain_values(indices, "an index"), normalize_axis_index(self.axis, x.ndim)
        chosen = points[axis : axis + wanted.ndim]
        rows = wanted[chosen] if chosen else np.broadcast_to(wanted, points[0].shape)
        inside = (*points[:axis], rows, *points[axis + wanted.ndim :])
        return x.move(lambda a: a[inside])


@register
@dataclass(frozen=True)
class GatherElements(Operator):
    """Single values of x by their indices along one axis; on the other axes, an index's own place counts."""

    TYPE: ClassVar[str] = "GatherElements"

    axis: int = 0

    def evaluate(self, x: Number, indices: Number) -> Number:
        places = _along(plain_values(indices, "an index"), self.axis)
        return x.move(lambda a: a[places])


def _along(indices: Array, axis: int) -> tuple[Array, ...]:
    """Each index together with its own place on the other axes."""
    grid = list(np.ogrid[tuple(slice(n) for n in indices.shape)])
    grid[axis] = indices
    return tuple(grid)


@register
@dataclass(frozen=True)
class GatherND(Operator):
    """Slices of x by tuples of indices, which are the last axis of the second input."""

    TYPE: ClassVar[str] = "GatherND"

    batch_dims: int = 0

    def evaluate(self, x: Number, indices: Number) -> Number:
        wanted = plain_values(indices, "an index")
        batch = np.ogrid[tuple(slice(n) for n in wanted.shape[: self.batch_dims])]
        more = (1,) * (wanted.ndim - 1 - self.batch_dims)
        places = (*(one.reshape(*one.shape, *more) for one in batch), *np.moveaxis(wanted, -1, 0))
        return x.move(lambda a: a[places])


class _Scatter(Operator):
    """Values of x replaced by updates, or reduced with them: a sum of m updates and x rounds m times."""

    reduction: str

    def place(self, x: Number, updates: Number, targets: Array) -> Number:
        """x with the updates; `targets` says which value of x, counted from 0, each update goes to."""
        if self.reduction not in ("none", "add", "mul", "max", "min"):
            raise Unjudged(f"{self.TYPE} with reduction {self.reduction}")
        flat = targets.reshape(-1)
        positions = np.arange(1, x.size + 1)
        if self.reduction == "none":
            if len(np.unique(flat)) < len(flat):
                raise Unjudged(f"{self.TYPE} with two updates of one value, whose order is left open")
            positions[flat] = np.arange(x.size + 1, x.size + 1 + len(flat))
            return picked(positions.reshape(x.shape), x, updates)
        order = np.argsort(flat, kind="stable")
        touched, starts, counts = np.unique(flat[order], return_index=True, return_counts=True)
        reduced: list[Number] = []
        for count in np.unique(counts):  # places with equally many updates at once: (count + 1, places)
            mine = counts == count
            if (count + 1) * mine.sum() > LARGEST:
                raise Unjudged(f"{self.TYPE} with too many updates of one value")
            own = order[starts[mine] + np.arange(count)[:, None]] + x.size + 1
            terms = picked(np.concatenate([touched[mine][None] + 1, own]), x, updates)
            positions[touched[mine]] = np.arange(mine.sum()) + x.size + 1 + sum(one.size for one in reduced)
            reduced.append(self._reduce(terms).reshape(-1))
        return picked(positions.reshape(x.shape), x, *reduced)

    def _reduce(self, terms: Number) -> Number:
        reductions: dict[str, Callable[[tuple[int, ...]], Number]] = {
            "add": terms.sum,
            "mul": terms.prod,
            "max": terms.max,
            "min": terms.min,
        }
        return reductions[self.reduction]((0,))


@register
@dataclass(frozen=True)
class ScatterElements(_Scatter):
    """Single values of x replaced by updates, at indices along an axis."""

    TYPE: ClassVar[str] = "ScatterElements"
    LOSES_NAN: ClassVar[bool] = True

    axis: int = 0
    reduction: str = "none"

    def evaluate(self, x: Number, indices: Number, updates: Number) -> Number:
        places = _along(plain_values(indices, "an index"), self.axis)
        return self.place(x, updates, numbered(x, 0)[places])


@register
@dataclass(frozen=True)
class Scatter(ScatterElements):
    """ScatterElements as it was called before opset 11."""

    TYPE: ClassVar[str] = "Scatter"


@register
@dataclass(frozen=True)
class ScatterND(_Scatter):
    """Slices of x replaced by updates, at tuples of indices, which are the last axis of the second input."""

    TYPE: ClassVar[str] = "ScatterND"
    LOSES_NAN: ClassVar[bool] = True

    reduction: str = "none"

    def evaluate(self, x: Number, indices: Number, updates: Number) -> Number:
        places = tuple(np.moveaxis(plain_values(indices, "an index"), -1, 0))
        return self.place(x, updates, numbered(x, 0)[places])


@register
@dataclass(frozen=True)
class Pad(Operator):
    """x with borders of constant, reflected, repeated or wrapped values; a negative width cuts values off."""

    TYPE: ClassVar[str] = "Pad"

    mode: str = "constant"
    pads: tuple[int, ...] = ()  # attributes before opset 11, inputs since
    value: float = 0.0

    def evaluate(
        self,
        x: Number,
        pads: Number | None = None,
        constant: Number | None = None,
        axes: Number | None = None,
    ) -> Number:
        if self.mode not in ("constant", "reflect", "edge", "wrap", "symmetric"):  # the last is NumPy's
            raise Unjudged(f"Pad in mode {self.mode}")
        widths = self._widths(axes_of(pads, self.pads, "the widths of a Pad") or (), x.ndim, axes)
        cut = tuple(slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(widths, x.shape, strict=True))
        kept, more = numbered(x)[cut], [(max(a, 0), max(b, 0)) for a, b in widths]
        if self.mode != "constant":
            return picked(np.pad(kept, more, mode=self.mode), x)  # type: ignore[call-overload]
        if constant is None and self.value:
            constant = exactly(np.array([self.value], type_of(x)), x)
        if constant is None:
            return picked(np.pad(kept, more), x)
        return picked(np.pad(kept, more, constant_values=x.size + 1), x, constant)

    def _widths(self, pads: Sequence[int], ndim: int, axes: Number | None) -> list[tuple[int, int]]:
        """The widths before and after x, for each axis."""
        padded = axes_of(axes, tuple(range(ndim)), "axes") or ()
        widths = [(0, 0)] * ndim
        for k, axis in enumerate(padded):
            widths[axis] = pads[k], pads[k + len(padded)]
        return widths


@register
@dataclass(frozen=True)
class CenterCropPad(Operator):
    """x cut, or padded with zeros, to given lengths; its middle stays in the middle."""

    TYPE: ClassVar[str] = "CenterCropPad"

    axes: tuple[int, ...] | None = None

    def evaluate(self, x: Number, shape: Number) -> Number:
        positions = numbered(x)
        wanted = plain_values(shape, "a shape")
        for axis, length in zip(self.axes or range(x.ndim), wanted, strict=True):
            more = int(length) - positions.shape[axis]
            widths = [(0, 0)] * x.ndim
            widths[axis] = (max(more, 0) // 2, max(more, 0) - max(more, 0) // 2)
            start = max(-more, 0) // 2
            middle = np.arange(start, start + min(int(length), positions.shape[axis]))
            positions = np.pad(np.take(positions, middle, axis), widths)
        return picked(positions, x)


@register
@dataclass(frozen=True)
class ReverseSequence(Operator):
    """Each sequence reversed along the time axis, up to its length; later values stay in place."""

    TYPE: ClassVar[str] = "ReverseSequence"

    batch_axis: int = 1
    time_axis: int = 0

    def evaluate(self, x: Number, lengths: Number) -> Number:
        positions = np.moveaxis(numbered(x), (self.batch_axis, self.time_axis), (0, 1)).copy()
        for row, length in zip(positions, plain_values(lengths, "the length of a sequence"), strict=True):
            row[:length] = row[:length][::-1].copy()
        return picked(np.moveaxis(positions, (0, 1), (self.batch_axis, self.time_axis)), x)


@register
@dataclass(frozen=True)
class Trilu(Operator):
    """The upper or lower triangle of each matrix, from diagonal k on; zeros elsewhere."""

    TYPE: ClassVar[str] = "Trilu"

    upper: int = 1

    def evaluate(self, x: Number, k: Number | None = None) -> Number:
        diagonal = 0 if k is None else int(plain_values(k, "a diagonal").item())
        triangle = np.triu if self.upper else np.tril
        return picked(triangle(numbered(x), diagonal), x)


@register
@dataclass(frozen=True)
class Compress(Operator):
    """The values that a mask selects along an axis, or from all values."""

    TYPE: ClassVar[str] = "Compress"

    axis: int | None = None

    def evaluate(self, x: Number, condition: Number) -> Number:
        mask = plain_values(condition, "a mask")
        return x.move(lambda a: np.compress(mask, a, self.axis))


@register
@dataclass(frozen=True)
class OneHot(Operator):
    """A new axis, with the second of two values at the position of each index, and the first elsewhere."""

    TYPE: ClassVar[str] = "OneHot"

    axis: int = -1

    def evaluate(self, indices: Number, depth: Number, values: Number) -> Number:
        wanted, length = plain_values(indices, "an index"), int(plain_values(depth, "a depth").item())
        axis = normalize_axis_index(self.axis, wanted.ndim + 1)
        numbers = np.arange(length).reshape(-1, *(1,) * (wanted.ndim - axis))
        hot = np.expand_dims(np.where(wanted < 0, wanted + length, wanted), axis) == numbers
        return values.move(lambda a: a[hot.astype(np.int64)])
