"""The bound of the loss, stated again in rational numbers, and what an implementation can make of it."""

from dataclasses import replace
from decimal import Context, Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenet.reference.backward import cross_entropy
from parity.arithmetic import Bounded, Function
from parity.arithmetic.floats import FORMATS
from tests.parity.arithmetic.adversary import Adversary
from tests.parity.arithmetic.rational import both, covers

DIGITS = Context(prec=60)  # of e^x and log x, far more than any float has
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
sizes = st.sampled_from([0.0, 2.0**-40, 2.0**-12, 2.0**-3])
# Four ulps each, which the docstring of the bound's constant grants to every library.
EXP = Function("exp", np.exp, ulps=4, monotone=True)
LOG = Function("log", np.log, ulps=4, monotone=True)


def _decimal(x: Fraction) -> Decimal:
    return DIGITS.divide(Decimal(x.numerator), Decimal(x.denominator))


def exp(x: Fraction) -> Fraction:
    """e^x."""
    return Fraction(DIGITS.exp(_decimal(x)))


def log(x: Fraction) -> Fraction:
    """The natural logarithm."""
    return Fraction(DIGITS.ln(_decimal(x)))


def drawn(seed: int, size: float, dtype: str) -> tuple[Bounded, np.ndarray]:
    """Three digits' logits of four classes with errors about `size`, no two alike, and labels."""
    rng = np.random.default_rng(seed)
    error = size * (0.5 + rng.random((3, 4)))
    return Bounded(rng.uniform(-2, 2, (3, 4)), error, FORMATS[dtype]), rng.integers(0, 4, 3)


@pytest.mark.slow
@dtypes
@given(seed=st.integers(0, 2**32 - 1), size=sizes)
def test_bounds_of_the_loss_and_its_cotangent_are_the_formula(dtype: str, seed: int, size: float) -> None:
    logits, labels = drawn(seed, size, dtype)
    form, n = FORMATS[dtype], len(labels)
    loss, cotangent = cross_entropy(logits, labels, dtype)
    losses: list[Fraction] = []
    errors: list[Fraction] = []
    for row, (values, bounds, label) in enumerate(zip(logits.value, logits.bound, labels, strict=True)):
        z, e = [Fraction(one) for one in values], Fraction(bounds.max())
        powers = [exp(one - max(z)) for one in z]
        p = [one / sum(powers) for one in powers]
        a = (Fraction(form.u) + Fraction(2) ** -53) * (64 + 4 * (max(z) - min(z)))
        losses.append(-log(p[label]))
        errors.append(2 * e * exp(2 * e) * (1 - p[label]) + a)
        for k, one in enumerate(p):
            off = min(one, 1 - one) * (exp(2 * e) - 1) + one * exp(2 * e) * (exp(a) - 1)
            off += both(3, form) * (abs(one - (k == label)) + off)
            assert covers(cotangent.bound[row, k], off / n + 2**20 * Fraction(form.tiny))
            assert abs(Fraction(cotangent.value[row, k]) - (one - (k == label)) / n) < Fraction(1, 2**50)
    mean, off = sum(losses, Fraction(0)) / n, sum(errors, Fraction(0)) / n
    assert covers(loss.bound, off + both(n + 2, form) * (mean + off))
    assert abs(Fraction(float(loss.value)) - mean) < Fraction(1, 2**48)


@dtypes
def test_a_probability_that_may_become_zero(dtype: str) -> None:
    """And the products in which it is a factor: their term is then all of the bound."""
    form, z = FORMATS[dtype], -70 if dtype == "float32" else -680
    _, cotangent = cross_entropy(Bounded(np.array([[0.0, z]]), None, form), np.array([0]), dtype)
    p = exp(Fraction(z)) / (1 + exp(Fraction(z)))
    off = p * (exp((Fraction(form.u) + Fraction(2) ** -53) * (64 - 4 * z)) - 1)
    off += both(3, form) * (p + off)
    assert off < 2**20 * Fraction(form.tiny)
    assert covers(cotangent.bound[0, 1], off + 2**20 * Fraction(form.tiny))


def powers(logits: np.ndarray, way: str) -> Adversary:
    """e^(z − the largest z), as an implementation has it that rounds in one direction, as badly as it may."""
    z = Adversary(logits, way=way)
    return (z - z.max((1,))).apply(EXP)


def test_roundings_reach_a_tenth_of_the_bounds() -> None:
    """Ten classes, exact logits, float32 seen from float64. The bound's 64 leaves room for bad libraries."""
    value = np.random.default_rng(0).uniform(-1, 1, (1, 10)).astype(np.float32)
    label = int(value.argmin())
    loss, cotangent = cross_entropy(Bounded(value.astype(np.float64)), np.array([label]), "float32")
    total = powers(value, "up").sum((1,)).apply(LOG).value[0, 0]
    found = total - Adversary(value - value.max(), way="down").value[0, label]
    assert 0.1 < abs(found - loss.value) / loss.bound <= 1
    own, others = powers(value, "up"), powers(value, "down")
    k = int(value.argmax())
    mixed = replace(others, value=np.where(np.arange(10) == k, own.value, others.value))
    p = own / replace(mixed.sum((1,)), way="up")
    assert 0.1 < abs(p.value - cotangent.value)[0, k] / cotangent.bound[0, k] <= 1


@dtypes
@pytest.mark.parametrize("size", [2.0**-5, 2.0**-8])
def test_errors_of_the_logits_reach_half_of_the_bounds(dtype: str, size: float) -> None:
    """The label's logit moves down, all others up, by as much as they may."""
    value = np.array([[0.3, 0.1, -0.2, 0.2]])
    logits = Bounded(value, np.full((1, 4), size), FORMATS[dtype])
    label = np.array([0])
    loss, cotangent = cross_entropy(logits, label, dtype)
    moved = value + size * np.array([[-1, 1, 1, 1]])
    other, gradient = cross_entropy(Bounded(moved), label, "float64")
    of_loss = abs(other.value - loss.value) / loss.bound
    of_cotangent = np.abs(gradient.value - cotangent.value) / cotangent.bound
    assert 0.5 < of_loss <= 1
    assert 0.5 < of_cotangent.max() <= 1
