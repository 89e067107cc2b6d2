"""Loss, gradients, and one step of SGD with momentum: Caffe's own work, told by its solver file.

OpenCV differentiates nothing. What is here is what `caffe train --solver=solver.prototxt` does with the
gradients that it computes, since its rule is not the recipe's.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lenet_caffe.schema import SolverParameter, read_text
from parity.errors import UserError

SOLVER = Path(__file__).with_name("solver.prototxt")


@dataclass
class SGD:
    """V ← μ·V + η·(g + λ·w), w ← w − V: the learning rate is inside the velocity.

    Caffe's src/caffe/solvers/sgd_solver.cpp, Regularize and ComputeUpdateValue; its `history` is V, g is
    accumulated into `diff`. While η is constant, V = η·v of the recipe's rule, and the weights are the
    same. Where η drops, V still moves by the old one: the first step after the drop goes further than
    the recipe's by μ·(η_old − η_new)·v, and from there on the gradients are taken elsewhere.
    """

    momentum: float
    weight_decay: float
    velocity: dict[str, np.ndarray]

    def step(self, params: dict[str, np.ndarray], gradient: dict[str, np.ndarray], rate: float) -> None:
        """One step at learning rate η = `rate`, written into `params` and the velocity."""
        for name, w in params.items():
            v = self.velocity[name]
            v[...] = self.momentum * v + rate * (gradient[name] + self.weight_decay * w)
            w -= v


def read_solver() -> Any:
    """The SolverParameter of solver.prototxt."""
    return read_text(SolverParameter, SOLVER)


def learning_rate(solver: Any, step: int) -> float:
    """η at `step` (from 0), by the solver's `lr_policy`.

    Raises:
        UserError: the policy is none of those that this recipe can be written in.
    """
    if solver.lr_policy == "fixed":
        return solver.base_lr
    if solver.lr_policy == "multistep":
        return solver.base_lr * solver.gamma ** sum(step >= value for value in solver.stepvalue)
    raise UserError(f"{SOLVER.name}: lr_policy is {solver.lr_policy!r}, expected fixed or multistep")
