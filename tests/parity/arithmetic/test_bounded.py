"""Each operation of `Bounded` against its formula in rational numbers."""

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.arithmetic import Bounded, Function, Looped
from parity.arithmetic import bounded as bounded_module
from parity.arithmetic.floats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format
from tests.parity.arithmetic.rational import (
    COVER,
    both,
    covers,
    exactly,
    gamma,
    lost,
    of_dot,
    of_product,
    of_sum,
)

formats = pytest.mark.parametrize("form", [FLOAT32, FLOAT64, FLOAT16, BFLOAT16], ids=lambda form: form.name)
seeds = st.integers(0, 2**32 - 1)
SQUARE = Function("square", np.square, ulps=2, floor=3, slope=8.0)
CUBE = Function("cube", lambda x: x**3, ulps=1.5, monotone=True)


def drawn(seed: int, n: int, form: Format, errors: bool = True, exponent: int = 0) -> Bounded:
    """n numbers of a format, times 2^exponent, among them zeros, with errors, among them zeros."""
    rng = np.random.default_rng(seed)
    size = rng.choice([-1.0, 1.0], n) * (1 + rng.random(n)) * 10.0 ** rng.integers(-2, 3)
    value = form.round(np.ldexp(size * (rng.random(n) < 0.8), exponent))
    error = rng.random(n) * 2.0 ** rng.integers(-20, 1) * (rng.random(n) < 0.7)
    return Bounded(value, np.ldexp(error, exponent) if errors else None, form)


# What data is like: ordinary, or so small that products underflow, whose own terms of the bound then count.
kinds = (
    pytest.mark.parametrize(  # float64's own bounds would underflow in the float64 that they are computed in
        ("form", "small"),
        [
            pytest.param(form, small, id=form.name + " small" * small)
            for form in (FLOAT32, FLOAT64, FLOAT16, BFLOAT16)
            for small in (False, True)
            if not (small and form is FLOAT64)
        ],
    )
)


def product_exponent(form: Format, small: bool) -> int:
    """Of factors that are normal numbers and whose products lie about the smallest one."""
    return form.lowest // 2 + 4 if small else 0


def sum_exponent(form: Format, small: bool) -> int:
    """Of terms just above the smallest normal number."""
    return form.lowest + 8 if small else 0


@kinds
@given(
    seed=seeds, n=st.integers(0, 6), bias=st.booleans(), skipped=st.integers(0, 2), errors=st.integers(0, 3)
)
def test_dot(form: Format, small: bool, seed: int, n: int, bias: bool, skipped: int, errors: int) -> None:
    at = product_exponent(form, small)
    a, b = drawn(seed, n, form, bool(errors & 1), at), drawn(seed + 1, n, form, bool(errors & 2), at)
    c = drawn(seed + 2, 1, form, seed % 2 == 0, sum_exponent(form, small)) if bias else None
    products = max(n - skipped, 0) if skipped else None
    dot = a.reshape(1, n).dot(b.reshape(n, 1), None if c is None else c.reshape(1, 1), products)
    x, y = exactly(a.value), exactly(b.value)
    extra = None if c is None else (exactly(c.value)[0], exactly(c.bound)[0])
    expected = of_dot(x, exactly(a.bound), y, exactly(b.bound), form, extra, products)
    terms = [p * q for p, q in zip(x, y, strict=True)] + ([extra[0]] if extra else [])
    exact, size = sum(terms, Fraction(0)), sum(map(abs, terms), Fraction(0))
    # The terms of one sign may come first.
    overflows = size > abs(exact) and size + abs(exact) > 2 * form.largest
    assert covers(dot.bound, np.inf if overflows else expected)
    assert abs(Fraction(float(dot.value.item())) - exact) <= gamma(n + bias, 2.0**-53) * size + (
        n * Fraction(FLOAT64.smallest)
    )
    assert dot.format is form


def test_each_sum_of_a_product_has_terms_of_its_own() -> None:
    """One rounds and carries nothing, one carries alone, one does neither; and there may be none at all."""
    a = Bounded(np.array([[1.0, 2], [0, 0], [0, 0]]), np.array([[0.0, 0], [0, 0.5], [0, 0]]))
    ones = Bounded(np.ones((2, 1)))
    bound = a.dot(ones).bound.ravel()
    assert 0 < bound[0] < 1e-6
    assert 0.5 <= bound[1] < 0.51
    assert bound[2] == 0
    assert a.move(lambda m: m[:0]).dot(ones).shape == (0, 1)


def test_dot_over_batches_is_each_dot() -> None:
    a, b = drawn(0, 24, FLOAT32).reshape(2, 1, 3, 4), drawn(1, 40, FLOAT32).reshape(5, 4, 2)
    dot = a.dot(b)
    assert dot.shape == dot.bound.shape == (2, 5, 3, 2)
    for i, j in product(range(2), range(5)):
        one = Bounded(a.value[i, 0], a.bound[i, 0]).dot(Bounded(b.value[j], b.bound[j]))
        np.testing.assert_allclose(dot.value[i, j], one.value, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(dot.bound[i, j], one.bound, rtol=1e-12)


@pytest.mark.parametrize("wide", [1, 8])
def test_dot_by_one_pass_over_what_is_not_negative(wide: int) -> None:
    """Behind a ReLU |b| is b, which saves a pass: value and bound are those of the two passes."""
    a, b = drawn(0, 8, FLOAT32, False).reshape(2, 4), drawn(1, 4 * wide, FLOAT32, False).reshape(4, wide)
    b = Bounded(np.abs(b.value), None, FLOAT32)
    assert b.value.min() >= 0
    np.testing.assert_allclose(a.dot(b).value, a.value.astype(float) @ b.value.astype(float), rtol=1e-14)
    np.testing.assert_allclose(a.dot(b).bound, (-a).dot(b).bound, rtol=1e-14)
    np.testing.assert_allclose(a.dot(b).bound, a.dot(-b).bound, rtol=1e-14)


@kinds
@given(seed=seeds, n=st.integers(2, 9), errors=st.booleans())
def test_sum(form: Format, small: bool, seed: int, n: int, errors: bool) -> None:
    a = drawn(seed, n, form, errors, sum_exponent(form, small))
    total = a.sum((0,))
    terms = exactly(a.value)
    assert covers(total.bound, of_sum(terms, exactly(a.bound), form))
    off = abs(Fraction(float(total.value.item())) - sum(terms))
    assert off <= gamma(n - 1, 2.0**-53) * sum(map(abs, terms))
    alone = a.move(lambda v: v[:1])
    assert alone.sum((0,)).bound.tolist() == alone.bound.tolist()


@kinds
@given(seed=seeds, n=st.integers(1, 6), errors=st.booleans())
def test_cumsum(form: Format, small: bool, seed: int, n: int, errors: bool) -> None:
    """Each is the sum of what comes before."""
    a = drawn(seed, n, form, errors, sum_exponent(form, small))
    totals = a.cumsum(0)
    x, e = exactly(a.value), exactly(a.bound)
    flush = Fraction(form.flush) if x[0] else 0  # one value after the other starts with zero plus the first
    assert covers(totals.bound[0], e[0] + flush)
    for k in range(2, n + 1):
        assert covers(totals.bound[k - 1], of_sum(x[:k], e[:k], form))
    assert [Fraction(float(one)) for one in totals.value[:1]] == x[:1]


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_cumsum_along_an_axis_is_that_of_each_row(axis: int) -> None:
    a = drawn(0, 12, FLOAT32).reshape(3, 4)
    totals = a.cumsum(axis)
    rows, found = (a.transpose(1, 0), totals.transpose(1, 0)) if axis == 0 else (a, totals)
    for k in range(rows.shape[0]):
        one = rows.move(lambda v, k=k: v[k]).cumsum(0)  # type: ignore[misc]
        assert found.value[k].tolist() == one.value.tolist()
        assert found.bound[k].tolist() == one.bound.tolist()


def test_sum_over_several_axes_and_mean() -> None:
    a = drawn(0, 24, FLOAT32).reshape(2, 3, 4)
    total = a.sum((0, 2))
    assert total.shape == total.bound.shape == (1, 3, 1)
    middle = a.move(lambda m: m[:, 1]).reshape(8).sum((0,))
    np.testing.assert_allclose(total.bound[0, 1, 0], middle.bound[0], rtol=1e-12)
    mean = a.mean((0, 2))
    np.testing.assert_allclose(
        mean.value, a.value.astype(float).mean((0, 2), keepdims=True), rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(mean.bound, total.divided(8).bound, rtol=1e-12)


@pytest.mark.slow
@kinds
@given(seed=seeds, errors=st.integers(0, 3))
def test_plus_and_minus(form: Format, small: bool, seed: int, errors: int) -> None:
    at = sum_exponent(form, small)
    a, b = drawn(seed, 4, form, bool(errors & 1), at), drawn(seed + 1, 4, form, bool(errors & 2), at)
    columns = (exactly(one) for one in (a.value, a.bound, b.value, b.bound))
    plus, minus = a + b, a - b
    for k, (x, ex, y, ey) in enumerate(zip(*columns, strict=True)):
        for found, value in ((plus, x + y), (minus, x - y)):
            own = both(1, form) * (abs(value) + ex + ey) + (
                2 * Fraction(form.flush) if value or ex + ey else 0
            )
            assert covers(found.bound[k], ex + ey + own)


@pytest.mark.slow
@kinds
@given(seed=seeds, errors=st.integers(0, 3))
def test_times_and_over(form: Format, small: bool, seed: int, errors: int) -> None:
    at = product_exponent(form, small)
    a, b = drawn(seed, 4, form, bool(errors & 1), at), drawn(seed + 1, 4, form, bool(errors & 2), at)
    columns = (exactly(one) for one in (a.value, a.bound, b.value, b.bound))
    times, over = a * b, a / b
    for k, (x, ex, y, ey) in enumerate(zip(*columns, strict=True)):
        assert covers(times.bound[k], of_product(x, ex, y, ey, form))
        if not y:
            continue
        if ex == ey == 0:
            carried = Fraction(0)
        elif ey >= abs(y):
            assert over.bound[k] == np.inf
            continue
        else:  # at the end of y's interval that is nearest to zero
            carried = (ex + abs(x / y) * ey) / (abs(y) - ey)
        own = both(2, form) * (abs(x / y) + carried)  # or of the product with the rounded reciprocal
        assert covers(over.bound[k], carried + own + (lost(form) * (1 + abs(x)) if x or carried else 0))


@pytest.mark.parametrize("form", [FLOAT32, FLOAT16, BFLOAT16], ids=lambda form: form.name)
def test_a_quotient_that_underflows(form: Format) -> None:
    """The quotient itself, or the reciprocal of the divisor, which is then multiplied by the dividend."""
    x, y = form.tiny, form.largest / 8
    found = (
        Bounded(form.round(np.array([x])), None, form) / Bounded(form.round(np.array([y])), None, form)
    ).bound
    quotient = Fraction(x) / Fraction(y)
    assert covers(found, both(2, form) * quotient + lost(form) * (1 + Fraction(x)))
    found = (
        Bounded(form.round(np.array([4.0])), None, form) / Bounded(form.round(np.array([y])), None, form)
    ).bound
    assert covers(found, both(2, form) * 4 / Fraction(y) + lost(form) * 5)


@given(seed=seeds)
def test_carried_quotient_is_reached(seed: int) -> None:
    """The formula for an error of both is the largest that a corner of the intervals shows."""
    x, y = exactly(drawn(seed, 1, FLOAT32, False).value)[0], Fraction(3, 2)
    ex, ey = Fraction(1, 7), Fraction(1, 3)
    worst = max(abs((x + s * ex) / (y + t * ey) - x / y) for s, t in product((-1, 1), repeat=2))
    assert worst == (ex + abs(x / y) * ey) / (y - ey)


def test_a_product_that_underflows_in_float64_underflows_in_the_reference_too() -> None:
    small = Bounded(np.array([1e-200, 0.0]), None, FLOAT64)
    assert (small * small).value.tolist() == [0, 0]
    assert (small * small).bound[0] >= FLOAT64.tiny + FLOAT64.smallest
    assert (small * small).bound[1] == 0


def test_over_nothing() -> None:
    zero = Bounded(np.zeros(3), None)
    over = Bounded(np.array([1.0, -1.0, 0.0])) / zero
    assert list(over.value[:2]) == [np.inf, -np.inf]
    assert np.isnan(over.value[2])
    over = Bounded(np.array([1.0, 2.0]), np.array([0.0, 1.0])) / Bounded(np.array([0.0, 1.0]))
    assert over.bound[0] == 0
    assert over.bound[1] > 1
    perhaps = Bounded(np.ones(1), np.ones(1))
    assert (Bounded(np.zeros(1)) / perhaps).bound.tolist() == [np.inf]  # perhaps zero over zero
    assert (Bounded(np.array([np.inf])) / 2.0).bound.tolist() == [0]


@kinds
@pytest.mark.parametrize("n", [1, 2, 3, 8, 49])
def test_divided(form: Format, small: bool, n: int) -> None:
    """By a power of two nothing is rounded; by another number twice, when it is the product with 1/n."""
    for errors in (False, True):
        a = drawn(n, 6, form, errors, sum_exponent(form, small))
        quotient = a.divided(n)
        g = both(2, form) if n & (n - 1) else Fraction(0)
        for k, (x, e) in enumerate(zip(exactly(a.value), exactly(a.bound), strict=True)):
            least = lost(form) if n > 1 and (x or e) else 0
            assert covers(quotient.bound[k], e / n + g * (abs(x / n) + e / n) + least)


@given(seed=seeds, errors=st.integers(0, 3))
def test_maximum_and_minimum(seed: int, errors: int) -> None:
    """The bound is the exact reach of the larger of two intervals."""
    a, b = drawn(seed, 6, FLOAT32, bool(errors & 1)), drawn(seed + 1, 6, FLOAT32, bool(errors & 2))
    larger, smaller = a.maximum(b), a.minimum(b)
    columns = (exactly(one) for one in (a.value, a.bound, b.value, b.bound))
    for k, (x, ex, y, ey) in enumerate(zip(*columns, strict=True)):
        highest, lowest = max(x + ex, y + ey) - max(x, y), max(x, y) - max(x - ex, y - ey)
        assert inside(larger.bound[k], max(highest, lowest), max(ex, ey))
        highest, lowest = min(x + ex, y + ey) - min(x, y), min(x, y) - min(x - ex, y - ey)
        assert inside(smaller.bound[k], max(highest, lowest), max(ex, ey))
    np.testing.assert_array_equal(larger.value, np.maximum(a.value, b.value))
    np.testing.assert_array_equal(smaller.value, np.minimum(a.value, b.value))


def inside(found: Any, reach: Fraction, widest: Fraction) -> bool:
    """Whether a reach is right up to the rounding of its end, and zero where there is no error."""
    close = reach <= Fraction(float(found)) + 1e-12 and found <= float(reach) + 1e-11
    return close and (widest > 0 or found == 0)


def test_maximum_of_what_cannot_win_brings_no_error() -> None:
    relu = Bounded(np.array([-5.0, -0.1, 3.0]), np.array([1.0, 1.0, 1.0])).maximum(0.0)
    np.testing.assert_allclose(relu.bound, [0, 0.9, 1], atol=1e-14)


def test_max_carries_the_errors_of_what_may_be_the_largest() -> None:
    """1 ± 4.5 may reach 5.5, above 5; 1 ± 0.2 stays below 3 and plays no part."""
    a = Bounded(np.array([[1.0, 5.0, 2.0], [3.0, 0.0, 1.0]]), np.array([[4.5, 0.25, 0.2], [0.125, 0.0, 0.2]]))
    assert a.max((1,)).value.tolist() == [[5], [3]]
    exact = np.array([[0.5], [0.125]])
    assert (a.max((1,)).bound >= exact).all()
    assert (a.max((1,)).bound <= exact + 2.0**-48).all()  # the ends are themselves rounded
    assert Bounded(a.value).max((0, 1)).error is None


def test_a_masked_logit_says_nothing_of_the_maximum() -> None:
    """−1e9 off by 60, as a finite mask leaves it, cannot be the largest of a row."""
    row = Bounded(np.array([[1.0, -1e9]]), np.array([[0.0, 60.0]]))
    assert row.max((1,)).bound.item() <= 2.0**-40


@pytest.mark.slow
@formats
@given(seed=seeds, errors=st.booleans())
def test_apply(form: Format, seed: int, errors: bool) -> None:
    a = drawn(seed, 5, form, errors)
    u, least = Fraction(form.u), Fraction(form.smallest) + 2 * Fraction(form.flush)
    cube, square = a.apply(CUBE), a.apply(SQUARE)
    for k, (x, e) in enumerate(zip(exactly(a.value), exactly(a.bound), strict=True)):
        for found, value, reach, function in (
            (cube, x**3, max(abs((x + s * e) ** 3 - x**3) for s in (-1, 1)), CUBE),
            (square, x**2, 8 * e, SQUARE),
        ):
            assert isinstance(function.ulps, float | int)
            own = (2 * Fraction(function.ulps) * u + 8 * Fraction(2) ** -53) * (abs(value) + reach)
            expected = reach + own + Fraction(function.floor) * u + least
            ends = 8 * Fraction(2) ** -53 * (abs(x) + e) ** 3  # of an interval, computed
            assert expected <= Fraction(float(found.bound[k])) + 2 * ends
            assert Fraction(float(found.bound[k])) <= expected * (1 + COVER) + 2 * ends


def test_apply_exact_function_rounds_nothing() -> None:
    floor = Function("double", lambda x: 2 * x, monotone=True, exact=True)
    assert Bounded(np.arange(3.0)).apply(floor).error is None
    np.testing.assert_allclose(Bounded(np.arange(3.0), np.ones(3)).apply(floor).bound, 2, rtol=1e-12)


def test_apply_where_a_value_is_infinite_or_nothing_is_known() -> None:
    """An infinite value of a finite error is every candidate's; an error without end stays one beside NaN."""
    assert Bounded(np.array([np.inf, -np.inf])).apply(CUBE).bound.tolist() == [0, 0]
    assert Bounded(np.array([np.inf, 1]), np.array([1.0, np.inf])).apply(CUBE).bound.tolist() == [0, np.inf]
    root = Function("root", np.sqrt, monotone=True)
    assert Bounded(np.array([-1.0]), np.array([3.0])).apply(root).bound.tolist() == [np.inf]


def test_apply_of_a_function_of_unknown_slope_is_unbounded_behind_an_error() -> None:
    wild = Function("wild", np.square)
    assert np.isfinite(Bounded(np.ones(1)).apply(wild).bound).all()
    assert Bounded(np.ones(2), np.array([0.0, 0.1])).apply(wild).bound[1] == np.inf
    assert np.isfinite(Bounded(np.ones(2), np.array([0.0, 0.1])).apply(wild).bound[0])


def test_float64_term_is_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the reference's own rounding a float64 candidate is given half of its bound."""
    a = Bounded(np.full((1, 9), 1.1), None, FLOAT64)
    right = a.dot(a.transpose(1, 0)).bound.item()
    monkeypatch.setattr(bounded_module, "U64", 0.0)
    assert a.dot(a.transpose(1, 0)).bound.item() == pytest.approx(right / 2, rel=1e-9)


def test_moves_keep_the_error_at_its_value() -> None:
    a = Bounded(np.arange(6.0).reshape(2, 3), 10 + np.arange(6.0).reshape(2, 3))
    for moved in (a.transpose(1, 0), a.reshape(3, 2), a.move(lambda m: m[:, ::-1]), a.join([a], 0)):
        np.testing.assert_array_equal(moved.bound, moved.value + 10)
    joined = Bounded(np.zeros(2)).join([Bounded(np.ones(1), np.full(1, 0.5))], 0)
    assert joined.bound.tolist() == [0, 0, 0.5]
    assert (-a).bound is a.error
    assert abs(-a).value.tolist() == a.value.tolist()


@pytest.mark.parametrize("kind", [Bounded, Looped])
def test_integers_stay_exact(kind: Any) -> None:
    large = np.array([2**53 + 1, -(2**53) - 3, 7], np.int64)
    a = kind(large)
    cases = (
        (a + a, large + large),
        (a * 3, large * 3),
        (a - 5, large - 5),
        (a.sum((0,)), [7 - 2]),
        (a.max((0,)), [2**53 + 1]),
        (a.maximum(kind(large[::-1])), np.maximum(large, large[::-1])),
        (-a, -large),
        (abs(a), np.abs(large)),
    )
    for found, expected in cases:
        assert found.value.dtype == np.int64
        assert found.value.tolist() == list(expected)
        assert getattr(found, "error", None) is None


@pytest.mark.parametrize("place", [0, 7])
def test_one_subnormal_number_among_others_may_be_taken_for_zero(place: int) -> None:
    """However many others there are."""
    x = np.full(8, -1.0, np.float32)
    x[place] = 1e-40
    computed = Bounded(np.ones(1), np.ones(1))
    bound = Bounded(x).join([computed], 0).bound
    assert bound[place] >= x[place]
    assert np.count_nonzero(bound) == 2
