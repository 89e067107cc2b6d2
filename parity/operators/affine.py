"""Sums of products: convolutions, matrix products, Einsum.

y = Wx + b. The bound of each value is γ_{n+1} (|W||x| + |b|) for n products, see `parity.arithmetic.bounded`.
"""

from dataclasses import dataclass
from functools import partial
from math import ceil, gcd, prod
from typing import Any, ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from parity.arithmetic import Array, Number
from parity.errors import Unjudged
from parity.operators.operator import Inputs, Operator, Points, register

LARGEST = 2**22  # values of a matrix of patches that are laid out at once


@dataclass(frozen=True)
class Window:
    """A window that slides over the spatial axes: its size, step, dilation, and padding before and after."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def reach(self) -> tuple[int, ...]:
        """How many values the window spans on each axis, with the gaps of its dilation."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    def out_shape(self, shape: tuple[int, ...], ceil_mode: bool = False) -> tuple[int, ...]:
        """Positions of the window on each axis of an input of these spatial sizes."""
        sizes = []
        for size, reach, stride, before, after in zip(
            shape, self.reach, self.strides, self.before, self.after, strict=True
        ):
            free = size + before + after - reach
            steps = ceil(free / stride) if ceil_mode else free // stride
            if ceil_mode and steps * stride >= size + before:
                steps -= 1  # no window begins in the padding at the end
            sizes.append(steps + 1)
        return tuple(sizes)

    def pad(self, a: Array, fill: float = 0.0, more: tuple[int, ...] | None = None) -> Array:
        """Spatial axes of (N, C, ...) padded, and by `more` at the end."""
        if not any(self.before) and not any(self.after) and not (more and any(more)):
            return a
        extra = more or (0,) * len(self.after)
        after = tuple(one + two for one, two in zip(self.after, extra, strict=True))
        widths = ((0, 0), (0, 0), *zip(self.before, after, strict=True))
        return np.pad(a, widths, constant_values=fill)

    def patches(self, padded: Array) -> Array:
        """What the window sees at each position: a view (N, C, positions..., kernel...)."""
        axes = tuple(range(2, padded.ndim))
        views = sliding_window_view(padded, self.reach, axis=axes)
        steps = tuple(slice(None, None, stride) for stride in self.strides)
        taps = tuple(slice(None, None, dilation) for dilation in self.dilations)
        return views[(slice(None), slice(None), *steps, *taps)]

    def taps(self, positions: Points, shape: tuple[int, ...]) -> tuple[tuple[Array, ...], Array]:
        """Where the window at each of M positions looks in an unpadded input of these spatial sizes.

        Returns:
            an index array for each axis, broadcasting to (M, kernel...), cut off at the borders; and a mask
            of that shape, false in the padding.
        """
        indices, inside = [], np.ones((1,) * (1 + len(self.kernel)), bool)
        for axis, (position, size) in enumerate(zip(positions, shape, strict=True)):
            start = position * self.strides[axis] - self.before[axis]
            seen = start[:, None] + np.arange(self.kernel[axis]) * self.dilations[axis]
            seen = seen.reshape(len(seen), *(-1 if k == axis else 1 for k in range(len(self.kernel))))
            inside = inside & (seen >= 0) & (seen < size)
            indices.append(seen.clip(0, size - 1))
        return tuple(indices), np.broadcast_to(inside, (len(positions[0]), *self.kernel))


def window(
    kernel: tuple[int, ...],
    strides: tuple[int, ...] = (),
    dilations: tuple[int, ...] = (),
    pads: tuple[int, ...] = (),
    auto_pad: str = "NOTSET",
    shape: tuple[int, ...] = (),
) -> Window:
    """The window that ONNX's attributes describe over an input of these spatial sizes; () is a default.

    Raises:
        Unjudged: `auto_pad` has no known meaning.
    """
    ones = (1,) * len(kernel)
    sliding = Window(kernel, strides or ones, dilations or ones, (0,) * len(kernel), (0,) * len(kernel))
    if auto_pad in ("NOTSET", ""):
        pads = pads or (0,) * (2 * len(kernel))
        before, after = pads[: len(kernel)], pads[len(kernel) :]
    elif auto_pad == "VALID":
        return sliding
    elif auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        totals = [
            max((ceil(size / stride) - 1) * stride + reach - size, 0)
            for size, stride, reach in zip(shape, sliding.strides, sliding.reach, strict=True)
        ]
        small, large = tuple(t // 2 for t in totals), tuple(t - t // 2 for t in totals)
        before, after = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
    else:
        raise Unjudged(f"auto_pad {auto_pad}")
    return Window(kernel, sliding.strides, sliding.dilations, before, after)


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
        """The kernel over this input."""
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
        # A band of positions along the first spatial axis at a time, so that its patches stay small.
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

    def sample(self, points: Points, x: Number, w: Number, b: Number | None = None) -> Number:
        image, unit, *positions = points
        taps, inside = self.window(x, w).taps(tuple(positions), x.shape[2:])
        channels = w.shape[1]
        flat = (len(unit), *(1,) * (x.ndim - 2))
        lanes = (unit // (w.shape[0] // self.group) * channels)[:, None] + np.arange(channels)

        def gather(a: Array) -> Array:
            lane = lanes.reshape(len(unit), channels, *(1,) * (x.ndim - 2))
            seen = a[(image.reshape(-1, 1, *flat[1:]), lane, *(tap[:, None] for tap in taps))]
            return (seen * inside[:, None]).reshape(len(unit), 1, -1)

        columns = w.move(lambda a: a[unit].reshape(len(unit), -1, 1))
        bias = None if b is None else b.move(lambda a: a[unit].reshape(-1, 1, 1))
        return x.move(gather).dot(columns, bias, self.products(x, w)).reshape(-1)

    def backward(self, inputs: Inputs, output: Number, cotangent: Number) -> tuple[Number | None, ...]:
        x, w, *rest = inputs
        assert x is not None
        assert w is not None
        sliding = self.window(x, w)
        spread = cotangent.wide().reshape(x.shape[0], self.group, w.shape[0] // self.group, -1)
        columns = x.wide().move(sliding.pad).move(lambda a: _columns(a, sliding, self.group))
        # Over the batch and all positions at once: (G, O/G, N·P) · (G, N·P, n)
        rows = spread.move(lambda a: a.transpose(1, 2, 0, 3).reshape(a.shape[1], a.shape[2], -1))
        seen = columns.move(lambda a: a.transpose(1, 0, 3, 2).reshape(a.shape[1], -1, a.shape[2]))
        weight = rows.dot(seen).reshape(*w.shape)
        axes = (0, *range(2, cotangent.ndim))
        bias = cotangent.sum(axes).reshape(-1) if rest and rest[0] is not None else None
        into = ConvTranspose.undoing(self, x, w).evaluate(cotangent, w)
        return (into, weight, bias)[: len(inputs)]


def _band(padded: Array, sliding: Window, start: int, stop: int) -> Array:
    """The part of a padded input that positions `start` to `stop` of the first spatial axis see."""
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
    """A convolution over an input with zeros between its values, by `spacing`."""

    spacing: tuple[int, ...] = ()

    def products(self, x: Number, w: Number) -> int:
        steps = zip(w.shape[2:], self.spacing, self.dilations, strict=True)
        return w.shape[1] * prod(ceil(k / (s // gcd(s, d))) for k, s, d in steps)


@register
@dataclass(frozen=True)
class ConvTranspose(Operator):
    """The transpose of a convolution: x (N, C, ...), W (C, O/group, kernel...), b (O,).

    Computed as a convolution: x spread out by the stride with zeros between, and the kernel turned.
    """

    TYPE: ClassVar[str] = "ConvTranspose"

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
        """What takes a convolution's cotangent back to its input."""
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

    def backward(self, inputs: Inputs, output: Number, cotangent: Number) -> tuple[Number | None, ...]:
        raise Unjudged("the backward pass of ConvTranspose")

    def _as_convolution(self, x: Number, w: Number) -> tuple[Number, Number, _Spread]:
        d = x.ndim - 2
        strides, dilations = self.strides or (1,) * d, self.dilations or (1,) * d
        reach = tuple((k - 1) * e + 1 for k, e in zip(w.shape[2:], dilations, strict=True))
        begin, length = self._place(x.shape[2:], reach, strides)
        spread_size = tuple(
            (size - 1) * stride + 1 for size, stride in zip(x.shape[2:], strides, strict=True)
        )

        def spread(a: Array) -> Array:
            """Zeros between, before and after, so that a window stands on every output; or the part of it."""
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
            """(C, O/group, ...) to (O, C/group, ...), the kernel turned by 180 degrees."""
            a = a[(slice(None), slice(None), *(slice(None, None, -1),) * d)]
            grouped = a.reshape(self.group, a.shape[0] // self.group, *a.shape[1:]).swapaxes(1, 2)
            return grouped.reshape(-1, *grouped.shape[2:])

        inner = _Spread(dilations=dilations, group=self.group, spacing=strides)
        return x.move(spread), w.move(turn), inner

    def _place(
        self, shape: tuple[int, ...], reach: tuple[int, ...], strides: tuple[int, ...]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Of the full output, where the wanted part begins, and how long it is, on each axis."""
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
    """alpha · A·B + beta · C, A and B transposed where told so: the dense layer."""

    TYPE: ClassVar[str] = "Gemm"

    alpha: float = 1.0
    beta: float = 1.0
    transA: int = 0
    transB: int = 0

    @classmethod
    def read(cls, attributes: Any, opset: int, inputs: int) -> "Gemm":
        return super().read({k: v for k, v in attributes.items() if k != "broadcast"}, opset, inputs)

    def terms(self, a: Number, b: Number, c: Number | None = None) -> int:
        return a.shape[0] if self.transA else a.shape[1]

    def evaluate(self, a: Number, b: Number, c: Number | None = None) -> Number:
        return self._product(
            a.transpose(1, 0) if self.transA else a, b.transpose(1, 0) if self.transB else b, c
        )

    def sample(self, points: Points, a: Number, b: Number, c: Number | None = None) -> Number:
        row, column = points
        rows = a.move(lambda m: (m[:, row].T if self.transA else m[row])[:, None, :])
        columns = b.move(lambda m: (m[column] if self.transB else m[:, column].T)[:, :, None])
        shape = (int(row.max(initial=0)) + 1, int(column.max(initial=0)) + 1)
        bias = None if c is None else _broadcast_at(c, shape, points).reshape(-1, 1, 1)
        return self._product(rows, columns, bias).reshape(-1)

    def _product(self, a: Number, b: Number, c: Number | None) -> Number:
        if self.alpha == 1 and self.beta == 1:
            return a.wide().dot(b.wide(), c)
        product = a.wide().dot(b.wide()) * self.alpha
        return product if c is None else product + c * self.beta

    def backward(self, inputs: Inputs, output: Number, cotangent: Number) -> tuple[Number | None, ...]:
        a, b, *rest = inputs
        assert a is not None
        assert b is not None
        if (self.alpha, self.beta, self.transA) != (1, 1, 0):
            raise Unjudged("the backward pass of a Gemm with alpha, beta or transA")
        back = cotangent.dot(b if self.transB else b.transpose(1, 0))
        turned = cotangent.transpose(1, 0)
        weight = turned.dot(a) if self.transB else a.transpose(1, 0).dot(cotangent)
        bias = cotangent.sum((0,)).reshape(-1) if rest and rest[0] is not None else None
        return (back, weight, bias)[: len(inputs)]


def _broadcast_at(c: Number, shape: tuple[int, ...], points: Points) -> Number:
    own = points[len(shape) - c.ndim :]
    index = tuple(0 * axis if size == 1 else axis for axis, size in zip(own, c.shape, strict=True))
    return c.move(lambda m: m[index] if index else np.broadcast_to(m, (len(points[0]),)))


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

    def sample(self, points: Points, a: Number, b: Number) -> Number:
        *batch, row, column = self._points(points, a, b)
        rows = _matrix(a, 0).move(lambda m: m[(*_within(batch, m), row)][:, None, :])
        columns = _matrix(b, 1).move(lambda m: m.swapaxes(-1, -2)[(*_within(batch, m), column)][:, :, None])
        return rows.wide().dot(columns.wide()).reshape(-1)

    def _points(self, points: Points, a: Number, b: Number) -> Points:
        """With an index for the axis that a vector lacks."""
        none = np.zeros(len(points[0]) if points else 1, np.int64)
        row = () if a.ndim > 1 else (none,)
        column = () if b.ndim > 1 else (none,)
        inner = points if b.ndim > 1 else (*points, *column)
        return (*inner[:-1], *row, inner[-1]) if row else inner


def _matrix(x: Number, axis: int) -> Number:
    """A vector as a row (axis 0) or a column (axis 1)."""
    return x.move(lambda m: np.expand_dims(m, axis)) if x.ndim == 1 else x


def _within(batch: list[Array], m: Array) -> list[Array]:
    """Indices of the batch axes that this operand has, where it is not broadcast."""
    own = batch[len(batch) - (m.ndim - 2) :]
    return [0 * axis if size == 1 else axis for axis, size in zip(own, m.shape, strict=False)]


@register
@dataclass(frozen=True)
class Einsum(Operator):
    """Einstein summation over two operands, brought into the form of a matrix product."""

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
        """Labels of both operands' axes and of the result's; an ellipsis becomes labels of its own."""
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
    """Sum over the axes whose label stands nowhere else."""
    axes = tuple(k for k, label in enumerate(labels) if label not in others)
    if not axes:
        return x, labels
    return x.sum(axes).move(lambda m: m.squeeze(axes)), [label for label in labels if label in others]


def _arranged(x: Number, labels: list[str], groups: tuple[list[str], ...], sizes: dict[str, int]) -> Number:
    """Axes in the order of three groups, each group one axis."""
    order = [labels.index(label) for group in groups for label in group]
    full = [sizes[label] for group in groups for label in group]
    shape = [prod(sizes[label] for label in group) for group in groups]
    return x.move(lambda m: np.broadcast_to(m.transpose(order), full).reshape(shape))
