"""The layers and the forward pass."""

import numpy as np

from lenet.network.architecture import PARAM_SHAPES
from lenet_numpy.layers import (
    Array,
    Cache,
    conv2d,
    conv2d_backward,
    conv2d_parameter_gradients,
    flatten,
    flatten_backward,
    linear,
    linear_backward,
    max_pool2d,
    max_pool2d_backward,
    relu,
    relu_backward,
)


class LeNet:
    """Images (N, 1, 28, 28) to logits (N, 10)."""

    def __init__(self, dtype: str = "float32") -> None:
        self.params = {name: np.zeros(shape, dtype) for name, shape in PARAM_SHAPES.items()}

    def __call__(self, images: Array) -> Array:
        return self.forward(images)[0]["logits"]

    def forward(self, images: Array) -> tuple[dict[str, Array], dict[str, Cache]]:
        """All activations, and all caches that `backward` needs."""
        p, y, cache = self.params, {}, {}
        y["conv1"], cache["conv1"] = conv2d(images, p["conv1.weight"], p["conv1.bias"], padding=2)
        y["relu1"], cache["relu1"] = relu(y["conv1"])
        y["pool1"], cache["pool1"] = max_pool2d(y["relu1"], size=2, stride=2)
        y["conv2"], cache["conv2"] = conv2d(y["pool1"], p["conv2.weight"], p["conv2.bias"])
        y["relu2"], cache["relu2"] = relu(y["conv2"])
        y["pool2"], cache["pool2"] = max_pool2d(y["relu2"], size=2, stride=2)
        y["flatten"], cache["flatten"] = flatten(y["pool2"])
        y["fc1"], cache["fc1"] = linear(y["flatten"], p["fc1.weight"], p["fc1.bias"])
        y["relu3"], cache["relu3"] = relu(y["fc1"])
        y["fc2"], cache["fc2"] = linear(y["relu3"], p["fc2.weight"], p["fc2.bias"])
        y["relu4"], cache["relu4"] = relu(y["fc2"])
        y["logits"], cache["logits"] = linear(y["relu4"], p["logits.weight"], p["logits.bias"])
        return y, cache

    def backward(self, dlogits: Array, cache: dict[str, Cache]) -> dict[str, Array]:
        """All gradients from the cotangent of the logits: the layers of the forward pass in reverse order."""
        d = {}
        dx, d["logits.weight"], d["logits.bias"] = linear_backward(dlogits, cache["logits"])
        dx = relu_backward(dx, cache["relu4"])
        dx, d["fc2.weight"], d["fc2.bias"] = linear_backward(dx, cache["fc2"])
        dx = relu_backward(dx, cache["relu3"])
        dx, d["fc1.weight"], d["fc1.bias"] = linear_backward(dx, cache["fc1"])
        dx = flatten_backward(dx, cache["flatten"])
        dx = max_pool2d_backward(dx, cache["pool2"])
        dx = relu_backward(dx, cache["relu2"])
        dx, d["conv2.weight"], d["conv2.bias"] = conv2d_backward(dx, cache["conv2"])
        dx = max_pool2d_backward(dx, cache["pool1"])
        dx = relu_backward(dx, cache["relu1"])
        d["conv1.weight"], d["conv1.bias"] = conv2d_parameter_gradients(dx, cache["conv1"])
        return {name: d[name] for name in self.params}


def activations(model: LeNet, images: Array) -> dict[str, Array]:
    """The output of every layer, by name."""
    return model.forward(images)[0]
