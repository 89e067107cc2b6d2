"""The adapter to the contract of `lenet.ports`: the only file here that knows the harness."""

import numpy as np

from lenet import ports
from lenet.network.recipe import Recipe
from lenet.ports import Arrays
from lenet_numpy import fast, model, train, weights
from lenet_numpy.layers import Array
from lenet_numpy.train import SGD, get_velocity


class Port(ports.Port):
    """NumPy: as it is read (`numpy`), or as it runs fastest (`numpy:fast`)."""

    layout = weights

    def _setup(self) -> None:
        self._network, self._training = (fast, fast) if self.mode == "fast" else (model, train)
        self._model = self._network.LeNet(self.dtype)

    def _load(self, params: Arrays) -> None:
        super()._load(params)
        if self.mode == "fast":
            self._model.lay_out()

    def _forward(self, inputs: Array) -> np.ndarray:
        return self._model(inputs)

    def _outputs(self, inputs: Array) -> dict[str, Array]:
        return self._network.activations(self._model, inputs)

    def _differentiate(self, inputs: Array, targets: Array) -> tuple[float, dict[str, Array]]:
        return self._training.gradients(self._model, inputs, targets)

    def _pull_back(self, inputs: Array, cotangent: Array) -> dict[str, Array]:
        return self._training.backward(self._model, inputs, cotangent)

    def _make_optimizer(self, recipe: Recipe, velocity: dict[str, Array]) -> SGD:
        return self._training.make_optimizer(self._model, recipe, velocity)

    def _step(self, inputs: Array, targets: Array, rate: float) -> float:
        return self._training.train_step(self._model, self._optimizer, inputs, targets, rate)

    def _velocity(self) -> dict[str, Array]:
        return get_velocity(self._model, self._optimizer)
