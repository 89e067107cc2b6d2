"""The training recipe, the same for all frameworks: initial weights, batches, learning rate, constants."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import ceil, cos, pi, prod

import numpy as np

from lenet.network.architecture import PARAM_SHAPES
from lenet.network.digits import Digits


@dataclass(frozen=True)
class Recipe:
    """The constants of SGD with momentum: v ← μ·v + g + λ·w, w ← w − η·v, with η from `rate`.

    Attributes:
        seed: the seed of the initial weights and of the order of the digits.
        epochs, batch_size: the last batch of an epoch is shorter if the division leaves a remainder.
        learning_rate: η at the first step.
        momentum: μ.
        weight_decay: λ, for weights and biases alike (as in PyTorch, λ·w is added to the gradient).
        schedule: "cosine" (half a period, which reaches 0 a step after the last) or "drop" (a tenth of η
            in the second half of the run).
    """

    seed: int = 0
    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "cosine"

    def steps(self, digits: int) -> int:
        """Number of SGD steps in a run on `digits` training digits."""
        return self.epochs * ceil(digits / self.batch_size)

    def rate(self, step: int, steps: int) -> float:
        """Learning rate η at `step` (from 0) of `steps`."""
        if self.schedule == "cosine":
            return self.learning_rate * (1 + cos(pi * step / steps)) / 2
        return self.learning_rate * (1.0 if step < steps // 2 else 0.1)

    def to_json(self) -> str:
        """The recipe as it is recorded in the metadata of weights."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Batch:
    """The digits of a step, and its learning rate η."""

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
    """The batches of steps `start` to `stop` (default: all); a later start gives the same batches.

    The order of an epoch is a permutation that depends only on (seed, epoch). So an interrupted run
    continues with exactly the batches that it has not seen.
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
