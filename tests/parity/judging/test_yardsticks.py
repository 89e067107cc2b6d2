"""The two yardsticks by themselves, with values, bounds and loops that are made up."""

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import FLOAT16, FLOAT32, FLOAT64
from parity.judging.beyond_the_bound import Excuse, _loops_fail, distance, over
from parity.judging.verdict import TensorReport, Worst
from parity.judging.walk import given
from parity.judging.yardsticks import (
    _by_plain_loop,
    _by_worst_case,
    _of_integers,
    _yardstick,
    independent,
    margin,
    wrong_shape,
)

BLANK = TensorReport("y", "y", "Made up", verdict="rounding")


def by_loop(found: Array, true: Array, bound: Array, loop: Array, shared: float = 1) -> TensorReport:
    """By an operator without bias, whose plain loop returns `loop`."""
    operator = SimpleNamespace(shared=lambda *inputs: shared)
    question: Any = SimpleNamespace(
        operator=operator,
        bounded=(),
        offset=lambda points: 0.0,
        loops=lambda points: [loop],
        without_errors=lambda: [],
    )
    return _by_plain_loop(BLANK, question, found, Bounded(true, bound), FLOAT32, (np.arange(len(true)),), 1.0)


@pytest.mark.parametrize(("off", "verdict"), [(1, "rounding"), (2, "different")])
def test_an_integer_may_be_off_as_far_as_its_bound(off: int, verdict: str) -> None:
    report = _of_integers(BLANK, np.array([5, 7 + off]), Bounded(np.array([5, 7]), np.array([0.0, 1.0])), ())
    assert (report.verdict, report.ratio, report.max_abs_error) == (verdict, off, off)
    assert report.worst == Worst((1,), 7 + off, 7)


def test_a_wrong_shape_counts_the_values_that_were_recorded() -> None:
    report = wrong_shape(BLANK, np.zeros((2, 3)), "[3, 2]")
    assert (report.values, report.note) == (6, "shape [2, 3], expected [3, 2]")


def test_only_values_whose_bound_is_larger_than_all_of_them_could_be_anything() -> None:
    """Twice as large as the largest; the loop is wrong at the first two."""
    true, wrong = np.ones(16), np.array([10.0, 10.0] + [0.0] * 14)
    bound = np.array([2.1, 1.9] + [1e-6] * 14)
    report = by_loop(true, true, bound, true + wrong)
    assert (report.verdict, report.strange) == ("undecided", 1)
    assert report.note.startswith("1 of 16 values could be anything")


def test_zeros_and_values_that_are_not_finite_would_show_no_change_of_the_weights() -> None:
    for value in (0.0, np.nan):
        values = np.full(4, value)
        assert by_loop(values, values, np.full(4, 1e-6), values).blind_below == np.inf


def test_a_loop_counts_as_no_more_accurate_than_the_smallest_number_of_its_format() -> None:
    tiny = np.array([2.0**-20])
    assert _yardstick([tiny], tiny, FLOAT16) == FLOAT16.smallest
    assert _yardstick([tiny], tiny, FLOAT32) == FLOAT32.u * tiny[0]


def test_a_recorded_tensor_is_computed_with_in_its_own_format() -> None:
    state = given(np.ones(2, np.float16), "x")
    assert state.bounded.format is state.looped.format is FLOAT16


def test_only_finite_values_are_compared_with_the_loop() -> None:
    true, found = np.ones(4), np.array([1, 1, np.inf, np.nan])
    report = by_loop(found, true, np.full(4, 1e-6), true + 1e-7)
    assert report.loop_ratio == 0


def test_values_that_share_a_reduction_count_as_fewer() -> None:
    true = np.arange(1.0, 65)
    bound = np.full(64, 1e-5)
    limits = [by_loop(true, true, bound, true + 1e-6, shared).loop_limit for shared in (1, 16)]
    assert limits == [margin(independent(true, bound), shared) for shared in (1, 16)]


def test_the_worst_value_may_lie_in_any_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parity.judging.yardsticks.AT_ONCE", 4)
    found = np.ones(12, np.float32)
    found[6] = 3
    report = _by_worst_case(BLANK, found, Bounded(np.ones(12), np.full(12, 0.5)), (), FLOAT32, True)
    assert (report.verdict, report.ratio, report.equal) == ("different", 4, 11)
    assert report.max_abs_error == 2
    assert report.worst is not None
    assert report.worst.index == (6,)


def test_bounds_prove_something_if_most_are_smaller_than_their_values() -> None:
    for bounds, proven in (([2, 2, 0.1, 0.1], False), ([2, 0.1, 0.1, 0.1], True)):
        expected = Bounded(np.ones(4), np.array(bounds))
        assert _by_worst_case(BLANK, np.ones(4), expected, (), FLOAT32, True).proven is proven


@pytest.mark.parametrize(("flushed", "proven"), [(2, True), (3, False)])
def test_a_zero_is_known_within_what_two_flushes_leave(flushed: int, proven: bool) -> None:
    """Its argument may be flushed, and itself."""
    expected, zeros = Bounded(np.zeros(4), np.full(4, flushed * FLOAT32.flush)), np.zeros(4, np.float32)
    assert _by_worst_case(BLANK, zeros, expected, (), FLOAT32, True).proven is proven


def test_a_finite_value_is_excused_by_a_loop_that_it_is_eight_times_nearer_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nearer than to zero, which is right. The last loop is right, too, and excuses nothing."""
    monkeypatch.setattr("parity.judging.beyond_the_bound.watched", lambda: nullcontext([True]))
    seen, loop = np.array([8, 9, np.inf, np.inf]), np.array([7.0, 7, 7, 1])
    question: Any = SimpleNamespace(
        at=lambda points: Bounded(np.zeros(4), np.ones(4)), loops=lambda points: [loop]
    )
    assert _loops_fail(question, (), seen, FLOAT32).tolist() == [True, False, True, False]


def test_an_excuse_is_said_behind_what_was_said_before() -> None:
    excuse = Excuse(nan=0, beyond=1, overflowed=5, tried=3, form=FLOAT16)
    assert excuse.put_on(replace(BLANK, note="before")).note == (
        "before; 1 value is too large for float16; "
        "5 values are wrong behind an overflow in float16, or a division by zero (3 of them were tried)"
    )
    said = replace(excuse, beyond=0, tried=5).put_on(BLANK)
    assert said.note == "5 values are wrong behind an overflow in float16, or a division by zero"


def test_errors_and_their_quotients_are_taken_without_a_warning() -> None:
    with np.errstate(all="raise"):
        quotients = over(np.array([1, 0, np.inf]), np.array([0, 0, np.inf]))
        far = distance(np.array([1e308]), np.array([-1e308]), np.array([1.0]), FLOAT64)
    assert quotients.tolist() == [np.inf, 0, np.inf]
    assert far == np.inf
