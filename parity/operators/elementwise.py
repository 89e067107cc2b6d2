"""Arithmetic, comparisons, logic and mathematical functions, value by value.

Integers and booleans are computed exactly in their own dtype, with NumPy's wrap-around. A comparison, a
floor or a sign of uncertain values is computed at both ends of their intervals: if the two results
differ, its error is the difference.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import ClassVar

import numpy as np

from parity.arithmetic import Array, Function, Number
from parity.arithmetic.floats import format_of
from parity.errors import Unjudged
from parity.operators import functions as known
from parity.operators.activation import BELOW, HIGHER, LOWER, choose
from parity.operators.operator import Elementwise, Inputs, plain_values, register, summed_to


def _step(name: str, f: Callable[..., Array]) -> Function:
    """A function that rounds nothing, and is monotone in each argument."""
    return Function(name, f, monotone=True, exact=True)


def _truncated(a: Array, b: Array) -> Array:
    """The quotient of integers, rounded towards zero as in C."""
    quotient = a // b
    return quotient + ((quotient < 0) & (quotient * b != a)).astype(a.dtype)


def _kind(x: Number) -> str:
    """NumPy's letter for what kind of values an array holds: "f" for floats of any format."""
    dtype = x.value.dtype  # type: ignore[attr-defined]
    return "f" if format_of(np.empty(0, dtype)) else dtype.kind


# --- functions of one value --------------------------------------------------------------------


@dataclass(frozen=True)
class Unary(Elementwise):
    """A function of one value, with the accuracy that `functions` states."""

    FUNCTION: ClassVar[Function]

    def evaluate(self, x: Number) -> Number:
        return x.apply(self.FUNCTION)


UNARY = {
    "Exp": known.EXP,
    "Log": known.LOG,
    "Sqrt": known.SQRT,
    "Erf": known.ERF,
    "Sin": known.SIN,
    "Cos": known.COS,
    "Tan": known.TAN,
    "Asin": known.ASIN,
    "Acos": known.ACOS,
    "Atan": known.ATAN,
    "Sinh": known.SINH,
    "Cosh": known.COSH,
    "Asinh": known.ASINH,
    "Acosh": known.ACOSH,
    "Atanh": known.ATANH,
    "Neg": _step("−x", np.negative),
    "Sign": _step("sign", np.sign),
    "Floor": _step("⌊x⌋", np.floor),
    "Ceil": _step("⌈x⌉", np.ceil),
    "Round": _step("nearest integer, ties to even", np.rint),
    "IsNaN": _step("is NaN", np.isnan),
    "Not": _step("not", np.logical_not),
    "BitwiseNot": _step("bitwise not", np.invert),
}
for _name, _function in UNARY.items():
    _own = {"TYPE": _name, "FUNCTION": _function, "__doc__": f"{_function.name}.", "__module__": __name__}
    register(type(_name, (Unary,), _own))


@register
@dataclass(frozen=True)
class Reciprocal(Elementwise):
    """1 / x, plus two roundings: some libraries refine an estimate by a Newton step (Eigen: 1.4 ulps)."""

    TYPE: ClassVar[str] = "Reciprocal"

    def evaluate(self, x: Number) -> Number:
        return (1.0 / x).apply(known.ROUNDED)


@register
@dataclass(frozen=True)
class Abs(Elementwise):
    """|x|."""

    TYPE: ClassVar[str] = "Abs"

    def evaluate(self, x: Number) -> Number:
        return abs(x)


@register
@dataclass(frozen=True)
class IsInf(Elementwise):
    """Whether x is infinite and has one of the signs to detect."""

    TYPE: ClassVar[str] = "IsInf"

    detect_negative: int = 1
    detect_positive: int = 1

    def evaluate(self, x: Number) -> Number:
        def infinite(a: Array) -> Array:
            return np.isinf(a) & np.where(a > 0, bool(self.detect_positive), bool(self.detect_negative))

        return x.apply(_step("is infinite", infinite))


@register
@dataclass(frozen=True)
class Identity(Elementwise):
    """x."""

    TYPE: ClassVar[str] = "Identity"

    def evaluate(self, x: Number) -> Number:
        return x

    def gradient(self, which: int, inputs: Inputs, output: Number, cotangent: Number) -> Number:
        return cotangent


# --- arithmetic --------------------------------------------------------------------------------


@register
@dataclass(frozen=True)
class Add(Elementwise):
    """a + b."""

    TYPE: ClassVar[str] = "Add"

    def evaluate(self, a: Number, b: Number) -> Number:
        return a + b

    def gradient(self, which: int, inputs: Inputs, output: Number, cotangent: Number) -> Number:
        x = inputs[which]
        assert x is not None
        return summed_to(cotangent, x.shape)


@register
@dataclass(frozen=True)
class Sub(Elementwise):
    """a − b."""

    TYPE: ClassVar[str] = "Sub"

    def evaluate(self, a: Number, b: Number) -> Number:
        return a - b


@register
@dataclass(frozen=True)
class Mul(Elementwise):
    """a·b."""

    TYPE: ClassVar[str] = "Mul"

    def evaluate(self, a: Number, b: Number) -> Number:
        return a * b


@register
@dataclass(frozen=True)
class Div(Elementwise):
    """a / b, rounded towards zero for integers. A library may multiply floats by the rounded reciprocal."""

    TYPE: ClassVar[str] = "Div"

    def evaluate(self, a: Number, b: Number) -> Number:
        if _kind(a) in "biu":
            return a.apply(Function("a / b, towards zero", _truncated, exact=True), b)
        return a / b


@register
@dataclass(frozen=True)
class Mod(Elementwise):
    """The remainder of a / b, with the sign of a (fmod, which rounds nothing) or with the sign of b.

    The second is fmod, plus b where the signs differ. The formula a − b·⌊a/b⌋ is not accurate.
    """

    TYPE: ClassVar[str] = "Mod"

    fmod: int = 0

    def evaluate(self, a: Number, b: Number) -> Number:
        remainder = np.fmod if self.fmod else np.mod
        exact = bool(self.fmod) or _kind(a) in "biu"
        return a.apply(Function("remainder", remainder, exact=exact, source="one sum"), b)


@register
@dataclass(frozen=True)
class Pow(Elementwise):
    """a^b, in the type of a.

    If the exponent is an integer, a library may multiply (as JAX does), which rounds at most |b| times; or it
    may compute every power with one function.
    """

    TYPE: ClassVar[str] = "Pow"

    def evaluate(self, a: Number, b: Number) -> Number:
        if _kind(a) in "biu":
            return self._of_integers(a, b)
        exponents = b.value  # type: ignore[attr-defined]
        power = self._power(a, abs(b), exponents)
        negative = exponents < 0
        if not negative.any():
            return power
        inverse = 1.0 / power  # infinite where a could be 0
        return inverse if negative.all() else choose(b.apply(BELOW, 0), inverse, power)

    def _power(self, a: Number, b: Number, exponents: Array) -> Number:
        n = np.abs(exponents.astype(np.float64))
        products = np.where(np.isfinite(n) & (n == np.floor(n)), n / 2, 0.0)
        ulps = np.maximum(known.POW.ulps, products)
        return a.apply(replace(known.POW, ulps=ulps), b)

    def _of_integers(self, a: Number, b: Number) -> Number:
        exponents = plain_values(b, "an exponent")
        if (exponents < 0).any() or (exponents != np.floor(exponents)).any():
            raise Unjudged("Pow of integers with an exponent that is negative or no integer")

        def power(x: Array, n: Array) -> Array:
            return np.power(x, n.astype(np.int64)).astype(x.dtype)

        return a.apply(Function("power", power, exact=True), b)


# --- any number of inputs ----------------------------------------------------------------------


def _stacked(arrays: tuple[Number, ...]) -> Number:
    """Arrays broadcast against one another, on a new first axis."""
    shape = np.broadcast_shapes(*(x.shape for x in arrays))
    first, *rest = (x.move(lambda a: np.broadcast_to(a, shape)[None]) for x in arrays)
    return first.join(rest, 0) if rest else first


@register
@dataclass(frozen=True)
class Sum(Elementwise):
    """The sum of all inputs, in any order."""

    TYPE: ClassVar[str] = "Sum"

    def evaluate(self, *arrays: Number) -> Number:
        return _stacked(arrays).sum((0,)).move(lambda a: a[0])


@register
@dataclass(frozen=True)
class Mean(Elementwise):
    """The mean of all inputs, in any order."""

    TYPE: ClassVar[str] = "Mean"

    def evaluate(self, *arrays: Number) -> Number:
        return _stacked(arrays).mean((0,)).move(lambda a: a[0])


@register
@dataclass(frozen=True)
class Max(Elementwise):
    """The largest of all inputs."""

    TYPE: ClassVar[str] = "Max"

    def evaluate(self, *arrays: Number) -> Number:
        return reduce(lambda a, b: a.apply(HIGHER, b), arrays)


@register
@dataclass(frozen=True)
class Min(Elementwise):
    """The smallest of all inputs."""

    TYPE: ClassVar[str] = "Min"

    def evaluate(self, *arrays: Number) -> Number:
        return reduce(lambda a, b: a.apply(LOWER, b), arrays)


# --- comparisons, logic, bits ------------------------------------------------------------------


@dataclass(frozen=True)
class Binary(Elementwise):
    """An exact function of two values."""

    FUNCTION: ClassVar[Function]

    def evaluate(self, a: Number, b: Number) -> Number:
        return a.apply(self.FUNCTION, b)


AND = _step("and", np.logical_and)
BINARY = {
    "Greater": _step("a > b", np.greater),
    "GreaterOrEqual": _step("a ≥ b", np.greater_equal),
    "Less": _step("a < b", np.less),
    "LessOrEqual": _step("a ≤ b", np.less_equal),
    "And": AND,
    "Or": _step("or", np.logical_or),
    "Xor": _step("exclusive or", np.logical_xor),
    "BitwiseAnd": Function("bitwise and", np.bitwise_and, exact=True),
    "BitwiseOr": Function("bitwise or", np.bitwise_or, exact=True),
    "BitwiseXor": Function("bitwise exclusive or", np.bitwise_xor, exact=True),
}
for _name, _function in BINARY.items():
    _own = {"TYPE": _name, "FUNCTION": _function, "__doc__": f"{_function.name}.", "__module__": __name__}
    register(type(_name, (Binary,), _own))


@register
@dataclass(frozen=True)
class Equal(Elementwise):
    """a = b, computed as a ≥ b and a ≤ b: uncertain where the intervals of a and b overlap."""

    TYPE: ClassVar[str] = "Equal"

    def evaluate(self, a: Number, b: Number) -> Number:
        not_less, not_more = BINARY["GreaterOrEqual"], BINARY["LessOrEqual"]
        return a.apply(not_less, b).apply(AND, a.apply(not_more, b))


@register
@dataclass(frozen=True)
class BitShift(Elementwise):
    """a·2^b or a/2^b, in unsigned integers."""

    TYPE: ClassVar[str] = "BitShift"

    direction: str = ""

    def evaluate(self, a: Number, b: Number) -> Number:
        if self.direction not in ("LEFT", "RIGHT"):
            raise Unjudged(f"BitShift with direction {self.direction!r}")
        shift = np.left_shift if self.direction == "LEFT" else np.right_shift
        return a.apply(Function("shift", shift, exact=True), b)


@register
@dataclass(frozen=True)
class Where(Elementwise):
    """a where the condition holds, b elsewhere."""

    TYPE: ClassVar[str] = "Where"

    def evaluate(self, condition: Number, a: Number, b: Number) -> Number:
        return choose(condition, a, b)
