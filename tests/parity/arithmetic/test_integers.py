"""Exact integers: each operation's value, its grid, and the first number that it refuses."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from parity.arithmetic import Function, Integers, TooWide, integers
from parity.arithmetic.integers import check_width, common_grid, on_one_grid, product
from parity.errors import Unjudged, UserError


def grid(*units: Any, exponent: int = 0) -> Integers:
    return Integers(np.array(units, np.int64), exponent)


def same(found: Integers, units: Any, exponent: int) -> None:
    assert found.units.tolist() == units
    assert found.exponent == exponent


def square(*rows: list[int], exponent: int = 0) -> Integers:
    return Integers(np.array(rows, np.int64), exponent)


HALF, HUGE = 2**62, 2**63 - 1
SQUARE = Function("square", np.square)


def test_values_and_grids() -> None:
    a, b = grid(6, -4, exponent=-1), grid(1, 3, exponent=1)
    same(a + b, [10, 8], -1)
    same(b + a, [10, 8], -1)
    same(a - b, [2, -16], -1)
    same(a * b, [6, -12], 0)
    same(a + 1, [8, -2], -1)
    same(a * 0.5, [6, -4], -2)
    same(-a, [-6, 4], -1)
    same(abs(a), [6, 4], -1)
    same(a.sum((0,)), [2], -1)
    same(a.max((0,)), [6], -1)
    same(a.min((0,)), [-4], -1)
    same(a.prod((0,)), [-24], -2)
    same(a.cumsum(0), [6, 2], -1)
    same(a.divided(8), [6, -4], -4)
    same(a.divided(1), [6, -4], -1)
    same(a.maximum(0), [6, 0], -1)
    same(a.maximum(0.0), [6, 0], -1)
    same(a.maximum(1.0), [6, 2], -1)
    same(a.maximum(b), [6, 12], -1)
    same(a.join([b], 0), [6, -4, 4, 12], -1)
    same(a.like(0.75), 3, -2)
    same(a.like(0.75, np.zeros(())), 3, -2)
    same(a.either(grid(12, -8, exponent=-2)), [6, -4], -1)
    same(a.reshape(2, 1), [[6], [-4]], -1)
    same(
        Integers(np.array([[1, 2], [3, 4]]), 0).join([Integers(np.array([[5], [6]]), 1)], 1),
        [[1, 2, 10], [3, 4, 12]],
        0,
    )
    four = square([1, 2], [3, 4], exponent=2)
    same(four.sum((1,)), [[3], [7]], 2)
    same(four.min((1,)), [[1], [3]], 2)
    same(four.max((0,)), [[3, 4]], 2)
    same(four.prod((1,)), [[2], [12]], 4)
    same(four.cumsum(1), [[1, 3], [3, 7]], 2)
    assert a.comparable.tolist() == [6, -4]
    assert a.peak() == 6
    assert grid(2, -9).peak() == 9
    assert Integers(np.zeros(0, np.int64), 0).peak() == 0


@pytest.mark.parametrize(
    ("fits", "refused"),
    [
        (lambda: grid(HALF) + grid(HALF - 1), lambda: grid(HALF) + grid(HALF)),
        (lambda: grid(1, exponent=62) + grid(HALF - 1), lambda: grid(1, exponent=62) + grid(HALF)),
        (lambda: grid(HALF - 1) + grid(1, exponent=62), lambda: grid(HALF) + grid(1, exponent=62)),
        (lambda: grid(2**31) * grid(2**31), lambda: grid(2**32) * grid(2**31)),
        (lambda: grid(HALF, HALF - 1).sum((0,)), lambda: grid(HALF, HALF).sum((0,))),
        (lambda: grid(HALF, -HALF + 1).sum((0,)), lambda: grid(HALF, -HALF).sum((0,))),
        (lambda: grid(2**31, 1).prod((0,)), lambda: grid(2**32, 1).prod((0,))),
        (lambda: grid(HALF - 1, 1).cumsum(0), lambda: grid(HALF, 1).cumsum(0)),
        (lambda: grid(HUGE).join([grid(1)], 0), lambda: grid(HUGE).join([grid(1, exponent=-1)], 0)),
        (
            lambda: grid(1, exponent=62).maximum(grid(1)),
            lambda: grid(1, exponent=63).maximum(grid(1)),
        ),
        (
            lambda: square([HALF, HALF - 1]).dot(square([1], [1])),
            lambda: square([HALF, HALF]).dot(square([1], [1])),
        ),
        (
            lambda: square([HALF]).dot(square([1]), grid(HALF - 1)),
            lambda: square([HALF]).dot(square([1]), grid(HALF)),
        ),
        (
            lambda: square([1], exponent=62).dot(square([1]), grid(HALF - 1)),
            lambda: square([1], exponent=62).dot(square([1]), grid(HALF)),
        ),
        (
            lambda: square([HALF - 1]).dot(square([1]), grid(1, exponent=62)),
            lambda: square([HALF]).dot(square([1]), grid(1, exponent=62)),
        ),
        (lambda: square([HALF, 0], [0, HALF]).sum((1,)), lambda: square([HALF, HALF], [0, 0]).sum((1,))),
        (lambda: check_width(HUGE, 0), lambda: check_width(HUGE + 1, 0)),
    ],
)
def test_the_first_number_that_int64_does_not_hold(
    fits: Callable[[], Any], refused: Callable[[], Any]
) -> None:
    fits()
    with pytest.raises(TooWide):
        refused()


def test_what_is_refused_says_how_wide_and_on_which_grid() -> None:
    for case, bound, exponent in (
        (lambda: grid(HALF, exponent=3) + grid(HALF, exponent=3), 2**63, 3),
        (lambda: grid(2**32, exponent=3) * grid(2**31, exponent=-1), 2**63, 2),
        (lambda: grid(HALF, HALF, exponent=3).sum((0,)), 2**63, 3),
        (lambda: grid(2**32, 1, exponent=3).prod((0,)), 2**64, 6),
        (lambda: grid(HALF, 1, exponent=3).cumsum(0), 2**63, 3),
        (lambda: grid(HUGE, exponent=3).join([grid(1, exponent=2)], 0), 2 * HUGE, 2),
        (lambda: grid(2**32, 1).reshape(1, 2).dot(grid(2**31, 0).reshape(2, 1)), 2**63, 0),
    ):
        with pytest.raises(TooWide) as refused:
            case()
        assert (refused.value.bound, refused.value.exponent) == (bound, exponent)
        assert (
            str(refused.value) == f"a sum: needs {bound.bit_length()} bits, int64 has 63; take exact weights"
        )
        assert refused.value.args == (bound, exponent)
    with pytest.raises(TooWide) as refused:
        check_width(2**63, 5, (1, 2))
    assert refused.value.unit == (1, 2)


@pytest.mark.parametrize(
    ("case", "what"),
    [
        (lambda: grid(1) / 3.0, "a division in exact integers"),
        (lambda: 1.0 / grid(1), "a division in exact integers"),
        (lambda: grid(1).divided(3), "a division by 3 in exact integers"),
        (lambda: grid(1).divided(6), "a division by 6 in exact integers"),
        (lambda: grid(1).apply(SQUARE), "square in exact integers"),
        (lambda: grid(1, 2).either(grid(1, 3)), "a choice that rounding decides in exact integers"),
        (
            lambda: grid(1).like(np.array([0.5, 1]), np.array([0.0, 0.1])),
            "a constant that implementations round in exact integers",
        ),
    ],
)
def test_what_would_round_is_refused(case: Callable[[], Any], what: str) -> None:
    with pytest.raises(Unjudged) as refused:
        case()
    assert str(refused.value) == what


def test_the_narrowest_type_that_holds_them() -> None:
    for peak, kind in ((2**15 - 1, np.int16), (2**15, np.int32), (2**31 - 1, np.int32), (2**31, np.int64)):
        assert grid(peak, -1).wide().units.dtype == kind
        same(grid(peak, -1, exponent=3).wide(), [peak, -1], 3)
    narrow = grid(2**15 - 1, 2**15 - 1).wide()
    same(narrow + narrow, [2**16 - 2] * 2, 0)
    same(narrow * narrow, [(2**15 - 1) ** 2] * 2, 0)
    same(narrow + grid(1, 1, exponent=-30), [(2**15 - 1) * 2**30 + 1] * 2, -30)


def test_grids() -> None:
    assert common_grid((3, -1), (2, 2)) == (-1, [0, 3])
    assert common_grid((0, -9), (2, 2)) == (2, [0, 0])
    assert common_grid((0, -9), (0, 2)) == (-9, [0, 0])
    exponent, arrays = on_one_grid(grid(1, exponent=2), grid(1, exponent=-1), grid(0, exponent=-5))
    assert (exponent, [array.tolist() for array in arrays]) == (-1, [[8], [1], [0]])


@pytest.mark.parametrize("load", [2**24 - 1, 2**24, 2**53 - 1, 2**53, 2**62])
def test_products_by_floats_only_below_their_last_exact_integer(load: int) -> None:
    odd = load // 2 * 2 - 1
    found = product(np.array([[odd, 1]]), np.array([[1], [1 - odd % 2]]), load)
    assert found.dtype == np.int64
    assert found.tolist() == [[odd]]
    assert product(np.array([[odd]]), np.array([[-1]]), load).tolist() == [[-odd]]


def test_the_largest_row_or_column_of_a_product_is_named() -> None:
    a, b = np.array([[2**40, 2**40], [0, 1]]), np.array([[1, 0], [0, 2**30]])
    with pytest.raises(TooWide) as refused:  # by columns the bound is smaller: the second one
        Integers(a, 0).dot(Integers(b, 0))
    assert (refused.value.unit, refused.value.bound) == ((1,), 2**70)
    with pytest.raises(TooWide) as refused:
        Integers(b[::-1], 0).dot(Integers(a, 0))
    assert (refused.value.unit, refused.value.bound) == ((0,), 2**70)
    same(Integers(a, 0).dot(Integers(b[:, :1], 1), grid(5)), [[2**41 + 5], [5]], 0)
    same(grid(3, 4).reshape(1, 2).dot(grid(5, 6).reshape(2, 1)), [[39]], 0)
    with pytest.raises(TooWide) as refused:
        square([1], [HALF], exponent=3).dot(square([1]), grid(HALF, exponent=3))
    assert (refused.value.unit, refused.value.bound, refused.value.exponent) == ((1,), 2**63, 3)
    same(grid(3, 4).reshape(1, 2).dot(grid(5, 6).reshape(2, 1), grid(5, exponent=2)), [[59]], 0)


def test_a_product_of_several_matrices_is_as_wide_as_its_widest_row() -> None:
    """2^62 fits; the sum of such a column would not."""
    several = Integers(np.array([[[HALF, 0], [HALF, 0]]]), 0)
    same(several.dot(square([1], [1])), [[[HALF], [HALF]]], 0)


def test_there_need_be_nothing() -> None:
    nothing = Integers(np.zeros((0, 2), np.int64), 0)
    assert nothing.sum((1,)).shape == (0, 1)
    assert nothing.sum((0,)).units.tolist() == [[0, 0]]
    assert nothing.dot(square([1], [2])).shape == (0, 1)
    assert nothing.dot(square([2**40], [2**40]), grid(1)).shape == (0, 1)
    same(nothing.transpose(1, 0).dot(nothing), [[0, 0], [0, 0]], 0)
    assert square([2**40, 1]).dot(nothing.transpose(1, 0)).shape == (1, 0)


def test_floats_are_taken_as_they_are_and_given_back() -> None:
    same(integers(np.array([0.75, -3.0, 0.0])), [3, -12, 0], -2)
    same(integers(np.zeros(2)), [0, 0], 0)
    same(integers(6.0), 3, 1)
    same(integers(np.array([1.5, 0.25], np.float16)), [6, 1], -2)
    same(integers(np.array([2.0**53 - 1, 1 - 2.0**53])), [2**53 - 1, 1 - 2**53], 0)
    same(integers(np.array([2.0**-100, 0])), [1, 0], -100)
    same(integers(np.array([0, 2.0**100, 2.0**61 * 3])), [0, 2**39, 3], 61)
    with pytest.raises(UserError, match=r"^input: a NaN or an infinity"):
        integers(np.nan)
    with pytest.raises(TooWide, match=r"^w: needs 64 bits") as refused:
        integers(np.array([2.0**-50, 2.0**12]), "w")
    assert (refused.value.bound, refused.value.exponent) == (2**63, -50)
    assert grid(3, -12, exponent=-2).to_float("float64").tolist() == [0.75, -3]
    for units, exponent, dtype in (
        (2**53 + 1, 0, "float64"),
        (2**62, 0, "float64"),
        (2**24 + 1, 0, "float32"),
        (1, -127, "float32"),
        (1, 128, "float32"),
    ):
        with pytest.raises(UserError, match="would round"):
            grid(units, exponent=exponent).to_float(dtype)
    assert grid(2**61).to_float("float64").tolist() == [2.0**61]
    assert grid(1, exponent=-126).to_float().tolist() == [2.0**-126]
    assert grid(1, exponent=127).to_float().tolist() == [2.0**127]
