"""Finds two mistakes that together explain a wrong stretch of the forward pass.

Candidates are tried on one digit of the probe with the tightest bounds. Many networks, each with one
mistake, run there as one batch. The search takes seconds, and it has a time limit.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lenet.diagnose.mistakes.base import Mistake
from lenet.diagnose.mistakes.wrong_forward import Changes, compose, walk
from lenet.diagnose.search.explain import PAIR_SECONDS, Match, candidates, closest
from lenet.diagnose.search.segment import Segment, fits, within
from parity.arithmetic import Array, Bounded

ROWS = 128  # networks that run as one batch


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
    singles = [m for m in singles if not _idle(head, m)]
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


def _idle(head: Segment, mistake: Mistake) -> bool:
    """Whether a mistake changes nothing here, or makes no valid network: it cannot be half of a pair."""
    return not head.differs(mistake.changes)


Pairs = Iterator[tuple[Mistake, Mistake] | None]


def _in_two_stages(head: Segment, singles: list[Mistake]) -> Pairs:
    """Pairs in two stages that fit the first sample. All first mistakes run as one batch. The last stages
    are tried first, because they take the least time."""
    alone = {stage: [m for m in singles if m.stages == (stage,)] for stage in head.stages}
    sample, carried, waiting = head.samples[0], Batch({}), list[tuple[int, Batch]]()
    for k, stage in enumerate(head.stages[: len(head.right[0]) - 1]):
        waiting.append((k, carried))
        carried = carried.through([stage], head, {})
        start = Batch({None: ([None], head.right[0][k])})
        for first in alone[stage]:
            for _, y in start.through([stage], head, first.changes).groups.values():
                carried = carried.joined(y, [first])
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
    sample, images = head.samples[0], Batch({})
    if "image" in head.stages:
        start = Batch({None: ([None], head.right[0][0])})
        for first in [m for m in singles if m.stages == ("image",)]:
            for _, y in start.through(["image"], head, first.changes).groups.values():
                images = images.joined(y, [first])
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
    for k, stage in reversed(list(enumerate(head.stages[: len(head.right[0]) - 1]))):
        here = [m for m in singles if m.stages == (stage,) and not m.of_precision]
        start, rows, count = Batch({None: ([None], head.right[0][k])}), Batch({}), 0
        for one, two in [(a, b) for a in here for b in here if a.kind != b.kind]:
            changes = compose(one.changes, two.changes)
            for _, y in start.through([stage], head, changes).groups.values():
                rows, count = rows.joined(y, [(one, two)]), count + 1
            if count >= ROWS:
                yield from rows.through(head.stages[k + 1 :], head, {}).fitting(
                    head.samples[0].seen, head.dtype
                )
                rows, count = Batch({}), 0
            yield None
        yield from rows.through(head.stages[k + 1 :], head, {}).fitting(head.samples[0].seen, head.dtype)
    shared = [m for m in singles if len(m.stages) > 1 and not m.of_precision]
    yield from ((a, b) for a in shared for b in shared if a.stages == b.stages and a.kind != b.kind)


@dataclass(frozen=True)
class Batch:
    """Intermediate values of many wrong networks at the same place, grouped by shape: for each group the
    mistakes (`owners`) and their values, a row for each network."""

    groups: Mapping[object, tuple[list, Bounded]]

    def through(self, stages: Iterable[str], head: Segment, changes: Changes) -> "Batch":
        """Run all rows through the stages; drop those whose shapes do not fit."""
        result, names = Batch({}), list(stages)
        for owners, x in self.groups.values():
            try:
                with np.errstate(all="ignore"):
                    params = head.samples[0].params
                    y = walk(names, x, params, head.dtype, compose(changes, head.base))
            except ValueError:
                continue
            result = result.joined(y, owners)
        return result

    def joined(self, y: Bounded, owners: list) -> "Batch":
        """This batch with more rows, added to the group of their shape. Rows without rounding error form
        groups of their own, because later layers may keep them exact."""
        key = y.value.shape[1:], bool(y.bound.any())
        others, rows = self.groups.get(key, ([], Bounded(y.value[:0], y.bound[:0])))
        value, error = (np.concatenate(two) for two in ((rows.value, y.value), (rows.bound, y.bound)))
        return Batch({**self.groups, key: ([*others, *owners], Bounded(value, error))})

    def fitting(self, seen: Array, dtype: str) -> Iterator[Any]:
        """The owners of the rows that match the observed values."""
        for owners, y in self.groups.values():
            if y.value.shape[1:] == seen.shape[1:]:
                good = np.asarray(within(seen, y, dtype).reshape(len(owners), -1).all(axis=1))
                yield from (owner for owner, fine in zip(owners, good, strict=True) if fine)
