"""A wrong stretch of the forward pass, and what counts as explaining it.

A segment runs from values that the port returned (or the images) to the next layer that it returned: one
layer if all are observed, the whole network if only the logits are. After a mistake, the right layers of
the segment follow, and its bound is carried through them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lenet.diagnose.mistakes.wrong_forward import ROUNDED, Changes, Gridded, compose, walk
from lenet.network.architecture import ACTIVATION_SHAPES
from parity.arithmetic import Array, Bounded


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

    def expected(self, index: int, changes: Changes, end: int | None = None) -> Bounded | None:
        """The output of sample `index` under `changes`; None if the shapes of that network do not fit.

        Args:
            end: the output of the stages before this one, which must hold all that is changed; None: of all.
        """
        first = next((k for k, name in enumerate(self.stages) if name in changes), len(self.stages))
        states = self.right[index]
        if first >= len(states):
            return None
        combined = compose(changes, self.base)
        try:
            with np.errstate(all="ignore"):
                params = self.samples[index].params
                return walk(self.stages[first:end], states[first], params, self.dtype, combined)
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
    """Counts the wrong values, and how many of them a mistake proves: its bound excludes the right value, and
    is smaller than the departure that it explains."""

    departing: int = 0
    proving: int = 0

    def add(self, seen: Array, wrong: Bounded, right: Bounded, dtype: str) -> None:
        """Add one more array."""
        if seen.shape != right.value.shape:
            departs = small = np.ones(seen.shape, bool)
        else:
            departs = ~within(seen, right, dtype)
            with np.errstate(invalid="ignore"):
                small = ~(wrong.bound >= np.abs(seen - right.value)) | isinstance(wrong, Gridded)
        self.departing += int(departs.sum())
        self.proving += int((departs & small & excluded(wrong, right)).sum())

    @property
    def most(self) -> bool:
        """Whether more than half of the wrong values prove the mistake."""
        return 2 * self.proving > self.departing


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
