"""Judges a candidate, and names the mistakes that explain its wrong tensors."""

from collections.abc import Mapping
from dataclasses import replace
from math import nan
from time import thread_time

import numpy as np

from parity.arithmetic import Array, Bounded, Looped
from parity.arithmetic.floats import FLOAT32, Format, format_of
from parity.errors import Unjudged
from parity.graph import Graph
from parity.judging.causes.clues import clues
from parity.judging.causes.mistake import MISFITS, in_one, pattern
from parity.judging.causes.search.apart import SAME, told_apart
from parity.judging.causes.search.first_look import Look
from parity.judging.causes.search.hypotheses import Clock, Made, one_mistake
from parity.judging.causes.search.pairs import two_mistakes
from parity.judging.causes.search.read_off import read_off
from parity.judging.causes.search.stretch import Stretch, between
from parity.judging.causes.search.wrong import Wrong
from parity.judging.question import Question
from parity.judging.verdict import Cause, Report, TensorReport

SECONDS = 10.0  # of processor time for one tensor: a deep stretch is evaluated anew for each mistake
ALTOGETHER = 60.0  # for all tensors of a report, the first wrong one first
EQUALS = 2.0  # for others that explain the same values, once one has been found
LATE = "not every {} tried in {} s: record tensors in between"
LESS = "the same function, in which more rounds than this operator's worst case allows"
NEARER = 2.0  # beyond so many times the distance of an exact mistake, another one is not named
MORE = 4  # the time for a mistake over that of one evaluation: plain loops are slower


class _OutOfTime(Exception):
    """No time is left for this tensor."""


def explained(report: Report, graph: Graph, values: Mapping[str, Array], sample: int | None = None) -> Report:
    """The report on a candidate, with the mistakes that explain its wrong tensors.

    Args:
        report: of `parity.judging.judge`, with these arguments.
        graph: the reference.
        values: the candidate's tensors, by name.
        sample: the number of values that were judged per tensor; None: all.
    """
    end = thread_time() + ALTOGETHER
    with np.errstate(all="ignore"):
        tensors = [
            _explained(graph, values, one, sample, end) if one.wrong else one for one in report.tensors
        ]
    return replace(report, tensors=tuple(tensors))


def _explained(
    graph: Graph, values: Mapping[str, Array], report: TensorReport, sample: int | None, end: float
) -> TensorReport:
    """The report on a wrong tensor, with the known mistakes that explain it, or else with clues."""
    found = np.asarray(values[report.tensor])
    form = format_of(found) or FLOAT32
    if report.verdict == "coarse" and report.ratio > 1:  # excused, since plain loops overflow as well
        return replace(report, causes=(_overflow(report, form),))
    stretch = between(graph, set(values), report.tensor)
    arrays = [
        np.asarray(graph.constants[name] if name in graph.constants else values[name])
        for name in stretch.names
    ]
    bounded, looped = [Bounded(a, None, form) for a in arrays], [Looped(a, form) for a in arrays]
    start = thread_time()
    try:
        if start > end:
            raise _OutOfTime
        wrong = Wrong.of(report, Question(stretch, 0, bounded, looped), found, sample)
        clock = Clock(min(end, start + SECONDS), MORE * (thread_time() - start))
        made, lines = _searched(wrong, graph, clock)
    except _OutOfTime:
        return replace(report, clues=(f"its cause was not searched: {ALTOGETHER:g} s were spent on others",))
    except (Unjudged, *MISFITS):
        return report
    made = _nearest(wrong, made)
    if not made and not wrong.points and not report.misshapen and format_of(found) is not None:
        lines += clues(found, wrong.right, form)
    report = replace(report, causes=_causes(wrong, made, graph, end), clues=tuple(lines))
    less = made and all(mistake.less_accurate for one in made for mistake in one.mistakes)
    return replace(report, verdict="coarse", ratio=nan, loop_ratio=nan, note=LESS) if less else report


def _overflow(report: TensorReport, form: Format) -> Cause:
    return Cause(
        report.tensor,
        report.node,
        f"overflow in {form.name}",
        f"A product or a sum on the way is beyond the largest number of {form.name}, or becomes zero and a "
        "divisor. A plain loop in this format goes as wrong.",
        "Compute this operator in float32, or make its input smaller.",
        "apple/coremltools#2110",
    )


def _searched(wrong: Wrong, graph: Graph, clock: Clock) -> tuple[list[Made], list[str]]:
    """The mistakes that explain a wrong tensor, or pairs of them; and a line if not all were tried."""
    found: list[Made] = []
    tried: list[Made] = []
    look = Look(wrong)
    for one in one_mistake(wrong, graph):
        if clock.is_out():
            return found, [] if found else [LATE.format("known mistake was", f"{SECONDS:g}")]
        tried.append(one)
        if one.mistakes[0].wider and found:
            continue
        mistake = one.mistakes[0]
        if not _may_be(look, one):
            continue
        if wrong.explained_by(one.operator, mistake.read_off, mistake.wider):
            clock.shorten(EQUALS)
            found.append(one)
    different = wrong.report.verdict == "different"
    for one in () if found else read_off(look, clock):
        if _may_be(look, one) and wrong.explained_by(one.operator, strict=different):
            clock.shorten(EQUALS)
            found.append(one)
    if found or not different:
        return found, []
    for one in two_mistakes(look, tried, clock):
        if clock.is_out():
            break
        if wrong.explained_by(one.operator, strict=True):
            clock.shorten(EQUALS)
            found.append(one)
    late = clock.is_out() and not found
    return found, [LATE.format("two mistakes were", f"{SECONDS:g}")] if late else []


def _nearest(wrong: Wrong, made: list[Made]) -> list[Made]:
    """Without those that come less near to the values than a mistake that is exact.

    Behind many roundings to integers, a bound is wide, and much explains the values by it.
    """
    exact = [wrong.off(one.operator) for one in made if one.mistakes[0].exact]
    if not exact:
        return made
    near = NEARER * min(exact)
    return [one for one in made if one.mistakes[0].exact or wrong.off(one.operator) <= near]


def _may_be(look: Look, made: Made) -> bool:
    """Whether a first look, which takes bounds for narrow, does not rule it out."""
    if made.start is None or made.mistakes[0].read_off or not isinstance(made.operator, Stretch):
        return True
    return look.is_near(made.operator, made.start)


def _causes(wrong: Wrong, made: list[Made], graph: Graph, end: float) -> tuple[Cause, ...]:
    """The causes, each with what would tell it from the first; one for several that are the same function."""
    causes: list[Cause] = []
    clock = Clock(min(end, thread_time() + EQUALS), 0.0)
    # Where a number is used before where it is computed, and one node before several.
    made = sorted(made, key=lambda one: (one.mistakes[0].wider, one.single, not one.places))
    for one in _in_one(made):
        apart = told_apart(wrong.question, made[0].operator, one.operator, graph, clock) if causes else ""
        if apart == SAME:
            continue
        causes.append(
            Cause(
                wrong.report.tensor,
                one.nodes[0].name,
                one.name,
                " ".join(dict.fromkeys(mistake.explanation for mistake in one.mistakes)),
                " ".join(dict.fromkeys(mistake.remedy for mistake in one.mistakes)),
                one.mistakes[0].case,
                apart,
            )
        )
    return tuple(causes)


def _in_one(made: list[Made]) -> list[Made]:
    """Mistakes, or pairs of them, that differ in a number alone become one, with a range."""
    groups: dict[tuple[str, ...], list[Made]] = {}
    for one in made:
        where = (f"{node.name}: {pattern(each)}" for node, each in zip(one.nodes, one.mistakes, strict=True))
        groups.setdefault(tuple(where), []).append(one)
    return [one for several in groups.values() for one in _joined(several)]


def _joined(several: list[Made]) -> list[Made]:
    """As one, unless both mistakes of the pairs differ: not all of their numbers may fit together."""
    places = list(zip(*(one.mistakes for one in several), strict=True))
    if sum(len({one.name for one in mistakes}) > 1 for mistakes in places) > 1:
        return several
    return [replace(several[0], mistakes=tuple(in_one(mistakes) for mistakes in places))]
