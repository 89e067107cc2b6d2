"""Dropout left on: some values are zero, all others are larger by one factor."""

from collections.abc import Iterator

import numpy as np

from parity.arithmetic import Array, Bounded, Number
from parity.judging.causes.mistake import Changed, Inputs, Mistake
from parity.operators import Operator

FEWEST = 32  # values from which a share can be told
SCATTER = 4  # standard deviations by which the share of zeros may differ from the probability


def dropout(operator: Operator, found: Array, right: Bounded) -> Iterator[Mistake]:
    """Dropout that was left on, as the candidate's values show it.

    Args:
        operator: computes the tensor.
        found: the candidate's values.
        right: what they should be.
    """
    if found.shape != right.shape or found.size < FEWEST or found.dtype.kind not in "fV":
        return
    seen, true = found.astype(np.float64), right.value.astype(np.float64)
    zero, kept = (seen == 0) & (true != 0), (seen != 0) & (true != 0)
    if not zero.any() or not kept.any():
        return
    factor = float(np.median(seen[kept] / true[kept]))
    p = 1 - 1 / factor if factor > 1 else 0.0
    count = int(zero.sum() + kept.sum())
    if not 0 < p < 1 or abs(zero.sum() / count - p) > SCATTER * np.sqrt(p * (1 - p) / count):
        return
    p = round(p, 4)

    def dropped(y: Number, inputs: Inputs) -> Number:
        return (y * (1 / (1 - p))).move(
            lambda a: np.where(zero if a.shape == zero.shape else False, 0 * a, a)
        )

    yield Mistake(
        f"dropout left on: p={p:g}",
        f"A share of {p:g} of the values is zero, and all others are divided by {1 - p:g}: training mode.",
        "Call model.eval(), or pass training=False.",
        Changed(operator, after=dropped),
    )
