"""Shared layout ↔ framework layout. In NumPy they are the same; other frameworks differ in this file."""

import numpy as np

from lenet_numpy.layers import Array
from lenet_numpy.model import LeNet


def images_to_framework(images: np.ndarray) -> Array:
    """NCHW (N, 1, 28, 28), unchanged."""
    return images


def activations_to_shared(outputs: dict[str, Array]) -> dict[str, np.ndarray]:
    """NCHW and (N, features), unchanged."""
    return outputs


def to_framework(name: str, array: np.ndarray) -> Array:
    """Convert a parameter from the shared layout: a copy, so that training does not change the caller's."""
    return array.copy()


def to_shared(name: str, value: Array) -> np.ndarray:
    """Convert a parameter to the shared layout: the inverse of `to_framework`, as a copy."""
    return value.copy()


def named_parameters(model: LeNet) -> dict[str, Array]:
    """The model's own parameters under their shared names, in the framework's layout."""
    return model.params


def load_params(model: LeNet, params: dict[str, np.ndarray]) -> None:
    """Load shared weights into the model."""
    for name, parameter in named_parameters(model).items():
        parameter[...] = to_framework(name, params[name])


def read_params(model: LeNet) -> dict[str, np.ndarray]:
    """A copy of the model's weights in the shared layout."""
    return {name: to_shared(name, parameter) for name, parameter in named_parameters(model).items()}
