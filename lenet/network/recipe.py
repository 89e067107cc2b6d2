"""What training does, whatever the framework: initial weights, batches, learning rate, constants."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import ceil, cos, pi, prod

import numpy as np

from lenet.network.architecture import PARAM_SHAPES
from lenet.network.digits import Digits


@dataclass(frozen=True)
class Recipe:
    """SGD with momentum: v ← μ·v + g + λ·w, w ← w − η·v, η from `rate`.

    Attributes:
        seed: of the initial weights and of the order of the digits.
        epochs, batch_size: the last batch of an epoch is short where the division leaves a rest.
        learning_rate: η at the first step.
        momentum: μ.
        weight_decay: λ, on weights and biases alike (PyTorch's meaning: added to the gradient).
        schedule: "cosine" (half a period, which would reach 0 one step after the last) or "drop" (a
            tenth of η from the middle of the run on).
    """

    seed: int = 0
    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "cosine"

    def steps(self, digits: int) -> int:
        """Number of SGD steps of a whole run over `digits` training digits."""
        return self.epochs * ceil(digits / self.batch_size)

    def rate(self, step: int, steps: int) -> float:
        """Learning rate η at `step` (from 0) of `steps`."""
        if self.schedule == "cosine":
            return self.learning_rate * (1 + cos(pi * step / steps)) / 2
        return self.learning_rate * (1.0 if step < steps // 2 else 0.1)

    def to_json(self) -> str:
        """The recipe as it is recorded beside weights made by it."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Batch:
    """One step's digits, and the learning rate η to use on them."""

    images: np.ndarray
    labels: np.ndarray
    rate: float


def initial_params(seed: int) -> dict[str, np.ndarray]:
    """He initialisation: weights normal with variance 2 / fan-in, biases zero; float32.

    K. He et al., "Delving Deep into Rectifiers", ICCV 2015, section 2.2.
    """
    rng = np.random.default_rng(seed)
    params = {}
    for name, shape in PARAM_SHAPES.items():
        deviation = np.sqrt(2 / prod(shape[1:])) if name.endswith("weight") else 0.0
        params[name] = (rng.standard_normal(shape) * deviation).astype(np.float32)
    return params


def batches(digits: Digits, recipe: Recipe, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
    """The batches of steps `start` to `stop` (default: all), the same from wherever one starts.

    Each epoch's order is a permutation drawn from (seed, epoch) alone, so that an interrupted run
    goes on with exactly the batches that it has not seen.
    """
    steps = recipe.steps(len(digits))
    per_epoch = steps // recipe.epochs
    epoch, order = -1, np.empty(0, np.int64)
    for step in range(start, steps if stop is None else min(stop, steps)):
        if step // per_epoch != epoch:
            epoch = step // per_epoch
            order = np.random.default_rng((recipe.seed, epoch)).permutation(len(digits))
        first = step % per_epoch * recipe.batch_size
        chosen = order[first : first + recipe.batch_size]
        yield Batch(digits.images[chosen], digits.labels[chosen], recipe.rate(step, steps))
