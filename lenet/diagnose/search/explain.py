"""Finds the mistakes of the catalogue that explain a wrong stretch of the forward pass.

Candidates are tried on one digit first, many as one batch; those that fit, on all.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from lenet.diagnose.mistakes import HANDED_OUT, forward
from lenet.diagnose.mistakes.base import Kind, Mistake
from lenet.diagnose.mistakes.second_look import Example, Shown, rarer, read_off
from lenet.diagnose.mistakes.wrong_forward import STAGES, Changes
from lenet.diagnose.search.batch import may_explain
from lenet.diagnose.search.segment import Sample, Segment, fits
from lenet.diagnose.search.yardstick import nearer
from parity.arithmetic import Array, Bounded

PAIR_SECONDS = 8.0  # limit for the search of one diagnosis, in seconds of CPU time: load does not change it


@dataclass(frozen=True)
class Match:
    """An explanation of a segment.

    Attributes:
        kinds: one or two mistakes, each with the stages that it changes.
        changes: the changes that they make to the right network.
        starts: for each sample, the values of the last layer from which the port computed the next one.
        pending: changes to stages after the segment.
    """

    kinds: tuple[tuple[Kind, tuple[str, ...]], ...]
    changes: Changes
    starts: tuple[Array, ...]
    pending: Changes


def single_matches(segment: Segment) -> list[Match]:
    """All single mistakes that explain the segment, from the first tier that has any.

    Rarer ones are tried if no others explain it, nor roundings, and then those that are read off.
    """
    found = _explaining(forward(segment.stages), segment)
    if not found and not segment.could_round:
        found = _explaining(rarer(segment.stages), segment) or _explaining(read_off(shown(segment)), segment)
    return closest(found, segment) + handed_out_matches(segment)


def _explaining(mistakes: Iterable[Mistake], segment: Segment) -> list[Match]:
    found: list[tuple[int, Match]] = []
    for mistake in may_explain(within_segment(mistakes, segment), segment) if segment.mendable else ():
        inside = {name: change for name, change in mistake.changes.items() if name in segment.stages}
        if segment.explains(inside) and (segment.proves(inside) or nearer(segment, inside)):
            pending = {name: c for name, c in mistake.changes.items() if name not in inside}
            starts = tuple(sample.seen for sample in segment.samples)
            kinds = ((mistake.kind, mistake.stages),)
            found.append((mistake.tier, Match(kinds, inside, starts, pending)))
    best = min((tier for tier, _ in found), default=0)
    by_words = {
        tuple((kind.name, stages) for kind, stages in match.kinds): match
        for tier, match in found
        if tier == best
    }
    # In more layers than needed it explains the values, too, if nothing of the others reaches the end.
    return [one for one in by_words.values() if not any(_part_of(other, one) for other in by_words.values())]


def _part_of(less: Match, more: Match) -> bool:
    """Whether one is the same single mistake in some of the layers of the other."""
    (one, some), (other, all_of_it) = less.kinds[0], more.kinds[0]
    return one.name == other.name and set(some) < set(all_of_it)


def shown(segment: Segment) -> Shown:
    """What the last layer of a segment was given, and what the port returned of it."""
    examples = [
        Example(states[-2], states[-1], sample.seen, sample.params)
        for sample, states in zip(segment.samples, segment.right, strict=True)
        if len(states) > len(segment.stages)
    ]
    whole = tuple(examples) if len(examples) == len(segment.samples) else ()
    return Shown(STAGES[segment.target], segment.stages, whole, segment.dtype)


def closest(matches: list[Match], segment: Segment) -> list[Match]:
    """Explanations, the one with the smallest ratio of error to bound first."""
    return sorted(matches, key=lambda match: segment.need(match.changes)) if len(matches) > 1 else matches


def candidates(segment: Segment) -> Iterator[Mistake]:
    """The mistakes of the catalogue in this segment."""
    yield from within_segment(forward(segment.stages), segment)


def within_segment(mistakes: Iterable[Mistake], segment: Segment) -> Iterator[Mistake]:
    """The mistakes that change only this segment, apart from changes that may be pending."""
    for mistake in mistakes:
        if mistake.told_by in segment.stages[:-1]:
            continue
        inside = [name in segment.stages for name in mistake.stages]
        if all(inside) or (mistake.pending and inside[0]):
            yield mistake
        elif mistake.habit and sum(inside) > 1:  # the part of it inside this segment
            yield replace(mistake, changes={n: c for n, c in mistake.changes.items() if n in segment.stages})


def handed_out_matches(segment: Segment) -> list[Match]:
    """Explanations under which the port computed the right values and returned them in another form."""
    found = []
    for entry in HANDED_OUT:
        if segment.target not in entry.layers:
            continue
        starts = []
        for states, sample in zip(segment.right, segment.samples, strict=True):
            if len(states) <= len(segment.stages):
                break
            expected = states[-1]
            try:
                view = Bounded(entry.view(expected.value), entry.view(expected.bound))
            except ValueError:  # these shapes have no such form
                break
            if not fits(sample.seen, view, segment.dtype):
                break
            starts.append(entry.back(sample.seen))
        else:
            kinds = ((entry.kind, (segment.target,)),)
            found.append(Match(kinds, {}, tuple(starts), {}))
    return found


def generic(segment: Segment, seed: int = 11) -> Segment:
    """The same stages on random input with random weights, where different functions differ in value."""
    rng = np.random.default_rng(seed)
    sample = segment.samples[0]
    shape = (4, *sample.x.value.shape[1:])
    x = Bounded(np.abs(rng.standard_normal(shape)), np.zeros(shape))
    params = {name: rng.standard_normal(w.shape) / np.sqrt(w.size) for name, w in sample.params.items()}
    return replace(segment, samples=(Sample(x, np.empty(0), params),))


def tells_apart(segment: Segment, one: Changes, two: Changes) -> bool:
    """Whether two explanations differ on this segment's samples by more than their bounds."""
    for index in range(len(segment.samples)):
        a, b = segment.expected(index, one), segment.expected(index, two)
        if a is None or b is None:
            if (a is None) != (b is None):
                return True
            continue
        if a.value.shape != b.value.shape or (np.abs(a.value - b.value) > a.bound + b.bound).any():
            return True
    return False


def stages_between(before: str, target: str) -> tuple[str, ...]:
    """The stages after `before` ("" for the start of the network), up to and including `target`."""
    names: Iterable[str] = STAGES
    ordered = list(names)
    start = ordered.index(before) + 1 if before else 0
    return tuple(ordered[start : ordered.index(target) + 1])
