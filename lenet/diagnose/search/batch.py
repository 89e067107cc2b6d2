"""Many wrong networks that run as one batch from the place where they are right again."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lenet.diagnose.mistakes.base import Mistake
from lenet.diagnose.mistakes.wrong_forward import Changes, compose, walk
from lenet.diagnose.search.segment import Segment, excluded, within
from parity.arithmetic import Array, Bounded

ROWS = 128  # networks that run as one batch

# Owners, and their values, a row for each; None for a network whose shapes do not fit.
Rows = Iterable[tuple[list, Bounded | None]]


@dataclass(frozen=True)
class Batch:
    """Intermediate values of many wrong networks at the same place, of one digit each.

    Attributes:
        groups: for each shape the mistakes (`owners`) and their values, a row for each network. Rows without
            rounding error form groups of their own, because later layers may keep them exact.
    """

    groups: Mapping[object, tuple[list, Bounded]]

    @classmethod
    def of(cls, rows: Rows) -> "Batch":
        """All rows, put together by their shape."""
        sorted_: dict[object, tuple[list, list[Bounded]]] = {}
        for owners, y in rows:
            if y is None or len(y.value) != len(owners):  # no network makes two digits of one
                continue
            some, values = sorted_.setdefault((y.value.shape[1:], bool(y.bound.any())), ([], []))
            some.extend(owners)
            values.append(y)
        return cls({key: (owners, _stacked(values)) for key, (owners, values) in sorted_.items()})

    @property
    def rows(self) -> list[tuple[list, Bounded | None]]:
        """The groups, to which others can be added."""
        return list(self.groups.values())

    def through(self, stages: Iterable[str], head: Segment, changes: Changes) -> "Batch":
        """Run all rows through the stages; drop those whose shapes do not fit."""
        names, combined = list(stages), compose(changes, head.base)

        def end(x: Bounded) -> Bounded | None:
            try:
                with np.errstate(all="ignore"):
                    return walk(names, x, head.samples[0].params, head.dtype, combined)
            except ValueError:
                return None

        return Batch.of((owners, end(x)) for owners, x in self.groups.values())

    def fitting(self, seen: Array, dtype: str) -> Iterator[Any]:
        """The owners of the rows that match the observed values."""
        for owners, y in self.groups.values():
            if y.value.shape[1:] == seen.shape[1:]:
                yield from _chosen(owners, within(seen, y, dtype).reshape(len(owners), -1).all(axis=1))

    def differing(self, right: Bounded) -> Iterator[Any]:
        """The owners of the rows whose bounds exclude the right values somewhere."""
        for owners, y in self.groups.values():
            if y.value.shape[1:] != right.value.shape[1:]:
                yield from owners
                continue
            value, bound = (np.broadcast_to(a, y.value.shape) for a in (right.value, right.bound))
            apart = excluded(y, Bounded(value, bound)).reshape(len(owners), -1)
            yield from _chosen(owners, apart.any(axis=1))


def _chosen(owners: list, which: Any) -> Iterator[Any]:
    return (owner for owner, chosen in zip(owners, which, strict=True) if chosen)


def _stacked(values: list[Bounded]) -> Bounded:
    return Bounded(np.concatenate([y.value for y in values]), np.concatenate([y.bound for y in values]))


def ends(mistakes: Iterable[Mistake], head: Segment) -> Iterator[Batch]:
    """What the network with each of these mistakes, its owner, returns of the first sample's one digit. Each
    network runs alone up to the last stage that it changes, and from there with many others.

    A batch knows less of its values than a network alone, so that its bounds may be wider, never narrower.
    """
    same_end: dict[int, list[Mistake]] = {}
    for one in mistakes:
        last = max(k for k, name in enumerate(head.stages) if name in one.changes)
        same_end.setdefault(last + 1, []).append(one)
    for end, some in same_end.items():
        for start in range(0, len(some), ROWS):
            rows = (([one], head.expected(0, one.changes, end)) for one in some[start : start + ROWS])
            yield Batch.of(rows).through(head.stages[end:], head, {})


def may_explain(mistakes: Iterable[Mistake], segment: Segment) -> list[Mistake]:
    """Those that fit the first digit of the tightest sample, and those that mix digits, untried."""
    given, head = list(mistakes), segment.head(1)
    alike, seen = (one for one in given if not one.whole_batch), head.samples[0].seen
    good = {id(one) for batch in ends(alike, head) for one in batch.fitting(seen, segment.dtype)}
    return [one for one in given if one.whole_batch or id(one) in good]


def not_idle(mistakes: Sequence[Mistake], head: Segment) -> list[Mistake]:
    """Those that change something here and make a valid network: others cannot be half of a pair."""
    if len(head.right[0]) <= len(head.stages):
        return list(mistakes)  # the right network cannot even take these shapes
    right = head.right[0][-1]
    sure = {id(one) for batch in ends(mistakes, head) for one in batch.differing(right)}
    return [one for one in mistakes if id(one) in sure or head.differs(one.changes)]
