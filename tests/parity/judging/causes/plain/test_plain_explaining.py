"""What is named of the mistakes that were tried: given ones, not those of the catalogue."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from time import thread_time
from typing import Any

import numpy as np
import pytest

from parity.arithmetic import Number
from parity.judging.causes.mistake import Changed, Mistake
from parity.judging.causes.search import explaining
from parity.judging.causes.search.first_look import Look
from parity.judging.causes.search.hypotheses import Clock, Made
from parity.judging.causes.search.wrong import Wrong
from parity.judging.verdict import Cause, Report, TensorReport
from parity.operators.activation import LeakyRelu, Relu
from tests.parity.judging.causes.small_graphs import Array
from tests.parity.judging.causes.three_nodes import FOUND, GRAPH, LEAKY, RIGHT, X, one_made, stretch, wrong
from tests.parity.judging.causes.words import check_said


def slope(alpha: float, name: str = "leaky", **more: Any) -> Made:
    return one_made(name, LeakyRelu(alpha=alpha), **more)


def wide(y: Number, inputs: Any) -> Number:
    """A bound that admits anything."""
    return y.like(y.comparable, np.full(y.shape, 100.0))


def never() -> Clock:
    return Clock(thread_time() + 100, 0.0)


def searched(
    monkeypatch: pytest.MonkeyPatch,
    known: Sequence[Made],
    found: Array = FOUND,
    verdict: str = "different",
    clock: Clock | None = None,
    **later: Sequence[Made],
) -> tuple[list[str], list[str]]:
    """The names that are found among these mistakes, numbers that are read off, and pairs; and the lines."""
    asked: list[str] = []

    def given(name: str, some: Sequence[Made]) -> Any:
        def function(*arguments: Any) -> Iterator[Made]:
            asked.append(name)
            return iter(some)

        return function

    for name, some in {"one_mistake": known, "read_off": [], "two_mistakes": [], **later}.items():
        monkeypatch.setattr(explaining, name, given(name, some))
    result, lines = explaining._searched(wrong(found, verdict), GRAPH, clock or never())
    return [one.name for one in result] + [f"({name})" for name in asked[1:]], lines


# --- the search ----------------------------------------------------------------------------------


def test_every_mistake_that_explains_the_values_is_found(monkeypatch):
    some = [slope(0.25, "other"), slope(0.5, "one"), one_made("two", LeakyRelu(alpha=0.5))]
    assert searched(monkeypatch, some) == (["one", "two"], [])


def test_numbers_are_read_off_if_no_mistake_is_found_and_pairs_if_no_number_is(monkeypatch):
    one, other = slope(0.5, "one"), slope(0.25, "other")
    assert searched(monkeypatch, [other], read_off=[other, one]) == (["one", "(read_off)"], [])
    names, lines = searched(monkeypatch, [other], two_mistakes=[other, one, one])
    assert (names, lines) == (["one", "one", "(read_off)", "(two_mistakes)"], [])
    names, lines = searched(monkeypatch, [other])
    assert (names, lines) == (["(read_off)", "(two_mistakes)"], [])


def test_pairs_are_tried_of_what_is_different_alone(monkeypatch):
    names, lines = searched(monkeypatch, [], verdict="coarse", two_mistakes=[slope(0.5)])
    assert (names, lines) == (["(read_off)"], [])


def test_what_explains_more_than_others_is_named_if_they_explain_nothing(monkeypatch):
    one, vague = slope(0.5, "one"), slope(0.5, "vague", wider=True)
    assert searched(monkeypatch, [one, vague])[0] == ["one"]
    assert searched(monkeypatch, [vague, one])[0] == ["vague", "one"]
    assert searched(monkeypatch, [slope(0.25), vague])[0] == ["vague"]


def test_what_values_show_needs_no_first_look_and_no_narrow_bound(monkeypatch):
    vague = Changed(LeakyRelu(alpha=0.5), after=wide)
    assert searched(monkeypatch, [one_made("shown", vague, read_off=True)])[0] == ["shown"]
    assert searched(monkeypatch, [one_made("vague", vague)])[0] == ["(read_off)", "(two_mistakes)"]
    monkeypatch.setattr(Look, "is_near", lambda *arguments: False)
    assert searched(monkeypatch, [slope(0.5, "shown", read_off=True), slope(0.5)])[0] == ["shown"]


def test_only_what_comes_near_at_a_first_look_is_judged(monkeypatch):
    judged: list[float] = []

    def explained_by(self: Wrong, operator: Any, *more: bool, **named: bool) -> bool:
        judged.append(operator.nodes[1].operator.alpha)
        return False

    monkeypatch.setattr(Wrong, "explained_by", explained_by)
    some = [slope(alpha) for alpha in (0.25, 0.5, 0.75)]
    searched(monkeypatch, some, read_off=some)
    assert judged == [0.5, 0.5]
    judged.clear()
    whole = [replace(one, start=None, places=()) for one in some]
    searched(monkeypatch, whole)
    assert judged == [0.25, 0.5, 0.75]


def test_more_proof_is_asked_for_numbers_pairs_and_what_explains_more(monkeypatch):
    asked: list[tuple[bool, bool]] = []

    def explained_by(self: Wrong, operator: Any, read_off: bool = False, strict: bool = False) -> bool:
        asked.append((read_off, strict))
        return False

    monkeypatch.setattr(Wrong, "explained_by", explained_by)
    some = [slope(0.5), slope(0.5, read_off=True), slope(0.5, wider=True)]
    searched(monkeypatch, some, read_off=[slope(0.5)], two_mistakes=[slope(0.5)])
    assert asked == [(False, False), (True, False), (False, True), (False, True), (False, True)]
    asked.clear()
    searched(monkeypatch, [], verdict="coarse", read_off=[slope(0.5)])
    assert asked == [(False, False)]


def test_once_one_is_found_little_time_is_left_for_others(monkeypatch):
    some: list[dict[str, Any]] = [{}, {"read_off": [slope(0.5)]}, {"two_mistakes": [slope(0.5)]}]
    for later in some:
        clock = never()
        searched(monkeypatch, [] if later else [slope(0.5)], clock=clock, **later)
        assert clock.end <= thread_time() + explaining.EQUALS
    clock = never()
    searched(monkeypatch, [slope(0.25)], clock=clock)
    assert clock.end > thread_time() + explaining.EQUALS


def test_where_time_ends_it_is_told_unless_something_was_found(monkeypatch):
    over = Clock(thread_time() - 1, 0.0)
    assert searched(monkeypatch, [slope(0.5)], clock=over) == (
        [],
        ["not every known mistake was tried in 10 s: record tensors in between"],
    )
    assert searched(monkeypatch, [], two_mistakes=[slope(0.5)], clock=over) == (
        ["(read_off)", "(two_mistakes)"],
        ["not every two mistakes were tried in 10 s: record tensors in between"],
    )
    monkeypatch.setattr(explaining, "EQUALS", -1.0)  # over as soon as one is found
    assert searched(monkeypatch, [slope(0.5, "one"), slope(0.5, "two")]) == (["one"], [])
    some = [slope(0.5, "one"), slope(0.5, "two")]
    names, lines = searched(monkeypatch, [], two_mistakes=some)
    assert (names, lines) == (["one", "(read_off)", "(two_mistakes)"], [])


# --- what is named -------------------------------------------------------------------------------


def test_beside_an_exact_mistake_no_other_is_named_that_comes_less_near():
    """Beyond twice its distance, which is a quarter here, none is."""
    exact = slope(0.5, "exact", exact=True)
    one = wrong(FOUND + 0.25)
    near, far = (
        one_made("other", Changed(LeakyRelu(alpha=0.5), after=shifted(-step))) for step in (0.73, 0.77)
    )
    assert one.off(near.operator) < 0.5 < one.off(far.operator)
    assert explaining._nearest(one, [near, exact, far]) == [near, exact]
    assert explaining._nearest(one, [near, far]) == [near, far]
    farther = one_made("farther", Changed(LeakyRelu(alpha=0.5), after=shifted(-0.77)), exact=True)
    assert explaining._nearest(one, [farther, near, exact]) == [farther, near, exact]


def shifted(step: float) -> Any:
    return lambda y, inputs: y + step


def causes(some: list[Made], found: Array = FOUND, end: float = np.inf) -> tuple[Cause, ...]:
    return explaining._causes(wrong(found), some, GRAPH, end)


def test_a_cause_says_what_was_done_and_where():
    (one,) = causes([slope(0.5)])
    check_said(one)
    assert (one.tensor, one.node, one.name) == ("y", "r", "leaky")
    assert (one.explanation, one.remedy, one.case) == ("What leaky is.", "Repair leaky.", "owner/leaky#1")
    assert one.apart == ""


def test_of_two_mistakes_that_are_the_same_function_one_is_named():
    assert [one.name for one in causes([slope(0.5, "one"), slope(0.5, "two")])] == ["one"]
    limit = Changed(LeakyRelu(alpha=0.5), after=lambda y, inputs: y.minimum(50.0))
    one, other = causes([slope(0.5, "one"), one_made("limit", limit)])
    assert (one.name, one.apart) == ("one", "")
    assert (other.name, other.apart) == ("limit", "random normal values times 100 of x")
    late = causes([slope(0.5, "one"), slope(0.5, "two")], end=0.0)
    assert [(one.name, one.apart) for one in late] == [("one", ""), ("two", "")]


def test_what_says_more_comes_later():
    """One that explains more; where a number is computed, not used; a mistake at several nodes."""
    limits = iter(range(50, 90, 10))

    def limited(name: str, **more: Any) -> Made:
        top = float(next(limits))
        return one_made(name, Changed(LeakyRelu(alpha=0.5), after=lambda y, inputs: y.minimum(top)), **more)

    wider, single = limited("wider", wider=True), replace(limited("single"), single=True)
    several, plain = replace(limited("several"), places=()), limited("plain")
    found = causes([wider, single, several, plain])
    assert [one.name for one in found] == ["plain", "several", "single", "wider"]
    assert [one.name for one in causes([plain, several, single, wider])] == [one.name for one in found]


def test_mistakes_that_differ_in_a_number_are_one_cause():
    limits = [
        one_made(
            f"limit {n} for none", Changed(LeakyRelu(alpha=0.5), after=lambda y, inputs: y), value=float(n)
        )
        for n in (60, 50)
    ]
    elsewhere = replace(limits[0], nodes=(stretch().nodes[2],))
    assert [one.name for one in explaining._in_one([*limits, elsewhere])] == [
        "limit between 50 and 60 for none",
        "limit 60 for none",
    ]


def pair(one: Mistake, other: Mistake) -> Made:
    return Made(stretch().nodes[1:], (one, other), LEAKY, (1, 2), 1)


def test_pairs_that_differ_in_one_number_are_one_cause_but_not_in_two():
    """Of numbers of both not all may fit together."""
    a, b = (Mistake(f"slope {n} for 0", "A.", "B.", Relu(), value=n) for n in (0.5, 0.25))
    c, d = (Mistake(f"step {n:g} for 0", "C.", "B.", Relu(), value=n) for n in (3.0, 4.0))
    (joined,) = explaining._in_one([pair(a, c), pair(b, c)])
    assert joined.name == "slope between 0.25 and 0.5 for 0, and in y: step 3 for 0"
    apart = explaining._in_one([pair(a, c), pair(b, d)])
    assert [one.name for one in apart] == [
        "slope 0.5 for 0, and in y: step 3 for 0",
        "slope 0.25 for 0, and in y: step 4 for 0",
    ]
    (cause,) = causes([pair(a, c)])
    assert (cause.node, cause.explanation, cause.remedy) == ("r", "A. C.", "B.")


# --- the report ----------------------------------------------------------------------------------


def explained(
    monkeypatch: pytest.MonkeyPatch, some: Sequence[Made], found: Array, sample: int | None = None
) -> TensorReport:
    monkeypatch.setattr(explaining, "one_mistake", lambda wrong, graph: iter(some))
    for name in ("read_off", "two_mistakes"):
        monkeypatch.setattr(explaining, name, lambda *arguments: iter(()))
    report = TensorReport("y", "y", "Neg", verdict="different")
    values = {"x": X, "y": found.astype(np.float32)}
    (one,) = explaining.explained(Report((report,)), GRAPH, values, sample).tensors
    return one


def test_a_report_has_causes_or_clues(monkeypatch):
    one = explained(monkeypatch, [slope(0.5)], FOUND)
    assert ([cause.name for cause in one.causes], one.clues, one.verdict) == (["leaky"], (), "different")
    one = explained(monkeypatch, [], 3 * RIGHT)
    assert (one.causes, one.clues) == ((), ("every value is 3 times what is expected",))


def test_of_a_sample_there_are_causes_but_no_clues(monkeypatch):
    assert explained(monkeypatch, [], 3 * RIGHT, 5).clues == ()
    one = explained(monkeypatch, [slope(0.5)], FOUND, 5)
    assert [cause.name for cause in one.causes] == ["leaky"]


def test_the_same_function_that_rounds_more_is_coarse(monkeypatch):
    less = slope(0.5, less_accurate=True)
    one = explained(monkeypatch, [less], FOUND)
    assert (one.verdict, one.note) == ("coarse", explaining.LESS)
    assert np.isnan([one.ratio, one.loop_ratio]).all()
    one = explained(monkeypatch, [less, slope(0.5, "other")], FOUND)
    assert one.verdict == "different"


def test_no_time_is_left_where_others_took_it(monkeypatch):
    monkeypatch.setattr(explaining, "ALTOGETHER", -1.0)
    one = explained(monkeypatch, [slope(0.5)], FOUND)
    assert (one.causes, one.clues) == ((), ("its cause was not searched: -1 s were spent on others",))
