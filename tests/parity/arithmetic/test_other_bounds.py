"""Bounds of products of many factors, of a scale and shift, of choices and of integers: to their formulas."""

from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import reduce
from operator import mul
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.arithmetic import Bounded, Function
from parity.arithmetic import bounded as bounded_module
from parity.arithmetic.floats import BFLOAT16, FLOAT16, FLOAT32, U64, Format
from tests.parity.arithmetic.rational import both, covers, exactly, gamma, lost, of_product

formats = pytest.mark.parametrize("form", [FLOAT32, FLOAT16, BFLOAT16], ids=lambda form: form.name)
seeds = st.integers(0, 2**32 - 1)


def drawn(seed: int, n: int, form: Format, errors: bool = True, exponent: int = 0) -> Bounded:
    """n numbers of either sign from 1 to 2, times 2^exponent, with errors up to an eighth."""
    rng = np.random.default_rng(seed)
    value = form.round(np.ldexp(rng.choice([-1.0, 1.0], n) * (1 + rng.random(n)), exponent))
    return Bounded(value, np.ldexp(rng.random(n) / 8, exponent) if errors else None, form)


# Two evaluations of a bound in float64 add and multiply what is not negative, in under a hundred roundings.
APART = 2 * float(gamma(100, U64))


def one(value: float, error: float | None = None, form: Format = FLOAT32) -> Bounded:
    return Bounded(form.round(np.array([value])), None if error is None else np.array([error]), form)


def times(factors: Iterable[Fraction]) -> Fraction:
    return reduce(mul, factors, Fraction(1))


# --- products ----------------------------------------------------------------------------------


@formats
@given(seed=seeds, n=st.integers(2, 6), errors=st.booleans(), exponent=st.sampled_from([-3, 0, 1]))
def test_product_of_many(form: Format, seed: int, n: int, errors: bool, exponent: int) -> None:
    a = drawn(seed, n, form, errors, exponent)
    x, e = exactly(a.value), exactly(a.bound)
    sizes = [abs(p) + q for p, q in zip(x, e, strict=True)]
    carried = times(sizes) - abs(times(x))
    least = n * (lost(form) + Fraction(form.flush)) * times(max(one, Fraction(1)) for one in sizes)
    found = a.prod((0,))
    assert covers(found.bound, carried + both(n - 1, form) * times(sizes) + least)
    assert abs(Fraction(float(found.value.item())) - times(x)) <= gamma(n, U64) * abs(times(x))


@pytest.mark.parametrize("axes", [(1,), (0, 2)])
def test_product_over_some_axes_is_that_of_each(axes: tuple[int, ...]) -> None:
    a = drawn(0, 24, FLOAT32).reshape(2, 3, 4)
    found = a.prod(axes)
    kept = tuple(axis for axis in range(3) if axis not in axes)
    rows = a.transpose(*kept, *axes).reshape(-1, 24 // found.size)
    for k in range(found.size):
        one = rows.move(lambda v, k=k: v[k]).prod((0,))  # type: ignore[misc]
        np.testing.assert_allclose(found.bound.ravel()[k], one.bound[0], rtol=APART)
    assert found.bound.shape == found.shape
    zeros = np.ones((2, 3), np.float32)
    zeros[0, 1] = 0
    assert (Bounded(zeros).prod((1,)).bound == 0).tolist() == [[True], [False]]


def test_product_of_many_at_its_ends() -> None:
    assert drawn(0, 1, FLOAT32).prod((0,)).bound.tolist() == drawn(0, 1, FLOAT32).bound.tolist()
    tiny = Bounded(np.full(3, 2.0**-60, np.float32), None, FLOAT32).prod((0,)).bound
    least = 3 * (lost(FLOAT32) + Fraction(FLOAT32.flush))
    assert covers(tiny, least + both(2, FLOAT32) * Fraction(2) ** -180)
    zero = np.array([0.0, 3.0, 5.0], np.float32)
    assert Bounded(zero).prod((0,)).bound.tolist() == [0]
    assert Bounded(zero, np.array([0.0, 1.0, 1.0])).prod((0,)).bound.tolist() == [0]
    assert Bounded(zero, np.array([0.5, 0.0, 0.0])).prod((0,)).bound[0] > 7.5
    large = np.array([0.0, 2.0**100, 2.0**100], np.float32)  # infinity times zero, in some order
    assert Bounded(large).prod((0,)).bound.tolist() == [np.inf]
    edge = np.array([1.0, 2.0**127], np.float32)
    assert np.isfinite(Bounded(edge).prod((0,)).bound).all()
    largest = np.array(
        [[1.0, FLOAT32.largest], [FLOAT32.largest, 0.0]], np.float32
    )  # of each row, not of all
    assert np.isfinite(Bounded(largest).prod((1,)).bound).tolist() == [[True], [True]]
    assert Bounded(largest).prod((1,)).bound[1] == 0
    mended = np.array([2.0**-100, 2.0**100, 2.0**100], np.float32)
    assert Bounded(mended).prod((0,)).bound.tolist() == [np.inf]


def test_a_product_of_many_carries_errors_that_float64_cannot_add_to_the_factors() -> None:
    factors, errors = np.full(6, 1 + 2.0**-20), np.full(6, 0.9 * U64)
    assert (factors + errors == factors).all()
    x, e = Fraction(1 + 2.0**-20), Fraction(0.9 * U64)
    least = 6 * (lost(FLOAT32) + Fraction(FLOAT32.flush)) * (x + e) ** 6
    expected = (x + e) ** 6 - x**6 + both(5, FLOAT32) * (x + e) ** 6 + least
    assert Fraction(Bounded(factors, errors).prod((0,)).bound.item()) >= expected


@pytest.mark.slow
@formats
@given(seed=seeds, errors=st.integers(0, 15), shifted=st.booleans(), small=st.sampled_from(["", "x", "xs"]))
def test_scale_and_shift(form: Format, seed: int, errors: int, shifted: bool, small: str) -> None:
    """Where x, or x and the scale, are so small that numbers taken for zero are most of the bound, too."""
    low = 0 if form is FLOAT16 else form.lowest // 2 + 8
    at = {"": (0, 0, 0, 0), "x": (2 * low, 2 * low, 0, 2 * low), "xs": (low, low, low, 2 * low)}[small]
    x, c, s, b = (drawn(seed + k, 2, form, bool(errors >> k & 1), size) for k, size in enumerate(at))
    found = x.affine(c, s, b if shifted else None)
    columns = (exactly(part) for each in (x, c, s, b) for part in (each.value, each.bound))
    for k, (x_, ex, c_, ec, s_, es, b_, eb) in enumerate(zip(*columns, strict=True)):
        first = gamma(1, form.u) + gamma(3, U64)
        second = gamma(2, form.u) + gamma(4, U64)
        off = ex + first * (abs(x_) + ex) + ec + second * (abs(c_) + ec)
        carried = abs(x_ - c_) * es + off * abs(s_) + off * es
        carried += 2 * Fraction(form.smallest) + Fraction(form.flush) * (3 + 2 * abs(s_))
        carried += of_product(b_, eb, Fraction(1), Fraction(0), form) if shifted else 0
        value = (x_ - c_) * s_ + (b_ if shifted else 0)
        own = both(1, form) * (abs(value) + carried) + 2 * Fraction(form.flush)
        assert covers(found.bound[k], carried + own)


def test_scale_and_shift_of_nothing() -> None:
    zero = one(0.0)
    assert zero.affine(zero, one(3.0), None).bound.tolist() == [0]
    assert one(3.0).affine(one(1.0), zero, None).bound.tolist() == [0]
    assert one(3.0).affine(one(3.0), one(1.0), None).bound[0] > 0  # in the other formula it rounds
    assert one(0.0, 1.0).affine(zero, one(3.0), None).bound[0] > 3
    assert one(1.0).affine(zero, one(0.0, 1.0), None).bound[0] > 1


@pytest.mark.slow
@formats
@given(seed=seeds, constant=st.sampled_from([0.1, 0.5, 3.0, -0.3]))
def test_constants_are_rounded_unless_they_are_numbers_of_the_format(
    form: Format, seed: int, constant: float
) -> None:
    a, c = drawn(seed, 3, form), Fraction(constant)
    off = Fraction(0) if float(form.round(np.array(constant))) == constant else abs(c) * Fraction(form.u)
    for k, (x, e) in enumerate(zip(exactly(a.value), exactly(a.bound), strict=True)):
        assert covers((a * constant).bound[k], of_product(x, e, c, off, form))
        own = both(1, form) * (abs(x + c) + e + off) + 2 * Fraction(form.flush)
        assert covers((a + constant).bound[k], e + off + own)
    assert a.like(constant).bound == float(off)
    small = 1.25 * form.smallest  # half of the smallest number off, or taken for zero
    assert a.like(small).bound == (small if form.flush else form.smallest / 2)
    assert ((one(0.0, None, form) + small).bound > a.like(small).bound).all()
    assert a.like(np.array([form.tiny, 0.1])).bound[0] == form.u * form.tiny
    assert a.like(constant, np.array(0.25)).bound == 0.25
    assert a.like(np.array([3])).error is None
    inverse = one(1.0, 0.0, form) / a
    np.testing.assert_allclose((1.0 / a).bound, inverse.bound, rtol=APART)


# --- choices -----------------------------------------------------------------------------------


def test_either() -> None:
    a, b = np.array([1.0, 2, np.nan, 4, np.inf]), np.array([1.0, 5, np.nan, 4, 3])
    assert Bounded(a).either(Bounded(a.copy())).error is None
    assert Bounded(a).either(Bounded(b)).bound.tolist() == [0, 3, 0, 0, np.inf]
    own, other = np.array([0.5, 4, 0, 0.25, 0]), np.array([0.25, 0.5, 0, 0.5, 0])
    assert Bounded(a, own).either(Bounded(b)).bound.tolist() == [0.5, 4, 0, 0.25, np.inf]
    assert Bounded(a).either(Bounded(b, other)).bound.tolist() == [0.25, 3.5, 0, 0.5, np.inf]
    assert Bounded(np.array([np.nan])).either(Bounded(np.array([1.0]))).bound.tolist() == [np.inf]


def test_min_and_max_of_numbers_that_may_be_taken_for_zero() -> None:
    tiny = FLOAT32.tiny / 2
    x = np.array([[tiny, 1.0], [0.0, -2.0]], np.float32)
    assert Bounded(x).min((1,)).bound.tolist() == [[tiny + FLOAT32.tiny], [0]]
    assert Bounded(x[:, :1]).max((0,)).bound.tolist() == [[tiny + FLOAT32.tiny]]
    assert Bounded(np.abs(x)).max((1,)).error is None
    edge = Bounded(BFLOAT16.round(np.array([[BFLOAT16.tiny], [tiny]])), None, BFLOAT16).max((1,))
    assert edge.bound.tolist() == [[0], [tiny + BFLOAT16.tiny]]
    assert edge.value.tolist() == [[BFLOAT16.tiny], [tiny]]
    assert edge.format is BFLOAT16
    assert Bounded(x[1:]).min((1,)).error is None
    found = Bounded(x, np.array([[0.5, 2.0], [0.25, 0.125]])).min((0,)).bound
    np.testing.assert_allclose(found, [[0.5, 0.125]], rtol=APART)  # 1 ± 2 does not reach below -2.125
    assert (
        Bounded(np.array([1e-7], np.float16)).min((0,)).error is None
    )  # float16 keeps its subnormal numbers
    assert Bounded(np.array([1, 2])).min((0,)).error is None
    two = Bounded(x[:, :1]).maximum(Bounded(np.array([[-1], [-1]], np.float32)))
    assert two.bound.tolist() == [[tiny + FLOAT32.tiny], [FLOAT32.tiny]]


def test_zero_widens_nothing_and_other_constants_stay_what_they_are() -> None:
    ones = np.ones(2, np.float16)
    assert Bounded(ones).maximum(0.0).value.dtype == np.float16
    tenth = float(np.float32(0.1))  # of float32, in which it is computed, and not of float16
    assert (Bounded(ones) * tenth).value.tolist() == [tenth] * 2


def test_maximum_to_the_bit() -> None:
    x = Bounded(np.array([-0.25, 1.0, -3.0, -0.5]), np.array([0.5, 0.5, 1.0, 2.0]))
    assert x.maximum(0.0).bound.tolist() == [0.25 + U64, 0.5, 0, 1.5 + 6 * U64]
    assert (x.maximum(0.0).value == [0, 1, 0, 0]).all()
    found = x.maximum(Bounded(np.zeros(4), np.array([0.125, 0.0, 0.0, 0.0])))
    assert found.bound.tolist()[:2] == [0.25 + U64, 0.5 + 6 * U64]


@formats
def test_what_may_be_taken_for_zero_has_itself_as_error(form: Format) -> None:
    tiny = form.tiny / 4
    x = Bounded(form.round(np.array([tiny, -tiny, 0.0, 1.0])), None, form)
    flushed = [tiny, tiny, 0, 0] if form.flush else [0] * 4
    assert x._flushed().bound.tolist() == flushed
    assert Bounded(form.round(np.array([form.tiny, -form.tiny])), None, form)._flushed().error is None
    assert Bounded(form.round(np.array([form.tiny, tiny])), None, form)._flushed().bound[0] == 0
    assert x._flushed().format is x.wide().format is form
    assert x.wide().bound.tolist() == flushed
    assert x.wide().settled
    assert x.wide().positive is False
    assert x.move(lambda a: a[2:]).wide().positive is True
    assert x.move(lambda a: a[:0]).wide().positive is True
    assert Bounded(np.array([3])).wide().settled is False
    assert Bounded(np.array([tiny]), np.array([0.0]), form)._flushed().bound.tolist() == [0]


@pytest.mark.parametrize("place", [0, 3, 9])
def test_small_numbers_are_looked_for_in_parts(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_module, "LOOKED_AT", 4)
    x = np.ones((10, 1), np.float32)
    assert Bounded(x)._flushed().error is None
    x[place] = -1e-40
    assert np.flatnonzero(Bounded(x)._flushed().bound).tolist() == [place]
    assert np.flatnonzero(Bounded(x.T)._flushed().bound).tolist() == [place]
    assert Bounded(np.array([[0], [0], [0], [0], [0], [1]], np.float32))._flushed().error is None


def test_a_sum_that_overflows_on_the_way_in_some_order() -> None:
    def bound(*terms: float) -> float:
        return float(Bounded(np.array(terms, np.float16), None, FLOAT16).sum((0,)).bound.item())

    assert bound(6e4, 6e4, 6e4, -6e4) == np.inf
    assert bound(6e4, -6e4, 5e4, -5e4) == np.inf
    assert bound(6e4, 1e4, -1) == np.inf
    assert np.isfinite(bound(65504, -1))  # no partial sum is above the largest number
    assert np.isfinite(bound(6e4, 6e4, 6e4))  # overflows in every order: the value says so
    assert np.isfinite(bound(6e4, 1e3, -6e4, -1e3))
    ones = Bounded(np.ones((4, 1), np.float16), None, FLOAT16)
    row = Bounded(np.array([[6e4, 6e4, 6e4, -6e4]], np.float16), None, FLOAT16)
    assert row.dot(ones).bound.tolist() == [[np.inf]]


# --- integers and formats ----------------------------------------------------------------------


def test_integers_carry_their_errors_and_keep_their_type() -> None:
    a = Bounded(np.array([[100, 50], [3, -4]], np.int8), np.array([[1.0, 0], [2, 5]]))
    total = a.sum((1,))
    assert total.value.dtype == np.int8
    assert total.value.tolist() == [[-106], [-1]]  # as int8 adds
    assert total.bound.tolist() == [[1], [7]]
    assert a.cumsum(1).value.tolist() == [[100, -106], [3, -1]]
    assert a.cumsum(1).bound.tolist() == [[1, 1], [2, 7]]
    assert Bounded(a.value).cumsum(0).error is None
    assert (a + a).bound.tolist() == [[2, 0], [4, 10]]
    assert (a + 3).value.dtype == (a * 2).value.dtype == (a - 1).value.dtype == np.int8
    assert (a * Bounded(np.array([[3, 4]]))).bound.tolist() == [[3, 0], [6, 20]]
    assert (a + Bounded(a.value)).bound.tolist() == (Bounded(a.value) + a).bound.tolist() == [[1, 0], [2, 5]]
    assert Bounded(np.array([[True, True]])).sum((1,)).value.tolist() == [[2]]
    assert Bounded(np.array([[True, True]])).cumsum(1).value.tolist() == [[1, 2]]
    assert Bounded(np.array([[True, True]])).prod((1,)).value.dtype == np.int64
    assert Bounded(a.value).prod((1,)).value.dtype == np.int8
    threes = Bounded(np.array([[3, 5], [2, 2]])).prod((1,))
    assert threes.value.tolist() == [[15], [4]]
    assert threes.error is None
    wide = Bounded(np.array([[1, 2]]), np.array([[1.0, 0.0]])).dot(Bounded(np.array([[3], [4]])))
    assert (wide.value.tolist(), wide.bound.tolist()) == ([[11]], [[3]])
    both_off = Bounded(np.array([[1, 2]])).dot(Bounded(np.array([[3], [4]]), np.array([[1.0], [2.0]])))
    assert both_off.bound.tolist() == [[5]]
    assert abs(a).bound.tolist() == a.bound.tolist()
    side = a.join([a], 1)
    assert side.value.shape == side.bound.shape == (2, 4)
    assert Bounded(a.value).join([Bounded(a.value)], 1).value.shape == (2, 4)
    biased = Bounded(np.array([[1, 2]])).dot(Bounded(np.array([[3], [4]])), Bounded(np.array([7])))
    assert (biased.value.tolist(), biased.error) == ([[18]], None)
    mixed = Bounded(np.array([[1, 2]])).dot(Bounded(np.array([[0.5], [0.25]], np.float32)))
    assert mixed.value.tolist() == [[1]]
    assert mixed.bound[0, 0] > 0
    assert (Bounded(np.array([3])) * Bounded(np.array([0.5], np.float32))).bound[0] > 0
    assert (Bounded(np.array([3])) + Bounded(np.array([0.5], np.float32))).bound[0] > 0


def test_exact_functions_keep_integers_and_others_widen_them() -> None:
    same, larger = Function("same", lambda x: x, exact=True), Function("larger", np.maximum, exact=True)
    large = Bounded(np.array([2**53 + 1]))
    assert large.apply(same).value.tolist() == [2**53 + 1]
    assert large.apply(larger, 3).value.tolist() == [2**53 + 1]
    assert Bounded(np.array([1.0])).apply(larger, 3.0).value.tolist() == [3]
    assert Bounded(np.array([100], np.int8)).apply(Function("cube", lambda x: x**3)).value.tolist() == [10**6]


HALF = Function("half", lambda x: x / 2, monotone=True)
SIGN = Function("sign", np.sign, monotone=True, exact=True)
OPERATIONS: dict[str, Callable[[Bounded], Any]] = {
    "+": lambda a: a + a,
    "*": lambda a: a * a,
    "times one": lambda a: a * 1.0,
    "/": lambda a: a / a,
    "1/": lambda a: 1.0 / a,
    "0.1/": lambda a: 0.1 / a,
    "-": lambda a: -a,
    "abs": abs,
    "sum": lambda a: a.sum((0,)),
    "sum of one": lambda a: a.sum((1,)),
    "max": lambda a: a.max((0,)),
    "min": lambda a: a.min((0,)),
    "prod": lambda a: a.prod((0,)),
    "prod of one": lambda a: a.prod((1,)),
    "cumsum": lambda a: a.cumsum(0),
    "maximum": lambda a: a.maximum(a),
    "relu": lambda a: a.maximum(0.0),
    "divided": lambda a: a.divided(3),
    "apply": lambda a: a.apply(HALF),
    "exact": lambda a: a.apply(SIGN),
    "join": lambda a: a.join([a], 0),
    "like": lambda a: a.like(0.1),
    "either": lambda a: a.either(a * 2.0),
    "move": lambda a: a.reshape(-1),
    "wide": lambda a: a.wide(),
    "affine": lambda a: a.affine(a, a, a),
    "dot": lambda a: a.dot(a.transpose(1, 0)),
}


@pytest.mark.parametrize("errors", [False, True])
@pytest.mark.parametrize("integers", [False, True])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_format_goes_along(operation: str, integers: bool, errors: bool) -> None:
    value = np.array([[1], [2], [3]], np.int64 if integers else np.float16)
    if integers and operation in (
        "/",
        "1/",
        "apply",
        "affine",
        "divided",
        "either",
        "like",
        "relu",
        "times one",
    ):
        return
    found = OPERATIONS[operation](Bounded(value, np.full((3, 1), 0.5) if errors else None, FLOAT16))
    assert found.format is FLOAT16
    assert found.value.shape == found.bound.shape


SILENT = ("+", "*", "/", "1/", "prod", "apply", "exact", "join", "like", "either", "divided", "times one")


@pytest.mark.parametrize("operation", SILENT)
@pytest.mark.parametrize("form", [FLOAT32, BFLOAT16], ids=lambda form: form.name)
def test_values_and_errors_without_end_warn_nobody(operation: str, form: Format) -> None:
    with np.errstate(all="ignore"):
        x = form.round(np.array([[1e200], [-np.inf], [np.inf], [np.nan], [0.0], [1e-30], [1.0]]))
    ends = np.array([[0.0], [np.inf], [0.0], [1.0], [np.inf], [1.0], [np.finfo(float).max / 2]])
    with np.errstate(over="raise", invalid="raise", divide="raise"):  # of which NumPy warns
        for some in (Bounded(x, None, form), Bounded(x, ends, form), Bounded(x, ends[::-1], form)):
            OPERATIONS[operation](some)
        OPERATIONS[operation](Bounded(x[[2, 4]], None, form))  # infinity and zero
        OPERATIONS[operation](Bounded(x[5:], np.full((2, 1), 1e300), form))
        Bounded(x, ends, form).divided(2)  # rounds nothing, not even infinity
