"""Shared layout ↔ framework layout. Images and kernels keep it; dense layers are `dot(x, W)`."""

import numpy as np
from pytensor.tensor.sharedvar import TensorSharedVariable

from lenet_theano.model import LeNet


def images_to_framework(images: np.ndarray) -> np.ndarray:
    """NCHW (N, 1, 28, 28), unchanged: a compiled function takes arrays."""
    return images


def activations_to_shared(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """NCHW and (N, features), unchanged."""
    return outputs


def to_framework(name: str, array: np.ndarray) -> np.ndarray:
    """Convert a parameter from the shared layout: OIHW unchanged, (out, in) to (in, out)."""
    match name:
        case "fc1.weight" | "fc2.weight" | "logits.weight":
            return array.T
        case _:
            return array


def to_shared(name: str, value: np.ndarray) -> np.ndarray:
    """Convert a parameter to the shared layout: the inverse of `to_framework`, as a copy."""
    match name:
        case "fc1.weight" | "fc2.weight" | "logits.weight":
            array = value.T
        case _:
            array = value
    return array.copy(order="C")


def named_parameters(model: LeNet) -> dict[str, TensorSharedVariable]:
    """The model's own parameters under their shared names, in the framework's layout."""
    return model.params


def load_params(model: LeNet, params: dict[str, np.ndarray]) -> None:
    """Load shared weights into the model."""
    for name, parameter in named_parameters(model).items():
        parameter.set_value(to_framework(name, params[name]))


def read_params(model: LeNet) -> dict[str, np.ndarray]:
    """A copy of the model's weights in the shared layout."""
    return {
        name: to_shared(name, parameter.get_value()) for name, parameter in named_parameters(model).items()
    }
