"""The adapter to the contract of `lenet.ports`: the only file here that knows the harness."""

import os
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # JAX would set 1, and TensorFlow would read it too

import jax
import numpy as np
from flax import nnx

from lenet import ports
from lenet.network.recipe import Recipe
from lenet_flax import weights
from lenet_flax.model import LeNet, activations
from lenet_flax.train import SGD, backward, get_velocity, gradients, make_optimizer, train_step


class Port(ports.Port):
    """Flax NNX: compiled by XLA through `nnx.jit` (`flax`)."""

    layout = weights

    def _scope(self) -> AbstractContextManager[Any]:
        """JAX's switch of float64, which belongs to the whole thread."""
        return jax.enable_x64(self.dtype == "float64")

    def _setup(self) -> None:
        # Shapes alone, for `load` to fill: XLA would compile a random generator for each of them, 7 s in all.
        self._model = nnx.eval_shape(partial(LeNet, self.dtype))
        self._run_logits = nnx.jit(LeNet.__call__)
        self._run_activations = nnx.jit(activations)
        self._run_gradients = nnx.jit(gradients)
        self._run_backward = nnx.jit(backward)
        self._run_train_step = nnx.jit(train_step)

    def _tensor(self, array: np.ndarray) -> jax.Array:
        return jax.numpy.array(array)

    def _forward(self, inputs: jax.Array) -> np.ndarray:
        return np.array(self._run_logits(self._model, inputs))

    def _outputs(self, inputs: jax.Array) -> dict[str, jax.Array]:
        return self._run_activations(self._model, inputs)

    def _differentiate(
        self, inputs: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, dict[str, nnx.Variable]]:
        loss, gradient = self._run_gradients(self._model, inputs, targets)
        return loss, weights.named_parameters(gradient)

    def _pull_back(self, inputs: jax.Array, cotangent: jax.Array) -> dict[str, nnx.Variable]:
        return weights.named_parameters(self._run_backward(self._model, inputs, cotangent))

    def _make_optimizer(self, recipe: Recipe, velocity: dict[str, jax.Array]) -> SGD:
        return make_optimizer(self._model, recipe, velocity)

    def _step(self, inputs: jax.Array, targets: jax.Array, rate: float) -> jax.Array:
        return self._run_train_step(self._model, self._optimizer, inputs, targets, rate)

    def _velocity(self) -> dict[str, nnx.Variable]:
        return get_velocity(self._model, self._optimizer)
