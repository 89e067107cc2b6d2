"""Shared layout ↔ framework layout. Images and kernels stay; dense layers are `dot(x, W)`, W transposed."""

import numpy as np
from pytensor.tensor.sharedvar import TensorSharedVariable

from lenet_theano.model import LeNet


def images_to_framework(images: np.ndarray) -> np.ndarray:
    """NCHW (N, 1, 28, 28), as it is: a compiled function takes arrays."""
    return images


def activations_to_shared(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """NCHW and (N, features), as they are."""
    return outputs


def to_framework(name: str, array: np.ndarray) -> np.ndarray:
    """One parameter, from the shared layout: OIHW as it is, (out, in) to (in, out)."""
    match name:
        case "fc1.weight" | "fc2.weight" | "logits.weight":
            return array.T
        case _:
            return array


def to_shared(name: str, value: np.ndarray) -> np.ndarray:
    """One parameter, to the shared layout: `to_framework` undone, copied."""
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
    """Shared weights into the model."""
    for name, parameter in named_parameters(model).items():
        parameter.set_value(to_framework(name, params[name]))


def read_params(model: LeNet) -> dict[str, np.ndarray]:
    """The model's weights back in the shared layout, copied."""
    return {
        name: to_shared(name, parameter.get_value()) for name, parameter in named_parameters(model).items()
    }
