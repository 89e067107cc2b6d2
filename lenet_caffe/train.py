"""Loss, gradients, and one step of SGD with momentum: Caffe does these itself, by its solver file.

OpenCV cannot differentiate. This module has the update rule of `caffe train --solver=solver.prototxt`,
because it differs from the rule of the recipe.
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

    See Regularize and ComputeUpdateValue in Caffe's src/caffe/solvers/sgd_solver.cpp; its `history` is V, and
    g is accumulated in `diff`. While η is constant, V = η·v of the recipe's rule, and the weights are the
    same. After η drops, V still contains the old η: the first step is larger than the recipe's by
    μ·(η_old − η_new)·v, and the trajectories differ from then on.
    """

    momentum: float
    weight_decay: float
    velocity: dict[str, np.ndarray]

    def step(self, params: dict[str, np.ndarray], gradient: dict[str, np.ndarray], rate: float) -> None:
        """A step at learning rate η = `rate`, which updates `params` and the velocity in place."""
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
        UserError: the policy cannot express this recipe.
    """
    if solver.lr_policy == "fixed":
        return solver.base_lr
    if solver.lr_policy == "multistep":
        return solver.base_lr * solver.gamma ** sum(step >= value for value in solver.stepvalue)
    raise UserError(f"{SOLVER.name}: lr_policy is {solver.lr_policy!r}, expected fixed or multistep")
