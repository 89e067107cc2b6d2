"""Arithmetic, one rounding for each operation, and functions with their stated accuracy, value by value."""

from collections.abc import Callable
from fractions import Fraction
from functools import reduce
from math import floor
from typing import Any

import numpy as np

from parity.arithmetic import Array
from tests.parity.arithmetic import real_functions as real
from tests.parity.arithmetic import stated as s
from tests.parity.arithmetic.stated import ACCURACY, POWER, Stated, known
from tests.parity.examples.example import Example, Make
from tests.parity.statements.arrays import Statement, each, use

EIGHT = (8,)


def _function(name: str) -> Statement:
    return lambda op, x: each(known(name), x)


def _two(f: Callable[[Stated, Stated], Stated]) -> Statement:
    return lambda op, a, b: each(f, a, b)


def reciprocal(op: Any, x: Array) -> Array:
    return each(lambda v: s.rounded_twice(1.0 / v), x)


def mod(op: Any, a: Array, b: Array) -> Array:
    """a − b·⌊a/b⌋ as one rounded sum; fmod is exact."""

    def remainder(x: Stated, y: Stated) -> Stated:
        if op.fmod:
            return x.within([], x.value - y.value * int(x.value / y.value))
        return x.function(lambda v: v - y.value * floor(v / y.value), 0.5)

    return each(remainder, a, b)


def pow_(op: Any, a: Array, b: Array) -> Array:
    """|b| roundings if the exponent is a whole number and libraries multiply; 1/a^|b| if it is negative."""

    def one(x: Stated, exponent: Stated | int) -> Stated:
        n = exponent.value if isinstance(exponent, Stated) else Fraction(int(exponent))
        ulps = max(Fraction(POWER), abs(n) / 2 if n.denominator == 1 else Fraction(0))
        y = x.function(lambda v: real.power(v, abs(n)), float(ulps))
        return 1.0 / y if n < 0 else y

    return each(one, a, b)


def sum_(op: Any, *arrays: Array) -> Array:
    return each(lambda *terms: s.total(terms), *np.broadcast_arrays(*arrays))


def mean(op: Any, *arrays: Array) -> Array:
    return each(lambda *terms: s.mean(terms), *np.broadcast_arrays(*arrays))


def _extreme(sign: int) -> Statement:
    """The largest or smallest of several, each of which may first be taken for zero."""

    def of_two(a: Stated, b: Stated) -> Stated:
        x, y = a.flushed(), b.flushed()
        choose = max if sign > 0 else min
        value = choose(x.value, y.value)
        sure = not (x.error or y.error)
        return x.within([] if sure else [choose(p, q) for p, q in s.corners([x, y])], value)

    return lambda op, *arrays: reduce(lambda a, b: each(of_two, a, b), arrays)


def neg(op: Any, x: Array) -> Array:
    return each(lambda v: -v.flushed(), x)


def sign(op: Any, x: Array) -> Array:
    return each(_step(lambda v: Fraction((v > 0) - (v < 0))), x)


def _step(f: Callable[[Fraction], Fraction]) -> Callable[[Stated], Stated]:
    """A function without rounding: what both ends of an interval make of it."""

    def of(x: Stated) -> Stated:
        y = x.flushed()
        return y.within([f(end) for end in y.interval()] if y.error else [], f(y.value))

    return of


def where(op: Any, condition: Array, a: Array, b: Array) -> Array:
    return each(lambda c, x, y: (x if c else y).flushed(), condition, a, b)


FUNCTIONS = {
    "Exp": "exp",
    "Log": "log",
    "Sqrt": "sqrt",
    "Erf": "erf",
    "Sin": "sin",
    "Cos": "cos",
    "Tan": "tan",
    "Asin": "asin",
    "Acos": "acos",
    "Atan": "atan",
    "Sinh": "sinh",
    "Cosh": "cosh",
    "Asinh": "asinh",
    "Acosh": "acosh",
    "Atanh": "atanh",
}
assert set(FUNCTIONS.values()) <= set(ACCURACY)
STATEMENTS: dict[str, Statement] = {
    **{kind: _function(name) for kind, name in FUNCTIONS.items()},
    "Reciprocal": reciprocal,
    "Add": _two(lambda a, b: a + b),
    "Sub": _two(lambda a, b: a - b),
    "Mul": _two(lambda a, b: a * b),
    "Div": _two(lambda a, b: a / b),
    "Mod": mod,
    "Pow": pow_,
    "Sum": sum_,
    "Mean": mean,
    "Max": _extreme(1),
    "Min": _extreme(-1),
    "Neg": neg,
    "Sign": sign,
    "Floor": lambda op, x: each(_step(lambda v: Fraction(floor(v))), x),
    "Ceil": lambda op, x: each(_step(lambda v: Fraction(-floor(-v))), x),
    "Where": where,
}


def _between(low: float, high: float, count: int = 1) -> Make:
    def make(rng: np.random.Generator) -> list[np.ndarray | None]:
        return [rng.uniform(low, high, EIGHT).astype(np.float32) for _ in range(count)]

    return make


def _limited(kind: str, low: float, high: float, count: int = 1, **attributes: Any) -> Example:
    return use(kind, make=_between(low, high, count), data=(), **attributes)


def _power(*exponents: float) -> Example:
    def make(rng: np.random.Generator) -> list[np.ndarray | None]:
        return [rng.uniform(0.1, 4, EIGHT).astype(np.float32), np.array(exponents, np.float32)]

    return use("Pow", make=make, data=())


def _choice(rng: np.random.Generator) -> list[np.ndarray | None]:
    return [rng.random(EIGHT) < 0.5, *(rng.standard_normal(EIGHT).astype(np.float32) for _ in range(2))]


SMALL = [
    *(use(kind, EIGHT) for kind in ("Exp", "Erf", "Sin", "Cos", "Atan", "Sinh", "Cosh", "Asinh")),
    _limited("Log", 0.01, 5),
    _limited("Sqrt", 0, 5),
    _limited("Reciprocal", 0.1, 5),
    _limited("Tan", -1.5, 1.5),
    *(_limited(kind, -0.99, 0.99) for kind in ("Asin", "Acos", "Atanh")),
    _limited("Acosh", 1.25, 9),
    *(use(kind, EIGHT, EIGHT) for kind in ("Add", "Sub", "Mul", "Max", "Min")),
    *(use(kind, EIGHT, (1,), EIGHT, (1,), EIGHT) for kind in ("Sum", "Mean", "Max", "Min")),
    _limited("Div", 0.5, 3, 2),
    use("Div", EIGHT, make=lambda rng: [_between(-3, 3)(rng)[0], _between(0.5, 3)(rng)[0]], data=(0,)),
    _limited("Mod", 0.5, 3, 2),
    _limited("Mod", 0.5, 3, 2, fmod=1),
    *(_power(one) for one in (2, 0.5, -0.5, -2, 13, 1.7)),
    *(use(kind, EIGHT) for kind in ("Neg", "Sign", "Floor", "Ceil")),
    use("Where", make=_choice, data=(1, 2)),
]
