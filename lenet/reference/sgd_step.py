"""One step of SGD with momentum in float64, and how far rounding alone can move a port's step from it.

v' = μ·v + g + λ·w        w' = w − η·v'
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lenet.network.recipe import Batch, Recipe
from lenet.reference.backward import loss_gradients
from lenet.reference.forward import U64, Array, Bounded, gamma, unit_roundoff

# μ, λ and η rounded to the port's dtype, three products, three sums: no path through either formula
# holds more; one more covers the evaluation of the bound itself.
ROUNDINGS = 10


@dataclass(frozen=True)
class Step:
    """Parameters and velocity after a step, each with the largest distance rounding allows."""

    params: dict[str, Bounded]
    velocity: dict[str, Bounded]


def step(
    params: Mapping[str, Array],
    velocity: Mapping[str, Array],
    batch: Batch,
    recipe: Recipe,
    dtype: str = "float64",
) -> Step:
    """What one step of `recipe` on `batch` gives, for a port that computes in `dtype`.

    Args:
        params, velocity: before the step, the same for everybody.
        batch: every digit decided (`lenet.reference.backward.decided`).
        recipe: for μ and λ.
        dtype: of the port.
    """
    gradients = loss_gradients(params, batch.images, batch.labels, dtype).params
    result = Step({}, {})
    for name, w in params.items():
        g, v = gradients[name], velocity[name]
        parts = np.stack([recipe.momentum * v, g.value, recipe.weight_decay * w])
        size = np.abs(parts).sum(axis=0) + g.error
        new = Bounded(parts.sum(axis=0), g.error + _rounding(dtype) * size)
        move = batch.rate * (abs(new.value) + new.error)
        result.velocity[name] = new
        result.params[name] = Bounded(
            w - batch.rate * new.value, batch.rate * new.error + _rounding(dtype) * (abs(w) + move)
        )
    return result


def _rounding(dtype: str) -> float:
    return gamma(ROUNDINGS, unit_roundoff(dtype)) + gamma(ROUNDINGS, U64)
