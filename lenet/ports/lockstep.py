"""Trains ports in lockstep, and measures how far rounding drives them apart."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lenet.network.architecture import PARAM_SHAPES
from lenet.network.digits import Digits
from lenet.network.recipe import Batch, Recipe, batches, initial_params
from lenet.ports.calling import PortFailed, each
from lenet.ports.contract import Arrays, Port

Step = tuple[float, Arrays]  # the loss of a step's batch before the step, and the parameters after it


@dataclass(frozen=True)
class Lockstep:
    """A training run of several ports, step by step.

    Attributes:
        losses: (steps, 1 + len(ports)), the loss of each step's batch before the step, the reference first.
        distances: (steps, len(ports)), each port's `distance` from the reference's weights after each step.
    """

    losses: np.ndarray
    distances: np.ndarray


def lockstep(
    reference: Port,
    ports: Sequence[Port],
    digits: Digits,
    recipe: Recipe,
    steps: int,
    progress: Callable[[], None] = lambda: None,
) -> Lockstep:
    """Train all ports from the recipe's initial weights on the same batches, step by step.

    Raises:
        PortFailed: a port raises an error.
    """
    runs = [run(port, digits, recipe, steps) for port in (reference, *ports)]
    return compared(zip(*runs, strict=True), progress)


def compared(steps: Iterable[Sequence[Step]], progress: Callable[[], None] = lambda: None) -> Lockstep:
    """The distances in a run of several ports, the reference first, step by step."""
    losses, rows = [], []
    for step in steps:
        losses.append([loss for loss, _ in step])
        (_, weights), *others = step
        rows.append([distance(params, weights) for _, params in others])
        progress()
    return Lockstep(np.array(losses), np.array(rows))


def run(port: Port, digits: Digits, recipe: Recipe, steps: int) -> Iterator[Step]:
    """Train a port from the recipe's initial weights, step by step; raises as `lockstep` does."""
    return each(port, _steps(port, digits, recipe, steps))


def _steps(port: Port, digits: Digits, recipe: Recipe, steps: int) -> Iterator[Step]:
    port.load(initial_params(recipe.seed))
    for loss in port.train(batches(digits, recipe, 0, steps), recipe):
        params = port.params()
        if (shapes := {name: np.shape(array) for name, array in params.items()}) != PARAM_SHAPES:
            raise PortFailed(port.name, f"returns parameters of shapes {shapes}")
        yield loss, params


def distance(params: Arrays, reference: Arrays) -> float:
    """The largest difference between two weights, relative to the largest weight of their array."""
    return max(float(np.abs(params[name] - w).max() / np.abs(w).max()) for name, w in reference.items())


def shaken(port: Port, batches: Iterator[Batch], recipe: Recipe, noise: float, seed: int) -> Iterator[float]:
    """Train, and move every weight by a random ±`noise` (relative to its array's largest) after each step.

    This models rounding, perhaps worse than any real rounding: its drift bounds that of a port.
    """
    rng = np.random.default_rng(seed)
    for batch in batches:
        yield from port.train([batch], recipe)
        moved = {
            name: w + noise * np.abs(w).max() * rng.choice([-1.0, 1.0], w.shape)
            for name, w in port.params().items()
        }
        port.load(moved, port.velocity())
