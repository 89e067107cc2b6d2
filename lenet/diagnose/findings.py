"""One wrong place in a port: the evidence, and the mistakes that explain it."""

from dataclasses import dataclass

from lenet.diagnose.mistakes.base import Kind


@dataclass(frozen=True)
class Diagnosis:
    """A mistake of the catalogue, at the places where a port makes it.

    Attributes:
        name: the name of the mistake in the catalogue.
        explanation, remedy: what is wrong, and what to do; a sentence each.
        case: URL of a reported case of the same mistake, or "".
        where: the affected places: ("conv2",), ("loss",), ("training step",).
    """

    name: str
    explanation: str
    remedy: str
    case: str
    where: tuple[str, ...]

    @classmethod
    def of(cls, kind: Kind, where: tuple[str, ...]) -> "Diagnosis":
        """The catalogue's description of a mistake, with the places where it was found."""
        return cls(kind.name, kind.explanation, kind.remedy, kind.case, where)


@dataclass(frozen=True)
class Finding:
    """A place where the port differs from the network by more than rounding.

    Attributes:
        where: "conv2", "loss", "gradient of conv1.weight", "step 4".
        evidence: what the port returned there, in one line.
        causes: the one or two mistakes that together explain it; empty if unknown.
        alternatives: other explanations, each of one or two mistakes, that fit these values as well.
        apart: the input that would tell the explanations apart; "" without alternatives.
    """

    where: str
    evidence: str
    causes: tuple[Diagnosis, ...] = ()
    alternatives: tuple[tuple[Diagnosis, ...], ...] = ()
    apart: str = ""

    @property
    def known(self) -> bool:
        """Whether a mistake of the catalogue explains this place."""
        return bool(self.causes)

    def __str__(self) -> str:
        if not self.causes:
            return f"unknown at {self.where}: {self.evidence}"
        names = " and ".join(one.name for one in self.causes)
        others = "".join(f"; or {' and '.join(one.name for one in some)}" for some in self.alternatives)
        return f"{names} at {self.where}{others}"
