"""What errors make of a result, in numbers that float64 holds exactly: to the bit."""

from collections.abc import Sequence

import numpy as np
import pytest

from parity.arithmetic import Function
from parity.arithmetic.floats import U64
from parity.arithmetic.intervals import carried_by, held, reach, rise, through

INF, NAN = np.inf, np.nan
SQUARE = Function("square", np.square, slope=8.0)
DOUBLE = Function("double", lambda x: 2 * x, monotone=True)
PLUS = Function("plus", np.add, monotone=True)
FLOOR = Function("floor", lambda x: np.floor_divide(x, 2), monotone=True, exact=True)
NOT = Function("not", np.logical_not, monotone=True, exact=True)


def an_array(*values: float) -> np.ndarray:
    return np.array(values, np.float64)


MINUS = Function("minus one", lambda x: x - 1, monotone=True)
LARGER = Function("larger", np.maximum, monotone=True, exact=True)


@pytest.mark.parametrize("dtype", [np.int8, np.bool_, np.str_, np.float16, np.float64])
def test_held_widens_floats_alone(dtype: type) -> None:
    x: np.ndarray = np.zeros(2, dtype)
    assert held(x).dtype == (np.float64 if x.dtype.kind == "f" else x.dtype)
    assert list(held(x)) == list(x)


@pytest.mark.parametrize(
    ("lowest", "value", "highest", "far"),
    [
        (1, 2, 4, 2 + 16 * U64),
        (-8, 2, 4, 10 + 32 * U64),
        (2, 2, 2, 8 * U64),
        (INF, INF, INF, 0),
        (-INF, -INF, -INF, 0),
        (1, INF, INF, INF),
        (NAN, 1, NAN, INF),
    ],
)
def test_reach_is_to_the_farther_end_and_its_rounding(
    lowest: float, value: float, highest: float, far: float
) -> None:
    with np.errstate(all="raise"):
        found = reach(an_array(lowest, 1), an_array(value, 2), an_array(highest, 4), None)
    assert found.tolist() == [far, 2 + 16 * U64]


def test_reach_is_no_wider_than_the_widest() -> None:
    ends = an_array(1, 1, 1), an_array(2, 2, 2), an_array(4, 4, 4)
    assert reach(*ends, an_array(1, 2, 3)).tolist() == [1, 2, 2 + 16 * U64]


def test_rise_is_to_the_highest_end_and_its_rounding() -> None:
    with np.errstate(all="raise"):
        found = rise(an_array(2, -4), an_array(4, -2), lambda: an_array(1, 1))
    assert found.tolist() == [2 + 16 * U64, 2 + 8 * U64]  # there was no need to look at the errors
    same = rise(an_array(2, 2, 2), an_array(2, 2, 4), lambda: an_array(0, 1, 9))
    assert same.tolist() == [0, 8 * U64, 2 + 16 * U64]
    with np.errstate(all="raise"):
        assert rise(an_array(INF), an_array(INF), lambda: an_array(0)).tolist() == [INF]
        assert rise(an_array(1, INF), an_array(2, INF), lambda: an_array(1, 1)).tolist() == [1 + 8 * U64, INF]
        assert rise(an_array(), an_array(), an_array).shape == (0,)


def one(function: Function, x: np.ndarray, error: np.ndarray | None) -> list[float]:
    return through(function, [x], [error], np.asarray(function.f(x))).tolist()


def test_through_a_function_that_is_not_monotone_its_slope_counts() -> None:
    x = an_array(1, 2, 3)
    assert one(SQUARE, x, an_array(0, 0.5, 2)) == [0, 4, 16]
    both = Function("product", np.multiply, slope=2.0)
    assert through(both, [x, x], [an_array(1, 0, 0), an_array(1, 2, 0)], x * x).tolist() == [4, 4, 0]
    wild = Function("wild", np.square)
    with np.errstate(invalid="ignore"):
        assert through(wild, [x], [an_array(0, 1, 0)], x * x).tolist() == [0, INF, 0]


def test_through_a_monotone_function_its_ends_count() -> None:
    x, error = an_array(1, 2), an_array(0, 1)
    assert one(DOUBLE, x, error) == [0, 2 + 32 * U64]  # 3 is rounded up to 3 + 4 U64
    found = through(PLUS, [x, x], [error, None], x + x).tolist()
    assert found == [0, 1 + 20 * U64]
    found = through(PLUS, [x, x], [error, an_array(1, 1)], x + x)
    assert found.tolist() == [1 + 16 * U64, 2 + 32 * U64]


def test_through_a_monotone_function_no_more_than_its_slope() -> None:
    steep = Function("step", lambda x: 8.0 * (x > 1), monotone=True, slope=2.0)
    assert one(steep, an_array(1), an_array(0.75)) == [1.5]
    two = Function("steps", lambda x, y: 8.0 * (x > 1) + 0 * y, monotone=True, slope=2.0)
    x = an_array(1)
    assert through(two, [x, x], [an_array(1), an_array(1)], two.f(x, x)).tolist() == [8 + 32 * U64]


@pytest.mark.parametrize(
    ("dtype", "values", "errors", "far"),
    [
        (np.int8, [4, 5, 127, -128], [2, 0, 2, 3], [1, 0, 1, 1]),
        (np.uint8, [1, 4, 255, 0], [3, 4, 2, 0], [2, 2, 1, 0]),
        (np.int64, [7, -7, 0, 8], [0.25, 1, 1, 2], [0, 1, 1, 1]),
    ],
)
def test_integers_end_at_whole_numbers_and_in_their_range(
    dtype: type, values: Sequence[int], errors: Sequence[float], far: Sequence[float]
) -> None:
    assert one(FLOOR, np.array(values, dtype), np.array(errors, float)) == list(far)


def test_truth_values_end_at_both() -> None:
    assert one(NOT, np.array([True, False, True]), an_array(1, 1, 0)) == [1, 1, 0]
    same = Function("same", lambda x: x.astype(np.int64) * 8, monotone=True, exact=True)
    assert one(same, np.array([True, False]), an_array(1, 5)) == [8, 8]


def test_ends_of_integers_are_integers() -> None:
    bits = Function("last bits", lambda x: x & 7, monotone=True, exact=True)
    assert one(bits, np.array([2]), an_array(1)) == [1]


A, B = np.array([[1.0, -2.0]]), np.array([[4.0], [8.0]])
EA, EB = (
    np.array([[0.5, 0.25]]),
    np.array(
        [
            [
                1.0,
            ],
            [2.0],
        ]
    ),
)


@pytest.mark.parametrize(
    ("ea", "eb", "carried"),
    [(None, None, None), (EA, None, 4), (None, EB, 5), (EA, EB, 10), (0 * EA, 0 * EB, None), (EA, 0 * EB, 4)],
)
def test_carried_by_a_product(ea: np.ndarray | None, eb: np.ndarray | None, carried: float | None) -> None:
    found = carried_by(np.matmul, A, ea, B, eb)
    assert (found is None) == (carried is None)
    assert found is None or found.tolist() == [[carried]]


def test_an_error_behind_zeros_is_found() -> None:
    found = carried_by(np.multiply, an_array(1, 2), an_array(0, 3), an_array(4, 5), None)
    assert found is not None
    assert found.tolist() == [0, 15]
    assert carried_by(np.multiply, np.zeros(0), np.zeros(0), np.zeros(0), None) is None


def test_zero_times_an_unknown_error_is_unknown_unless_a_value_is_infinite() -> None:
    found = carried_by(np.multiply, an_array(0, 2), None, an_array(1, 1), an_array(INF, 1))
    assert found is not None
    assert found.tolist() == [INF, 2]
    found = carried_by(np.multiply, an_array(0, 2), an_array(0, 1), an_array(INF, 1), None)
    assert found is not None
    assert np.isnan(found[0])
    found = carried_by(np.multiply, an_array(INF, 2), None, an_array(1, 1), an_array(0, 1))
    assert found is not None
    assert np.isnan(found[0])


def test_ends_are_rounded_outwards() -> None:
    """An error that is lost beside the argument counts beside the value, which may be much smaller."""
    x, error = an_array(1 + 2.0**-10), an_array(2.0**-55)
    assert (x + error == x).all()
    assert one(MINUS, x, error) >= [2.0**-55]
    below = Function("below one", lambda x: np.minimum(x, 1) - 1, monotone=True)
    assert one(below, an_array(1), error) >= [2.0**-55]


def test_where_all_corners_of_a_choice_agree_nothing_is_open() -> None:
    x, error = an_array(5, 20, INF), an_array(0.5, 0.5, 1)
    assert through(LARGER, [x, an_array(10, 10, 10)], [error, None], np.maximum(x, 10)).tolist() == [
        0,
        (0.5 + 32 * U64) * (1 + 4 * U64),  # 20 - 0.5 and 20 + 0.5 are rounded outwards
        0,
    ]
