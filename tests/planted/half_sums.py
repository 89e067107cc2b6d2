"""A port whose ReLUs are computed as Theano 0.8.2 compiles them: ½(|x + b| + x + b)."""

from collections.abc import Callable

import numpy as np

from lenet.network.architecture import LAYERS
from lenet.ports import Arrays
from lenet_numpy import layers
from lenet_numpy.port import Port as NumpyPort
from parity.operators.affine import Conv

Array = np.ndarray
Formula = Callable[[Array, Array, Array], Array]  # of s = x + b, x and b


def theano(s: Array, x: Array, b: Array) -> Array:
    """In Theano's order of summation."""
    return s.dtype.type(0.5) * ((np.abs(s) + x) + b)


class HalfSums(NumpyPort):
    """The NumPy port with a formula in the place of each ReLU; it knows what a bias was added to."""

    def __init__(self, formula: Formula = theano, dtype: str = "float32") -> None:
        super().__init__("numpy", dtype)
        self.formula = formula

    def _logits(self, images: Array) -> Array:
        return self._activations(images)["logits"]

    def _activations(self, images: Array) -> Arrays:
        s, outputs, params = images, {}, self.params()
        x = b = images
        for layer in LAYERS:
            if layer.affine:
                w, bias = params[f"{layer.name}.weight"], params[f"{layer.name}.bias"]
                if isinstance(layer.operator, Conv):
                    x = layers.conv2d(s, w, bias * 0, padding=layer.padding)[0]
                else:
                    x = layers.linear(s, w, bias * 0)[0]
                b = bias.reshape(-1, *[1] * (x.ndim - 2))
                s = x + b
            elif layer.name.startswith("relu"):
                s = self.formula(s, x, b)
            elif layer.name.startswith("pool"):
                s = layers.max_pool2d(s, size=2, stride=2)[0]
            else:
                s = layers.flatten(s)[0]
            outputs[layer.name] = s
        return outputs
