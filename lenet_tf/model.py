"""The layers and the forward pass."""

import keras
import tensorflow as tf
from keras import layers


class LeNet(keras.Sequential):
    """Images (N, 28, 28, 1) to logits (N, 10)."""

    def __init__(self, dtype: str = "float32") -> None:
        super().__init__(
            [
                keras.Input((28, 28, 1), dtype=dtype),
                layers.Conv2D(6, kernel_size=5, padding="same", dtype=dtype, name="conv1"),
                layers.ReLU(dtype=dtype, name="relu1"),
                layers.MaxPooling2D(2, dtype=dtype, name="pool1"),
                layers.Conv2D(16, kernel_size=5, dtype=dtype, name="conv2"),
                layers.ReLU(dtype=dtype, name="relu2"),
                layers.MaxPooling2D(2, dtype=dtype, name="pool2"),
                layers.Flatten(dtype=dtype, name="flatten"),
                layers.Dense(120, dtype=dtype, name="fc1"),
                layers.ReLU(dtype=dtype, name="relu3"),
                layers.Dense(84, dtype=dtype, name="fc2"),
                layers.ReLU(dtype=dtype, name="relu4"),
                layers.Dense(10, dtype=dtype, name="logits"),
            ]
        )


def activations(model: LeNet, images: tf.Tensor) -> dict[str, tf.Tensor]:
    """The output of every layer, by name."""
    x, outputs = images, {}
    for layer in model.layers:
        outputs[layer.name] = x = layer(x)
    return outputs
