"""Floats as small integers: sums of integers are exact, and are then scaled, which rounds.

The scaled value is rounded to an integer. If its error reaches across a tie, the integer may be off by 1.
So every value that a correct runtime can return is accepted, and no other value.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from parity.arithmetic import Bounded, Looped, Number
from parity.arithmetic.floats import FLOAT32
from parity.errors import Unjudged
from parity.operators.affine import Conv, MatMul
from parity.operators.cast import SMALL_INTEGERS, cast, type_of
from parity.operators.element_types import UINT8, element_type
from parity.operators.operator import Operator, Points, at, register

INT32, INT64 = np.dtype(np.int32), np.dtype(np.int64)
ACCUMULATED = FLOAT32.dtype  # the format of sums, which rounds above 2^24, whatever the format of the scales


def quantized(x: Number, zero: Number | None, to: np.dtype) -> Number:
    """x rounded to an integer, ties to even, plus the zero point, and clipped to the type's range."""
    lowest, highest = _range(to)
    # Clip to what fits into int64, so that an infinity becomes an integer too.
    steps = cast(x.maximum(-(2.0**40)).minimum(2.0**40), INT64, np.rint)
    moved = steps if zero is None else steps + cast(zero, INT64)
    ends = moved.maximum(float(lowest)).minimum(float(highest))
    if isinstance(ends, Bounded):
        off = None if ends.error is None else np.rint(ends.error)  # the error of an integer is an integer
        return Bounded(ends.value.astype(to), off if off is not None and off.any() else None, ends.format)
    assert isinstance(ends, Looped)
    return replace(ends, value=ends.value.astype(to))


def _range(to: np.dtype) -> tuple[int, int]:
    """The lowest and highest number of a type of integers."""
    if to.name in SMALL_INTEGERS:
        bits, signed = int(to.name[-1]), to.name[0] == "i"
        return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if to.kind not in "iu":
        raise Unjudged(f"quantization to {to}")
    limits = np.iinfo(to)
    return int(limits.min), int(limits.max)


@dataclass(frozen=True)
class _Linear(Operator):
    """One scale and zero point for all values, for each index of an axis, or for each block along it."""

    TYPES: ClassVar[tuple[str, ...]] = ("output_dtype", "precision")

    axis: int = 1
    block_size: int = 0
    output_dtype: int = 0

    def spread(self, scale: Number, x: Number) -> Number:
        """A scale or zero point, reshaped so that it broadcasts to x."""
        if scale.size == 1 and not self.block_size:
            return scale.reshape(*(1,) * x.ndim)
        # The standard ignores `axis` where there is only one.
        axis = 0 if x.ndim == 1 else normalize_axis_index(self.axis, x.ndim)
        if self.block_size:
            size = x.shape[axis]
            return scale.move(lambda a: np.repeat(a, self.block_size, axis).take(np.arange(size), axis))
        return scale.reshape(*(-1 if k == axis else 1 for k in range(x.ndim)))

    def of(self, x: Number, scale: Number, zero: Number | None, to: np.dtype | None) -> Number:
        """The result, for scales that broadcast to x."""
        raise NotImplementedError

    def kind(self, scale: Number, zero: Number | None) -> np.dtype | None:
        """The type of the result; None if the inputs determine it."""
        raise NotImplementedError

    def evaluate(self, x: Number, scale: Number, zero: Number | None = None) -> Number:
        offset = None if zero is None else self.spread(zero, x)
        return self.of(x, self.spread(scale, x), offset, self.kind(scale, zero))

    def sample(self, points: Points, x: Number, scale: Number, zero: Number | None = None) -> Number:
        some = x.move(lambda a: a[points])
        offset = None if zero is None else at(self.spread(zero, x), x.shape, points)
        return self.of(some, at(self.spread(scale, x), x.shape, points), offset, self.kind(scale, zero))


@register
@dataclass(frozen=True)
class QuantizeLinear(_Linear):
    """x / scale, rounded, plus the zero point. Floats of 8 bits or fewer are not judged."""

    TYPE: ClassVar[str] = "QuantizeLinear"

    precision: int = 0
    saturate: int = 1

    def kind(self, scale: Number, zero: Number | None) -> np.dtype:
        if zero is not None:
            return type_of(zero)
        return element_type(self.output_dtype or UINT8)

    def of(self, x: Number, scale: Number, zero: Number | None, to: np.dtype | None) -> Number:
        assert to is not None
        if self.precision:
            form = element_type(self.precision)
            x, scale = cast(x, form), cast(scale, form)
        return quantized(x / scale, zero, to)


@register
@dataclass(frozen=True)
class DequantizeLinear(_Linear):
    """(x − zero point) · scale: the difference is exact, the product rounds once."""

    TYPE: ClassVar[str] = "DequantizeLinear"

    def kind(self, scale: Number, zero: Number | None) -> np.dtype:
        return element_type(self.output_dtype) if self.output_dtype else type_of(scale)

    def of(self, x: Number, scale: Number, zero: Number | None, to: np.dtype | None) -> Number:
        assert to is not None
        if type_of(x).kind in "biu" or type_of(x).name in SMALL_INTEGERS:
            steps = cast(x, INT64) if zero is None else cast(x, INT64) - cast(zero, INT64)
        else:
            steps = x  # a float of 8 bits, whose zero point must be zero
        return cast(cast(steps, ACCUMULATED) * scale, to)


@register
@dataclass(frozen=True)
class DynamicQuantizeLinear(Operator):
    """x quantized to uint8, with a range that holds zero and all values; also its scale and zero point."""

    TYPE: ClassVar[str] = "DynamicQuantizeLinear"

    def evaluate(self, x: Number) -> tuple[Number, Number, Number]:
        every = tuple(range(x.ndim))
        lowest, highest = x.min(every).minimum(0.0), x.max(every).maximum(0.0)
        if not np.all(highest.comparable > lowest.comparable):
            raise Unjudged("DynamicQuantizeLinear of nothing but zeros")
        scale = (highest - lowest) / 255.0
        zero = quantized(-lowest / scale, None, np.dtype(np.uint8))
        return quantized(x / scale, zero, np.dtype(np.uint8)), scale.reshape(), zero.reshape()

    def shared(self, x: Number) -> int:
        return x.size


def _shifted(x: Number, zero: Number | None, axis: int | None = None) -> Number:
    """x − zero point in int32; the zero points of an axis of x are given as a vector."""
    wide = cast(x, INT32)
    if zero is None:
        return wide
    return wide - cast(lined_up(zero, x.ndim, axis), INT32)


def lined_up(one: Number, ndim: int, axis: int | None) -> Number:
    """A vector reshaped to lie along an axis. A single value broadcasts; other arrays have all axes."""
    if one.size == 1:
        return one.reshape(*(1,) * ndim)
    if one.ndim > 1 or axis is None:
        return one
    return one.reshape(*(-1 if k == axis % ndim else 1 for k in range(ndim)))


@register
@dataclass(frozen=True)
class MatMulInteger(Operator):
    """(A − a) · (B − b) in int32."""

    TYPE: ClassVar[str] = "MatMulInteger"

    def evaluate(
        self, a: Number, b: Number, a_zero: Number | None = None, b_zero: Number | None = None
    ) -> Number:
        return MatMul().evaluate(_shifted(a, a_zero, -2), _shifted(b, b_zero, -1))

    def terms(self, a: Number, b: Number, *zeros: Number | None) -> int:
        return a.shape[-1]


@register
@dataclass(frozen=True)
class QLinearMatMul(Operator):
    """The exact (A − a) · (B − b), times scale A · scale B / scale Y, rounded, plus the zero point of Y."""

    TYPE: ClassVar[str] = "QLinearMatMul"

    def evaluate(
        self,
        a: Number,
        a_scale: Number,
        a_zero: Number,
        b: Number,
        b_scale: Number,
        b_zero: Number,
        y_scale: Number,
        y_zero: Number,
    ) -> Number:
        total = self.total(a, b, a_zero, b_zero)
        rows, columns = lined_up(a_scale, total.ndim, -2), lined_up(b_scale, total.ndim, -1)
        out, zero = lined_up(y_scale, total.ndim, -2), lined_up(y_zero, total.ndim, -2)
        return quantized(cast(total, ACCUMULATED) * (rows * columns / out), zero, type_of(y_zero))

    def total(self, a: Number, b: Number, a_zero: Number, b_zero: Number) -> Number:
        """The sums of products, in int32."""
        return MatMulInteger().evaluate(a, b, a_zero, b_zero)


@register
@dataclass(frozen=True)
class ConvInteger(Conv):
    """The convolution of x − x's zero point with w − w's, in int32."""

    TYPE: ClassVar[str] = "ConvInteger"

    def evaluate(
        self, x: Number, w: Number, x_zero: Number | None = None, w_zero: Number | None = None
    ) -> Number:
        return self.convolution().evaluate(_shifted(x, x_zero), _shifted(w, w_zero, 0))

    def convolution(self) -> Conv:
        """The same convolution, for integers from which the zero point is already subtracted."""
        return Conv(**{field.name: getattr(self, field.name) for field in fields(Conv)})

    def sample(
        self, points: Points, x: Number, w: Number, x_zero: Number | None = None, w_zero: Number | None = None
    ) -> Number:
        return self.convolution().sample(points, _shifted(x, x_zero), _shifted(w, w_zero, 0))

    def terms(self, x: Number, w: Number, *zeros: Number | None) -> int:
        return super().terms(x, w)


@register
@dataclass(frozen=True)
class QLinearConv(ConvInteger):
    """A convolution of integers, times scale x · scale w / scale y, rounded, plus the zero point of y."""

    TYPE: ClassVar[str] = "QLinearConv"

    def evaluate(  # type: ignore[override]
        self,
        x: Number,
        x_scale: Number,
        x_zero: Number,
        w: Number,
        w_scale: Number,
        w_zero: Number,
        y_scale: Number,
        y_zero: Number,
        bias: Number | None = None,
    ) -> Number:
        total = self.total(x, w, x_zero, w_zero, bias)
        scale = x_scale * lined_up(w_scale, x.ndim, 1) / y_scale
        return quantized(cast(total, ACCUMULATED) * scale, y_zero, type_of(y_zero))

    def total(self, x: Number, w: Number, x_zero: Number, w_zero: Number, bias: Number | None) -> Number:
        """The sums of products, with the bias, in int32."""
        return self.convolution().evaluate(_shifted(x, x_zero), _shifted(w, w_zero, 0), bias)

    def sample(self, points: Points, *inputs: Any) -> Number:
        return self.evaluate(*inputs).move(lambda a: a[points])

    def terms(self, x: Number, *rest: Number | None) -> int:
        return 1
