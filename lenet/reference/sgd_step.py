"""A step of SGD with momentum in float64, with bounds on the rounding errors of a port's step.

v' = μ·v + g + λ·w        w' = w − η·v'
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from lenet.network.recipe import Batch, Recipe
from lenet.reference.backward import loss_gradients
from lenet.reference.forward import given
from parity.arithmetic import Array, Bounded, Number

Numbers = TypeVar("Numbers", bound=Number)


@dataclass(frozen=True)
class Step:
    """Parameters and velocity after a step, with their rounding bounds."""

    params: dict[str, Bounded]
    velocity: dict[str, Bounded]


def step(
    params: Mapping[str, Array],
    velocity: Mapping[str, Array],
    batch: Batch,
    recipe: Recipe,
    dtype: str = "float64",
) -> Step:
    """The result of a step of `recipe` on `batch`, for a port that computes in `dtype`.

    Args:
        params, velocity: the exact values before the step.
        batch: digits that are all decided (`lenet.reference.backward.decided`).
        recipe: the source of μ and λ.
        dtype: the port's dtype.
    """
    gradients = loss_gradients(params, batch.images, batch.labels, dtype).params
    result = Step({}, {})
    for name, w in params.items():
        new = update(given(w, dtype), given(velocity[name], dtype), gradients[name], recipe, batch.rate)
        result.params[name], result.velocity[name] = new
    return result


def update(w: Numbers, v: Numbers, g: Numbers, recipe: Recipe, rate: float) -> tuple[Numbers, Numbers]:
    """The new weights and velocity, in the arithmetic of the old ones.

    The three terms of the velocity may be added in any order.
    """
    terms = [v * v.like(recipe.momentum), g, w * w.like(recipe.weight_decay)]
    stacked = [term.reshape(1, *term.shape) for term in terms]
    new = stacked[0].join(stacked[1:], 0).sum((0,)).reshape(*w.shape)
    return w + new * w.like(-rate), new
