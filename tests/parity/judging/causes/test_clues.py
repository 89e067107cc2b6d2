"""What is said of a wrong tensor that no mistake explains: a factor, limits, an order, a part."""

from typing import Any

import numpy as np
import pytest

from parity.arithmetic import Bounded
from parity.arithmetic.floats import FLOAT32
from parity.judging.causes.clues import clues

Array = np.ndarray
RIGHT = np.random.default_rng(0).standard_normal((4, 3, 5, 5)) + 3


def said(found: Array, right: Array = RIGHT, bound: float = 1e-6) -> list[str]:
    return list(clues(found.astype(np.float32), Bounded(right, np.full(right.shape, bound)), FLOAT32))


def changed(*place: Any, by: float = 1.0) -> Array:
    found = RIGHT.copy()
    found[place] += by
    return found


def test_right_values_have_no_clue():
    assert said(RIGHT) == []
    assert said(RIGHT[:1, 0, 0, 0] + 1, RIGHT[:1, 0, 0, 0]) == []  # one value shows nothing


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (RIGHT * 2.5, ["every value is 2.5 times what is expected"]),
        (RIGHT * -0.25, ["every value is -0.25 times what is expected"]),
        (RIGHT + 2, ["every value is 2 more than expected"]),
        (RIGHT - 0.5, ["every value is -0.5 more than expected"]),
        (RIGHT * 1.0005, []),  # too near to 1
        (RIGHT * 2 + 0.1, []),  # neither
        (RIGHT**2, []),
    ],
)
def test_a_factor_or_a_step_of_all_values(found, expected):
    assert said(found) == expected


def test_a_factor_of_the_large_values_alone_is_none():
    """Small values, whose quotients are no guide, must fit the factor, too."""
    right = np.array([1.0, 2.0, 3.0, 1e-4])
    assert said(right * 2, right) == ["every value is 2 times what is expected"]
    assert said(right * [2, 2, 2, 5e4], right) == []


@pytest.mark.parametrize(("value", "word"), [(0.0, "zero"), (2.5, "2.5")])
def test_one_value_everywhere(value, word):
    assert said(np.full_like(RIGHT, value)) == [f"every value is {word}"]


def test_values_that_are_cut_off():
    assert said(np.minimum(RIGHT, 4)) == ["values above 4 are cut off"]
    assert said(np.maximum(RIGHT, 2.5)) == ["values below 2.5 are cut off"]
    assert said(np.clip(RIGHT, 2.5, 4)) == ["values below 2.5 are cut off", "values above 4 are cut off"]
    other = np.minimum(RIGHT, 4)
    other[np.unravel_index(RIGHT.argmin(), RIGHT.shape)] += 0.5
    assert said(other) == []


def test_the_right_values_in_other_places():
    assert said(RIGHT.swapaxes(2, 3)) == ["axes 2 and 3 are exchanged"]
    assert said(RIGHT[::-1]) == ["the items are in another order: 3, 2, 1, 0"]
    assert said(RIGHT[:, [0, 2, 1]])[0] == "the channels are in another order: 0, 2, 1"
    assert said(np.roll(RIGHT, 1, 2)) == ["the axis 2 positions are in another order: 4, 0, 1, 2, 3"]
    assert said(RIGHT[::-1] + 0.1) == []
    wide = np.random.default_rng(1).standard_normal((2, 10))
    order = "9, 8, 7, 6, 5, 4, 3, 2, …"
    assert said(wide[:, ::-1], wide) == [f"the channels are in another order: {order}"]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (changed(1), ["wrong only in items 1 of 4"]),
        (changed(slice(None), [0, 2]), ["wrong only in channels 0, 2 of 3"]),
        (changed(..., 2, slice(None)), ["wrong only in axis 2 positions 2 of 5"]),
        (changed(..., [0, 4], slice(None)), ["wrong only at the border of axis 2"]),
        (changed(..., 4), ["wrong only at the border of axis 3"]),
        (changed(2, 1), ["wrong only in items 2 of 4", "wrong only in channels 1 of 3"]),
    ],
)
def test_the_part_that_is_wrong(found, expected):
    assert said(found) == expected
