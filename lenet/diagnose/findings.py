"""One wrong place in a port: the evidence, and the mistakes that explain it."""

from dataclasses import dataclass

import numpy as np

from lenet.diagnose.mistakes.base import Kind
from parity.arithmetic import Array, Bounded

DIFFERENT, LESS, UNDECIDED, VALID = "different", "less accurate", "undecided", "a valid choice"


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
        verdict: "different"; "less accurate" for the same function with larger errors than a plain loop's;
            "undecided" if the values returned do not tell; "a valid choice" for what is right in another way.
        clues: lines on an unknown mistake.
    """

    where: str
    evidence: str
    causes: tuple[Diagnosis, ...] = ()
    alternatives: tuple[tuple[Diagnosis, ...], ...] = ()
    apart: str = ""
    verdict: str = DIFFERENT
    clues: tuple[str, ...] = ()

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


def apart(seen: float, expected: float) -> tuple[str, str]:
    """Two numbers with as many digits as are needed to see that they differ: six, or more."""
    texts = ((f"{seen:.{digits}g}", f"{expected:.{digits}g}") for digits in range(6, 18))
    return next((two for two in texts if two[0] != two[1]), (f"{seen:.17g}", f"{expected:.17g}"))


def deviation(what: str, seen: Array, expected: Bounded) -> str:
    """A line on an array that is not within its bounds: how many values, and the worst."""
    if seen.shape != expected.value.shape:
        return f"{what} has shape {seen.shape}, expected {expected.value.shape}"
    if (broken := int((~np.isfinite(seen)).sum())) and seen.ndim:
        return f"{what} holds {broken} values that are not finite"
    with np.errstate(invalid="ignore"):
        off = np.abs(seen - expected.value)
        outside = ~(off <= expected.bound)
    worst = np.unravel_index(int(np.argmax(np.where(outside, off, 0))), off.shape)
    found, right = apart(float(seen[worst]), float(expected.value[worst]))
    bound = float(expected.bound[worst])
    far = f"{found}, expected {right}{f' ± {bound:.1g}' if bound else ' exactly'}"
    if not seen.ndim:
        return f"{what} is {far}"
    share = f"{int(outside.sum())} of {seen.size} values of {what}"
    return f"{share} lie outside the rounding bound; largest deviation: {far}"
