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
from lenet_torch import weights
from lenet_torch.model import LeNet, activations
from lenet_torch.train import SGD, backward, get_velocity, gradients, make_optimizer, train_step
from parity.errors import MissingFramework


def require_compiler(name: str) -> None:
    """Refuse where Inductor would end in a traceback: it builds C++."""
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        raise MissingFramework(f"port {name!r} needs a C++ compiler: install {compiler}, or name one in CXX")


class Port(ports.Port):
    """PyTorch: eager (`torch`), or compiled by TorchDynamo and Inductor (`torch:compile`)."""

    layout = weights

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
            self._model.forward = compiled(self._model.forward)
            self._run_activations = compiled(activations)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.tensor(array)

    @torch.inference_mode()
    def _forward(self, inputs: Tensor) -> np.ndarray:
        return self._model(inputs).numpy()

    @torch.inference_mode()
    def _outputs(self, inputs: Tensor) -> dict[str, Tensor]:
        return self._run_activations(self._model, inputs)

    def _differentiate(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        loss, gradient = gradients(self._model, inputs, targets)
        return loss.detach(), gradient

    def _pull_back(self, inputs: Tensor, cotangent: Tensor) -> dict[str, Tensor]:
        return backward(self._model, inputs, cotangent)

    def _make_optimizer(self, recipe: Recipe, velocity: dict[str, Tensor]) -> SGD:
        return make_optimizer(self._model, recipe, velocity)

    def _step(self, inputs: Tensor, targets: Tensor, rate: float) -> Tensor:
        return train_step(self._model, self._optimizer, inputs, targets, rate).detach()

    def _velocity(self) -> dict[str, Tensor]:
        return get_velocity(self._model, self._optimizer)
