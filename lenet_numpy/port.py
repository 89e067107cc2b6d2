"""The adapter to the contract of `lenet.ports`: the only file here that knows the harness."""

import numpy as np

from lenet import ports
from lenet.network.recipe import Recipe
from lenet.ports import Arrays
from lenet_numpy import fast, model, train
from lenet_numpy.layers import Array
from lenet_numpy.train import SGD, get_velocity
from lenet_numpy.weights import (
    activations_to_shared,
    images_to_framework,
    load_params,
    read_params,
    to_framework,
    to_shared,
)


class Port(ports.Port):
    """NumPy: as it is read (`numpy`), or as it runs fastest (`numpy:fast`)."""

    def _setup(self) -> None:
        self._network, self._training = (fast, fast) if self.mode == "fast" else (model, train)
        self._model = self._network.LeNet(self.dtype)

    def _load(self, params: Arrays) -> None:
        load_params(self._model, params)
        if self.mode == "fast":
            self._model.lay_out()

    def _inputs(self, images: np.ndarray) -> Array:
        return images_to_framework(images)

    def _targets(self, labels: np.ndarray) -> Array:
        return labels

    def _forward(self, inputs: Array) -> np.ndarray:
        return self._model(inputs)

    def _activations(self, images: np.ndarray) -> Arrays:
        return activations_to_shared(self._network.activations(self._model, images_to_framework(images)))

    def _gradients(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, Arrays]:
        loss, gradient = self._training.gradients(self._model, images_to_framework(images), labels)
        return float(loss), self._shared(gradient)

    def _backward(self, images: np.ndarray, cotangent: np.ndarray) -> Arrays:
        return self._shared(self._training.backward(self._model, images_to_framework(images), cotangent))

    def _make_optimizer(self, recipe: Recipe, velocity: Arrays) -> SGD:
        start = {name: to_framework(name, v) for name, v in velocity.items()}
        return self._training.make_optimizer(self._model, recipe, start)

    def _step(self, inputs: Array, targets: Array, rate: float) -> float:
        return float(self._training.train_step(self._model, self._optimizer, inputs, targets, rate))

    def _params(self) -> Arrays:
        return read_params(self._model)

    def _velocity(self) -> Arrays:
        return self._shared(get_velocity(self._model, self._optimizer))

    def _shared(self, values: dict[str, Array]) -> Arrays:
        return {name: to_shared(name, value) for name, value in values.items()}
