"""Which mistakes of the catalogue explain a wrong stretch of the forward pass.

A segment reaches from values that the port handed out (or the images) to the next layer that it handed
out: one layer where all are observed, the whole network where only logits are. A mistake inside it is
evaluated on from there by the right layers, its bound carried along. Candidates are first tried on one
or two digits, and only those that survive on everything.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lenet.mistakes import FORWARD, HANDED_OUT
from lenet.mistakes.base import Kind, Mistake
from lenet.mistakes.network import STAGES, Changes, Gridded, compose, walk
from lenet.rounding import Array, Bounded

FEW = 2  # digits on which candidates are tried first
PAIR_SECONDS = 20.0  # how long pairs are searched


@dataclass(frozen=True)
class Sample:
    """One probe's share of a segment: where it starts, what the port made of it at its end."""

    x: Bounded
    seen: Array
    params: Mapping[str, Array]

    def head(self, count: int) -> "Sample":
        """The first digits alone."""
        return Sample(Bounded(self.x.value[:count], self.x.error[:count]), self.seen[:count], self.params)


@dataclass(frozen=True)
class Segment:
    """Stages in order, the last one observed; `base` holds changes that are explained already."""

    stages: tuple[str, ...]
    samples: tuple[Sample, ...]
    dtype: str
    base: Changes

    @property
    def target(self) -> str:
        """The observed layer at its end."""
        return self.stages[-1]

    @cached_property
    def right(self) -> list[list[Bounded]]:
        """For each sample, the right value before each stage, and after the last; ends where it must."""
        return [list(self._states(sample)) for sample in self.samples]

    def _states(self, sample: Sample) -> Iterator[Bounded]:
        x = sample.x
        yield x
        for name in self.stages:
            try:
                x = walk([name], x, sample.params, self.dtype, self.base)
            except ValueError:
                return
            yield x

    def expected(self, index: int, changes: Changes) -> Bounded | None:
        """What sample `index` ends in under `changes`; None where such a network does not exist."""
        first = next((k for k, name in enumerate(self.stages) if name in changes), len(self.stages))
        states = self.right[index]
        if first >= len(states):
            return None
        combined = compose(changes, self.base)
        try:
            with np.errstate(all="ignore"):
                params = self.samples[index].params
                return walk(self.stages[first:], states[first], params, self.dtype, combined)
        except ValueError:
            return None

    def head(self, digits: int) -> "Segment":
        """The same on few digits, the sharpest sample (the last: exact weights) first."""
        samples = tuple(sample.head(digits) for sample in reversed(self.samples))
        return replace(self, samples=samples)

    @cached_property
    def is_right(self) -> bool:
        """Whether the right network explains what was seen."""
        return self.explains({})

    def explains(self, changes: Changes) -> bool:
        """Whether every value of every sample lies within the bound of the network so changed."""
        for index, sample in enumerate(self.samples):
            expected = self.expected(index, changes)
            if expected is None or not fits(sample.seen, expected, self.dtype):
                return False
        return True

    def proves(self, changes: Changes) -> bool:
        """Whether the changed network's bound leaves the right network's value out somewhere."""
        for index, states in enumerate(self.right):
            if len(states) <= len(self.stages):
                return True  # the right network does not even exist on what the port made before
            expected = self.expected(index, changes)
            if expected is not None and not covers(expected, states[-1]):
                return True
        return False


@dataclass(frozen=True)
class Match:
    """An explanation of a segment.

    Attributes:
        kinds: one or two mistakes, each with the stages that it touches.
        changes: what they change.
        starts: for each sample, the true value of the target layer, from which the port went on.
        pending: changes that still wait beyond the segment.
    """

    kinds: tuple[tuple[Kind, tuple[str, ...]], ...]
    changes: Changes
    starts: tuple[Array, ...]
    pending: Changes


def fits(seen: Array, expected: Bounded, dtype: str = "float32") -> bool:
    """Whether every value lies within its bound, and on the coarse grid if one is claimed.

    Where the sum of magnitudes overflows `dtype` (it exceeds the error by less than 2^24), or where the
    bound itself is none, anything may come out, a NaN included.
    """
    if seen.shape != expected.value.shape:
        return False
    largest = float(np.finfo(dtype).max)
    with np.errstate(invalid="ignore"):
        inside = np.abs(seen - expected.value) <= expected.error
        lost = ~((np.abs(expected.value) < largest) & (expected.error < largest * 2.0**-24))
        if not (inside | lost).all():
            return False
        return not isinstance(expected, Gridded) or bool((expected.grid(seen) == seen).all())


def covers(wrong: Bounded, right: Bounded) -> bool:
    """Whether a mistake's bound is so wide that it admits the right network as well.

    A coarse format's bound always does; there the evidence is the grid, which right values must miss.
    """
    if wrong.value.shape != right.value.shape:
        return False
    with np.errstate(invalid="ignore"):
        if isinstance(wrong, Gridded):
            return bool((np.abs(wrong.grid(right.value) - right.value) <= right.error).all())
        return bool(((np.abs(wrong.value - right.value) <= wrong.error) | ~(wrong.error < np.inf)).all())


def single_matches(segment: Segment) -> list[Match]:
    """Every single mistake that explains the segment, the simplest tier alone."""
    head = segment.head(FEW)
    found: list[tuple[int, Match]] = []
    for mistake in candidates(segment):
        inside = {name: change for name, change in mistake.changes.items() if name in segment.stages}
        if not mistake.whole_batch and not head.explains(inside):
            continue
        if segment.explains(inside) and segment.proves(inside):
            pending = {name: c for name, c in mistake.changes.items() if name not in inside}
            starts = tuple(sample.seen for sample in segment.samples)
            kinds = ((mistake.kind, mistake.stages),)
            found.append((mistake.tier, Match(kinds, inside, starts, pending)))
    best = min((tier for tier, _ in found), default=0)
    return [match for tier, match in found if tier == best] + handed_out_matches(segment)


def candidates(segment: Segment) -> Iterator[Mistake]:
    """The mistakes that touch this segment, and nothing outside of it but what may be pending."""
    for mistake in FORWARD:
        inside = [name in segment.stages for name in mistake.stages]
        if all(inside) or (mistake.pending and inside[0]):
            yield mistake


def handed_out_matches(segment: Segment) -> list[Match]:
    """The right values in another form: the port then goes on from the right ones."""
    found = []
    for entry in HANDED_OUT:
        if segment.target not in entry.layers:
            continue
        starts = []
        for states, sample in zip(segment.right, segment.samples, strict=True):
            if len(states) <= len(segment.stages):
                break
            expected = states[-1]
            view = Bounded(entry.view(expected.value), entry.view(expected.error))
            if not fits(sample.seen, view, segment.dtype):
                break
            starts.append(entry.back(sample.seen))
        else:
            kinds = ((entry.kind, (segment.target,)),)
            found.append(Match(kinds, {}, tuple(starts), {}))
    return found


def pair_matches(segment: Segment) -> list[Match]:
    """Two mistakes at once: in one layer first, then in two layers of the segment. Stops in time."""
    deadline = time.monotonic() + PAIR_SECONDS
    head = segment.head(1)
    singles = [m for m in candidates(segment) if not (m.whole_batch or m.pending or m.tier)]
    singles = [m for m in singles if head.expected(0, m.changes) is not None and not _idle(head, m)]
    found: list[Match] = []
    for one, two in _pairs(head, singles):
        in_one_layer = one.stages == two.stages
        if time.monotonic() > deadline or (found and in_one_layer and len(segment.stages) > 1):
            break  # two layers explain it, and come first
        changes = compose(one.changes, two.changes)
        if head.explains(changes) and segment.explains(changes) and segment.proves(changes):
            starts = tuple(sample.seen for sample in segment.samples)
            kinds = tuple((m.kind, m.stages) for m in (one, two))
            if not any({k.name for k, _ in match.kinds} == {k.name for k, _ in kinds} for match in found):
                found.append(Match(kinds, changes, starts, {}))
    return found


def _idle(head: Segment, mistake: Mistake) -> bool:
    """Whether a mistake changes nothing here, so that a pair with it is no pair."""
    return not head.proves(mistake.changes)


def _pairs(head: Segment, singles: list[Mistake]) -> Iterator[tuple[Mistake, Mistake]]:
    yield from _pairs_of_stages(head, [m for m in singles if len(m.stages) == 1])  # the quicker ones
    yield from ((a, b) for a in singles for b in singles if a.stages == b.stages and a.kind != b.kind)


def _pairs_of_stages(head: Segment, alone: list[Mistake]) -> Iterator[tuple[Mistake, Mistake]]:
    """Pairs in two stages that the first sample does not refute. All first mistakes run as one batch."""
    sample, carried = head.samples[0], Batch({})
    for k, stage in enumerate(head.stages):
        here = [m for m in alone if m.stages == (stage,)]
        for second in here:
            end = carried.through([stage], sample.params, head, second.changes)
            end = end.through(head.stages[k + 1 :], sample.params, head, {})
            yield from ((first, second) for first in end.fitting(sample.seen, head.dtype))
        carried = carried.through([stage], sample.params, head, {})
        if k >= len(head.right[0]) - 1:
            return
        start = Batch({None: ([None], head.right[0][k])})
        for first in here:
            for _, y in start.through([stage], sample.params, head, first.changes).groups.values():
                carried = carried.joined(y, [first])


@dataclass(frozen=True)
class Batch:
    """Networks with one mistake each, at the same place: by shape, the mistakes and their values, one row
    for each."""

    groups: Mapping[object, tuple[list, Bounded]]

    def through(
        self, stages: Iterable[str], params: Mapping[str, Array], head: Segment, changes: Changes
    ) -> "Batch":
        """All rows through the stages; those whose shapes do not fit are dropped."""
        result, names = Batch({}), list(stages)
        for owners, x in self.groups.values():
            try:
                with np.errstate(all="ignore"):
                    y = walk(names, x, params, head.dtype, compose(changes, head.base))
            except ValueError:
                continue
            result = result.joined(y, owners)
        return result

    def joined(self, y: Bounded, owners: list) -> "Batch":
        """With more rows, beside those of their shape. Rows without an error stay among themselves: they
        may go on without one."""
        key = y.value.shape[1:], bool(y.error.any())
        others, rows = self.groups.get(key, ([], Bounded(y.value[:0], y.error[:0])))
        value, error = (np.concatenate(two) for two in ((rows.value, y.value), (rows.error, y.error)))
        return Batch({**self.groups, key: ([*others, *owners], Bounded(value, error))})

    def fitting(self, seen: Array, dtype: str) -> Iterator[Mistake]:
        """The mistakes whose row is what was seen."""
        for owners, y in self.groups.values():
            for row, owner in enumerate(owners):
                if fits(seen, Bounded(y.value[row : row + 1], y.error[row : row + 1]), dtype):
                    yield owner


def generic(segment: Segment, seed: int = 11) -> Segment:
    """The same stages on random input and random weights, where nothing coincides by accident."""
    rng = np.random.default_rng(seed)
    sample = segment.samples[0]
    shape = (4, *sample.x.value.shape[1:])
    x = Bounded(np.abs(rng.standard_normal(shape)), np.zeros(shape))
    params = {name: rng.standard_normal(w.shape) / np.sqrt(w.size) for name, w in sample.params.items()}
    return replace(segment, samples=(Sample(x, np.empty(0), params),))


def tells_apart(segment: Segment, one: Changes, two: Changes) -> bool:
    """Whether the two explanations differ on this segment's samples by more than their bounds."""
    for index in range(len(segment.samples)):
        a, b = segment.expected(index, one), segment.expected(index, two)
        if a is None or b is None:
            if (a is None) != (b is None):
                return True
            continue
        if a.value.shape != b.value.shape or (np.abs(a.value - b.value) > a.error + b.error).any():
            return True
    return False


def stages_between(before: str, target: str) -> tuple[str, ...]:
    """The stages after `before` ("" for none) up to and with `target`."""
    names: Iterable[str] = STAGES
    ordered = list(names)
    start = ordered.index(before) + 1 if before else 0
    return tuple(ordered[start : ordered.index(target) + 1])
