"""The adapter to the contract of `lenet.ports`: the only file here that knows the harness."""

import os
from collections.abc import Callable
from functools import wraps
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # JAX would set 1, and TensorFlow would read it too

import numpy as np

from lenet.ports.quiet import stderr_held

with stderr_held():  # it warns of an accelerator that it was not built for
    import jax

    jax.devices()

from lenet import ports
from lenet.network.recipe import Recipe
from lenet.ports import Arrays
from lenet_jax.model import LeNet, activations, init
from lenet_jax.train import SGD, backward, get_velocity, gradients, make_optimizer, train_step
from lenet_jax.weights import (
    activations_to_shared,
    images_to_framework,
    load_params,
    named_parameters,
    read_params,
    to_framework,
    to_shared,
)


def _in_its_dtype(method: Callable) -> Callable:
    """Throw JAX's switch of float64 for the length of a call: it belongs to the whole thread."""

    @wraps(method)
    def switched(self: "Port", *args: Any) -> Any:
        with jax.enable_x64(self.dtype == "float64"):
            return method(self, *args)

    return switched


class Port(ports.Port):
    """JAX: compiled by XLA (`jax`), or operation by operation (`jax:eager`)."""

    @_in_its_dtype
    def _setup(self) -> None:
        self._model = init(self.dtype)
        wrap: Callable = jax.jit if self.mode == "" else lambda function: function
        self._run_logits = wrap(LeNet.__call__)
        self._run_activations = wrap(activations)
        self._run_gradients = wrap(gradients)
        self._run_backward = wrap(backward)
        self._run_train_step = wrap(train_step)

    @_in_its_dtype
    def _load(self, params: Arrays) -> None:
        self._model = load_params(self._model, params)

    @_in_its_dtype
    def _inputs(self, images: np.ndarray) -> jax.Array:
        return images_to_framework(images)

    @_in_its_dtype
    def _targets(self, labels: np.ndarray) -> jax.Array:
        return jax.numpy.array(labels)

    @_in_its_dtype
    def _forward(self, inputs: jax.Array) -> np.ndarray:
        return np.array(self._run_logits(self._model, inputs))

    @_in_its_dtype
    def _activations(self, images: np.ndarray) -> Arrays:
        return activations_to_shared(self._run_activations(self._model, images_to_framework(images)))

    @_in_its_dtype
    def _gradients(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, Arrays]:
        loss, gradient = self._run_gradients(self._model, images_to_framework(images), labels)
        return float(loss), self._shared(named_parameters(gradient))

    @_in_its_dtype
    def _backward(self, images: np.ndarray, cotangent: np.ndarray) -> Arrays:
        gradient = self._run_backward(self._model, images_to_framework(images), cotangent)
        return self._shared(named_parameters(gradient))

    @_in_its_dtype
    def _make_optimizer(self, recipe: Recipe, velocity: Arrays) -> SGD:
        start = {name: to_framework(name, v) for name, v in velocity.items()}
        return make_optimizer(self._model, recipe, start)

    @_in_its_dtype
    def _step(self, inputs: jax.Array, targets: jax.Array, rate: float) -> float:
        step = self._run_train_step(self._model, self._optimizer, inputs, targets, rate)
        self._model, self._optimizer, loss = step
        return float(loss)

    def _params(self) -> Arrays:
        return read_params(self._model)

    def _velocity(self) -> Arrays:
        return self._shared(get_velocity(self._model, self._optimizer))

    def _shared(self, values: dict[str, jax.Array]) -> Arrays:
        return {name: to_shared(name, value) for name, value in values.items()}
