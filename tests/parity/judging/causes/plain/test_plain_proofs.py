"""When a mistake is proven; of many that are tried, as pairs and numbers are, more proof is asked for."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from parity.arithmetic import Bounded, Number
from parity.errors import Unjudged
from parity.judging.causes.mistake import Changed
from parity.judging.causes.search.first_look import Look
from parity.judging.causes.search.hypotheses import Clock, Made
from parity.judging.causes.search.pairs import two_mistakes
from parity.judging.causes.search.stretch import Stretch
from parity.judging.causes.search.wrong import Wrong
from parity.operators.activation import LeakyRelu, Relu
from tests.parity.judging.causes.small_graphs import Array, N, graph_of
from tests.parity.judging.causes.three_nodes import (
    RIGHT,
    WIDE,
    X,
    leaky,
    mistake,
    operator_of,
    question,
    stretch,
    wrong,
    wrong_in,
)

SLOPE = 0.125
FOUND = -leaky(WIDE, SLOPE)
ERRORS = np.abs(FOUND - RIGHT)


def steep(bound: Array | float) -> Stretch:
    """The candidate's mistake, with at least this bound."""

    def widened(y: Number, inputs: Any) -> Number:
        return Bounded(y.value, y.bound + bound, y.format) if isinstance(y, Bounded) else y

    made = Changed(operator_of(2), after=widened)
    return stretch().with_mistakes({1: mistake(LeakyRelu(alpha=SLOPE)), 2: mistake(made)})


def proven(one: Wrong, operator: Stretch) -> tuple[bool, bool]:
    """Of a mistake that was tried by itself, and of one of many."""
    return one.explained_by(operator), one.explained_by(operator, strict=True)


def test_more_than_half_of_the_errors_must_be_outside_of_the_bound_or_the_loop_decides():
    """Which it does of one mistake alone: of many that are tried, one is within a wide bound by accident."""
    one, sizes, half = wrong(FOUND), np.sort(ERRORS[ERRORS > 0]), (ERRORS > 0).sum() // 2
    assert 2 * half == len(sizes)
    for within in (0, half - 1, half, half + 1, len(sizes) - 1):
        bound = float(sizes[within - 1 : within + 1].mean()) if within else 0.0
        assert proven(one, steep(bound)) == (True, within < half), within


def test_a_bound_that_holds_all_errors_proves_nothing():
    """Though it is smaller than the values, and a loop with the mistake comes nearer than one without it."""
    assert ERRORS.max() < 0.5 < np.sqrt((FOUND**2).mean())
    assert proven(wrong(FOUND), steep(0.5)) == (False, False)


@pytest.mark.parametrize("verdict", ["different", "coarse"])
def test_of_errors_within_the_right_bound_the_loop_decides(verdict):
    """All together are wrong, but none by itself; or they are less accurate than a loop."""
    one = wrong(FOUND, verdict)
    if verdict == "different":
        one = replace(one, right=replace(one.right, error=np.full(FOUND.shape, 0.5)))
    assert proven(one, steep(0.0)) == (True, False)


def test_most_of_what_is_explained_must_lie_where_the_bound_is_smaller_than_the_values():
    one, squares = wrong(FOUND, "coarse"), ERRORS.ravel() ** 2
    order = np.argsort(-squares)
    elsewhere = 1 - np.cumsum(squares[order]) / squares.sum()
    for count, share in enumerate(elsewhere[: (squares > 0).sum() - 1], start=1):
        bound = np.zeros(FOUND.size)
        bound[order[:count]] = 10.0
        assert proven(one, steep(bound.reshape(FOUND.shape))) == (share > 0.5, False), share
    assert ((elsewhere > 1 / 3) & (elsewhere < 0.5)).any()


@pytest.mark.parametrize(("digits", "expected"), [(30, False), (24, False), (23, False), (18, True)])
def test_a_mistake_explains_more_than_a_loop_may_be_off(digits, expected):
    """A change by a rounding is larger than what remains of it, but not by as much as a loop may be off."""
    factor = 1 + 2.0**-digits
    hardly = Changed(operator_of(2), after=lambda y, inputs: y * factor)
    one = wrong(RIGHT * factor, "coarse")
    assert one.explained_by(stretch().with_mistakes({2: mistake(hardly)})) == expected
    explained, remains = (((one.seen - right) ** 2).sum() for right in (RIGHT, RIGHT * factor))
    assert (explained > 2 * remains) == (digits < 30)


def test_values_are_within_one_bound():
    one, right = wrong(FOUND), Bounded(FOUND, np.full(FOUND.shape, 0.25))
    assert one._inside(FOUND + 0.24, right)
    assert not one._inside(FOUND + 0.26, right)


@pytest.mark.parametrize("error", [Unjudged, ValueError])
def test_what_cannot_be_computed_explains_nothing(error):
    def fails(y: Number, inputs: Any) -> Number:
        raise error("not of this")

    failing = stretch().with_mistakes({1: mistake(Changed(Relu(), after=fails))})
    assert proven(wrong(FOUND), failing) == (False, False)


def test_of_a_sample_no_other_value_is_looked_at():
    """Two samples of four are drawn: one for the bound, one for the loop."""
    one, given = wrong(FOUND), question(stretch(), {"x": X})
    samples, explained = set[str](), set[tuple[int, ...]]()
    for place in np.ndindex(FOUND.shape):
        found = one.found.copy()
        found[place] += 1
        some = Wrong.of(one.report, given, found, 4)
        samples.add(str(some.points))
        if some.explained_by(steep(0.0)):
            explained.add(place)
    assert len(samples) == 1
    assert explained
    assert not explained & set(zip(*(axis.tolist() for axis in some.points), strict=True))


def test_text_is_explained_by_the_same_text_alone():
    one, text, number = wrong(FOUND), np.array(["1", "b"]), np.array([1.0, 2.0])
    assert one._inside(text, Bounded(text))
    assert not one._inside(text, Bounded(text[::-1]))
    assert not one._inside(text[:1], Bounded(number[:1]))
    assert not one._inside(number[:1], Bounded(text[:1]))
    for seen, right in ((text, number), (number, text), (text, text)):
        other = replace(one, seen=seen, right=Bounded(right))
        assert other._narrow_share(Bounded(text)) == 1


def test_two_mistakes_of_one_node_are_looked_at_where_a_rounding_follows():
    """Of one alone, the place that it chooses may be another in float64, and it is not looked at."""
    graph = graph_of([N("Relu", ["x"], ["r"]), N("Floor", ["r"], ["f"]), N("Neg", ["f"], ["y"])], {}, "x")

    def pairs_for(found: Array) -> list[Made]:
        look = Look(wrong_in(graph, found, x=X))
        both = LeakyRelu(alpha=0.5), Changed(Relu(), after=lambda y, inputs: y * 8.0)
        made = [
            Made(look.stretch.nodes[:1], (one,), look.stretch.with_mistakes({0: one}), (0,), 0)
            for one in map(mistake, both)
        ]
        return list(two_mistakes(look, made, Clock(np.inf, 0.0)))

    assert len(pairs_for(-np.floor(8 * leaky(X.astype(float), 0.5)))) == 1
    assert pairs_for(5 - np.floor(8 * leaky(X.astype(float), 0.5))) == []
