"""Steps of an optimizer in plain NumPy, with gradients that are given, and their comparison with a bound."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lenet.diagnose.mistakes.update_rule import Moment
from parity.arithmetic import Bounded
from parity.arithmetic.floats import FLOAT32, FLOAT64, gamma
from tests.parity.operators.one_node import check_inside

Array = np.ndarray
MU, DECAY = 0.9, 0.125
RATES, SIZES = (0.05, 0.05, 0.05, 0.005, 0.005, 0.005), (8, 8, 3, 8, 8, 3)
NAMES = ("conv1.weight", "conv1.bias", "fc2.weight", "fc2.bias")
RNG = np.random.default_rng(4)
GRADIENTS = {name: RNG.standard_normal((len(RATES), 30, 50)) for name in NAMES}
START = {name: RNG.standard_normal((30, 50)) for name in NAMES}


@dataclass(frozen=True)
class Step:
    """What a rule may use: the number of the step, the parameter's name, its value, its gradient."""

    k: int
    name: str
    w: Array
    g: Array

    @property
    def eta(self) -> float:
        return RATES[self.k]

    @property
    def pulled(self) -> Array:
        return self.g + DECAY * self.w

    @property
    def bias(self) -> bool:
        return self.name.endswith("bias")


State = Any
Plain = Callable[[Step, State], tuple[Array, State]]  # of the state, None at first: the new value and state


def moment(k: int, dtype: str = "float64") -> Moment:
    return Moment(k, RATES, SIZES, 3, MU, DECAY, dtype)


def steps(plain: Plain, name: str) -> Iterator[tuple[int, Array, Array]]:
    """The number of each step, the value before it and the value after it."""
    w, state = START[name], None
    for k, g in enumerate(GRADIENTS[name]):
        new, state = plain(Step(k, name, w, g), state)
        yield k, w, new
        w = new


def check(advance_: Callable, plain: Plain, name: str, roundings: int, dtype: str = "float64") -> None:
    """Every step from the value before it lies within the bound, which is that of so many roundings."""
    state, u = None, {"float64": FLOAT64.u, "float32": FLOAT32.u}[dtype]
    for k, w, new in steps(plain, name):
        g = Bounded(GRADIENTS[name][k], np.zeros(w.shape))
        found, state = advance_(name, Bounded(w, np.zeros(w.shape)), state, g, moment(k, dtype))
        check_inside(found, new, f"step {k + 1}")
        # A velocity adds up at most 1 / (1 − μ) gradients; other optimizers take steps of the order of 1.
        size = np.abs(w).max() + np.abs(GRADIENTS[name]).max() / (1 - MU) + 1
        assert found.bound.max() <= gamma(roundings, u) * size, f"step {k + 1}"
