"""Shared layout ↔ framework layout. The shared layout is PyTorch's own: only tensors and arrays differ."""

import numpy as np
import torch
from torch import Tensor, nn

from lenet_torch.model import LeNet


def images_to_framework(images: np.ndarray) -> Tensor:
    """NCHW (N, 1, 28, 28), unchanged."""
    return torch.tensor(images)


def activations_to_shared(outputs: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """NCHW and (N, features), unchanged."""
    return {name: output.detach().numpy() for name, output in outputs.items()}


def to_framework(name: str, array: np.ndarray) -> Tensor:
    """Convert a parameter from the shared layout: OIHW and (out, in) are unchanged; the result is a copy."""
    return torch.tensor(array)


def to_shared(name: str, value: Tensor) -> np.ndarray:
    """Convert a parameter to the shared layout: the inverse of `to_framework`, as a copy."""
    return value.detach().numpy().copy()


def named_parameters(model: LeNet) -> dict[str, nn.Parameter]:
    """The model's own parameters under their shared names, in the framework's layout."""
    return dict(model.named_parameters())


def load_params(model: LeNet, params: dict[str, np.ndarray]) -> None:
    """Load shared weights into the model."""
    model.load_state_dict({name: to_framework(name, array) for name, array in params.items()})


def read_params(model: LeNet) -> dict[str, np.ndarray]:
    """A copy of the model's weights in the shared layout."""
    return {name: to_shared(name, parameter) for name, parameter in named_parameters(model).items()}
