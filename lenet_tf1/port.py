"""The adapter to the contract of `lenet.ports`: the only file here that knows the harness."""

import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read once, when TensorFlow is imported
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as lenet_tf has it
os.environ["KERAS_BACKEND"] = "tensorflow"  # TensorFlow imports Keras, whatever the user's default is

import numpy as np

from lenet.ports.quiet import stderr_held

with stderr_held():  # the runtime greets on the file descriptor, whatever the log level
    import tensorflow.compat.v1 as tf

    tf.config.list_logical_devices()

from lenet import ports
from lenet.network.recipe import Recipe
from lenet.ports import Arrays
from lenet_tf1.model import LeNet, activations
from lenet_tf1.train import SGD, backward, get_velocity, gradients, make_optimizer, train_step
from lenet_tf1.weights import (
    activations_to_shared,
    assign,
    images_to_framework,
    load_params,
    read_params,
    to_framework,
    to_shared,
)


class Port(ports.Port):
    """TensorFlow 1: a graph, built once with placeholders for the data, and run in a session."""

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

    def _load(self, params: Arrays) -> None:
        load_params(self._model, params)

    def _inputs(self, images: np.ndarray) -> np.ndarray:
        return images_to_framework(images)

    def _targets(self, labels: np.ndarray) -> np.ndarray:
        return labels

    def _forward(self, inputs: np.ndarray) -> np.ndarray:
        return self._run(self._all_outputs["logits"], inputs)

    def _activations(self, images: np.ndarray) -> Arrays:
        return activations_to_shared(self._run(self._all_outputs, images_to_framework(images)))

    def _gradients(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, Arrays]:
        loss, gradient = self._run(
            self._loss_and_gradient, images_to_framework(images), {self._labelled: labels}
        )
        return float(loss), self._shared(gradient)

    def _backward(self, images: np.ndarray, cotangent: np.ndarray) -> Arrays:
        return self._shared(
            self._run(self._pulled_back, images_to_framework(images), {self._cotangent: cotangent})
        )

    def _make_optimizer(self, recipe: Recipe, velocity: Arrays) -> SGD:
        start = {name: to_framework(name, v) for name, v in velocity.items()}
        constants = recipe.momentum, recipe.weight_decay  # part of the graph: one training op for each
        if constants not in self._steps:
            with self._model.graph.as_default():
                optimizer = make_optimizer(self._model, recipe, start)
                step = train_step(self._model, optimizer, self._pixels, self._labelled, self._rate)
            self._steps[constants] = optimizer, step
        optimizer, self._training_op = self._steps[constants]
        assign(self._model, get_velocity(self._model, optimizer), start)
        return optimizer

    def _step(self, inputs: np.ndarray, targets: np.ndarray, rate: float) -> float:
        return float(self._run(self._training_op, inputs, {self._labelled: targets, self._rate: rate}))

    def _params(self) -> Arrays:
        return read_params(self._model)

    def _velocity(self) -> Arrays:
        return self._shared(self._model.session.run(get_velocity(self._model, self._optimizer)))

    def _run(self, fetches: Any, inputs: np.ndarray, feed: dict[tf.Tensor, Any] | None = None) -> Any:
        return self._model.session.run(fetches, {self._pixels: inputs, **(feed or {})})

    def _shared(self, values: Arrays) -> Arrays:
        return {name: to_shared(name, value) for name, value in values.items()}
