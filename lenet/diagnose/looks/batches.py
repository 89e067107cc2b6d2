"""Each digit's answer in one batch against its answer in another: alone, among 16 and among 37."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from lenet.diagnose.findings import Diagnosis, Finding
from lenet.diagnose.mistakes.base import Kind
from lenet.diagnose.probe_inputs import DIGITS, FIRST, Observed, Probe, Probes, alike
from lenet.network.architecture import ACTIVATION_SHAPES
from parity.arithmetic import Array

LEFT_OUT = Kind(
    "digits of the batch left out",
    "Some digits of a batch have no answer: their rows are constant, as they were allocated.",
    "Compute the last, shorter part of the batch too: range(0, n, size), not range(n // size).",
)
NO_BATCH_AXIS = Kind(
    "batch axis dropped at one digit",
    "A batch of one digit loses its first axis, as squeeze() does.",
    "Name the axis that is to be dropped, squeeze(axis=...), or reshape to (N, ...).",
)
OTHER_SHAPE = Kind(
    "another number of rows than digits",
    "A batch of another size does not have an answer for each digit.",
    "Take the batch size from the images of each call.",
)
DEPENDS = Kind(
    "a digit's answer depends on its batch",
    "The same digit has another answer among other digits, or in a batch of another size.",
    "Compute each digit from its own image: no statistics of the batch, no size of a batch kept.",
)


def left_out(probes: Probes, observed: Observed) -> list[Finding]:
    """Rows without an answer, or a wrong number of them: what makes other looks at the values pointless."""
    found = findings(probes, observed)
    return [one for one in found if one.causes[0].name != DEPENDS.name]


def added(found: list[Finding], probes: Probes, observed: Observed) -> list[Finding]:
    """The findings on the forward pass, with what other batches show: a finding of its own if all is right
    at 16, the cause if the first is unknown and shows there, else a clue."""
    own = findings(probes, observed)
    if not own or (found and found[0].known):
        return found
    if not found or found[0].verdict != "different":
        return [*own, *found]
    if own[0].where == found[0].where:
        return [replace(own[0], clues=found[0].clues), *found[1:]]
    clue = f"{own[0].causes[0].name}: {own[0].evidence}"
    return [replace(found[0], clues=(*found[0].clues, clue)), *found[1:]]


def findings(probes: Probes, observed: Observed) -> list[Finding]:
    """The first layer in which a digit has another answer in another batch; empty if there is none."""
    for name in ACTIVATION_SHAPES:
        for probe in probes.asked:
            if probe.twins and probe.name not in FIRST and (found := _layer(name, probe, observed)):
                kind, evidence = found
                return [Finding(name, evidence, (Diagnosis.of(kind, (name,)),))]
    return []


def _layer(name: str, probe: Probe, observed: Observed) -> tuple[Kind, str] | None:
    own = observed.activations.get(FIRST[0], {}).get(name)
    other = observed.activations.get(probe.name, {}).get(name)
    if own is None or other is None or own.ndim != len(ACTIVATION_SHAPES[name]) + 1 or len(own) != DIGITS:
        return None  # the shape among 16 is wrong already
    digits = f"{len(probe.twins)} digit{'s' if len(probe.twins) > 1 else ''}"
    expected = own[list(probe.twins)]
    if other.shape != expected.shape:
        dropped = len(probe.twins) == 1 and other.shape == expected.shape[1:]
        evidence = f"{name} has shape {other.shape} for {digits}, expected {expected.shape}"
        return (NO_BATCH_AXIS if dropped else OTHER_SHAPE), evidence
    wrong = list(_wrong_rows(expected, other, observed.dtype))
    if not wrong:
        return None
    empty = [row for row in wrong if _constant(other[row]) != _constant(expected[row])]
    if len(empty) == len(wrong) and (len(other) > 1 or _empty_among_many(name, observed)):
        if _constant(other[empty[0]]):
            return LEFT_OUT, f"{name} holds no answer in {_rows(empty)} of {digits}"
        return (
            LEFT_OUT,
            f"{name} holds no answer for some of 16 digits, and one in {_rows(empty)} of {digits}",
        )
    worst = max(wrong, key=lambda row: float(_apart(other[row], expected[row]).max(initial=0)))
    where = np.unravel_index(int(np.argmax(_apart(other[worst], expected[worst]))), other[worst].shape)
    return DEPENDS, (
        f"{_rows(wrong)} of {digits} differ in {name} from the same digits among 16; "
        f"the largest difference: {other[worst][where]:.6g}, among 16 {expected[worst][where]:.6g}"
    )


def _empty_among_many(name: str, observed: Observed) -> bool:
    """Whether a digit of a large batch has no answer: one by itself has none either where its batch's mean is
    subtracted."""
    many = [answer[name] for answer in observed.activations.values() if len(answer.get(name, ())) > DIGITS]
    return any(_constant(row) for answer in many for row in answer)


def _wrong_rows(expected: Array, other: Array, dtype: str) -> Iterator[int]:
    return (k for k in range(len(expected)) if not alike(expected[k], other[k], dtype))


def _apart(one: Array, two: Array) -> Array:
    with np.errstate(invalid="ignore"):  # of two infinities
        return np.nan_to_num(np.abs(one.astype(np.float64) - two))


def _constant(row: Array) -> bool:
    return bool(np.ptp(row) == 0)


def _rows(rows: list[int]) -> str:
    listed = ", ".join(map(str, rows[:8])) + (", …" if len(rows) > 8 else "")
    return f"row {listed}" if len(rows) == 1 else f"rows {listed}"
