"""Judges a recording as a port is judged: every layer of ten digits, the logits of 1,000, the bits of 100."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from lenet.compare import LayerReport, PortReport, exact_bits, judge_layers, less_accurate
from lenet.diagnose import Verdict, diagnose
from lenet.diagnose.probe_inputs import Observed, Probe, Probes, standard
from lenet.network import weights
from lenet.network.digits import Digits, test_set
from lenet.reference import forward
from lenet.reference.distance import ratio
from lenet.reference.exact import EXACT
from lenet.reference.half_sums import with_half_sums
from museum.recorded import EXACT_DIGITS, LAYER_DIGITS, LOGIT_DIGITS, Recording
from parity.arithmetic import Bounded

PART = 200  # digits of which the reference is computed at once


@dataclass(frozen=True)
class Replay:
    """A recording and the verdict on it.

    Attributes:
        report: as `lenet compare` makes it. Layers are of ten digits; accuracy, predictions and the worst
            error of the logits are of 1,000; bits are of 100.
        found: what `lenet check` would say of the ten digits.
    """

    recording: Recording
    report: PortReport
    found: Verdict

    @property
    def verdict(self) -> str:
        """That of `lenet compare`; "different" as well if a bit with exact weights is another."""
        return "different" if self.report.bits_equal != self.recording.exact.size else self.report.verdict

    @property
    def causes(self) -> dict[str, list[str]]:
        """{mistake: the layers where it was found}, "unknown" for what no mistake explains."""
        named: dict[str, list[str]] = {}
        for one in self.found.findings:
            for name in [cause.name for cause in one.causes] or ["unknown"]:
                named.setdefault(name, []).append(one.where)
        return named

    def to_json(self) -> dict[str, Any]:
        """The origin, the report of `lenet compare --json`, and the diagnosis of `lenet check --json`."""
        return {
            "origin": vars(self.recording.origin),
            **self.report.to_json(),
            "verdict": self.verdict,
            "digits": self.report.digits,
            "bits_of": EXACT_DIGITS * self.recording.exact.shape[1],
            "diagnosis": self.found.to_json(),
        }


def replay(recording: Recording) -> Replay:
    """Judge a recording."""
    return Replay(recording, report(recording), diagnosis(recording))


def report(recording: Recording) -> PortReport:
    """What `lenet compare` reports of a port that returns these values."""
    digits, logits = test_set()[:LOGIT_DIGITS], recording.logits
    result = PortReport(recording.name, recording.origin.version, "float32", len(digits))
    result.layers = _layers(recording, digits[:LAYER_DIGITS])
    expected = _expected_logits(frozenset(result.formulas))
    result.correct = int((logits.argmax(axis=1) == digits.labels).sum())
    result.same_predictions = int((logits.argmax(axis=1) == expected.value.argmax(axis=1)).sum())
    result.bits_equal = exact_bits.equal_bits(_right_bits(), recording.exact)
    last = result.layers["logits"]
    last.end_to_end_ratio = max(last.end_to_end_ratio, float(ratio(logits, expected).max()))
    return result


def _layers(recording: Recording, digits: Digits) -> dict[str, LayerReport]:
    params = weights.read()
    expected = forward.reference(params, digits.images)
    rounded = forward.rounded(expected, "float32")
    logits = recording.logits[: len(digits)]
    layers = dict(recording.layers)
    plain = judge_layers(params, digits.images, layers, logits, expected, rounded)
    return less_accurate(params, digits.images, layers, logits, plain) or plain


def diagnosis(recording: Recording) -> Verdict:
    """The known mistakes that explain the recorded layers."""
    digits = test_set()[:LAYER_DIGITS]
    probe = Probe("trained", weights.read(), digits.images, digits.labels)
    observed = Observed(activations={probe.name: dict(recording.layers)})
    return diagnose(Probes((probe,), standard().course), observed)


@cache
def _expected_logits(relus: frozenset[str]) -> Bounded:
    """The logits of the first 1,000 test digits, with the bound of float32; `relus` are less accurate."""
    params, images = weights.read(), test_set()[:LOGIT_DIGITS].images
    network = with_half_sums(params, relus)
    return _joined(
        forward.reference(params, images[start : start + PART], network=network)["logits"]
        for start in range(0, LOGIT_DIGITS, PART)
    )


def _joined(parts: Iterable[Bounded]) -> Bounded:
    every = list(parts)
    return Bounded(
        np.concatenate([one.value for one in every]),
        np.concatenate([one.bound for one in every]),
        every[0].format,
    )


@cache
def _right_bits() -> np.ndarray:
    return exact_bits.right(weights.read(EXACT), test_set()[:EXACT_DIGITS].images).logits
