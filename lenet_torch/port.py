"""The adapter to the contract of `lenet.ports`: the only file here that knows the harness."""

import os
import shutil
import sys
from functools import partial

import numpy as np
import torch
from torch import Tensor

from lenet import ports
from lenet.network.recipe import Recipe
from lenet.ports import Arrays
from lenet_torch.model import LeNet, activations
from lenet_torch.train import SGD, backward, get_velocity, gradients, make_optimizer, train_step
from lenet_torch.weights import (
    activations_to_shared,
    images_to_framework,
    load_params,
    read_params,
    to_framework,
    to_shared,
)
from parity.errors import MissingFramework


def require_compiler(name: str) -> None:
    """Refuse where Inductor would end in a traceback: it builds C++."""
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        raise MissingFramework(f"port {name!r} needs a C++ compiler: install {compiler}, or name one in CXX")


class Port(ports.Port):
    """PyTorch: eager (`torch`), or compiled by TorchDynamo and Inductor (`torch:compile`)."""

    def _setup(self) -> None:
        self._model = LeNet(self.dtype)
        self._run_activations = activations
        if self.mode == "compile":
            require_compiler(self.name)
            # Whole graphs or an error: Dynamo would otherwise run what it gives up on uncompiled, in silence.
            # PyTorch 2.13, one thread: its layout optimization makes the convolutions' gradients zero.
            options = {"layout_optimization": False}
            compiled = partial(torch.compile, fullgraph=True, options=options)
            # Dynamo counts the graphs of Sequential.forward over all ports of a process, dtypes and shapes.
            torch._dynamo.config.recompile_limit = 64
            # Not `self._model.compile()`: Dynamo skips code of torch.nn, and Sequential's forward is that.
            self._model.forward = compiled(self._model.forward)  # type: ignore[method-assign]
            self._run_activations = compiled(activations)

    def _load(self, params: Arrays) -> None:
        load_params(self._model, params)

    def _inputs(self, images: np.ndarray) -> Tensor:
        return images_to_framework(images)

    def _targets(self, labels: np.ndarray) -> Tensor:
        return torch.tensor(labels)

    @torch.inference_mode()
    def _forward(self, inputs: Tensor) -> np.ndarray:
        return self._model(inputs).numpy()

    @torch.inference_mode()
    def _activations(self, images: np.ndarray) -> Arrays:
        return activations_to_shared(self._run_activations(self._model, images_to_framework(images)))

    def _gradients(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, Arrays]:
        loss, gradient = gradients(self._model, images_to_framework(images), torch.tensor(labels))
        return loss.item(), self._shared(gradient)

    def _backward(self, images: np.ndarray, cotangent: np.ndarray) -> Arrays:
        return self._shared(backward(self._model, images_to_framework(images), torch.tensor(cotangent)))

    def _make_optimizer(self, recipe: Recipe, velocity: Arrays) -> SGD:
        start = {name: to_framework(name, v) for name, v in velocity.items()}
        return make_optimizer(self._model, recipe, start)

    def _step(self, inputs: Tensor, targets: Tensor, rate: float) -> float:
        return train_step(self._model, self._optimizer, inputs, targets, rate).item()

    def _params(self) -> Arrays:
        return read_params(self._model)

    def _velocity(self) -> Arrays:
        return self._shared(get_velocity(self._model, self._optimizer))

    def _shared(self, values: dict[str, Tensor]) -> Arrays:
        return {name: to_shared(name, value) for name, value in values.items()}
