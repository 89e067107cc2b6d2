"""Casts and quantized operators: a whole number is off by what both ends of its interval are rounded to."""

from fractions import Fraction
from typing import Any

import numpy as np

from parity.arithmetic import Array
from parity.arithmetic.floats import FLOAT16, FLOAT32, FORMATS, Format
from parity.operators import element_types
from tests.parity.arithmetic import stated as s
from tests.parity.arithmetic.stated import At, Stated
from tests.parity.examples.example import Example, Make
from tests.parity.statements.arrays import Statement, each, use


def to_float(x: Stated, form: Format) -> Stated:
    """Rounded once, unless it is a number of the format."""
    at = At(form, x.at.ends)
    if not x.error and at.holds(x.value):
        return Stated(x.value, Fraction(0), at, recorded=x.recorded)
    if x.error and form.digits >= x.at.form.digits and form.lowest <= x.at.form.lowest:
        return Stated(x.value, x.error, at)
    own = Fraction(form.u) * (abs(x.value) + x.error) + Fraction(form.smallest) / 2
    return Stated(x.value, x.error + own, at)


def to_whole(x: Stated, dtype: Any, zero: Stated | None = None) -> Stated:
    """The nearest integer, ties to even, plus a zero point, between the limits of a type."""
    steps = x.within(
        [Fraction(round(end)) for end in x.interval()] if x.error else [], Fraction(round(x.value))
    )
    if zero is not None:
        steps = Stated(steps.value + zero.value, steps.error + zero.error, x.at)
    low, high = (
        Stated(Fraction(int(one)), Fraction(0), x.at) for one in (np.iinfo(dtype).min, np.iinfo(dtype).max)
    )
    return s.minimum(s.maximum(steps, low), high)


def _whole(value: Any, at: At) -> Stated:
    return Stated(Fraction(int(value)), Fraction(0), at)


def cast(op: Any, x: Array) -> Array:
    kind = element_types.element_type(op.to)
    if kind.name in FORMATS:
        return each(lambda v: to_float(v, FORMATS[kind.name]), x)
    return each(lambda v: v.within([], Fraction(int(v.value))), x)


def spread(op: Any, one: Array, x: Array) -> Array:
    """A scale or zero point for each value: the same for all, for an index of an axis, or for a block."""
    axis = op.axis % x.ndim
    if one.size == 1:
        return np.broadcast_to(one.reshape(()), x.shape)
    if op.block_size:
        return np.repeat(one, op.block_size, axis).take(range(x.shape[axis]), axis)
    return np.broadcast_to(one.reshape(-1, *(1,) * (x.ndim - 1 - axis)), x.shape)


def quantize(op: Any, x: Array, scale: Array, zero: Array | None = None) -> Array:
    dtype = np.dtype(np.uint8) if zero is None else zero.dtype
    offsets = np.zeros(x.shape, int) if zero is None else spread(op, zero, x)
    return each(
        lambda v, one, offset: to_whole(v / one, dtype, _whole(offset, one.at)),
        x,
        spread(op, scale, x),
        offsets,
    )


def dequantize(op: Any, x: Array, scale: Array, zero: Array | None = None) -> Array:
    """The difference is exact, and so is its conversion to float32: it is short."""

    def of(v: int, one: Stated, offset: int) -> Stated:
        steps = Stated(Fraction(int(v) - int(offset)), Fraction(0), At(FLOAT32, one.at.ends), recorded=True)
        return to_float(steps * Stated(one.value, one.error, steps.at, recorded=True), one.at.form)

    return each(of, x, spread(op, scale, x), np.zeros(x.shape, int) if zero is None else spread(op, zero, x))


def dynamic(op: Any, x: Array) -> tuple[Array, ...]:
    """The scale is the span of all values and zero over 255."""
    values = list(x.ravel())
    lowest = s.minimum(-s.largest([-v for v in values]), 0.0)
    highest = s.maximum(s.largest(values), 0.0)
    scale = (highest - lowest) / 255.0
    zero = to_whole(-lowest / scale, np.uint8)
    return each(lambda v: to_whole(v / scale, np.uint8, zero), x), np.array(scale), np.array(zero)


def _requantized(total: int, factor: Stated, zero: Array) -> Stated:
    """A sum of integers, which is exact, times a factor."""
    at = At(FLOAT32, factor.at.ends)
    y = Stated(Fraction(int(total)), Fraction(0), at) * factor
    return to_whole(y, zero.dtype, _whole(zero, at))


def q_matmul(
    op: Any, a: Array, sa: Array, za: Array, b: Array, sb: Array, zb: Array, sy: Array, zy: Array
) -> Array:
    total = (a.astype(int) - int(za)) @ (b.astype(int) - int(zb))
    return each(lambda n: _requantized(n, sa.item() * sb.item() / sy.item(), zy), total)


def q_conv(
    op: Any,
    x: Array,
    sx: Array,
    zx: Array,
    w: Array,
    sw: Array,
    zw: Array,
    sy: Array,
    zy: Array,
    b: Array | None = None,
) -> Array:
    """Over one axis. The padding stands for zeros; a bias is one more integer of the sum."""
    wide, weights = x.astype(int) - int(zx), w.astype(int) - int(zw)
    wide = np.pad(wide, ((0, 0), (0, 0), tuple(op.pads or (0, 0))))
    places = range(0, wide.shape[2] - w.shape[2] + 1, *op.strides)
    total = np.stack([np.einsum("ncp,ocp->no", wide[:, :, k : k + w.shape[2]], weights) for k in places], -1)
    total = total if b is None else total + b[:, None]
    return each(lambda n: _requantized(n, sx.item() * sw.item() / sy.item(), zy), total)


STATEMENTS: dict[str, Statement] = {
    "Cast": cast,
    "QuantizeLinear": quantize,
    "DequantizeLinear": dequantize,
    "DynamicQuantizeLinear": dynamic,
    "QLinearMatMul": q_matmul,
    "QLinearConv": q_conv,
}


def _f(x: float) -> np.ndarray:
    return np.array(x, np.float32)


def _b(x: int, dtype: type = np.uint8) -> np.ndarray:
    return np.array(x, dtype)


def _bytes(*shape: int, dtype: type = np.uint8, low: int = 0) -> Make:
    return lambda rng: [rng.integers(low, low + 250, shape).astype(dtype)]


def _ties(rng: np.random.Generator) -> list[np.ndarray | None]:
    """Every other one lies half-way between two steps, as rounding leaves it open."""
    return [(rng.integers(-40, 600, 8) * 0.125).astype(np.float32), _f(0.25), _b(5)]


def _dequantized(rng: np.random.Generator) -> list[np.ndarray | None]:
    return [*_bytes(2, 4)(rng), _f(0.03), _b(7)]


def _q_matmul(rng: np.random.Generator) -> list[np.ndarray | None]:
    first, second = rng.integers(0, 12, (2, 4)), rng.integers(-6, 6, (4, 2))
    rest = (_f(1.0), _b(3, np.int8), _f(1.0), _b(100))
    return [first.astype(np.uint8), _f(0.5), _b(5), second.astype(np.int8), *rest]


def _q_conv(rng: np.random.Generator) -> list[np.ndarray | None]:
    first, second = rng.integers(0, 12, (1, 2, 5)), rng.integers(0, 12, (2, 2, 3))
    rest = (_f(1.0), _b(3), _f(1.0), _b(100))
    return [first.astype(np.uint8), _f(0.5), _b(5), second.astype(np.uint8), *rest]


def _q_conv_with_bias(rng: np.random.Generator) -> list[np.ndarray | None]:
    return [*_q_conv(rng), np.array([40, -25], np.int32)]


def _by_axis(rng: np.random.Generator) -> list[np.ndarray | None]:
    """A scale and a zero point for each of two columns."""
    scales, zeros = np.array([0.25, 0.5], np.float32), np.array([5, 90], np.uint8)
    return [(rng.integers(-40, 600, (4, 2)) * 0.125).astype(np.float32), scales, zeros]


def _by_block(rng: np.random.Generator) -> list[np.ndarray | None]:
    """A scale for each two of three columns."""
    return [
        (rng.integers(1, 600, (2, 3)) * 0.125).astype(np.float32),
        np.array([[0.25, 1], [0.5, 2]], np.float32),
    ]


def _dequantized_by_axis(rng: np.random.Generator) -> list[np.ndarray | None]:
    return [*_bytes(2, 4)(rng), np.array([0.03, 0.7], np.float32), _b(7) * np.ones(2, np.uint8)]


def _dequantized_by_block(rng: np.random.Generator) -> list[np.ndarray | None]:
    return [*_bytes(2, 3)(rng), np.array([[0.03, 0.7], [0.4, 1.1]], np.float32)]


SMALL: list[Example] = [
    *(use("Cast", (8,), to=to) for to in (element_types.NUMBERS[one.dtype] for one in (FLOAT16, FLOAT32))),
    use("QuantizeLinear", make=_ties, data=()),
    use("DequantizeLinear", make=_dequantized, data=()),
    use("DynamicQuantizeLinear", (8,)),
    use("QLinearMatMul", make=_q_matmul, data=()),
    use("QLinearConv", make=_q_conv, data=()),
    use("QLinearConv", make=_q_conv_with_bias, data=(), pads=(1, 0), strides=(2,)),
    use("QuantizeLinear", make=_by_axis, data=()),
    use("QuantizeLinear", make=_by_block, data=(), block_size=2),
    use("DequantizeLinear", make=_dequantized_by_axis, data=(), axis=0),
    use("DequantizeLinear", make=_dequantized_by_block, data=(), axis=-1, block_size=2),
]
