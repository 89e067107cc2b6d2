"""Functions to a hundred digits against published digits, and against NumPy and the code's own."""

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from parity.operators import functions
from tests.parity.arithmetic import real_functions as real

# Forty digits, from tables.
DIGITS = {
    ("exp", 1): "2.718281828459045235360287471352662497757",
    ("log", 2): "0.6931471805599453094172321214581765680755",
    ("sqrt", 2): "1.414213562373095048801688724209698078570",
    ("atan", 1): "0.7853981633974483096156608458198757210493",
    ("sin", 1): "0.8414709848078965066525023216302989996226",
    ("cos", 1): "0.5403023058681397174009366074429766037323",
    ("erf", 1): "0.8427007929497148693412206350826092592961",
    ("tanh", 1): "0.7615941559557648881194582826047935904128",
}
FLOAT64: dict[str, tuple[Callable[[float], float], float, float]] = {
    "exp": (math.exp, -20, 20),
    "expm1": (math.expm1, -2, 2),
    "log": (math.log, 0.1, 9),
    "sqrt": (math.sqrt, 0, 9),
    "sin": (math.sin, -9, 9),
    "cos": (math.cos, -9, 9),
    "tan": (math.tan, -1.5, 1.5),
    "asin": (math.asin, -1, 1),
    "acos": (math.acos, -1, 1),
    "atan": (math.atan, -9, 9),
    "sinh": (math.sinh, -9, 9),
    "cosh": (math.cosh, -9, 9),
    "tanh": (math.tanh, -9, 9),
    "asinh": (math.asinh, -9, 9),
    "acosh": (math.acosh, 1, 9),
    "atanh": (math.atanh, -0.99, 0.99),
    "erf": (math.erf, -7, 7),
    "sigmoid": (lambda x: 1 / (1 + math.exp(-x)), -20, 20),
    "softplus": (lambda x: math.log1p(math.exp(x)), -20, 20),
    "softsign": (lambda x: x / (1 + abs(x)), -20, 20),
    "mish": (lambda x: math.tanh(math.log1p(math.exp(x))), -20, 20),
    "gauss": (lambda x: math.erfc(-x / math.sqrt(2)) / 2, -7, 7),
    "gauss_tanh": (lambda x: float(functions.GAUSS_TANH.f(np.array(x))), -7, 7),
}


@pytest.mark.parametrize(("name", "x"), DIGITS)
def test_digits_are_those_of_tables(name: str, x: int) -> None:
    right = Fraction(DIGITS[name, x])
    assert abs(real.of(name, Fraction(x)) - right) < Fraction(6, 10**40) * (1 if right < 1 else 10)


@pytest.mark.parametrize("name", real.FUNCTIONS)
def test_values_are_those_of_float64(name: str) -> None:
    """To a hundred roundings: a relative error of x itself grows with the slope."""
    f, low, high = FLOAT64[name]
    for x in np.random.default_rng(0).uniform(low, high, 40):
        assert float(real.of(name, Fraction(float(x)))) == pytest.approx(f(float(x)), rel=100 * 2.0**-53)


@pytest.mark.parametrize(
    "name", ["expm1", "sin", "asin", "atan", "sinh", "tanh", "asinh", "atanh", "softsign"]
)
def test_values_next_to_zero_keep_their_digits(name: str) -> None:
    x = Fraction(2) ** -149
    assert abs(real.of(name, x) / x - 1) < Fraction(2) ** -140


def test_powers() -> None:
    assert real.power(Fraction(3, 2), Fraction(-2)) == Fraction(4, 9)
    assert real.power(Fraction(0), Fraction(1, 2)) == 0
    assert abs(real.power(Fraction(2), Fraction(1, 2)) - real.of("sqrt", Fraction(2))) < Fraction(1, 10**90)
