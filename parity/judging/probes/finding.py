"""What the probes found at the nodes of a graph."""

from collections import Counter
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from parity.judging.verdict import Cause, Worst

# What holds for every model and is said beside every result.
LIMITS = (
    "Probes do not see what gets lost between the terms of a long sum (its order, small terms beside large "
    "ones), overflow, or what depends on the model's own values or on several nodes: parity judge does."
)


@dataclass(frozen=True)
class Finding:
    """What the probes found at a node, and at all nodes like it.

    Attributes:
        nodes: the names of these nodes.
        op: their operator.
        shapes: of its inputs.
        semantics: "right", "wrong", or "" if no probe tells.
        precision: "right", "coarse", or "" if no probe tells.
        digits: how many binary digits of a single product are right; infinite if all are.
        worst: the worst value of the probe that failed.
        causes: the known mistakes that explain it.
        clues: lines on where it is wrong that no known mistake explains.
        note: why a probe does not apply, or what the runtime said.
    """

    nodes: tuple[str, ...]
    op: str
    shapes: tuple[tuple[int, ...], ...] = ()
    semantics: str = ""
    precision: str = ""
    digits: float = float("nan")
    worst: Worst | None = None
    causes: tuple[Cause, ...] = ()
    clues: tuple[str, ...] = ()
    note: str = ""

    @property
    def probed(self) -> bool:
        """Whether a probe was run."""
        return bool(self.semantics or self.precision)

    @property
    def verdict(self) -> str:
        """ "wrong", "coarse", "right", or "not probed"."""
        if "wrong" in (self.semantics, self.precision):
            return "wrong"
        return "coarse" if self.precision == "coarse" else "right" if self.probed else "not probed"

    def to_json(self) -> dict[str, Any]:
        """The form of `parity probe --json`."""
        return {
            "nodes": list(self.nodes),
            "op": self.op,
            "shapes": [list(shape) for shape in self.shapes],
            "verdict": self.verdict,
            "semantics": self.semantics or None,
            "precision": self.precision or None,
            "digits": self.digits if isfinite(self.digits) else None,
            "worst": self.worst and self.worst.to_json(),
            "causes": [asdict(one) for one in self.causes],
            "clues": list(self.clues),
            "note": self.note,
        }


@dataclass(frozen=True)
class ProbeReport:
    """What the probes found at all nodes of a graph, in order of execution; nodes that are alike are one."""

    findings: tuple[Finding, ...]

    @property
    def probed(self) -> int:
        """How many nodes were probed."""
        return sum(len(one.nodes) for one in self.findings if one.probed)

    @property
    def not_probed(self) -> Counter[str]:
        """{operator: how many of its nodes were not probed}."""
        counts: Counter[str] = Counter()
        for one in self.findings:
            counts.update({} if one.probed else {one.op: len(one.nodes)})
        return counts

    @property
    def verdict(self) -> str:
        """The worst of all: "wrong", "coarse", "right"; "not probed" if no node was."""
        verdicts = [one.verdict for one in self.findings]
        return next((one for one in ("wrong", "coarse", "right") if one in verdicts), "not probed")

    @property
    def right(self) -> bool:
        """Whether every probe passed, and there was one."""
        return self.verdict == "right"

    def to_json(self) -> dict[str, Any]:
        """The form of `parity probe --json`."""
        return {
            "verdict": self.verdict,
            "probed": self.probed,
            "not_probed": dict(self.not_probed),
            "limits": LIMITS,
            "findings": [one.to_json() for one in self.findings],
        }
