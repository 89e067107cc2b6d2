"""Elementary functions of rational numbers to a hundred digits, from exp, log, roots and power series."""

from collections.abc import Callable
from decimal import Context, Decimal, localcontext
from fractions import Fraction

DIGITS = 120  # so that e^x − 1 keeps its digits for the smallest number of float32
Real = Callable[[Decimal], Decimal]


def _exp(x: Decimal) -> Decimal:
    return x.exp()


def _sinh(x: Decimal) -> Decimal:
    return (x.exp() - (-x).exp()) / 2


def _cosh(x: Decimal) -> Decimal:
    return (x.exp() + (-x).exp()) / 2


def _tanh(x: Decimal) -> Decimal:
    return 1 - 2 / ((2 * x).exp() + 1)


def _series(first: Decimal, factor: Callable[[int], Decimal]) -> Decimal:
    """first · (1 + factor(1) · (1 + factor(2) · ...)), until the terms no longer matter."""
    total = term = first
    k = 0
    while term and term.adjusted() > total.adjusted() - DIGITS - 2:
        k += 1
        term *= factor(k)
        total += term
        if k > 5000:
            raise ArithmeticError("the series does not end")
    return total


def _sin(x: Decimal) -> Decimal:
    return _series(x, lambda k: -x * x / (2 * k * (2 * k + 1)))


def _cos(x: Decimal) -> Decimal:
    return _series(Decimal(1), lambda k: -x * x / (2 * k * (2 * k - 1)))


def _atan(x: Decimal) -> Decimal:
    """Half of the angle, four times; then the series with (2k − 1) / (2k + 1)."""
    for _ in range(4):
        x = x / (1 + (1 + x * x).sqrt())
    return 16 * _series(x, lambda k: -x * x * (2 * k - 1) / (2 * k + 1))


def _pi() -> Decimal:
    return 4 * _atan(Decimal(1))


def _asin(x: Decimal) -> Decimal:
    return x * _pi() / 2 if abs(x) == 1 else _atan(x / (1 - x * x).sqrt())


def _asinh(x: Decimal) -> Decimal:
    size = (abs(x) + (x * x + 1).sqrt()).ln()
    return size.copy_sign(x)


def _erf(x: Decimal) -> Decimal:
    """2/√π · Σ (−1)^k x^(2k+1) / (k! (2k + 1)); above 12 it differs from 1 by less than 10^-60."""
    if abs(x) > 12:
        return Decimal(1).copy_sign(x)
    return 2 / _pi().sqrt() * _series(x, lambda k: -x * x * (2 * k - 1) / (k * (2 * k + 1)))


def _sigmoid(x: Decimal) -> Decimal:
    return 1 / (1 + (-x).exp())


def _softplus(x: Decimal) -> Decimal:
    return (1 + x.exp()).ln()


def _gauss(x: Decimal) -> Decimal:
    return (1 + _erf(x / Decimal(2).sqrt())) / 2


def _gauss_tanh(x: Decimal) -> Decimal:
    return _sigmoid(2 * (2 / _pi()).sqrt() * (x + Decimal("0.044715") * x**3))


FUNCTIONS: dict[str, Real] = {
    "exp": _exp,
    "expm1": lambda x: x.exp() - 1,
    "log": Decimal.ln,
    "sqrt": Decimal.sqrt,
    "sin": _sin,
    "cos": _cos,
    "tan": lambda x: _sin(x) / _cos(x),
    "asin": _asin,
    "acos": lambda x: _pi() / 2 - _asin(x),
    "atan": _atan,
    "sinh": _sinh,
    "cosh": _cosh,
    "tanh": _tanh,
    "asinh": _asinh,
    "acosh": lambda x: (x + (x * x - 1).sqrt()).ln(),
    "atanh": lambda x: ((1 + x) / (1 - x)).ln() / 2,
    "erf": _erf,
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "softsign": lambda x: x / (1 + abs(x)),
    "mish": lambda x: _tanh(_softplus(x)),
    "gauss": _gauss,
    "gauss_tanh": _gauss_tanh,
}


def of(name: str, x: Fraction) -> Fraction:
    """The value of a function."""
    with localcontext(Context(prec=DIGITS, Emin=-(10**9), Emax=10**9)):
        return _shortened(FUNCTIONS[name](Decimal(x.numerator) / Decimal(x.denominator)))


def power(x: Fraction, exponent: Fraction) -> Fraction:
    """x^exponent for x ≥ 0, or for an exponent that is an integer."""
    if exponent.denominator == 1:
        return x**exponent.numerator
    if x == 0:
        return Fraction(0)
    with localcontext(Context(prec=DIGITS, Emin=-(10**9), Emax=10**9)):
        base = Decimal(x.numerator) / Decimal(x.denominator)
        return _shortened((base.ln() * Decimal(exponent.numerator) / Decimal(exponent.denominator)).exp())


def _shortened(x: Decimal) -> Fraction:
    """As a multiple of a power of two: sums of fractions with such denominators stay short."""
    if not x:
        return Fraction(0)
    exact = Fraction(x)
    shift = 340 - exact.numerator.bit_length() + exact.denominator.bit_length()
    scaled = exact * Fraction(2) ** shift
    return Fraction(round(scaled)) / Fraction(2) ** shift
