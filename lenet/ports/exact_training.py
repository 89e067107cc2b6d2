"""Trains exact weights: the same network with its weights on a dyadic grid.

Straight-through estimation (Y. Bengio, N. Léonard, A. Courville, "Estimating or Propagating Gradients
Through Stochastic Neurons", 2013; for weights M. Courbariaux et al., "BinaryConnect", NeurIPS 2015):
forward and backward pass use weights on the grid. Their gradients update *latent* weights, and the weights on
the grid are those nearest to the latent weights. The update is Adam (D. Kingma, J. Ba, ICLR 2015,
algorithm 1).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lenet.network import weights
from lenet.network.architecture import IMAGE_SHAPE, LAYERS
from lenet.network.digits import Digits, test_set
from lenet.network.recipe import Batch, Recipe, batches, initial_params
from lenet.network.weights import Params
from lenet.ports import training
from lenet.ports.contract import Port
from lenet.reference.certificate import certify, certify_range
from lenet.reference.exact import PIXEL_SHIFT, coarsen, pixel_values


@dataclass(frozen=True)
class ExactRecipe(Recipe):
    """Adam on latent weights, with `momentum` as β1 and no decay. The weights in this package were made with
    the defaults.

    Attributes:
        second_momentum: Adam's β2.
        epsilon: Adam's ε, added to the root of the second moment.
        pixel_shift: the number of low bits of a pixel that are dropped, see
            `lenet.reference.exact.coarsen`.
        jitter: the largest random shift of a batch, in pixels, in each direction.
        grids: for conv1, conv2, fc1, fc2, logits: weights are multiples of 2^−grid. On a coarser grid, more
            weights are zero, and the largest sums are smaller.
        levels: the largest multiple of the grid step; with 1, a layer is ternary.
    """

    epochs: int = 15
    learning_rate: float = 2e-3
    weight_decay: float = 0.0
    second_momentum: float = 0.999
    epsilon: float = 1e-8
    pixel_shift: int = PIXEL_SHIFT
    jitter: int = 1
    grids: tuple[int, ...] = (1, 2, 2, 1, 1)
    levels: tuple[int, ...] = (1, 1, 1, 1, 1)


@dataclass
class Adam:
    """m ← β1·m + (1 − β1)·g, s ← β2·s + (1 − β2)·g², w ← w − η · m̂ / (√ŝ + ε), both unbiased."""

    recipe: ExactRecipe
    first: Params
    second: Params
    steps: int = 0

    def step(self, params: Params, gradient: Params, rate: float) -> None:
        """Update `params` in place at learning rate η = `rate`."""
        self.steps += 1
        b1, b2 = self.recipe.momentum, self.recipe.second_momentum
        for name, g in gradient.items():
            m, s = self.first[name], self.second[name]
            m += (1 - b1) * (g - m)
            s += (1 - b2) * (g * g - s)
            unbiased = m / (1 - b1**self.steps)
            params[name] -= rate * unbiased / (np.sqrt(s / (1 - b2**self.steps)) + self.recipe.epsilon)


def to_grid(latent: Params, recipe: ExactRecipe) -> Params:
    """The nearest weights on the recipe's grids, and the nearest biases on the grid of their layer's sums."""
    exponent = recipe.pixel_shift - 8  # of the pixels
    params = {}
    affine = [layer.name for layer in LAYERS if layer.affine]
    for name, grid, level in zip(affine, recipe.grids, recipe.levels, strict=True):
        exponent -= grid
        steps = np.rint(latent[f"{name}.weight"] * np.float32(2.0**grid))
        params[f"{name}.weight"] = np.clip(steps, -level, level) * np.float32(2.0**-grid)
        params[f"{name}.bias"] = np.rint(latent[f"{name}.bias"] * 2.0**-exponent) * np.float32(2.0**exponent)
    return {name: (array + 0.0).astype(np.float32) for name, array in params.items()}  # no −0


def train(
    port: Port,
    digits: Digits,
    recipe: ExactRecipe,
    progress: Callable[[int, float], None] = lambda step, loss: None,
) -> Params:
    """Train with the port's gradients at the weights on the grid; returns these weights.

    Args:
        port: an opened float32 port; its weights are replaced.
        digits: the training digits, as `lenet.network.digits` reads them.
        recipe: the recipe; the result depends only on it and on the port's rounding.
        progress: called after each step with the number of steps done and the loss before the step.

    Raises:
        UserError: the port cannot differentiate.
    """
    latent = initial_params(recipe.seed)
    first, second = ({name: np.zeros_like(array) for name, array in latent.items()} for _ in range(2))
    adam = Adam(recipe, first, second)
    for step, batch in enumerate(_coarse_batches(digits, recipe)):
        port.load(to_grid(latent, recipe))
        loss, gradient = port.gradients(batch.images, batch.labels)
        adam.step(latent, gradient, batch.rate)
        progress(step + 1, loss)
    return to_grid(latent, recipe)


def _coarse_batches(digits: Digits, recipe: ExactRecipe) -> Iterator[Batch]:
    """The recipe's batches with pixels coarsened for exact weights, each shifted by a few random pixels."""
    for step, batch in enumerate(batches(digits, recipe)):
        reach = recipe.jitter
        down, right = np.random.default_rng((recipe.seed, 0, step)).integers(0, 2 * reach + 1, 2)
        margin = ((0, 0), (0, 0), (reach, reach), (reach, reach))
        _, height, width = IMAGE_SHAPE
        moved = np.pad(batch.images, margin)[:, :, down : down + height, right : right + width]
        yield replace(batch, images=coarsen(moved, recipe.pixel_shift))


def write_weights(
    path: Path, params: Params, port: Port, recipe: ExactRecipe, digits: Digits
) -> dict[str, str]:
    """Judge the weights on the test digits, and write them with their origin and the results as metadata.

    Returns:
        the metadata: that of `lenet.ports.training.record`, and the bits of both certificates.

    Raises:
        UserError: `path` cannot be written.
    """
    tests = test_set()
    images = coarsen(tests.images, recipe.pixel_shift)
    port.load(params)
    accuracy = training.accuracy(port, Digits(images, tests.labels))
    on_digits, on_all = certify(params, images), certify_range(params, pixel_values(recipe.pixel_shift))
    metadata = training.record(port, recipe, digits, accuracy) | {
        "bits_test_digits": f"{on_digits.bits:.2f}",
        "bits_every_image": f"{on_all.bits:.2f}",
    }
    weights.write(path, params, metadata)
    return metadata
