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


def quantize(op: Any, x: Array, scale: Array, zero: Array | None = None) -> Array:
    one = scale.item()
    offset = None if zero is None else _whole(zero, one.at)
    return each(lambda v: to_whole(v / one, np.uint8 if zero is None else zero.dtype, offset), x)


def dequantize(op: Any, x: Array, scale: Array, zero: Array) -> Array:
    """The difference is exact, and so is its conversion to float32: it is short."""
    one = scale.item()
    form = one.at.form

    def of(v: int) -> Stated:
        steps = Stated(Fraction(int(v) - int(zero)), Fraction(0), At(FLOAT32, one.at.ends), recorded=True)
        return to_float(steps * Stated(one.value, one.error, steps.at, recorded=True), form)

    return each(of, x)


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
    op: Any, x: Array, sx: Array, zx: Array, w: Array, sw: Array, zw: Array, sy: Array, zy: Array
) -> Array:
    """Over one axis, without padding."""
    wide, weights = x.astype(int) - int(zx), w.astype(int) - int(zw)
    places = range(x.shape[2] - w.shape[2] + 1)
    total = np.stack([np.einsum("ncp,ocp->no", wide[:, :, k : k + w.shape[2]], weights) for k in places], -1)
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


SMALL: list[Example] = [
    *(use("Cast", (8,), to=to) for to in (element_types.NUMBERS[one.dtype] for one in (FLOAT16, FLOAT32))),
    use("QuantizeLinear", make=_ties, data=()),
    use("DequantizeLinear", make=_dequantized, data=()),
    use("DynamicQuantizeLinear", (8,)),
    use("QLinearMatMul", make=_q_matmul, data=()),
    use("QLinearConv", make=_q_conv, data=()),
]
