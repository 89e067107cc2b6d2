"""Finds the mistakes of the catalogue that explain a wrong stretch of the forward pass.

A segment runs from values that the port returned (or the images) to the next layer that it returned: one
layer if all are observed, the whole network if only the logits are. After a mistake, the right layers of
the segment follow, and its bound is carried through them. Candidates are first tried on two digits; those
that fit are tried on all of them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lenet.diagnose.mistakes import HANDED_OUT, forward
from lenet.diagnose.mistakes.base import Kind, Mistake
from lenet.diagnose.mistakes.second_look import Example, Shown, rarer, read_off
from lenet.diagnose.mistakes.wrong_forward import ROUNDED, STAGES, Changes, Gridded, compose, walk
from lenet.network.architecture import ACTIVATION_SHAPES
from parity.arithmetic import Array, Bounded

FEW = 2  # digits on which candidates are tried first
PAIR_SECONDS = 15.0  # limit for the search for pairs, in seconds of CPU time: load does not change it


@dataclass(frozen=True)
class Sample:
    """A segment on one probe: the values at its start, and those that the port returned at its end."""

    x: Bounded
    seen: Array
    params: Mapping[str, Array]

    def head(self, count: int) -> "Sample":
        """The same with the first `count` digits only."""
        return Sample(Bounded(self.x.value[:count], self.x.bound[:count]), self.seen[:count], self.params)


@dataclass(frozen=True)
class Segment:
    """Consecutive stages, the last of them observed; `base` holds changes that are explained already."""

    stages: tuple[str, ...]
    samples: tuple[Sample, ...]
    dtype: str
    base: Changes

    @property
    def target(self) -> str:
        """The name of the observed layer at the end."""
        return self.stages[-1]

    @cached_property
    def right(self) -> list[list[Bounded]]:
        """For each sample, the right value before each stage and after the last. The list is shorter if a
        shape does not fit."""
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
        """The output of sample `index` under `changes`; None if the shapes of that network do not fit."""
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
        """The same on few digits, with the tightest sample (the last: exact weights) first."""
        samples = tuple(sample.head(digits) for sample in reversed(self.samples))
        return replace(self, samples=samples)

    @cached_property
    def is_right(self) -> bool:
        """Whether the right network explains the observed values."""
        return self.explains({})

    @cached_property
    def mendable(self) -> bool:
        """Whether a mistake of the catalogue could give these shapes: none changes the number of digits or
        the number of outputs of a dense layer."""
        dense = len(ACTIVATION_SHAPES[self.target]) == 1 and self.target != "flatten"
        return all(
            len(sample.seen) == len(sample.x.value)
            and (not dense or sample.seen.shape[1:] == ACTIVATION_SHAPES[self.target])
            for sample in self.samples
        )

    @cached_property
    def could_round(self) -> bool:
        """Whether the right network explains the observed values if sums that could be exact may round too.
        Over several layers this is the end-to-end bound of `lenet compare`."""
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
        """The largest ratio of error to bound, over all values, in the network with `changes`."""
        shares = [0.0]
        for index, sample in enumerate(self.samples):
            expected = self.expected(index, changes)
            if expected is not None and expected.value.shape == sample.seen.shape:
                with np.errstate(all="ignore"):
                    share = np.abs(sample.seen - expected.value) / expected.bound
                shares.append(float(np.max(share, initial=0, where=np.isfinite(share))))
        return max(shares)

    def proves(self, changes: Changes) -> bool:
        """True if, on some probe, the bound excludes the right value at more than half of the wrong values.

        Without this check, a wide bound would explain anything.
        """
        for index, (sample, states) in enumerate(zip(self.samples, self.right, strict=True)):
            if len(states) <= len(self.stages):
                return True  # the right network cannot even take these input shapes
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
    """Counts the wrong values, and how many of them a mistake proves: its bound excludes the right value."""

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
        """Whether more than half of the wrong values prove the mistake."""
        return 2 * self.proving > self.departing


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


def fits(seen: Array, expected: Bounded, dtype: str = "float32") -> bool:
    """Whether every value lies within its bound and, if a coarse format is claimed, is a number of it.

    Where the sum of magnitudes overflows `dtype` (it is less than 2^24 times the bound), or where the bound
    is not a number, any value fits, even NaN.
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

    The bound of a coarse format never excludes it. The evidence is then that rounding to the format moves the
    right value by more than its own bound.
    """
    if wrong.value.shape != right.value.shape:
        return np.ones(wrong.value.shape, bool)
    with np.errstate(invalid="ignore"):
        if isinstance(wrong, Gridded):
            return np.asarray(~(np.abs(wrong.grid(right.value) - right.value) <= right.bound))
        return np.asarray(~(np.abs(wrong.value - right.value) <= wrong.bound) & (wrong.bound < np.inf))


def single_matches(segment: Segment) -> list[Match]:
    """All single mistakes that explain the segment, from the first tier that has any.

    Rarer ones are tried if no others explain it, nor roundings, and then those that are read off.
    """
    found = _explaining(forward(segment.stages), segment)
    if not found and not segment.could_round:
        found = _explaining(rarer(segment.stages), segment) or _explaining(read_off(shown(segment)), segment)
    return closest(found, segment) + handed_out_matches(segment)


def _explaining(mistakes: Iterable[Mistake], segment: Segment) -> list[Match]:
    head = segment.head(FEW)
    found: list[tuple[int, Match]] = []
    for mistake in within_segment(mistakes, segment) if segment.mendable else ():
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
