"""One certified sum against brute force: where it holds, no order rounds; just beyond it, some order does."""

import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lenet.network.architecture import dense
from lenet.reference.certificate import certify_layer
from parity.arithmetic import Integers, TooWide, integers
from parity.errors import UserError
from tests.helpers import one_line
from tests.lenet.reference.grids import DOUBLE, SINGLE, evaluate, nearest

FORMS = {"float32": SINGLE, "float64": DOUBLE}


def one_sum(w, x, b, dtype="float32", w_exponent=0, x_exponent=0):
    """The certificate of y = Σ w·x + b for one unit and one digit, of integers on the given grids."""
    weights, bias = Integers(np.array(w)[None], w_exponent), Integers(np.array([b]), w_exponent + x_exponent)
    return certify_layer(dense("y", len(w), 1), weights, bias, Integers(np.array(x)[None], x_exponent), dtype)


def fractions(w, x, w_exponent=0, x_exponent=0):
    return [
        (Fraction(i) * Fraction(2) ** w_exponent, Fraction(j) * Fraction(2) ** x_exponent)
        for i, j in zip(w, x, strict=True)
    ]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_emulated_rounding_is_that_of_the_hardware(value):
    with np.errstate(over="ignore"):
        single = np.float32(value)
    if np.isfinite(single):
        assert nearest(Fraction(value)) == Fraction(float(single))
    assert nearest(Fraction(value), DOUBLE) == Fraction(value)


@st.composite
def sums(draw, width):
    """Integers w, x and b, their grids' exponents, and a bound of about 2^width on Σ|w||x| + |b|."""
    n = draw(st.integers(1, 8))
    half = width // 2 - 1
    integers = st.lists(st.integers(-(2**half), 2**half), min_size=n, max_size=n)
    exponents = st.integers(-90, 30)
    return (
        draw(integers),
        draw(integers),
        draw(st.integers(-(2**width), 2**width)),
        draw(exponents),
        draw(exponents),
    )


@pytest.mark.slow
@pytest.mark.parametrize("dtype", FORMS)
@settings(max_examples=1000)
@given(data=st.data(), rng=st.randoms(use_true_random=False))
def test_where_it_holds_no_order_of_summation_rounds(dtype, data, rng):
    form = FORMS[dtype]
    w, x, b, w_exponent, x_exponent = data.draw(sums(form[0]))
    found = one_sum(w, x, b, dtype, w_exponent, x_exponent)
    assert found.bound == sum(abs(i * j) for i, j in zip(w, x, strict=True)) + abs(b)
    if not found.holds:
        return
    terms, bias = fractions(w, x, w_exponent, x_exponent), Fraction(b) * Fraction(2) ** found.exponent
    value, roundings = evaluate(terms, bias, rng, form)
    assert roundings == 0
    assert value == sum((i * j for i, j in terms), bias)


@pytest.mark.slow
@settings(max_examples=500)
@given(
    st.lists(st.tuples(st.integers(0, 2**10), st.integers(0, 2**10)), min_size=1, max_size=8),
    st.integers(0, 2**20),
    st.randoms(use_true_random=False),
)
def test_just_beyond_it_an_odd_sum_of_one_sign_rounds_in_every_order(pairs, beyond, rng):
    w, x = zip(*pairs, strict=True)
    bias = 2**24 + 2 * beyond + 1 - sum(i * j for i, j in pairs)
    found = one_sum(w, x, bias)
    assert not found.holds
    assert found.bound == 2**24 + 2 * beyond + 1
    assert str(found.problem).startswith("y [0, 0]: 24.")
    assert evaluate(fractions(w, x), Fraction(bias), rng)[1] > 0


def test_just_beyond_it_a_small_sum_of_both_signs_depends_on_the_order():
    assert not one_sum([1, 1, -1], [2**24, 1, 2**24], 0).holds
    big, one = np.float32(2**24), np.float32(1)
    assert (big + one) - big == 0
    assert (big - big) + one == 1
    results = {
        evaluate(fractions([1, 1, -1], [2**24, 1, 2**24]), Fraction(0), random.Random(i))[0]
        for i in range(50)
    }
    assert results == {0, 1}


def test_the_limit_itself_is_the_first_that_is_refused():
    assert one_sum([1], [2**24 - 1], 0).holds
    assert not one_sum([1], [2**24], 0).holds
    assert one_sum([1], [2**53 - 1], 0, "float64").holds
    assert not one_sum([1], [2**53], 0, "float64").holds


@pytest.mark.parametrize(
    ("w_exponent", "x_exponent"), [(-100, -50), (-100, -27), (-127, 20), (20, -127), (70, 40)]
)
def test_what_leaves_the_range_of_normal_numbers_is_refused(w_exponent, x_exponent):
    found = one_sum([1], [1], 0, w_exponent=w_exponent, x_exponent=x_exponent)
    assert found.bound == 1
    assert not found.holds
    assert "normal numbers" in str(found.problem)


def test_a_product_below_the_subnormals_rounds():
    assert evaluate(fractions([1], [1], -100, -50), Fraction(0), random.Random(0))[1] > 0
    assert np.float32(2.0**-100) * np.float32(2.0**-50) == 0


@given(
    st.lists(st.tuples(st.integers(-(2**52), 2**52), st.integers(-(2**52), 2**52)), min_size=1, max_size=6),
    st.integers(-(2**62), 2**62),
)
def test_int64_never_overflows_unseen(pairs, bias):
    w, x = zip(*pairs, strict=True)
    true = sum(abs(i * j) for i, j in pairs) + abs(bias)
    try:
        bound = one_sum(w, x, bias).bound
    except TooWide as refused:
        bound = refused.bound
    assert bound == true or bound >= max(true, 1 << 63)


def test_the_last_sum_that_fits_int64_and_the_first_that_does_not():
    assert one_sum([2**31], [2**31], 2**62 - 1).bound == 2**63 - 1
    with pytest.raises(TooWide) as refused:
        one_sum([2**31], [2**31], 2**62)
    assert (refused.value.name, refused.value.bound) == ("y", 2**63)
    one_line(refused)


def test_products_that_would_cancel_are_refused_before_they_overflow():
    w, x = Integers(np.array([[2**40, -(2**40)]]), 0), Integers(np.array([[2**30, 2**30]]), 0)
    with pytest.raises(TooWide):
        x.dot(w.transpose(1, 0), integers(np.zeros(1)))


# --- floats as integers ------------------------------------------------------------------------


@given(st.lists(st.floats(-(2.0**30), 2.0**30, width=32), min_size=1, max_size=6))
def test_dyadic_takes_every_float_as_it_is_on_the_coarsest_grid(values):
    try:
        found = integers(np.array(values))
    except TooWide:
        magnitudes = [abs(Fraction(v)) for v in values if v]
        smallest = min(Fraction(1, m.denominator) for m in magnitudes)
        assert max(magnitudes) / smallest >= 2**62
        return
    grid = Fraction(2) ** found.exponent
    assert [int(u) * grid for u in found.units] == [Fraction(v) for v in values]
    assert any(u % 2 for u in found.units) or not any(values)


@given(st.lists(st.integers(-(2**25), 2**25), min_size=1, max_size=6), st.integers(-140, 120))
def test_to_float_is_exact_or_refused(units, exponent):
    try:
        floats = Integers(np.array(units), exponent).to_float()
    except UserError:
        peak = max(map(abs, units))
        wide = any(nearest(Fraction(u)) != u for u in units)
        assert wide or exponent < -126 or peak * Fraction(2) ** exponent >= Fraction(2) ** 127
        return
    assert floats.dtype == np.float32
    assert exponent >= -126
    assert [Fraction(float(f)) for f in floats] == [u * Fraction(2) ** exponent for u in units]


def test_floats_too_far_apart_for_int64_are_refused():
    assert list(integers(np.array([1.0, 2.0**-61])).units) == [2**61, 1]
    with pytest.raises(TooWide, match="pixels: needs 64 bits"):
        integers(np.array([1.0, 2.0**-62]), "pixels")


def test_zeros_lie_on_any_grid():
    three = Integers(np.array([3]), -2)
    total = Integers(np.array([0]), -50) + three
    assert (total.units, total.exponent) == (three.units, three.exponent)
    assert (three + Integers(np.array([0]), 7)).exponent == -2


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_lies_on_no_grid(value):
    with pytest.raises(UserError, match="logits: a NaN or an infinity") as refused:
        integers(np.array([1.0, value]), "logits")
    one_line(refused)
