"""Sums of products: convolutions and matrix products.

y = Wx + b. The bound of each value is γ_{n+1} (|W||x| + |b|) for n products, see `parity.arithmetic.bounded`.
"""

from dataclasses import dataclass
from functools import partial
from math import ceil, gcd, prod
from typing import Any, ClassVar

import numpy as np

from parity.arithmetic import Array, Number
from parity.errors import Unjudged
from parity.operators.operator import Inputs, Operator, Points, at, grid_points, register, summed_to
from parity.operators.sums import sums_at
from parity.operators.windows import LARGEST, Window, window


@register
@dataclass(frozen=True)
class Conv(Operator):
    """Cross-correlation of x (N, C, ...) with W (O, C/group, kernel...), plus b (O,); 1 to 3 dimensions."""

    TYPE: ClassVar[str] = "Conv"

    auto_pad: str = "NOTSET"
    dilations: tuple[int, ...] = ()
    group: int = 1
    kernel_shape: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()

    def window(self, x: Number, w: Number) -> Window:
        """The kernel as a window that slides over this input."""
        return window(w.shape[2:], self.strides, self.dilations, self.pads, self.auto_pad, x.shape[2:])

    def terms(self, x: Number, w: Number, b: Number | None = None) -> int:
        return prod(w.shape[1:])

    def products(self, x: Number, w: Number) -> int:
        """The largest number of products in one sum that are not zero by construction."""
        return prod(w.shape[1:])

    def evaluate(self, x: Number, w: Number, b: Number | None = None) -> Number:
        sliding = self.window(x, w)
        padded = x.wide().move(sliding.pad)
        positions = sliding.out_shape(x.shape[2:])
        # One band of positions along the first spatial axis is computed at a time: its patches stay small.
        row = x.shape[0] * self.group * self.terms(x, w) * prod(positions[1:])
        rows = max(1, LARGEST // max(row, 1))
        weights = w.wide().reshape(1, self.group, w.shape[0] // self.group, -1)
        bias = None if b is None else b.reshape(1, self.group, -1, 1)
        bands = []
        for start in range(0, positions[0], rows):
            stop = min(start + rows, positions[0])
            band = padded.move(partial(_band, sliding=sliding, start=start, stop=stop))
            columns = band.move(partial(_columns, sliding=sliding, group=self.group))
            y = weights.dot(columns, bias, self.products(x, w))
            bands.append(y.reshape(x.shape[0], w.shape[0], stop - start, *positions[1:]))
        return bands[0].join(bands[1:], 2) if len(bands) > 1 else bands[0]

    def gathered(self, *inputs: Any) -> int:
        return 1  # `sums_at` copies only a few rows and columns at a time

    def sample(self, points: Points, x: Number, w: Number, b: Number | None = None) -> Number:
        image, unit, *places = points
        sliding, channels = self.window(x, w), w.shape[1]
        grid = (x.shape[0], self.group, *sliding.out_shape(x.shape[2:]))
        windows = np.ravel_multi_index((image, unit // (w.shape[0] // self.group), *places), grid)

        def patches(keys: Array) -> Number:
            images, groups, *positions = np.unravel_index(keys, grid)
            taps, inside = sliding.taps(tuple(positions), x.shape[2:])
            lanes = groups[:, None] * channels + np.arange(channels)
            apart = (1,) * len(positions)
            index = (images.reshape(-1, 1, *apart), lanes.reshape(*lanes.shape, *apart))

            def gather(a: Array) -> Array:
                seen = a[(*index, *(tap[:, None] for tap in taps))]
                return np.where(inside[:, None], seen, a.dtype.type(0)).reshape(len(keys), -1)

            return x.move(gather)

        def filters(keys: Array) -> Number:
            return w.move(lambda a: a[keys].reshape(len(keys), -1).T)

        def bias(rows: Array, columns: Array) -> Number:
            assert b is not None
            return b.move(lambda a: a[columns])

        several = self.products(x, w)
        return sums_at(windows, unit, patches, filters, None if b is None else bias, several)

    def few_points(self, rng: np.random.Generator, shape: tuple[int, ...], count: int) -> Points:
        return grid_points(rng, shape, count, 1)

    def offset(self, points: Points, x: Number, w: Number, b: Number | None = None) -> Number | None:
        return None if b is None else b.move(lambda a: a[points[1]])

    def gradient(self, which: int, inputs: Inputs, output: Number, cotangent: Number) -> Number:
        x, w, *_ = inputs
        assert x is not None
        assert w is not None
        if which == 0:
            return ConvTranspose.undoing(self, x, w).evaluate(cotangent, w)
        if which == 2:
            return cotangent.sum((0, *range(2, cotangent.ndim))).reshape(-1)
        sliding = self.window(x, w)
        # Sum over the batch and all positions at once: (G, O/G, N·P) · (G, N·P, n)
        spread = cotangent.reshape(x.shape[0], self.group, w.shape[0] // self.group, -1)
        rows = spread.move(lambda a: a.transpose(1, 2, 0, 3).reshape(a.shape[1], a.shape[2], -1))
        columns = x.wide().move(lambda a: _columns(sliding.pad(a), sliding, self.group))
        seen = columns.move(lambda a: a.transpose(1, 0, 3, 2).reshape(a.shape[1], -1, a.shape[2]))
        return rows.dot(seen).reshape(*w.shape)


def _band(padded: Array, sliding: Window, start: int, stop: int) -> Array:
    """The part of a padded input that windows `start` to `stop` of the first spatial axis see."""
    stride = sliding.strides[0]
    return padded[:, :, start * stride : (stop - 1) * stride + sliding.reach[0]]


def _columns(padded: Array, sliding: Window, group: int) -> Array:
    """Patches as columns: (N, group, terms, positions)."""
    patches = sliding.patches(padded)
    d = len(sliding.kernel)
    patches = patches.transpose(
        0, 1, *range(2 + d, 2 + 2 * d), *range(2, 2 + d)
    )  # (N, C, kernel..., positions...)
    terms = patches.shape[1] // group * prod(sliding.kernel)
    return patches.reshape(len(padded), group, terms, prod(patches.shape[2 + d :]))


@dataclass(frozen=True)
class _Spread(Conv):
    """A convolution of an input with one value every `spacing` places on each axis, and zeros in between."""

    spacing: tuple[int, ...] = ()

    def products(self, x: Number, w: Number) -> int:
        steps = zip(w.shape[2:], self.spacing, self.dilations, strict=True)
        return w.shape[1] * prod(ceil(k / (s // gcd(s, d))) for k, s, d in steps)


@register
@dataclass(frozen=True)
class ConvTranspose(Operator):
    """The transpose of a convolution: x (N, C, ...), W (C, O/group, kernel...), b (O,).

    It is computed as a convolution of x, with stride − 1 zeros between its values, and the turned kernel.
    """

    TYPE: ClassVar[str] = "ConvTranspose"
    LOSES_NAN: ClassVar[bool] = True

    auto_pad: str = "NOTSET"
    dilations: tuple[int, ...] = ()
    group: int = 1
    kernel_shape: tuple[int, ...] = ()
    output_padding: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()

    @classmethod
    def undoing(cls, conv: Conv, x: Number, w: Number) -> "ConvTranspose":
        """The operator that computes the cotangent of a convolution's input from that of its output."""
        sliding = conv.window(x, w)
        return cls(
            dilations=conv.dilations,
            group=conv.group,
            output_shape=x.shape[2:],
            pads=(*sliding.before, *sliding.after),
            strides=conv.strides,
        )

    def terms(self, x: Number, w: Number, b: Number | None = None) -> int:
        return w.shape[0] // self.group * prod(w.shape[2:])

    def evaluate(self, x: Number, w: Number, b: Number | None = None) -> Number:
        spread, turned, inner = self._as_convolution(x, w)
        return inner.evaluate(spread, turned, b)

    def sample(self, points: Points, x: Number, w: Number, b: Number | None = None) -> Number:
        spread, turned, inner = self._as_convolution(x, w)
        return inner.sample(points, spread, turned, b)

    def few_points(self, rng: np.random.Generator, shape: tuple[int, ...], count: int) -> Points:
        return grid_points(rng, shape, count, 1)

    def offset(self, points: Points, x: Number, w: Number, b: Number | None = None) -> Number | None:
        return None if b is None else b.move(lambda a: a[points[1]])

    def _as_convolution(self, x: Number, w: Number) -> tuple[Number, Number, _Spread]:
        d = x.ndim - 2
        strides, dilations = self.strides or (1,) * d, self.dilations or (1,) * d
        reach = tuple((k - 1) * e + 1 for k, e in zip(w.shape[2:], dilations, strict=True))
        begin, length = self.place(x.shape[2:], reach, strides)
        spread_size = tuple(
            (size - 1) * stride + 1 for size, stride in zip(x.shape[2:], strides, strict=True)
        )

        def spread(a: Array) -> Array:
            """Put zeros between and around the values, or cut some off, so that each output has a window."""
            wide = np.zeros((*a.shape[:2], *spread_size), a.dtype)
            wide[(slice(None), slice(None), *(slice(None, None, stride) for stride in strides))] = a
            for axis in range(d):
                before = reach[axis] - 1 - begin[axis]
                after = length[axis] + reach[axis] - 1 - before - wide.shape[2 + axis]
                widths = [(0, 0)] * wide.ndim
                widths[2 + axis] = (max(before, 0), max(after, 0))
                wide = np.pad(wide, widths)
                stop = wide.shape[2 + axis] + min(after, 0)
                wide = wide[(slice(None),) * (2 + axis) + (slice(max(-before, 0), stop),)]
            return wide

        def turn(a: Array) -> Array:
            """(C, O/group, ...) to (O, C/group, ...), with the kernel turned by 180 degrees."""
            a = a[(slice(None), slice(None), *(slice(None, None, -1),) * d)]
            grouped = a.reshape(self.group, a.shape[0] // self.group, *a.shape[1:]).swapaxes(1, 2)
            return grouped.reshape(-1, *grouped.shape[2:])

        inner = _Spread(dilations=dilations, group=self.group, spacing=strides)
        return x.move(spread), w.move(turn), inner

    def place(
        self, shape: tuple[int, ...], reach: tuple[int, ...], strides: tuple[int, ...]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Where the wanted part of the full output begins, and how long it is, on each axis."""
        d = len(shape)
        extra = self.output_padding or (0,) * d
        full = [(size - 1) * stride + span for size, stride, span in zip(shape, strides, reach, strict=True)]
        if not self.output_shape and self.auto_pad in ("NOTSET", "", "VALID"):
            pads = self.pads or (0,) * (2 * d)
            lengths = [full[k] + extra[k] - pads[k] - pads[k + d] for k in range(d)]
            return pads[:d], tuple(lengths)
        wanted = self.output_shape[-d:] or tuple(
            size * stride for size, stride in zip(shape, strides, strict=True)
        )
        if self.pads and any(self.pads) and self.auto_pad in ("NOTSET", ""):
            return self.pads[:d], tuple(wanted)
        totals = [max(full[k] + extra[k] - wanted[k], 0) for k in range(d)]
        upper = self.auto_pad == "SAME_UPPER"
        begins = tuple(total // 2 if upper else total - total // 2 for total in totals)
        return begins, tuple(wanted)


@register
@dataclass(frozen=True)
class Gemm(Operator):
    """The dense layer: alpha · A·B + beta · C, where transA and transB transpose A and B."""

    TYPE: ClassVar[str] = "Gemm"

    alpha: float = 1.0
    beta: float = 1.0
    transA: int = 0
    transB: int = 0

    @classmethod
    def read(cls, attributes: Any, opset: int) -> "Gemm":
        return super().read({k: v for k, v in attributes.items() if k != "broadcast"}, opset)

    def terms(self, a: Number, b: Number, c: Number | None = None) -> int:
        return a.shape[0] if self.transA else a.shape[1]

    def evaluate(self, a: Number, b: Number, c: Number | None = None) -> Number:
        return self._product(
            a.transpose(1, 0) if self.transA else a, b.transpose(1, 0) if self.transB else b, c
        )

    def gathered(self, *inputs: Any) -> int:
        return 1  # `sums_at` copies only a few rows and columns at a time

    def sample(self, points: Points, a: Number, b: Number, c: Number | None = None) -> Number:
        def rows(keys: Array) -> Number:
            return a.move(lambda m: m[:, keys].T if self.transA else m[keys])

        def columns(keys: Array) -> Number:
            return b.move(lambda m: m[keys].T if self.transB else m.take(keys, axis=1))

        def bias(row: Array, column: Array) -> Number:
            assert c is not None
            sizes = (a.shape[self.transA], b.shape[1 - self.transB])
            return at(c.reshape(*(1,) * (2 - c.ndim), *c.shape), sizes, (row, column))

        row_of, column_of = points
        if self.alpha == 1 and self.beta == 1:
            return sums_at(row_of, column_of, rows, columns, None if c is None else bias)
        product = sums_at(row_of, column_of, rows, columns) * self.alpha
        return product if c is None else product + bias(row_of, column_of) * self.beta

    def few_points(self, rng: np.random.Generator, shape: tuple[int, ...], count: int) -> Points:
        return grid_points(rng, shape, count, 1)

    def offset(self, points: Points, a: Number, b: Number, c: Number | None = None) -> Number | None:
        rows, columns = a.shape[self.transA], b.shape[1 - self.transB]
        return None if c is None else at(c, (rows, columns), points) * self.beta

    def _product(self, a: Number, b: Number, c: Number | None) -> Number:
        if self.alpha == 1 and self.beta == 1:
            return a.dot(b, c)
        product = a.dot(b) * self.alpha
        return product if c is None else product + c * self.beta

    def gradient(self, which: int, inputs: Inputs, output: Number, cotangent: Number) -> Number:
        a, b, *c = inputs
        assert a is not None
        assert b is not None
        if (self.alpha, self.beta, self.transA) != (1, 1, 0):
            raise Unjudged("the backward pass of a Gemm with alpha, beta or transA")
        if which == 0:
            return cotangent.dot(b if self.transB else b.transpose(1, 0))
        if which == 1:
            turned = cotangent.transpose(1, 0)
            return turned.dot(a) if self.transB else a.transpose(1, 0).dot(cotangent)
        bias = c[0]
        assert bias is not None
        return summed_to(cotangent, bias.shape)


@register
@dataclass(frozen=True)
class MatMul(Operator):
    """A·B as in numpy.matmul."""

    TYPE: ClassVar[str] = "MatMul"

    def terms(self, a: Number, b: Number) -> int:
        return a.shape[-1]

    def evaluate(self, a: Number, b: Number) -> Number:
        y = _matrix(a, 0).dot(_matrix(b, 1))
        dropped = tuple(axis for axis, x in ((-2, a), (-1, b)) if x.ndim == 1)
        return y.move(lambda m: m.squeeze(dropped)) if dropped else y

    def gathered(self, *inputs: Any) -> int:
        return 1  # `sums_at` copies only a few rows and columns at a time

    def sample(self, points: Points, a: Number, b: Number) -> Number:
        *batch, row, column = self._points(points, a, b)
        left, right = _matrix(a, 0), _matrix(b, 1)
        above = left.shape[:-1]
        beside = (*right.shape[:-2], right.shape[-1])
        row = np.ravel_multi_index((*_within(batch, left), row), above)
        column = np.ravel_multi_index((*_within(batch, right), column), beside)

        def rows(keys: Array) -> Number:
            return left.move(lambda m: m[np.unravel_index(keys, above)])

        def columns(keys: Array) -> Number:
            if right.ndim == 2:
                return right.move(lambda m: m.take(keys, axis=1))
            return right.move(lambda m: m.swapaxes(-1, -2)[np.unravel_index(keys, beside)].T)

        return sums_at(row, column, rows, columns)

    def few_points(self, rng: np.random.Generator, shape: tuple[int, ...], count: int) -> Points:
        return grid_points(rng, shape, count, len(shape) - 1)

    def _points(self, points: Points, a: Number, b: Number) -> Points:
        """The points with an index added for each axis that a vector operand lacks."""
        none = np.zeros(len(points[0]) if points else 1, np.int64)
        row = () if a.ndim > 1 else (none,)
        column = () if b.ndim > 1 else (none,)
        inner = points if b.ndim > 1 else (*points, *column)
        return (*inner[:-1], *row, inner[-1]) if row else inner


def _matrix(x: Number, axis: int) -> Number:
    """A vector made into a row (axis 0) or a column (axis 1); other arrays stay as they are."""
    return x.move(lambda m: np.expand_dims(m, axis)) if x.ndim == 1 else x


def _within(batch: list[Array], m: Number) -> list[Array]:
    """Indices on the batch axes of this operand; 0 on axes along which it is broadcast."""
    own = batch[len(batch) - (m.ndim - 2) :]
    return [0 * axis if size == 1 else axis for axis, size in zip(own, m.shape, strict=False)]
