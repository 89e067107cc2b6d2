"""The adapter to the contract of `lenet.ports`: the only file here that knows the harness."""

from collections.abc import Callable
from functools import cached_property

import numpy as np
import pytensor.tensor as pt
from pytensor import config, function
from pytensor.compile.mode import FAST_COMPILE
from pytensor.tensor import TensorVariable
from pytensor.tensor.sharedvar import TensorSharedVariable

from lenet import ports
from lenet.network.recipe import Recipe
from lenet.ports import Arrays
from lenet_theano import weights
from lenet_theano.model import LeNet, activations
from lenet_theano.train import SGD, backward, get_velocity, gradients, make_optimizer, train_step


class Port(ports.Port):
    """Theano, as PyTensor continues it: one compiled function for each question, made when it is first asked.

    The mode is Theano's FAST_COMPILE: NumPy runs the graph, operation by operation. For a network of this
    size it is as fast as compiled code, starts in a second instead of minutes, and needs no C compiler.
    """

    layout = weights

    def _setup(self) -> None:
        self._model = LeNet(self.dtype)
        self._x = pt.tensor("images", dtype=self.dtype, shape=(None, 1, 28, 28))
        self._y = pt.lvector("labels")
        self._sgd: SGD | None = None

    def _forward(self, inputs: np.ndarray) -> np.ndarray:
        return self._run_logits(inputs)["logits"]

    def _outputs(self, inputs: np.ndarray) -> Arrays:
        return self._run_activations(inputs)

    def _differentiate(self, inputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, Arrays]:
        gradient = self._run_gradients(inputs, targets)
        return gradient.pop("loss"), gradient

    def _pull_back(self, inputs: np.ndarray, cotangent: np.ndarray) -> Arrays:
        return self._run_backward(inputs, cotangent)

    def _make_optimizer(self, recipe: Recipe, velocity: Arrays) -> SGD:
        if self._sgd is None:  # made once: the compiled step is bound to its shared variables
            self._sgd = make_optimizer(self._model, recipe, velocity)
        self._sgd.momentum.set_value(np.asarray(recipe.momentum, self.dtype))
        self._sgd.weight_decay.set_value(np.asarray(recipe.weight_decay, self.dtype))
        for name, v in velocity.items():
            self._sgd.velocity[name].set_value(v)
        return self._sgd

    def _step(self, inputs: np.ndarray, targets: np.ndarray, rate: float) -> np.ndarray:
        return self._run_train_step(inputs, targets, np.asarray(rate, self.dtype))["loss"]

    def _velocity(self) -> Arrays:
        velocity = get_velocity(self._model, self._optimizer)
        return {name: variable.get_value() for name, variable in velocity.items()}

    @cached_property
    def _run_logits(self) -> Callable[..., Arrays]:
        return self._compile([self._x], {"logits": self._model(self._x)})

    @cached_property
    def _run_activations(self) -> Callable[..., Arrays]:
        return self._compile([self._x], activations(self._model, self._x))

    @cached_property
    def _run_gradients(self) -> Callable[..., Arrays]:
        loss, gradient = gradients(self._model, self._x, self._y)
        return self._compile([self._x, self._y], {"loss": loss, **gradient})

    @cached_property
    def _run_backward(self) -> Callable[..., Arrays]:
        cotangent = pt.matrix("cotangent", dtype=self.dtype)
        return self._compile([self._x, cotangent], backward(self._model, self._x, cotangent))

    @cached_property
    def _run_train_step(self) -> Callable[..., Arrays]:
        rate = pt.scalar("rate", dtype=self.dtype)
        loss, updates = train_step(self._model, self._optimizer, self._x, self._y, rate)
        return self._compile([self._x, self._y, rate], {"loss": loss}, updates)

    @config.change_flags(cxx="")  # PyTensor would build its C interpreter, which this mode leaves idle
    def _compile(
        self,
        inputs: list[TensorVariable],
        outputs: dict[str, TensorVariable],
        updates: dict[TensorSharedVariable, TensorVariable] | None = None,
    ) -> Callable[..., Arrays]:
        """A function of arrays that returns the outputs by name, and then carries out the updates."""
        # NumPy has no function for `fill`, which the rewrites for stability remove, nor for a sum of three,
        # which the canonizer makes.
        # The others ask through the whole graph whether a matrix is diagonal, orthogonal, symmetric or a
        # selection of rows: a third of the time, for weights of which nothing is known.
        mode = FAST_COMPILE.including("stabilize").excluding(
            "local_add_canonizer",
            "dot_diag_to_elemwise",
            "orthogonal_dot_transpose_to_eye",
            "useless_symmetric_transpose",
            "selection_dot_to_indexing",
        )
        run = function(inputs, list(outputs.values()), updates=updates, mode=mode)
        return lambda *arrays: dict(zip(outputs, run(*arrays), strict=True))
