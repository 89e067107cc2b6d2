"""Ports with one planted mistake each: what the judges must catch."""

from collections.abc import Callable

import numpy as np

from lenet.network.architecture import LAYERS, Layer
from lenet.ports import Arrays, Port, open_port
from lenet_numpy import layers
from lenet_numpy.port import Port as NumpyPort
from parity.operators.affine import Conv

Forward = Callable[[Layer, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def affine(layer: Layer, x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The right layer, by the NumPy port's own functions."""
    if isinstance(layer.operator, Conv):
        return layers.conv2d(x, w, b, padding=layer.padding)[0]
    return layers.linear(x, w, b)[0]


class Planted(NumpyPort):
    """The NumPy port, computing the one layer named `culprit` by `mistake` instead."""

    def __init__(self, culprit: str, mistake: Forward, dtype: str = "float32") -> None:
        super().__init__("numpy", dtype)
        self.culprit, self.mistake = culprit, mistake

    def _logits(self, images: np.ndarray) -> np.ndarray:
        return self._activations(images)["logits"]

    def _activations(self, images: np.ndarray) -> Arrays:
        x, outputs, params = images, {}, self.params()
        for layer in LAYERS:
            if layer.affine:
                w, b = params[f"{layer.name}.weight"], params[f"{layer.name}.bias"]
                forward = self.mistake if layer.name == self.culprit else affine
                x = forward(layer, x, w, b)
            elif layer.name.startswith("relu"):
                x = layers.relu(x)[0]
            elif layer.name.startswith("pool"):
                x = layers.max_pool2d(x, size=2, stride=2)[0]
            else:
                x = layers.flatten(x)[0]
            outputs[layer.name] = x
        return outputs


def bfloat16(x: np.ndarray) -> np.ndarray:
    """Float32 values cut to the eight significant bits of bfloat16."""
    return (x.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def one_weight_off(layer: Layer, x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The largest weight off by a thousandth of itself."""
    w = w.copy()
    w.flat[np.abs(w).argmax()] *= w.dtype.type(1.001)
    return affine(layer, x, w, b)


def bfloat16_weights(layer: Layer, x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Weights through bfloat16."""
    return affine(layer, x, bfloat16(np.ascontiguousarray(w)), b)


def flipped_kernel(layer: Layer, x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """True convolution; a dense layer reads its inputs backwards."""
    return affine(layer, x, w[..., ::-1, ::-1] if w.ndim == 4 else w[:, ::-1], b)


def no_bias(layer: Layer, x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The bias forgotten."""
    return affine(layer, x, w, b * 0)


MISTAKES: dict[str, Forward] = {
    "one weight off by 1e-3": one_weight_off,
    "bfloat16 weights": bfloat16_weights,
    "flipped kernel": flipped_kernel,
    "no bias": no_bias,
}


def numpy_port(dtype: str = "float32") -> Port:
    """The right port."""
    return open_port("numpy", dtype)
