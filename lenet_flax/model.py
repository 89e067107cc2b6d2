"""The layers and the forward pass."""

from typing import Any

from flax import nnx
from jax import Array


class LeNet(nnx.Module):
    """Images (N, 28, 28, 1) to logits (N, 10)."""

    def __init__(self, dtype: str = "float32") -> None:
        # On TPUs and recent GPUs the default precision multiplies in bfloat16 or TF32.
        layer: dict[str, Any] = {"param_dtype": dtype, "precision": "highest", "rngs": nnx.Rngs(0)}
        self.conv1 = nnx.Conv(1, 6, kernel_size=(5, 5), padding="SAME", **layer)
        self.conv2 = nnx.Conv(6, 16, kernel_size=(5, 5), padding="VALID", **layer)
        self.fc1 = nnx.Linear(400, 120, **layer)
        self.fc2 = nnx.Linear(120, 84, **layer)
        self.logits = nnx.Linear(84, 10, **layer)

    def __call__(self, images: Array) -> Array:
        return activations(self, images)["logits"]


def max_pool2d(x: Array) -> Array:
    """The maximum of every 2×2 window; if values are equal, the first in row order gets the gradient."""
    return nnx.max_pool(x, window_shape=(2, 2), strides=(2, 2))


def activations(model: LeNet, images: Array) -> dict[str, Array]:
    """The output of every layer, by name."""
    y = {}
    y["conv1"] = model.conv1(images)
    y["relu1"] = nnx.relu(y["conv1"])
    y["pool1"] = max_pool2d(y["relu1"])
    y["conv2"] = model.conv2(y["pool1"])
    y["relu2"] = nnx.relu(y["conv2"])
    y["pool2"] = max_pool2d(y["relu2"])
    y["flatten"] = y["pool2"].reshape(len(images), -1)
    y["fc1"] = model.fc1(y["flatten"])
    y["relu3"] = nnx.relu(y["fc1"])
    y["fc2"] = model.fc2(y["relu3"])
    y["relu4"] = nnx.relu(y["fc2"])
    y["logits"] = model.logits(y["relu4"])
    return y
