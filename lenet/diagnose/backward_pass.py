"""Judges the loss and gradients of a port, and explains the first wrong one."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lenet.diagnose.findings import DIFFERENT, VALID, Diagnosis, Finding, deviation
from lenet.diagnose.forward_pass import rounded_layers
from lenet.diagnose.mistakes import BACKWARD
from lenet.diagnose.mistakes.base import Kind, case
from lenet.diagnose.mistakes.wrong_backward import Passed, Tape, walk_again, walk_back
from lenet.diagnose.mistakes.wrong_forward import ROUNDED, compose
from lenet.diagnose.probe_inputs import Observed, Probe, Probes
from lenet.diagnose.search.explain import PAIR_SECONDS
from lenet.diagnose.search.segment import Count, excluded
from lenet.network.architecture import PARAM_SHAPES
from parity.arithmetic import Array, Bounded
from parity.errors import UserError

Changes = Mapping[str, Callable]

ACCUMULATED = Kind(
    "gradients accumulated across calls",
    "The gradients of earlier batches are still in the buffers, and each call adds to them.",
    "Zero the gradients before each backward pass: optimizer.zero_grad().",
    case("karpathy/llm.c", 548),
)


@dataclass(frozen=True)
class Sample:
    """One probe: its forward pass, and the loss and gradients that the port returned; `again` if it was asked
    before."""

    tape: Tape
    seen: Mapping[str, Array]
    again: bool = False

    @cached_property
    def right(self) -> Passed:
        """The right loss and gradients, in order of execution; see `walk_back`."""
        return list(walk_back(self.tape, {}))

    def changed(self, changes: Changes) -> Iterator[tuple[str, Bounded]]:
        """Loss and gradients with `changes` made to the right backward pass."""
        return walk_again(self.tape, changes, self.right)

    def wrong(self) -> Iterator[tuple[str, Bounded]]:
        """The observed values outside their bounds, in order of execution."""
        for key, value, _ in self.right:
            if key in self.seen and not agrees(self.seen[key], value):
                yield key, value

    @cached_property
    def first_wrong(self) -> str | None:
        """The name of the first value outside its bound: "loss" or a parameter."""
        return next((key for key, _ in self.wrong()), None)

    def explained(self, changes: Changes, until: str | None = None) -> bool:
        """Whether all observed values lie within the bounds of the backward pass with `changes`.

        Args:
            changes: by stage.
            until: the name of the last value to look at; None for all.
        """
        with np.errstate(all="ignore"):
            for key, value in self.changed(changes):
                if key in self.seen and not agrees(self.seen[key], value):
                    return False
                if key == until:
                    break
        return True

    def differs(self, changes: Changes) -> bool:
        """Whether the bounds under `changes` exclude some right value."""
        right = {key: value for key, value, _ in self.right}
        with np.errstate(all="ignore"):
            return any(excluded(value, right[key]).any() for key, value in self.changed(changes))

    def proved(self, changes: Changes) -> bool:
        """Whether, in the loss or a gradient, the bounds under `changes` exclude the right value at more
        than half of the wrong values."""
        right = {key: value for key, value, _ in self.right}
        with np.errstate(all="ignore"):
            for key, value in self.changed(changes):
                if key in self.seen:
                    count = Count()
                    count.add(self.seen[key], value, right[key], self.tape.dtype)
                    if count.most:
                        return True
        return False


def agrees(seen: Array, expected: Bounded) -> bool:
    """Whether every value lies within its bound. An expected NaN means "not finite": an array may then hold
    any value, but a loss must not be finite."""
    if seen.shape != expected.value.shape:
        return False
    nothing = np.isnan(expected.value)
    if nothing.any():
        return seen.ndim > 0 or not np.isfinite(seen)
    with np.errstate(invalid="ignore"):
        return bool((np.abs(seen - expected.value) <= expected.bound).all())


def findings(probes: Probes, observed: Observed) -> list[Finding]:
    """The first wrong value among loss and gradients, with its explanation; empty if all are right.

    Raises:
        UserError: a gradient has a name that is no parameter of the network.
    """
    samples = _samples(probes.backward, observed, {})
    if any(sample.first_wrong for sample in samples) and rounded_layers(probes, observed):
        samples = _samples(
            probes.backward, observed, ROUNDED
        )  # start from the forward pass with more roundings
    calls, samples = samples, [one for one in samples if not one.again]
    wrong = [(key, value, sample) for sample in calls for key, value in sample.wrong()]
    if not wrong:
        return []
    order = list(dict.fromkeys(key for key, _, _ in samples[0].right))
    key, expected, sample = min(wrong, key=lambda row: order.index(row[0]))
    where = "loss" if key == "loss" else f"gradient of {key}"
    wrong_first = sorted(samples, key=lambda s: s.first_wrong is None)  # right samples exclude few mistakes
    explanations = _accumulated(calls) or _singles(wrong_first) or _pairs(wrong_first)
    causes = [tuple(Diagnosis.of(kind, stages) for kind, stages in one) for one in explanations]
    return [
        Finding(
            where,
            deviation(where, sample.seen[key], expected),
            causes[0] if causes else (),
            tuple(causes[1:]),
            _APART if len(causes) > 1 else "",
            VALID if explanations and all(kind.valid for kind, _ in explanations[0]) else DIFFERENT,
        )
    ]


_APART = "the loss and the gradients of every parameter, on batches of other sizes"

Explanation = list[tuple[Kind, tuple[str, ...]]]


def _samples(probes: Iterable[Probe], observed: Observed, changes: Changes) -> list[Sample]:
    """The probes for which the port returned gradients, after a forward pass with `changes`."""
    samples = []
    for probe in probes:
        if probe.name not in observed.gradients:
            continue
        loss, gradients = observed.gradients[probe.name]
        if unknown := gradients.keys() - PARAM_SHAPES.keys():
            raise UserError(f"no parameter is called {min(unknown)!r}; expected {', '.join(PARAM_SHAPES)}")
        seen = {key: np.asarray(g).astype(np.float64) for key, g in gradients.items()}
        if loss is not None:
            seen["loss"] = np.asarray(loss, np.float64)
        tape = Tape.record(probe.params, probe.images, probe.labels, observed.dtype, changes)
        samples.append(Sample(tape, seen, bool(probe.twins)))
    return samples


def _explained(samples: list[Sample], changes: Changes) -> bool:
    try:
        return all(s.explained(changes) for s in samples) and any(s.proved(changes) for s in samples)
    except ValueError:
        return False


def _singles(samples: list[Sample]) -> list[Explanation]:
    return [[(mistake.kind, mistake.stages)] for mistake in BACKWARD if _explained(samples, mistake.changes)]


def _pairs(samples: list[Sample]) -> list[Explanation]:
    """Pairs of mistakes at different stages. The first wrong value is due to one of them, so that mistake
    must explain all values up to there."""
    deadline = time.thread_time() + PAIR_SECONDS
    found: list[Explanation] = []
    for one in [m for m in BACKWARD if _explained_so_far(samples, m.changes)]:
        for two in BACKWARD:
            if time.thread_time() > deadline:
                return found
            if one.kind == two.kind or set(one.stages) & set(two.stages):
                continue
            if _explained(samples, compose(one.changes, two.changes)):
                found.append([(one.kind, one.stages), (two.kind, two.stages)])
    return found


def _explained_so_far(samples: list[Sample], changes: Changes) -> bool:
    """Whether each sample is explained up to its first wrong value."""
    try:
        return all(s.explained(changes, s.first_wrong) for s in samples)
    except ValueError:
        return False


def _accumulated(samples: list[Sample]) -> list[Explanation]:
    """The accumulation of gradients, if each probe's gradients include those of the probes before it."""
    totals: dict[str, Bounded] = {}
    off = False
    for sample in samples:
        for key, value, _ in sample.right:
            if key == "loss":
                right = value
            else:
                before = totals.get(key)
                right = (
                    value
                    if before is None
                    else Bounded(
                        before.value + value.value,
                        before.bound + value.bound + 2.0**-22 * (np.abs(before.value) + np.abs(value.value)),
                    )
                )
                totals[key] = right
            if key in sample.seen:
                if not agrees(sample.seen[key], right):
                    return []
                off |= not agrees(sample.seen[key], value)
    return [[(ACCUMULATED, tuple(totals))]] if off else []
