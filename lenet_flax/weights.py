"""Shared layout ↔ framework layout. Flax has channels last, and calls a weight `kernel`."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from lenet.network.architecture import ACTIVATION_SHAPES
from lenet_flax.model import LeNet

CHANNELS, ROWS, COLUMNS = ACTIVATION_SHAPES["pool2"]  # the maps that `flatten` flattens


def images_to_framework(images: np.ndarray) -> Array:
    """NCHW (N, 1, 28, 28) to NHWC (N, 28, 28, 1)."""
    return jnp.array(images.transpose(0, 2, 3, 1))


def activations_to_shared(outputs: dict[str, Array]) -> dict[str, np.ndarray]:
    """NHWC to NCHW; the flattened features from (H, W, C) to (C, H, W) order."""
    shared = {}
    for name in ACTIVATION_SHAPES:  # `jit` returns a dict with sorted keys
        array = np.array(outputs[name])
        if array.ndim == 4:
            array = array.transpose(0, 3, 1, 2)
        elif name == "flatten":
            array = array.reshape(-1, ROWS, COLUMNS, CHANNELS).transpose(0, 3, 1, 2).reshape(len(array), -1)
        shared[name] = array
    return shared


def to_framework(name: str, array: np.ndarray) -> Array:
    """Convert a parameter from the shared layout: OIHW to HWIO, (out, in) to (in, out), copied.

    The inputs of `fc1` are permuted as well, because `flatten` reads (H, W, C). The name decides, not the
    shape, because a square dense layer must be transposed too.
    """
    match name:
        case "conv1.weight" | "conv2.weight":
            value = array.transpose(2, 3, 1, 0)
        case "fc1.weight":
            inputs_last = array.reshape(-1, CHANNELS, ROWS, COLUMNS).transpose(0, 2, 3, 1)
            value = inputs_last.reshape(array.shape).T
        case "fc2.weight" | "logits.weight":
            value = array.T
        case _:
            value = array
    return jnp.array(value)


def to_shared(name: str, value: nnx.Variable[Array]) -> np.ndarray:
    """Convert a parameter to the shared layout: the inverse of `to_framework`, as a copy."""
    array = np.asarray(value)
    match name:
        case "conv1.weight" | "conv2.weight":
            array = array.transpose(3, 2, 0, 1)
        case "fc1.weight":
            array = array.T.reshape(-1, ROWS, COLUMNS, CHANNELS).transpose(0, 3, 1, 2).reshape(array.T.shape)
        case "fc2.weight" | "logits.weight":
            array = array.T
    return array.copy(order="C")


def named_parameters(model: LeNet | nnx.State) -> dict[str, nnx.Variable[Array]]:
    """The model's own parameters under their shared names, in the framework's layout.

    A gradient and a velocity are states with the structure of the model, so they can be given as well.
    """
    named = {}
    for (layer, leaf), parameter in nnx.to_flat_state(nnx.state(model)):
        named[f"{layer}.{leaf}".replace("kernel", "weight")] = parameter
    return named


def load_params(model: LeNet, params: dict[str, np.ndarray]) -> None:
    """Load shared weights into the model."""
    for name, parameter in named_parameters(model).items():
        parameter.set_value(to_framework(name, params[name]))


def read_params(model: LeNet) -> dict[str, np.ndarray]:
    """A copy of the model's weights in the shared layout."""
    return {name: to_shared(name, parameter) for name, parameter in named_parameters(model).items()}
