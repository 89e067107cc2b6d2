"""Shared layout ↔ framework layout. Caffe's blobs have the shared layout; only the container differs."""

from math import prod
from typing import Any

import numpy as np

from lenet.network.architecture import PARAM_SHAPES
from lenet_caffe.model import LeNet
from lenet_caffe.schema import BlobProto
from parity.errors import UserError

PARTS = ("weight", "bias")  # the order of a layer's blobs, which have no names
FOUR_AXES = ("num", "channels", "height", "width")  # the form of shapes before BlobShape (2014)


def images_to_framework(images: np.ndarray) -> np.ndarray:
    """NCHW (N, 1, 28, 28), unchanged."""
    return images


def activations_to_shared(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """NCHW and (N, features), unchanged."""
    return outputs


def to_framework(name: str, array: np.ndarray) -> Any:
    """Convert a parameter from the shared layout: a BlobProto, with OIHW and (out, in) unchanged."""
    blob = BlobProto(data=array.ravel().tolist())
    blob.shape.dim.extend(array.shape)
    return blob


def to_shared(name: str, value: Any) -> np.ndarray:
    """Convert a parameter to the shared layout: the inverse of `to_framework`, as a copy.

    In the oldest files every blob has four axes (fc1.weight: 1, 1, 120, 400). As in Caffe, these have
    priority.

    Raises:
        UserError: the shape is not that of the table, or the number of values does not fit.
    """
    expected = wanted = PARAM_SHAPES[name]
    shape = tuple(value.shape.dim)
    if any(value.HasField(axis) for axis in FOUR_AXES):
        shape = tuple(getattr(value, axis) for axis in FOUR_AXES)
        wanted = (1,) * (4 - len(expected)) + expected
    if shape != wanted:
        raise UserError(f"{name} has shape {shape}, expected {wanted}")
    if len(value.data) != prod(shape):
        raise UserError(f"{name} holds {len(value.data)} values, expected {prod(shape)}")
    return np.array(value.data, np.float32).reshape(expected)


def named_parameters(model: LeNet) -> dict[str, Any]:
    """The model's own parameters under their shared names, in the framework's layout."""
    return named_blobs(model.net.layer)


def named_blobs(layers: Any) -> dict[str, Any]:
    """All blobs of these layers, {"conv1.weight": blob}; a third blob would be "conv1.2"."""
    return {
        f"{layer.name}.{PARTS[i] if i < len(PARTS) else i}": blob
        for layer in layers
        for i, blob in enumerate(layer.blobs)
    }


def fill(net: Any, params: dict[str, np.ndarray]) -> None:
    """Write shared weights into the layers of a NetParameter, which is then a .caffemodel."""
    for layer in net.layer:
        names = [f"{layer.name}.{part}" for part in PARTS]
        del layer.blobs[:]
        layer.blobs.extend(to_framework(name, params[name]) for name in names if name in params)


def load_params(model: LeNet, params: dict[str, np.ndarray]) -> None:
    """Load shared weights into the model."""
    fill(model.net, params)
    model.build()


def read_params(model: LeNet) -> dict[str, np.ndarray]:
    """A copy of the model's weights in the shared layout."""
    return {name: to_shared(name, parameter) for name, parameter in named_parameters(model).items()}
