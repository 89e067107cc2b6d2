"""Steps of Adam in float64 as its definitions write them, with every rounding of a candidate counted.

state = PAPER.start(840)
for t, g in enumerate(gradients, 1):
    state = PAPER.step(state, w, g, t, rate=1e-3, epsilon=1e-8)  # state.w bounds the candidate's next w
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import FORMATS, U64, gamma

FIRST, SECOND = 0.9, 0.999  # β₁ and β₂, the defaults of the paper and of the frameworks


class State(NamedTuple):
    """The weights and the two means after a step."""

    w: Bounded
    m: Bounded
    v: Bounded


@dataclass(frozen=True)
class Adam:
    """A definition of Adam's step.

        m ← β₁m + (1 − β₁)g    v ← β₂v + (1 − β₂)g²    w ← w − η · c · m / √v    with ε in one of three places

    Attributes:
        place: of ε: "corrected" (added to √(v / (1 − β₂ᵗ)), the paper's algorithm 1), "root" (added to √v
            itself, its ε̂), or "inside" (added to v / (1 − β₂ᵗ) under the root).
        corrected: whether c is √(1 − β₂ᵗ) / (1 − β₁ᵗ); otherwise 1.
    """

    place: str = "corrected"
    corrected: bool = True

    def start(self, size: int) -> State:
        """Zeros."""
        zero = Bounded(np.zeros(size), np.zeros(size))
        return State(zero, zero, zero)

    def step(
        self,
        before: State,
        w: Array,
        g: Array,
        t: int,
        *,
        rate: float = 1e-3,
        epsilon: float = 1e-8,
        dtype: str = "float32",
    ) -> State:
        """The state after step t (from 1), for the weights and the gradient that a candidate really had.

        A term of a mean is a constant, a square, a difference, a product and sums: at most 6 roundings. The
        move is a rate, a constant, two roots, a sum with ε and quotients or products of these: at most 10. A
        power βᵗ in `dtype` is t constants and t − 1 products; its error is large beside 1 − βᵗ. The reference
        rounds as often, in float64.

        Args:
            w, g: (size,), in `dtype`.
            dtype: of the candidate.
        """
        form = FORMATS[dtype]
        wide = g.astype(np.float64)
        m, v = _mean(FIRST, before.m, wide, dtype), _mean(SECOND, before.v, wide**2, dtype)
        second = 1 - SECOND**t if self.corrected else 1.0
        first = 1 - FIRST**t if self.corrected else 1.0
        under = epsilon * second if self.place == "inside" else 0.0
        added = {"corrected": epsilon * np.sqrt(second), "root": epsilon, "inside": 0.0}[self.place]
        lowest, divisor, highest = (
            np.sqrt(np.maximum(v.value + off, 0) + under) + added for off in (-v.bound, 0, v.bound)
        )
        factor = rate * np.sqrt(second) / first
        move = factor * m.value / divisor
        carried = factor * (m.bound / lowest + np.abs(m.value) * (highest - lowest) / (lowest * divisor))
        relative = gamma(10, form.u + U64)
        if self.corrected:
            relative += _of_power(FIRST, t, form.u) + _of_power(SECOND, t, form.u) / 2
        error = carried + relative * (np.abs(move) + carried) + 10 * form.tiny
        after = w.astype(np.float64) - move
        error = (error + (form.u + U64) * (np.abs(after) + error)) * (1 + 1e-12)
        return State(Bounded(after, error, form), m, v)


PAPER, KERAS = Adam(), Adam("root")


def _mean(share: float, mean: Bounded, new: Array, dtype: str) -> Bounded:
    """share · mean + (1 − share) · new, also as mean + (1 − share)(new − mean).

    1 − share is computed in float64 by all, from a share that may be rounded or not.
    """
    form = FORMATS[dtype]
    added = (1 - share) * new
    size = np.abs(mean.value) + mean.bound + np.abs(added)
    error = share * mean.bound + gamma(6, form.u + U64) * size + 6 * form.tiny
    error += _of_power(share, 1, U64) * np.abs(added)
    return Bounded(share * mean.value + added, error * (1 + 1e-12), form)


def _of_power(share: float, t: int, u: float) -> float:
    """The relative error of 1 − shareᵗ: the power rounds with unit roundoff u, the reference too."""
    return gamma(2 * t - 1, u + U64) * share**t / (1 - share**t)
