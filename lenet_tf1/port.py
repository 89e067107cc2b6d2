"""The adapter to the contract of `lenet.ports`: the only file here that knows the harness."""

import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read once, when TensorFlow is imported
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as lenet_tf has it
os.environ["KERAS_BACKEND"] = "tensorflow"  # TensorFlow imports Keras, whatever the user's default is

import numpy as np

from lenet.ports.quiet import hidden, stderr_held

# The runtime greets on the file descriptor, whatever the log level. A quarter of the import's time would go
# to JAX, which TensorFlow can convert from, and to matplotlib, by which Keras draws.
with stderr_held(), hidden("jax", "matplotlib"):
    import tensorflow.compat.v1 as tf

    tf.config.list_logical_devices()

from lenet import ports
from lenet.network.recipe import Recipe
from lenet.ports import Arrays
from lenet_tf1 import weights
from lenet_tf1.model import LeNet, activations
from lenet_tf1.train import SGD, backward, get_velocity, gradients, make_optimizer, train_step


class Port(ports.Port):
    """TensorFlow 1: a graph, built once with placeholders for the data, and run in a session."""

    layout = weights

    def _setup(self) -> None:
        self._model = LeNet(self.dtype)
        with self._model.graph.as_default():
            self._pixels = tf.placeholder(self.dtype, (None, 28, 28, 1), "images")
            self._labelled = tf.placeholder("int64", (None,), "labels")
            self._cotangent = tf.placeholder(self.dtype, (None, 10), "cotangent")
            self._rate = tf.placeholder(self.dtype, (), "rate")
            self._all_outputs = activations(self._model, self._pixels)
            self._loss_and_gradient = gradients(self._model, self._pixels, self._labelled)
            self._pulled_back = backward(self._model, self._pixels, self._cotangent)
        self._steps: dict[tuple[float, float], tuple[SGD, tf.Tensor]] = {}

    def _forward(self, inputs: np.ndarray) -> np.ndarray:
        return self._run(self._all_outputs["logits"], inputs)

    def _outputs(self, inputs: np.ndarray) -> Arrays:
        return self._run(self._all_outputs, inputs)

    def _differentiate(self, inputs: np.ndarray, targets: np.ndarray) -> tuple[float, Arrays]:
        return self._run(self._loss_and_gradient, inputs, {self._labelled: targets})

    def _pull_back(self, inputs: np.ndarray, cotangent: np.ndarray) -> Arrays:
        return self._run(self._pulled_back, inputs, {self._cotangent: cotangent})

    def _make_optimizer(self, recipe: Recipe, velocity: Arrays) -> SGD:
        constants = recipe.momentum, recipe.weight_decay  # part of the graph: one training op for each
        if constants not in self._steps:
            with self._model.graph.as_default():
                optimizer = make_optimizer(self._model, recipe, velocity)
                step = train_step(self._model, optimizer, self._pixels, self._labelled, self._rate)
            self._steps[constants] = optimizer, step
        optimizer, self._training_op = self._steps[constants]
        weights.assign(self._model, get_velocity(self._model, optimizer), velocity)
        return optimizer

    def _step(self, inputs: np.ndarray, targets: np.ndarray, rate: float) -> float:
        return self._run(self._training_op, inputs, {self._labelled: targets, self._rate: rate})

    def _velocity(self) -> Arrays:
        return self._model.session.run(get_velocity(self._model, self._optimizer))

    def _run(self, fetches: Any, inputs: np.ndarray, feed: dict[tf.Tensor, Any] | None = None) -> Any:
        return self._model.session.run(fetches, {self._pixels: inputs, **(feed or {})})
