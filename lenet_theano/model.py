"""The layers and the forward pass."""

import numpy as np
import pytensor.tensor as pt
from pytensor import shared
from pytensor.tensor import TensorVariable

from lenet_theano.layers import conv2d, pool_2d, relu


class LeNet:
    """Images (N, 1, 28, 28) to logits (N, 10)."""

    def __init__(self, dtype: str = "float32") -> None:
        shapes = {
            "conv1.weight": (6, 1, 5, 5),
            "conv1.bias": (6,),
            "conv2.weight": (16, 6, 5, 5),
            "conv2.bias": (16,),
            "fc1.weight": (400, 120),
            "fc1.bias": (120,),
            "fc2.weight": (120, 84),
            "fc2.bias": (84,),
            "logits.weight": (84, 10),
            "logits.bias": (10,),
        }
        self.params = {
            name: shared(np.zeros(shape, dtype), name=name, shape=shape) for name, shape in shapes.items()
        }

    def __call__(self, images: TensorVariable) -> TensorVariable:
        return activations(self, images)["logits"]


def activations(model: LeNet, images: TensorVariable) -> dict[str, TensorVariable]:
    """The output of every layer, by name: expressions of `images`; nothing is computed here.

    By default, Theano's `conv2d` turns the kernel by 180°. With weights from any other framework, this gives
    wrong digits without an error; symmetric kernels hide it.
    """
    p, y = model.params, {}
    y["conv1"] = conv2d(images, p["conv1.weight"], border_mode=2, filter_flip=False)
    y["conv1"] += p["conv1.bias"].dimshuffle("x", 0, "x", "x")
    y["relu1"] = relu(y["conv1"])
    y["pool1"] = pool_2d(y["relu1"], 2)
    y["conv2"] = conv2d(y["pool1"], p["conv2.weight"], filter_flip=False)
    y["conv2"] += p["conv2.bias"].dimshuffle("x", 0, "x", "x")
    y["relu2"] = relu(y["conv2"])
    y["pool2"] = pool_2d(y["relu2"], 2)
    y["flatten"] = y["pool2"].flatten(2)
    y["fc1"] = pt.dot(y["flatten"], p["fc1.weight"]) + p["fc1.bias"]
    y["relu3"] = relu(y["fc1"])
    y["fc2"] = pt.dot(y["relu3"], p["fc2.weight"]) + p["fc2.bias"]
    y["relu4"] = relu(y["fc2"])
    y["logits"] = pt.dot(y["relu4"], p["logits.weight"]) + p["logits.bias"]
    return y
