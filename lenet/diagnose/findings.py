"""The record of one wrong place: the evidence, and the mistakes that explain it."""

from dataclasses import dataclass

from lenet.diagnose.mistakes.base import Kind


@dataclass(frozen=True)
class Diagnosis:
    """One mistake, named.

    Attributes:
        name: how it is called.
        explanation, remedy: one sentence each.
        case: URL of a reported case of the same mistake, or "".
        where: the places that it spoils: ("conv2",), ("loss",), ("training step",).
    """

    name: str
    explanation: str
    remedy: str
    case: str
    where: tuple[str, ...]

    @classmethod
    def of(cls, kind: Kind, where: tuple[str, ...]) -> "Diagnosis":
        """The catalogue's words, at a place."""
        return cls(kind.name, kind.explanation, kind.remedy, kind.case, where)


@dataclass(frozen=True)
class Finding:
    """One place where the port is not the network.

    Attributes:
        where: "conv2", "loss", "gradient of conv1.weight", "step 4".
        evidence: what was seen there, one line.
        causes: the mistakes that together explain it: one, two, or none ("unknown at conv2").
        alternatives: other explanations, each of one or two mistakes, that fit these data as well.
        apart: what would tell them apart; "" without alternatives.
    """

    where: str
    evidence: str
    causes: tuple[Diagnosis, ...] = ()
    alternatives: tuple[tuple[Diagnosis, ...], ...] = ()
    apart: str = ""

    @property
    def known(self) -> bool:
        """Whether some mistake of the catalogue explains it."""
        return bool(self.causes)

    def __str__(self) -> str:
        if not self.causes:
            return f"unknown at {self.where}: {self.evidence}"
        names = " and ".join(one.name for one in self.causes)
        others = "".join(f"; or {' and '.join(one.name for one in some)}" for some in self.alternatives)
        return f"{names} at {self.where}{others}"
