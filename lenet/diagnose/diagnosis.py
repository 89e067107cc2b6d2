"""Finds the known mistake that explains, within rounding, everything that a wrong port returned.

    probes = lenet.diagnose.probe_inputs.standard()
    verdict = diagnose(probes, lenet.diagnose.probe_inputs.observe(probes, activations, gradients, train))

The port is followed in order of execution: the layers it handed out, then loss and gradients, then its
training run. Each place is judged from the port's own values at the last place before it, so that a
later mistake is not hidden by an earlier one. Where the right network leaves its rounding bound, every
mistake of the catalogue (`lenet.diagnose.mistakes`) is put into the right network, in float64 and with
*its own* rounding bound. A mistake that explains every value on every probe is the diagnosis; one whose
bound is so wide that the right network fits as well is not. Where no mistake fits, pairs are tried; where
no pair does, the verdict is "unknown", never a guess.
"""

from dataclasses import dataclass

from lenet.diagnose import backward_pass, forward_pass, training_run
from lenet.diagnose.findings import Diagnosis, Finding
from lenet.diagnose.probe_inputs import Observed, Probes


@dataclass(frozen=True)
class Verdict:
    """What is wrong with a port: nothing, or `findings` in order of execution.

    Attributes:
        findings: the wrong places.
        notes: what is worth knowing and no mistake (denormals flushed to zero).
        unjudged: what was handed in and could not be judged because of an earlier mistake.
    """

    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether rounding explains everything."""
        return not self.findings

    @property
    def first(self) -> str | None:
        """The first wrong place."""
        return self.findings[0].where if self.findings else None

    @property
    def diagnoses(self) -> tuple[Diagnosis, ...]:
        """Every mistake named, in order."""
        return tuple(cause for finding in self.findings for cause in finding.causes)

    @property
    def ambiguous(self) -> bool:
        """Whether some place has several explanations."""
        return any(finding.alternatives for finding in self.findings)

    def to_json(self) -> dict:
        """As in `lenet check --json`."""
        return {
            "verdict": "ok" if self.ok else "different",
            "first": self.first,
            "findings": [_finding_json(finding) for finding in self.findings],
            "notes": list(self.notes),
            "unjudged": list(self.unjudged),
        }

    def __str__(self) -> str:
        return "ok" if self.ok else "\n".join(str(finding) for finding in self.findings)


def diagnose(probes: Probes, observed: Observed) -> Verdict:
    """Judge what a port returned on the probes, and name its mistakes.

    Args:
        probes: what it was asked.
        observed: what it returned; see `lenet.diagnose.probe_inputs.observe`.

    Raises:
        UserError: nothing was observed, or under names that the network has not.
    """
    parts = (("forward", forward_pass), ("gradients", backward_pass), ("training", training_run))
    for k, (_, judge) in enumerate(parts):
        findings = judge.findings(probes, observed)
        if findings:
            there = {"gradients": observed.gradients, "training": observed.trajectory}
            return Verdict(tuple(findings), unjudged=tuple(name for name, _ in parts[k + 1 :] if there[name]))
    return Verdict(notes=tuple(forward_pass.notes(probes, observed)))


def _finding_json(finding: Finding) -> dict:
    return {
        "where": finding.where,
        "evidence": finding.evidence,
        "unknown": not finding.known,
        "causes": [vars(one) for one in finding.causes],
        "alternatives": [[vars(one) for one in some] for some in finding.alternatives],
        "apart": finding.apart,
    }
