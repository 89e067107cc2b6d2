"""The questions that a port is asked: weights, batches of digits, and a training run."""

from dataclasses import dataclass

import numpy as np

from lenet.network.recipe import Batch, Recipe
from lenet.ports import Arrays

FIRST = ("exact", "again")  # what a port is asked first


@dataclass(frozen=True)
class Probe:
    """A set of weights and a batch of digits.

    Attributes:
        name: "random", "trained" and so on; see above.
        params: shared weights, float32.
        images, labels: (N, 1, 28, 28) float32 and (N,) int64. The labels need not be true.
        forward: whether the port is asked for activations.
        backward: whether it is asked for loss and gradients.
        judged: whether wrong activations are a mistake; otherwise they only lead to a note.
        twins: for each digit its place in `exact`, to whose answers this probe's are compared; () for none.
    """

    name: str
    params: Arrays
    images: np.ndarray
    labels: np.ndarray
    forward: bool = True
    backward: bool = False
    judged: bool = True
    twins: tuple[int, ...] = ()


@dataclass(frozen=True)
class Course:
    """A short training run: its initial parameters (with zero velocity), batches and recipe."""

    start: Arrays
    batches: tuple[Batch, ...]
    recipe: Recipe


@dataclass(frozen=True)
class Probes:
    """All inputs that a port is run on."""

    probes: tuple[Probe, ...]
    course: Course

    @property
    def asked(self) -> tuple[Probe, ...]:
        """The probes for which the port is asked for activations, in this order: `exact` comes first, and
        again, because a random answer is found at once."""
        return self._ordered([probe for probe in self.probes if probe.forward])

    @property
    def forward(self) -> tuple[Probe, ...]:
        """The probes whose activations are judged."""
        return tuple(one for one in self.probes if one.forward and one.judged and not one.twins)

    @property
    def backward(self) -> tuple[Probe, ...]:
        """The probes for which the port is asked for loss and gradients, in this order."""
        return self._ordered([probe for probe in self.probes if probe.backward])

    def named(self, name: str) -> Probe | None:
        """The probe of this name; None if there is none."""
        return next((probe for probe in self.probes if probe.name == name), None)

    @staticmethod
    def _ordered(probes: list[Probe]) -> tuple[Probe, ...]:
        return tuple(
            sorted(probes, key=lambda one: FIRST.index(one.name) if one.name in FIRST else len(FIRST))
        )


def other_batches(probes: Probes) -> list[Probe]:
    """The probes of other sizes, which are asked last."""
    return [probe for probe in probes.asked if probe.twins and probe.name not in FIRST]
