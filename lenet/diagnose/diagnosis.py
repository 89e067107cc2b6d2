"""Finds the known mistake that explains, within rounding, everything that a wrong port returned.

    probes = lenet.diagnose.probe_inputs.standard()
    verdict = diagnose(probes, lenet.diagnose.probe_inputs.observe(probes, activations, gradients, train))

The port is judged in order of execution: the layers that it returned, then loss and gradients, then its
training run. Each place is judged from the port's own values at the last place before it, so an early
mistake does not hide a later one. Where a value lies outside the rounding bound of the right network,
every mistake of the catalogue (`lenet.diagnose.mistakes`) is put into the right network, in float64 and
with *its own* rounding bound. A mistake that explains every value on every probe is the diagnosis, unless
its bound is so wide that it contains the right values as well. If no mistake fits, pairs of mistakes are
tried; if no pair fits, the verdict is "unknown", never a guess.
"""

from dataclasses import dataclass

from threadpoolctl import threadpool_limits

from lenet.diagnose import backward_pass, forward_pass, training_run
from lenet.diagnose.findings import DIFFERENT, LESS, UNDECIDED, VALID, Diagnosis, Finding
from lenet.diagnose.looks import batches, repeated
from lenet.diagnose.probe_inputs import Observed, Probes


@dataclass(frozen=True)
class Verdict:
    """The result of a diagnosis: the wrong places of a port, or none.

    Attributes:
        findings: the wrong places, in order of execution; also the undecided ones, and valid choices.
        notes: remarks that are no mistakes (denormals flushed to zero).
        unjudged: parts that the port returned but that an earlier mistake kept from being judged.
    """

    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether rounding and valid choices explain everything."""
        return all(finding.verdict == VALID for finding in self.findings)

    @property
    def summary(self) -> str:
        """ "ok", "different", "less accurate" or "undecided": the worst of all findings."""
        said = {finding.verdict for finding in self.findings}
        return next((verdict for verdict in (DIFFERENT, LESS, UNDECIDED) if verdict in said), "ok")

    @property
    def first(self) -> str | None:
        """The first place that is not right; without one, the first with a valid choice."""
        wrong_first = sorted(self.findings, key=lambda finding: finding.verdict == VALID)
        return wrong_first[0].where if wrong_first else None

    @property
    def diagnoses(self) -> tuple[Diagnosis, ...]:
        """All mistakes found, in order of execution."""
        return tuple(cause for finding in self.findings for cause in finding.causes)

    @property
    def ambiguous(self) -> bool:
        """Whether any place has several explanations."""
        return any(finding.alternatives for finding in self.findings)

    def to_json(self) -> dict:
        """The verdict as `lenet check --json` prints it."""
        return {
            "verdict": self.summary,
            "first": self.first,
            "findings": [_finding_json(finding) for finding in self.findings],
            "notes": list(self.notes),
            "unjudged": list(self.unjudged),
        }

    def __str__(self) -> str:
        return "ok" if not self.findings else "\n".join(str(finding) for finding in self.findings)


@threadpool_limits.wrap(limits=1)  # thousands of small products: a second thread waits most of the time
def diagnose(probes: Probes, observed: Observed) -> Verdict:
    """Judge the values that a port returned on the probes, and name its mistakes.

    Args:
        probes: the inputs that the port was given.
        observed: the values that it returned; see `lenet.diagnose.probe_inputs.observe`.

    Raises:
        UserError: nothing was observed, or a name is not one of the network's.
    """
    if found := repeated.findings(probes, observed) or batches.left_out(probes, observed):
        return Verdict(tuple(found), unjudged=_unjudged(observed))
    parts = (("forward", forward_pass), ("gradients", backward_pass), ("training", training_run))
    open_: list[Finding] = []  # that keep nothing from being judged
    for k, (_, judge) in enumerate(parts):
        findings = judge.findings(probes, observed)
        if judge is forward_pass:
            findings = batches.added(findings, probes, observed)
        if any(finding.verdict in (DIFFERENT, LESS) for finding in findings):
            there = {"gradients": observed.gradients, "training": observed.trajectory}
            unjudged = tuple(name for name, _ in parts[k + 1 :] if there[name])
            return Verdict((*open_, *findings), unjudged=unjudged)
        open_ += findings
    return Verdict(tuple(open_), tuple(forward_pass.notes(probes, observed)))


def _unjudged(observed: Observed) -> tuple[str, ...]:
    """The parts that were answered and not judged because of a random answer."""
    there = {"gradients": observed.gradients, "training": observed.trajectory}
    return tuple(name for name, answers in there.items() if answers)


def _finding_json(finding: Finding) -> dict:
    return {
        "where": finding.where,
        "verdict": finding.verdict,
        "evidence": finding.evidence,
        "unknown": finding.verdict == DIFFERENT and not finding.known,
        "causes": [vars(one) for one in finding.causes],
        "alternatives": [[vars(one) for one in some] for some in finding.alternatives],
        "apart": finding.apart,
        "clues": list(finding.clues),
    }
