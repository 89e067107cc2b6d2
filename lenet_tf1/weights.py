"""Shared layout ↔ framework layout. TensorFlow has channels last: nearly every array is permuted."""

import numpy as np
import tensorflow.compat.v1 as tf

from lenet.network.architecture import ACTIVATION_SHAPES
from lenet_tf1.model import LeNet

CHANNELS, ROWS, COLUMNS = ACTIVATION_SHAPES["pool2"]  # the maps that `flatten` flattens


def images_to_framework(images: np.ndarray) -> np.ndarray:
    """NCHW (N, 1, 28, 28) to NHWC (N, 28, 28, 1); a session is fed with arrays."""
    return images.transpose(0, 2, 3, 1)


def activations_to_shared(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """NHWC to NCHW; the flattened features from (H, W, C) to (C, H, W) order."""
    shared = {}
    for name, array in outputs.items():
        if array.ndim == 4:
            array = array.transpose(0, 3, 1, 2)
        elif name == "flatten":
            array = array.reshape(-1, ROWS, COLUMNS, CHANNELS).transpose(0, 3, 1, 2).reshape(len(array), -1)
        shared[name] = array
    return shared


def to_framework(name: str, array: np.ndarray) -> np.ndarray:
    """Convert a parameter from the shared layout: OIHW to HWIO, (out, in) to (in, out).

    The inputs of `fc1` are permuted as well, because `flatten` reads (H, W, C). The name decides, not the
    shape, because a square dense layer must be transposed too.
    """
    match name:
        case "conv1.weight" | "conv2.weight":
            return array.transpose(2, 3, 1, 0)
        case "fc1.weight":
            inputs_last = array.reshape(-1, CHANNELS, ROWS, COLUMNS).transpose(0, 2, 3, 1)
            return inputs_last.reshape(array.shape).T
        case "fc2.weight" | "logits.weight":
            return array.T
        case _:
            return array


def to_shared(name: str, value: np.ndarray) -> np.ndarray:
    """Convert a parameter to the shared layout: the inverse of `to_framework`, as a copy."""
    match name:
        case "conv1.weight" | "conv2.weight":
            array = value.transpose(3, 2, 0, 1)
        case "fc1.weight":
            array = value.T.reshape(-1, ROWS, COLUMNS, CHANNELS).transpose(0, 3, 1, 2).reshape(value.T.shape)
        case "fc2.weight" | "logits.weight":
            array = value.T
        case _:
            array = value
    return array.copy(order="C")


def named_parameters(model: LeNet) -> dict[str, tf.Variable]:
    """The model's own parameters under their shared names, in the framework's layout."""
    return model.parameters


def assign(model: LeNet, variables: dict[str, tf.Variable], values: dict[str, np.ndarray]) -> None:
    """Set variables by feeding their initializers, so that no node is added to the graph."""
    with model.graph.as_default():
        feed = {variables[name].initial_value: value for name, value in values.items()}
    model.session.run([variable.initializer for variable in variables.values()], feed)


def load_params(model: LeNet, params: dict[str, np.ndarray]) -> None:
    """Load shared weights into the model."""
    assign(model, named_parameters(model), {name: to_framework(name, w) for name, w in params.items()})


def read_params(model: LeNet) -> dict[str, np.ndarray]:
    """A copy of the model's weights in the shared layout."""
    values = model.session.run(named_parameters(model))
    return {name: to_shared(name, value) for name, value in values.items()}
