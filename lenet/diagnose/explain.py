"""Finds the mistakes of the catalogue that explain a wrong stretch of the forward pass.

A segment reaches from values that the port handed out (or the images) to the next layer that it handed
out: one layer where all are observed, the whole network where only logits are. A mistake inside it is
evaluated on from there by the right layers, its bound carried along. Candidates are first tried on one
or two digits, and only those that survive on everything.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lenet.diagnose.mistakes import FORWARD, HANDED_OUT
from lenet.diagnose.mistakes.base import Kind, Mistake
from lenet.diagnose.mistakes.wrong_forward import ROUNDED, STAGES, Changes, Gridded, compose, walk
from lenet.network.architecture import ACTIVATION_SHAPES
from parity.arithmetic import Array, Bounded

FEW = 2  # digits on which candidates are tried first
PAIR_SECONDS = 15.0  # of computing, how long pairs are searched: the same on a busy machine


@dataclass(frozen=True)
class Sample:
    """One probe's share of a segment: its input, and what the port returned at its end."""

    x: Bounded
    seen: Array
    params: Mapping[str, Array]

    def head(self, count: int) -> "Sample":
        """The first digits alone."""
        return Sample(Bounded(self.x.value[:count], self.x.bound[:count]), self.seen[:count], self.params)


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
        """The output of sample `index` under `changes`; None if such a network cannot exist."""
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
        """Whether the right network explains the observed values."""
        return self.explains({})

    @cached_property
    def mendable(self) -> bool:
        """Whether mistakes could give these shapes: none changes the number of digits, or how many
        outputs a dense layer's weights have."""
        dense = len(ACTIVATION_SHAPES[self.target]) == 1 and self.target != "flatten"
        return all(
            len(sample.seen) == len(sample.x.value)
            and (not dense or sample.seen.shape[1:] == ACTIVATION_SHAPES[self.target])
            for sample in self.samples
        )

    @cached_property
    def could_round(self) -> bool:
        """Whether the right network explains what was seen if exact sums are granted their roundings. Through
        several layers that is the worst case of many, the end-to-end bound of `lenet compare`."""
        return self.explains(ROUNDED)

    def explains(self, changes: Changes) -> bool:
        """Whether every value of every sample lies within the bound of the network with `changes`."""
        formats, used = False, False
        for index, sample in enumerate(self.samples):
            expected = self.expected(index, changes)
            if expected is None or not fits(sample.seen, expected, self.dtype):
                return False
            if isinstance(expected, Gridded):
                formats, used = True, used or bool((expected.coarser(sample.seen) != sample.seen).any())
        return used or not formats

    def need(self, changes: Changes) -> float:
        """The largest error/bound of any value in the network with `changes`."""
        shares = [0.0]
        for index, sample in enumerate(self.samples):
            expected = self.expected(index, changes)
            if expected is not None and expected.value.shape == sample.seen.shape:
                with np.errstate(all="ignore"):
                    share = np.abs(sample.seen - expected.value) / expected.bound
                shares.append(float(np.max(share, initial=0, where=np.isfinite(share))))
        return max(shares)

    def proves(self, changes: Changes) -> bool:
        """True if, on some probe, the bound excludes the right value at most of the departing values.

        A wide enough bound would explain anything.
        """
        for index, (sample, states) in enumerate(zip(self.samples, self.right, strict=True)):
            if len(states) <= len(self.stages):
                return True  # the right network does not even exist on what the port made before
            expected = self.expected(index, changes)
            if expected is not None:
                count = Count()
                count.add(sample.seen, expected, states[-1], self.dtype)
                if count.most:
                    return True
        return False

    def differs(self, changes: Changes) -> bool:
        """Whether the changed network's bound excludes the right value somewhere."""
        for index, states in enumerate(self.right):
            expected = self.expected(index, changes)
            if len(states) <= len(self.stages) or (
                expected is not None and excluded(expected, states[-1]).any()
            ):
                return True
        return False


@dataclass
class Count:
    """Counts the departing values, and those at which a mistake's bound excludes the right value."""

    departing: int = 0
    proving: int = 0

    def add(self, seen: Array, wrong: Bounded, right: Bounded, dtype: str) -> None:
        """Add one more array."""
        if seen.shape != right.value.shape:
            departs = np.ones(seen.shape, bool)
        else:
            departs = ~within(seen, right, dtype)
        self.departing += int(departs.sum())
        self.proving += int((departs & excluded(wrong, right)).sum())

    @property
    def most(self) -> bool:
        """Whether it is more than half of them."""
        return 2 * self.proving > self.departing


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
    with np.errstate(invalid="ignore"):
        if not within(seen, expected, dtype).all():
            return False
        return not isinstance(expected, Gridded) or bool((expected.grid(seen) == seen).all())


def within(seen: Array, expected: Bounded, dtype: str) -> Array:
    """Which values lie within their bounds; see `fits`."""
    largest = float(np.finfo(dtype).max)
    with np.errstate(invalid="ignore"):
        inside = np.abs(seen - expected.value) <= expected.bound
        return inside | ~((np.abs(expected.value) < largest) & (expected.bound < largest * 2.0**-24))


def excluded(wrong: Bounded, right: Bounded) -> Array:
    """Where a mistake's bound excludes the right value.

    A coarse format's bound never does; there the evidence is the grid, which right values must miss.
    """
    if wrong.value.shape != right.value.shape:
        return np.ones(wrong.value.shape, bool)
    with np.errstate(invalid="ignore"):
        if isinstance(wrong, Gridded):
            return np.asarray(~(np.abs(wrong.grid(right.value) - right.value) <= right.bound))
        return np.asarray(~(np.abs(wrong.value - right.value) <= wrong.bound) & (wrong.bound < np.inf))


def single_matches(segment: Segment) -> list[Match]:
    """Every single mistake that explains the segment, the simplest tier alone."""
    head = segment.head(FEW)
    found: list[tuple[int, Match]] = []
    for mistake in candidates(segment) if segment.mendable else ():
        inside = {name: change for name, change in mistake.changes.items() if name in segment.stages}
        if not mistake.whole_batch and not head.explains(inside):
            continue
        if segment.explains(inside) and segment.proves(inside):
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
    return closest(list(by_words.values()), segment) + handed_out_matches(segment)


def closest(matches: list[Match], segment: Segment) -> list[Match]:
    """Explanations sorted by their largest error/bound, smallest first."""
    return sorted(matches, key=lambda match: segment.need(match.changes)) if len(matches) > 1 else matches


def candidates(segment: Segment) -> Iterator[Mistake]:
    """The mistakes that touch this segment, and nothing outside of it but what may be pending."""
    for mistake in FORWARD:
        if mistake.told_by in segment.stages[:-1]:
            continue
        inside = [name in segment.stages for name in mistake.stages]
        if all(inside) or (mistake.pending and inside[0]):
            yield mistake
        elif mistake.habit and sum(inside) > 1:  # as far as it is seen here
            yield replace(mistake, changes={n: c for n, c in mistake.changes.items() if n in segment.stages})


def handed_out_matches(segment: Segment) -> list[Match]:
    """Explanations by which the right values were handed out in another form. The port went on with the
    right ones."""
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
            except ValueError:  # what the port made before has no such view
                break
            if not fits(sample.seen, view, segment.dtype):
                break
            starts.append(entry.back(sample.seen))
        else:
            kinds = ((entry.kind, (segment.target,)),)
            found.append(Match(kinds, {}, tuple(starts), {}))
    return found


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
        if a.value.shape != b.value.shape or (np.abs(a.value - b.value) > a.bound + b.bound).any():
            return True
    return False


def stages_between(before: str, target: str) -> tuple[str, ...]:
    """The stages after `before` ("" for none) up to and with `target`."""
    names: Iterable[str] = STAGES
    ordered = list(names)
    start = ordered.index(before) + 1 if before else 0
    return tuple(ordered[start : ordered.index(target) + 1])
