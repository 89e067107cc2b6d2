"""The layers and the forward pass."""

import tensorflow.compat.v1 as tf


class LeNet:
    """Images (N, 28, 28, 1) to logits (N, 10)."""

    def __init__(self, dtype: str = "float32") -> None:
        self.graph = tf.Graph()  # not the default graph, which belongs to the whole process
        self.session = tf.Session(graph=self.graph)
        self.parameters: dict[str, tf.Variable] = {}
        with self.graph.as_default():
            self._affine("conv1", (5, 5, 1, 6), dtype)
            self._affine("conv2", (5, 5, 6, 16), dtype)
            self._affine("fc1", (400, 120), dtype)
            self._affine("fc2", (120, 84), dtype)
            self._affine("logits", (84, 10), dtype)

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        return activations(self, images)["logits"]

    def _affine(self, layer: str, shape: tuple[int, ...], dtype: str) -> None:
        for name, size in (("weight", shape), ("bias", shape[-1:])):
            variable = tf.get_variable(f"{layer}/{name}", size, dtype, tf.zeros_initializer())
            self.parameters[f"{layer}.{name}"] = variable


def activations(model: LeNet, images: tf.Tensor) -> dict[str, tf.Tensor]:
    """The output of every layer, by name. These are nodes of the graph; nothing is computed here."""
    p, y = model.parameters, {}
    y["conv1"] = tf.nn.conv2d(images, p["conv1.weight"], [1, 1, 1, 1], padding="SAME") + p["conv1.bias"]
    y["relu1"] = tf.nn.relu(y["conv1"])
    y["pool1"] = tf.nn.max_pool(y["relu1"], [1, 2, 2, 1], [1, 2, 2, 1], padding="VALID")
    y["conv2"] = tf.nn.conv2d(y["pool1"], p["conv2.weight"], [1, 1, 1, 1], padding="VALID") + p["conv2.bias"]
    y["relu2"] = tf.nn.relu(y["conv2"])
    y["pool2"] = tf.nn.max_pool(y["relu2"], [1, 2, 2, 1], [1, 2, 2, 1], padding="VALID")
    y["flatten"] = tf.reshape(y["pool2"], [-1, 400])
    y["fc1"] = tf.matmul(y["flatten"], p["fc1.weight"]) + p["fc1.bias"]
    y["relu3"] = tf.nn.relu(y["fc1"])
    y["fc2"] = tf.matmul(y["relu3"], p["fc2.weight"]) + p["fc2.bias"]
    y["relu4"] = tf.nn.relu(y["fc2"])
    y["logits"] = tf.matmul(y["relu4"], p["logits.weight"]) + p["logits.bias"]
    return y
