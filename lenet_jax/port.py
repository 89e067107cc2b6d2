"""The adapter to the contract of `lenet.ports`: the only file here that knows the harness."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # JAX would set 1, and TensorFlow would read it too

import numpy as np

from lenet import ports
from lenet.ports.quiet import stderr_held

try:
    with stderr_held():  # it warns of an accelerator that it was not built for
        import jax

        jax.devices()
except (RuntimeError, AssertionError) as error:
    asked = os.environ.get("JAX_PLATFORMS")
    raise RuntimeError(f"it finds no device for JAX_PLATFORMS={asked!r}: unset this variable") from error

from lenet.network.recipe import Recipe
from lenet.ports import Arrays
from lenet_jax import weights
from lenet_jax.model import LeNet, activations, init
from lenet_jax.train import SGD, backward, get_velocity, gradients, make_optimizer, train_step


class Port(ports.Port):
    """JAX: compiled by XLA (`jax`), or operation by operation (`jax:eager`)."""

    layout = weights

    def _scope(self) -> AbstractContextManager[Any]:
        """JAX's switch of float64, which belongs to the whole thread."""
        return jax.enable_x64(self.dtype == "float64")

    def _setup(self) -> None:
        # Shapes alone, for `load` to fill: XLA would compile a function for each array of zeros.
        self._model = jax.eval_shape(partial(init, self.dtype))
        wrap: Callable = jax.jit if self.mode == "" else lambda function: function
        self._run_logits = wrap(LeNet.__call__)
        self._run_activations = wrap(activations)
        self._run_gradients = wrap(gradients)
        self._run_backward = wrap(backward)
        self._run_train_step = wrap(train_step)

    def _load(self, params: Arrays) -> None:
        self._model = weights.load_params(self._model, params)

    def _tensor(self, array: np.ndarray) -> jax.Array:
        return jax.numpy.array(array)

    def _forward(self, inputs: jax.Array) -> np.ndarray:
        return np.array(self._run_logits(self._model, inputs))

    def _outputs(self, inputs: jax.Array) -> dict[str, jax.Array]:
        return self._run_activations(self._model, inputs)

    def _differentiate(self, inputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        loss, gradient = self._run_gradients(self._model, inputs, targets)
        return loss, weights.named_parameters(gradient)

    def _pull_back(self, inputs: jax.Array, cotangent: jax.Array) -> dict[str, jax.Array]:
        return weights.named_parameters(self._run_backward(self._model, inputs, cotangent))

    def _make_optimizer(self, recipe: Recipe, velocity: dict[str, jax.Array]) -> SGD:
        return make_optimizer(self._model, recipe, velocity)

    def _step(self, inputs: jax.Array, targets: jax.Array, rate: float) -> jax.Array:
        step = self._run_train_step(self._model, self._optimizer, inputs, targets, rate)
        self._model, self._optimizer, loss = step
        return loss

    def _velocity(self) -> dict[str, jax.Array]:
        return get_velocity(self._model, self._optimizer)
