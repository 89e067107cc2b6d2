"""Finds two mistakes that together explain a wrong stretch of the forward pass.

Candidates are tried on one digit of the probe with the tightest bounds. Many networks, each with one
mistake, run there as one batch. The search takes seconds, and it has a time limit.
"""

import time
from collections.abc import Iterator

from lenet.diagnose.mistakes.base import Mistake
from lenet.diagnose.mistakes.wrong_forward import compose
from lenet.diagnose.search.batch import ROWS, Batch, not_idle
from lenet.diagnose.search.explain import PAIR_SECONDS, Match, candidates, closest
from lenet.diagnose.search.segment import Segment, fits
from parity.arithmetic import Bounded


class Clock:
    """The time that is left for pairs in one diagnosis, in CPU time: load does not change it."""

    def __init__(self) -> None:
        self._end = time.thread_time() + PAIR_SECONDS

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return time.thread_time() > self._end


def pair_matches(segment: Segment, clock: Clock) -> list[Match]:
    """Pairs of mistakes that explain the segment: in two layers, or else both in one. Has a time limit."""
    if clock.is_over:
        return []
    head = segment.head(1)
    singles = [m for m in candidates(segment) if not (m.whole_batch or m.pending or m.tier)]
    singles = not_idle(singles, head)
    found: list[Match] = []
    for search in (_in_two_stages, _in_many_stages, _in_one_stage):
        for pair in search(head, singles):
            if clock.is_over:
                return found
            if pair is None:  # no pair yet: only a chance to look at the clock
                continue
            one, two = pair
            changes = compose(one.changes, two.changes)
            if not (head.explains(changes) and segment.explains(changes) and segment.proves(changes)):
                continue
            starts = tuple(sample.seen for sample in segment.samples)
            kinds = tuple((m.kind, m.stages) for m in (one, two))
            if not any({k.name for k, _ in match.kinds} == {k.name for k, _ in kinds} for match in found):
                found.append(Match(kinds, changes, starts, {}))
        if found:
            break  # mistakes in two places are preferred to two mistakes in one place
    return closest(found, segment)


Pairs = Iterator[tuple[Mistake, Mistake] | None]


def _in_two_stages(head: Segment, singles: list[Mistake]) -> Pairs:
    """Pairs in two stages that fit the first sample. All first mistakes run as one batch. The last stages
    are tried first, because they take the least time."""
    alone = {stage: [m for m in singles if m.stages == (stage,)] for stage in head.stages}
    sample, carried, waiting = head.samples[0], Batch({}), list[tuple[int, Batch]]()
    for k, stage in enumerate(head.stages[: len(head.right[0]) - 1]):
        waiting.append((k, carried))
        started = [([first], head.expected(0, first.changes, k + 1)) for first in alone[stage]]
        carried = Batch.of([*carried.through([stage], head, {}).rows, *started])
        yield None
    for k, firsts in reversed(waiting):
        stage = head.stages[k]
        for second in alone[stage]:
            yield None
            end = firsts.through([stage], head, second.changes).through(head.stages[k + 1 :], head, {})
            yield from ((first, second) for first in end.fitting(sample.seen, head.dtype))


def _in_many_stages(head: Segment, singles: list[Mistake]) -> Pairs:
    """Pairs in which one mistake is made in every layer of its kind, as conversion scripts do."""
    many = [m for m in singles if len(m.stages) > 1 and not m.of_precision]
    sample, of_image = head.samples[0], [m for m in singles if m.stages == ("image",)]
    images = Batch.of(([m], head.expected(0, m.changes, 1)) for m in of_image)
    flat = [m for m in singles if m.stages == ("flatten",)]
    for a, one in enumerate(many):
        yield None
        end = images.through(head.stages[1:], head, one.changes)
        yield from ((first, one) for first in end.fitting(sample.seen, head.dtype))
        for two in [m for m in (*flat, *many[:a]) if not set(one.stages) & set(m.stages)]:
            expected = head.expected(0, compose(two.changes, one.changes))
            fine = expected is not None and fits(sample.seen, expected, head.dtype)
            yield (two, one) if fine else None


def _in_one_stage(head: Segment, singles: list[Mistake]) -> Pairs:
    """Pairs of mistakes in the same layer, in either order."""
    seen = head.samples[0].seen
    for k, stage in reversed(list(enumerate(head.stages[: len(head.right[0]) - 1]))):
        here = [m for m in singles if m.stages == (stage,) and not m.of_precision]
        pairs = [(a, b) for a in here for b in here if a.kind != b.kind]
        for start in range(0, len(pairs), ROWS):
            rows: list[tuple[list, Bounded | None]] = []
            for pair in pairs[start : start + ROWS]:
                rows.append(([pair], head.expected(0, compose(*(m.changes for m in pair)), k + 1)))
                yield None
            yield from Batch.of(rows).through(head.stages[k + 1 :], head, {}).fitting(seen, head.dtype)
    shared = [m for m in singles if len(m.stages) > 1 and not m.of_precision]
    yield from ((a, b) for a in shared for b in shared if a.stages == b.stages and a.kind != b.kind)
