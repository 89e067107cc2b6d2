"""The layers and the forward pass."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

# On TPUs and recent GPUs the default multiplies in bfloat16 or TF32.
PRECISION = lax.Precision.HIGHEST


class Affine(NamedTuple):
    """The parameters of a layer. A tuple of arrays is a pytree, which JAX's transformations accept."""

    weight: Array
    bias: Array


class LeNet(NamedTuple):
    """Images (N, 28, 28, 1) to logits (N, 10)."""

    conv1: Affine
    conv2: Affine
    fc1: Affine
    fc2: Affine
    logits: Affine

    def __call__(self, images: Array) -> Array:
        return activations(self, images)["logits"]


def init(dtype: str = "float32") -> LeNet:
    """A model with zero parameters, with channels last as in JAX's libraries: HWIO and (in, out)."""
    return LeNet(
        conv1=Affine(jnp.zeros((5, 5, 1, 6), dtype), jnp.zeros(6, dtype)),
        conv2=Affine(jnp.zeros((5, 5, 6, 16), dtype), jnp.zeros(16, dtype)),
        fc1=Affine(jnp.zeros((400, 120), dtype), jnp.zeros(120, dtype)),
        fc2=Affine(jnp.zeros((120, 84), dtype), jnp.zeros(84, dtype)),
        logits=Affine(jnp.zeros((84, 10), dtype), jnp.zeros(10, dtype)),
    )


def conv2d(x: Array, layer: Affine, padding: str) -> Array:
    """Cross-correlation with stride 1: x (N, H, W, C), weight (K, K, C, O)."""
    layouts = ("NHWC", "HWIO", "NHWC")
    y = lax.conv_general_dilated(
        x, layer.weight, (1, 1), padding, dimension_numbers=layouts, precision=PRECISION
    )
    return y + layer.bias


def max_pool2d(x: Array) -> Array:
    """The maximum of every 2×2 window; if values are equal, the first in row order gets the gradient."""
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def linear(x: Array, layer: Affine) -> Array:
    """x (N, in), weight (in, out)."""
    return jnp.dot(x, layer.weight, precision=PRECISION) + layer.bias


def activations(model: LeNet, images: Array) -> dict[str, Array]:
    """The output of every layer, by name."""
    y = {}
    y["conv1"] = conv2d(images, model.conv1, padding="SAME")
    y["relu1"] = jax.nn.relu(y["conv1"])
    y["pool1"] = max_pool2d(y["relu1"])
    y["conv2"] = conv2d(y["pool1"], model.conv2, padding="VALID")
    y["relu2"] = jax.nn.relu(y["conv2"])
    y["pool2"] = max_pool2d(y["relu2"])
    y["flatten"] = y["pool2"].reshape(len(images), -1)
    y["fc1"] = linear(y["flatten"], model.fc1)
    y["relu3"] = jax.nn.relu(y["fc1"])
    y["fc2"] = linear(y["relu3"], model.fc2)
    y["relu4"] = jax.nn.relu(y["fc2"])
    y["logits"] = linear(y["relu4"], model.logits)
    return y
