"""Chooses the digits that the page shows, including the hardest."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lenet.network.architecture import CLASSES
from lenet.network.digits import Digits
from lenet.ports import Port
from lenet.reference.forward import margins, reference

RUN = 500  # digits at once
LOOK = 4  # candidates judged in float64, as a multiple of the digits shown


@dataclass(frozen=True)
class Chosen:
    """A digit shown on the page.

    Attributes:
        index: the index in the test set.
        label, answer: the label, and the class from the float64 reference.
        margin: the lead of the answer minus all rounding bounds; the digit is certified if it is positive.
    """

    index: int
    label: int
    answer: int
    margin: float


def choose(params: Mapping[str, np.ndarray], digits: Digits, port: Port, count: int) -> list[Chosen]:
    """The first digit of each class, then the digits nearest to another answer, hardest first.

    `port`, with `params` loaded, finds candidates; the float64 reference measures their margins.
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
