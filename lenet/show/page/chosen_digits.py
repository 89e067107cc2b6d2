"""Chooses the digits that the page shows, by a rule that includes the hardest."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lenet.network.architecture import CLASSES
from lenet.network.digits import Digits
from lenet.ports import Port
from lenet.reference.forward import margins, reference

RUN = 500  # digits at once
LOOK = 4  # times as many candidates as there is room for are judged in float64


@dataclass(frozen=True)
class Chosen:
    """A digit of the strip.

    Attributes:
        index: in the test set.
        label, answer: as labelled, and as the float64 reference classifies it.
        margin: how far the answer leads after every rounding bound is taken off; certified above zero.
    """

    index: int
    label: int
    answer: int
    margin: float


def choose(params: Mapping[str, np.ndarray], digits: Digits, port: Port, count: int) -> list[Chosen]:
    """The first digit of each class, then those that are nearest to another answer, hardest first.

    `port`, with `params` loaded, finds the candidates; the float64 reference measures their margin.
    """
    first = [i for label in range(CLASSES) for i in np.flatnonzero(digits.labels == label)[:1]]
    runs = range(0, len(digits), RUN)
    logits = np.concatenate([port.logits(digits.images[start : start + RUN]) for start in runs])
    two = np.sort(logits, axis=1)[:, -2:]
    order = [int(i) for i in np.argsort(two[:, 1] - two[:, 0], kind="stable") if i not in first]
    hard = _measured(params, digits, order[: LOOK * count])
    hard.sort(key=lambda digit: digit.margin)
    return (_measured(params, digits, [int(i) for i in first]) + hard)[:count]


def _measured(params: Mapping[str, np.ndarray], digits: Digits, indices: list[int]) -> list[Chosen]:
    if not indices:
        return []
    logits = reference(params, digits.images[indices])["logits"]
    answers, leads = logits.value.argmax(axis=1), margins(logits)
    return [
        Chosen(index, int(digits.labels[index]), int(answer), float(lead))
        for index, answer, lead in zip(indices, answers, leads, strict=True)
    ]
