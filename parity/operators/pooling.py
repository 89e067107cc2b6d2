"""Pooling: the maximum, the mean or the p-norm of the values in a window.

A window that sticks out of the input (padding, `ceil_mode`) sees only the values inside. A mean is divided by
their number. With `count_include_pad` the padding counts too, but never the places beyond the padding, which
a window may reach with `ceil_mode`.
"""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial, reduce
from math import gcd, prod
from typing import ClassVar

import numpy as np

from parity.arithmetic import Array, Bounded, Integers, Looped, Number
from parity.errors import Unjudged
from parity.operators.operator import Inputs, Operator, Points, register, unsure_of
from parity.operators.powers import powers, root
from parity.operators.windows import LARGEST, Window, window


@dataclass(frozen=True)
class Seen:
    """What windows see of a map: three arrays (K, ...), for each of a window's K values and each window.

    Attributes:
        places: indices in the flattened map; for a value outside, that of a value inside in the same window.
        inside: false where the window sticks out of the map.
        counted: true in the map and its padding, false beyond.
    """

    places: Array
    inside: Array
    counted: Array

    def count(self, padding: bool) -> Array:
        """How many values of each window lie in the map; with `padding`, in the map or its padding."""
        return (self.counted if padding else self.inside).sum(axis=0)


def seen(sliding: Window, shape: tuple[int, ...], positions: Points) -> Seen:
    """What windows see of a map of this shape.

    Args:
        sliding: the window.
        shape: the size of each spatial axis: (H, W), say.
        positions: those of the windows on each axis: arrays that broadcast against one another.

    Raises:
        Unjudged: a window sees nothing of the map.
    """
    d = len(shape)
    places: list[Array] = []
    inside: list[Array] = []
    counted: list[Array] = []
    for axis, (position, size) in enumerate(zip(positions, shape, strict=True)):
        taps = np.arange(sliding.kernel[axis]) * sliding.dilations[axis] - sliding.before[axis]
        taps = taps.reshape(*(-1 if k == axis else 1 for k in range(d)), *(1,) * position.ndim)
        place = position * sliding.strides[axis] + taps
        there = (place >= 0) & (place < size)
        if not there.any(axis=axis).all():
            raise Unjudged("a pooling window that sees padding alone")
        first = np.where(there, place, size).min(axis=axis, keepdims=True)
        last = np.where(there, place, -1).max(axis=axis, keepdims=True)
        places.append(place.clip(first, last) * prod(shape[axis + 1 :]))
        inside.append(there)
        counted.append((place >= -sliding.before[axis]) & (place < size + sliding.after[axis]))
    flat = (prod(sliding.kernel), *np.broadcast_shapes(*(one.shape for one in positions)))
    return Seen(
        *(
            np.broadcast_to(reduce(operation, parts), (*sliding.kernel, *flat[1:])).reshape(flat)
            for operation, parts in ((np.add, places), (np.logical_and, inside), (np.logical_and, counted))
        )
    )


def _maps(a: Array) -> Array:
    """(N, C, ...) with flattened maps."""
    return a.reshape(*a.shape[:2], -1)


def _windows(a: Array, seen: Seen) -> Array:
    """(N, C, K, ...): what windows see of (N, C, ...)."""
    return _maps(a).take(seen.places, axis=2)


@dataclass(frozen=True)
class _Pool(Operator):
    """The base class of pooling with a window."""

    auto_pad: str = "NOTSET"
    ceil_mode: int = 0
    dilations: tuple[int, ...] = ()
    kernel_shape: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()

    def window(self, x: Number) -> Window:
        """The window over this input."""
        return window(self.kernel_shape, self.strides, self.dilations, self.pads, self.auto_pad, x.shape[2:])

    def positions(self, x: Number) -> tuple[int, ...]:
        """How many positions the window has on each axis. With `auto_pad`, `ceil_mode` changes nothing."""
        return self.window(x).out_shape(x.shape[2:], bool(self.ceil_mode) and self.auto_pad in ("NOTSET", ""))

    def terms(self, x: Number) -> int:
        return prod(self.kernel_shape)

    def evaluate(self, x: Number) -> Number | tuple[Number, ...]:
        return self._values(x)

    def _values(self, x: Number) -> Number:
        """The first output, computed in bands along the first spatial axis to limit the memory of windows."""
        sliding, d = self.window(x), x.ndim - 2
        if self.positions(x) == sliding.out_shape(x.shape[2:]) and not any(sliding.before + sliding.after):
            views = x.move(sliding.patches)  # no window sticks out: nothing is copied
            pooled = self._over(views, tuple(range(2 + d, 2 + 2 * d)))
            return pooled.reshape(*pooled.shape[: 2 + d])
        parts = [self._pooled(x.move(partial(_windows, seen=those)), those) for those in self._bands(x)]
        return parts[0].join(parts[1:], 2) if len(parts) > 1 else parts[0]

    def sample(self, points: Points, x: Number) -> Number:
        image, channel, *positions = points
        those = seen(self.window(x), x.shape[2:], tuple(positions))
        return self._pooled(x.move(lambda a: _maps(a)[image, channel, those.places]), those)

    def _bands(self, x: Number) -> Iterator[Seen]:
        sizes = self.positions(x)
        row = prod(x.shape[:2]) * self.terms(x) * prod(sizes[1:])
        rows = max(1, LARGEST // max(row, 1))
        for start in range(0, sizes[0], rows):
            stop = min(start + rows, sizes[0])
            grid = np.ix_(np.arange(start, stop), *map(np.arange, sizes[1:]))
            yield seen(self.window(x), x.shape[2:], grid)

    @abstractmethod
    def _over(self, values: Number, axes: tuple[int, ...]) -> Number:
        """One value for each window: `axes` hold the window's values, and stay with length 1."""

    @abstractmethod
    def _pooled(self, values: Number, seen: Seen) -> Number:
        """One value for each window.

        Args:
            values: (..., K, windows...), the values that the windows see.
            seen: (K, windows...), where these values lie.
        """


def _inner(values: Number, seen: Seen) -> tuple[Number, int]:
    """The values with zeros where windows stick out, and the axis over a window's K values."""
    if not seen.inside.all():
        values = values.move(lambda a: np.where(seen.inside, a, a.dtype.type(0)))
    return values, values.ndim - seen.inside.ndim


def _dropped(x: Number, axis: int) -> Number:
    return x.move(lambda a: a.squeeze(axis))


@register
@dataclass(frozen=True)
class MaxPool(_Pool):
    """The largest value of each window, and its index: of equal values, the first in row order."""

    TYPE: ClassVar[str] = "MaxPool"
    LOSES_NAN: ClassVar[bool] = True
    OWN: ClassVar[tuple[str, ...]] = ("indices",)

    storage_order: int = 0  # 1: the second output counts places down the columns
    indices: bool = False  # whether there is a second output

    def with_outputs(self, count: int) -> "MaxPool":
        return replace(self, indices=count > 1)

    def evaluate(self, x: Number) -> Number | tuple[Number, ...]:
        return (self._values(x), self._indices(x)) if self.indices else self._values(x)

    def _over(self, values: Number, axes: tuple[int, ...]) -> Number:
        y = values.max(axes)
        if y.comparable.min(initial=0) > -np.inf:
            return y
        return unsure_of(np.isneginf(y.comparable), y)  # some libraries start from the lowest finite number

    def _pooled(self, values: Number, seen: Seen) -> Number:
        axis = values.ndim - seen.inside.ndim
        return _dropped(self._over(values, (axis,)), axis)

    def _indices(self, x: Number) -> Number:
        """The index of each window's largest value in the flattened tensor.

        Its error is the distance to the farthest value that may be the largest, too.
        """
        maps = np.arange(prod(x.shape[:2])).reshape(*x.shape[:2], *(1,) * (x.ndim - 2)) * prod(x.shape[2:])
        parts, errors = [], []
        for those in self._bands(x):
            places = self._numbered(those.places, x.shape[2:])
            winner = _winner(_windows(x.comparable, those), those)
            place = np.take_along_axis(places[None, None], winner[:, :, None], axis=2)[:, :, 0]
            parts.append(maps + place)
            if isinstance(x, Bounded) and x.error is not None:
                apart = np.abs(places - place[:, :, None])
                errors.append(np.where(_possible(x, those), apart, 0).max(axis=2).astype(np.float64))
        indices = np.concatenate(parts, axis=2)
        if isinstance(x, Bounded):
            return Bounded(indices, np.concatenate(errors, axis=2) if errors else None, x.format)
        if isinstance(x, Looped):
            return replace(x, value=indices)
        return Integers(indices, 0)

    def _numbered(self, places: Array, shape: tuple[int, ...]) -> Array:
        """Places counted in the order that `storage_order` asks for."""
        if not self.storage_order:
            return places
        return np.ravel_multi_index(np.unravel_index(places, shape), shape, order="F")

    def gradient(self, which: int, inputs: Inputs, output: Number, cotangent: Number) -> Number:
        """Each window's cotangent goes to its largest value: of equal values, to the first in row order.

        If the input has errors, the largest computed value is taken; this method does not check whether
        another value may be the largest.
        """
        (x,) = inputs
        assert x is not None
        those = _all_seen(self, x)
        winner = _winner(_windows(x.comparable, those), those)
        place = np.take_along_axis(those.places[None, None], winner[:, :, None], axis=2)[:, :, 0]
        image, channel = np.ogrid[: x.shape[0], : x.shape[1]]
        image, channel = (one.reshape(*one.shape, *(1,) * (x.ndim - 2)) for one in (image, channel))
        parts = []
        for taps in apart(self.window(x)):
            chosen = np.isin(winner, taps)

            def send(d: Array, chosen: Array = chosen) -> Array:
                back = np.zeros((*x.shape[:2], prod(x.shape[2:])), d.dtype)
                where = (np.broadcast_to(one, chosen.shape)[chosen] for one in (image, channel, place))
                back[tuple(where)] = d[chosen]
                return back.reshape(x.shape)

            parts.append(cotangent.move(send))
        return _added(parts)


def _winner(values: Array, seen: Seen) -> Array:
    """(N, C, windows...): which of the K values (N, C, K, windows...) is the first largest value inside."""
    largest = (values == values.max(axis=2, keepdims=True)) | np.isnan(values)
    return (largest & seen.inside).argmax(axis=2)


def _possible(x: Bounded, seen: Seen) -> Array:
    """Which of the K values may be the largest, given their errors."""
    value, error = (_windows(one, seen) for one in (x.value, x.bound))
    with np.errstate(invalid="ignore"):
        lowest = (value - error).max(axis=2, keepdims=True)
        return seen.inside & ~(value + error < lowest)


def _all_seen(pool: _Pool, x: Number) -> Seen:
    return seen(pool.window(x), x.shape[2:], np.ix_(*map(np.arange, pool.positions(x))))


def apart(sliding: Window) -> list[Array]:
    """The numbers of a window's K values, in groups within which no two windows have a place in common.

    Value i of a window and value k of another can lie in the same place only if (i − k)·dilation is a
    multiple of the stride, so only if i − k is a multiple of stride / gcd(stride, dilation).
    """
    steps = [s // gcd(s, e) for s, e in zip(sliding.strides, sliding.dilations, strict=True)]
    near = np.ix_(*(np.arange(k) // step for k, step in zip(sliding.kernel, steps, strict=True)))
    groups = np.ravel_multi_index(np.broadcast_arrays(*near), sliding.kernel).ravel()
    return [np.flatnonzero(groups == one) for one in np.unique(groups)]


def _added(parts: list[Number]) -> Number:
    """The sum of arrays of one shape, in any order."""
    if len(parts) == 1:
        return parts[0]
    first, *rest = (one.reshape(1, *one.shape) for one in parts)
    return _dropped(first.join(rest, 0).sum((0,)), 0)


@register
@dataclass(frozen=True)
class AveragePool(_Pool):
    """The mean of each window."""

    TYPE: ClassVar[str] = "AveragePool"

    count_include_pad: int = 0

    def _over(self, values: Number, axes: tuple[int, ...]) -> Number:
        return values.mean(axes)

    def _pooled(self, values: Number, seen: Seen) -> Number:
        values, axis = _inner(values, seen)
        return divided_each(_dropped(values.sum((axis,)), axis), seen.count(bool(self.count_include_pad)))

    def gradient(self, which: int, inputs: Inputs, output: Number, cotangent: Number) -> Number:
        """Each window's cotangent is divided by the number of its values and goes to all of them."""
        (x,) = inputs
        assert x is not None
        those = _all_seen(self, x)
        share = divided_each(cotangent, those.count(bool(self.count_include_pad)))
        parts = []
        for taps in apart(self.window(x)):

            def send(d: Array, taps: Array = taps) -> Array:
                back = np.zeros((*x.shape[:2], prod(x.shape[2:])), d.dtype)
                for tap in taps:
                    there = those.inside[tap]
                    back[:, :, those.places[tap][there]] = d[:, :, there]
                return back.reshape(x.shape)

            parts.append(share.move(send))
        return _added(parts)


def _where(a: Array, chosen: Array) -> Array:
    return a[chosen]


def divided_each(x: Number, count: Array) -> Number:
    """Each value divided by its own positive integer; `count` broadcasts to x."""
    several = np.unique(count)
    if len(several) == 1:
        return x.divided(int(several[0]))
    own = np.broadcast_to(count, x.shape).ravel()
    order = np.argsort(own, kind="stable")
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    flat = x.reshape(-1)
    first, *rest = (flat.move(partial(_where, chosen=own == n)).divided(int(n)) for n in several)
    return first.join(rest, 0).move(lambda a: a[back]).reshape(*x.shape)


@register
@dataclass(frozen=True)
class LpPool(_Pool):
    """The p-norm of each window: (Σ|x|^p)^(1/p).

    PyTorch takes the mean of the powers and multiplies it by the size of the window, which rounds more often.
    This formula does the same.
    """

    TYPE: ClassVar[str] = "LpPool"

    p: int = 2

    def _over(self, values: Number, axes: tuple[int, ...]) -> Number:
        k = prod(self.kernel_shape)
        return root(powers(values, self.p).sum(axes).divided(k) * float(k), self.p)

    def _pooled(self, values: Number, seen: Seen) -> Number:
        values, axis = _inner(values, seen)
        return _dropped(self._over(values, (axis,)), axis)
