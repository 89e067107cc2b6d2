"""A network of dense layers, for questions in which the convolutions would only cost time.

    net = DenseNet((784, 64, 10), seed=0)
    net.train(digits, recipe)
    net.logits(images)

It is made of the forward and backward pairs of `lenet_numpy`; a single dense layer is softmax regression.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from lenet.network.digits import Digits
from lenet.network.recipe import Recipe, batches
from lenet_numpy.layers import (
    Array,
    Cache,
    linear,
    linear_backward,
    relu,
    relu_backward,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)

# What a layer saves for its backward pass: of its product, of its ReLU, and the mask.
Saved = tuple[Cache, Cache | None, Array | None]


class DenseNet:
    """Images (N, …) to logits (N, K), float32, with a ReLU behind every layer but the last.

    Attributes:
        layers: [[weights (out, in), biases (out,)], …].
        drop: the share of the hidden values that dropout sets to zero; the others are divided by 1 − drop.
    """

    def __init__(self, sizes: Sequence[int], seed: int, drop: float = 0.0) -> None:
        """Initialise as `lenet.network.recipe.initial_params` does.

        Args:
            sizes: the number of pixels, of the values in each hidden layer, and of the classes.
            seed: of the initial weights and of the masks of dropout.
            drop: see above.
        """
        self.drop, self._masks = drop, np.random.default_rng((seed, 1))
        rng = np.random.default_rng(seed)
        self.layers: list[list[Array]] = []
        for fan_in, fan_out in pairwise(sizes):
            w = rng.standard_normal((fan_out, fan_in)) * np.sqrt(2 / fan_in)
            self.layers.append([w.astype(np.float32), np.zeros(fan_out, np.float32)])

    def logits(self, images: Array, *, sample: bool = False) -> Array:
        """The logits of images; with `sample`, with dropout as in training."""
        return self._forward(images, sample)[0]

    def train(self, digits: Digits, recipe: Recipe) -> list[float]:
        """Learn by a recipe; returns the loss of each step before it."""
        velocity = [[np.zeros_like(w) for w in layer] for layer in self.layers]
        losses = []
        for batch in batches(digits, recipe):
            logits, caches = self._forward(batch.images, bool(self.drop))
            loss, cache = softmax_cross_entropy(logits, batch.labels)
            losses.append(float(loss))
            gradients = self._backward(softmax_cross_entropy_backward(cache), caches)
            for layer, speed, gradient in zip(self.layers, velocity, gradients, strict=True):
                for w, v, g in zip(layer, speed, gradient, strict=True):
                    v[...] = recipe.momentum * v + g + recipe.weight_decay * w
                    w -= np.float32(batch.rate) * v
        return losses

    def _forward(self, images: Array, masked: bool) -> tuple[Array, list[Saved]]:
        x, caches = images.reshape(len(images), -1), list[Saved]()
        for w, b in self.layers[:-1]:
            y, cache = linear(x, w, b)
            x, gate = relu(y)
            mask = self._mask(x.shape) if masked else None
            x = x if mask is None else x * mask
            caches.append((cache, gate, mask))
        logits, cache = linear(x, *self.layers[-1])
        return logits, [*caches, (cache, None, None)]

    def _backward(self, dlogits: Array, caches: list[Saved]) -> list[list[Array]]:
        dx, found = dlogits, []
        for cache, gate, mask in reversed(caches):
            if gate is not None:
                dx = relu_backward(dx if mask is None else dx * mask, gate)
            dx, dw, db = linear_backward(dx, cache)
            found.append([dw, db])
        return found[::-1]

    def _mask(self, shape: tuple[int, ...]) -> Array:
        kept = self._masks.random(shape, np.float32) >= self.drop
        return kept * np.float32(1 / (1 - self.drop))
