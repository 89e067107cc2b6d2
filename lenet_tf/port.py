"""The adapter to the contract of `lenet.ports`: the only file here that knows the harness."""

import os
from collections.abc import Callable
from functools import partial

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read once, when TensorFlow is imported
# Convolutions by oneDNN, in half the time; by itself TensorFlow asks it only on some newer processors.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever the user's default is

import numpy as np

from lenet.ports.quiet import hidden, stderr_held

# The runtime greets on the file descriptor, whatever the log level. A quarter of the import's time would go
# to JAX, which TensorFlow can convert from, and to matplotlib, by which Keras draws.
with stderr_held(), hidden("jax", "matplotlib"):
    import tensorflow as tf

    tf.config.list_logical_devices()

from lenet import ports
from lenet.network.recipe import Recipe
from lenet_tf import weights
from lenet_tf.model import LeNet, activations
from lenet_tf.train import SGD, backward, get_velocity, gradients, make_optimizer, train_step


class Port(ports.Port):
    """TensorFlow 2: eager (`tf`), traced into a graph (`tf:function`), or compiled (`tf:xla`)."""

    layout = weights

    def _setup(self) -> None:
        self._model = LeNet(self.dtype)
        wrap = {"": lambda f: f, "function": tf.function, "xla": partial(tf.function, jit_compile=True)}
        self._run_logits = wrap[self.mode](lambda images: self._model(images))
        self._run_activations = wrap[self.mode](partial(activations, self._model))
        self._run_gradients = wrap[self.mode](partial(gradients, self._model))
        self._run_backward = wrap[self.mode](partial(backward, self._model))
        self._wrap = wrap[self.mode]
        self._steps: dict[tuple[float, float], tuple[SGD, Callable]] = {}

    def _tensor(self, array: np.ndarray) -> tf.Tensor:
        return tf.constant(array)

    def _forward(self, inputs: tf.Tensor) -> np.ndarray:
        return self._run_logits(inputs).numpy()

    def _outputs(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._run_activations(inputs)

    def _differentiate(self, inputs: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        return self._run_gradients(inputs, targets)

    def _pull_back(self, inputs: tf.Tensor, cotangent: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._run_backward(inputs, cotangent)

    def _make_optimizer(self, recipe: Recipe, velocity: dict[str, np.ndarray]) -> SGD:
        constants = recipe.momentum, recipe.weight_decay  # part of the traced graph: one graph for each
        if constants not in self._steps:
            optimizer = make_optimizer(self._model, recipe, velocity)
            self._steps[constants] = optimizer, self._wrap(partial(train_step, self._model, optimizer))
        optimizer, self._run_train_step = self._steps[constants]
        for name, v in velocity.items():
            optimizer.velocity[name].assign(v)
        return optimizer

    def _step(self, inputs: tf.Tensor, targets: tf.Tensor, rate: float) -> tf.Tensor:
        return self._run_train_step(inputs, targets, tf.constant(rate, self.dtype))

    def _velocity(self) -> dict[str, tf.Variable]:
        return get_velocity(self._model, self._optimizer)
