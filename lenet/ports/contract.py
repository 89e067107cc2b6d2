"""The contract of a port: the methods of every implementation of the network, in any framework."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any, NoReturn

import numpy as np

from lenet.network import weights
from lenet.network.architecture import CLASSES, PARAM_SHAPES
from lenet.network.digits import check_images, check_labels
from lenet.network.recipe import Batch, Recipe
from lenet.ports import registry
from parity.errors import UserError

Arrays = dict[str, np.ndarray]


class Unsupported(UserError):
    """A port was asked for something that, by its line in the registry, it cannot do."""


def in_order(params: Arrays) -> Arrays:
    """The same parameters in the order of the table: a framework may sort them in its own way."""
    return {name: params[name] for name in PARAM_SHAPES if name in params} | params


class Port(ABC):
    """An implementation of the network in a framework, in a given mode and dtype.

    The public methods take and return NumPy arrays in the shared layout: images (N, 1, 28, 28) in [0, 1],
    labels (N,) integers, parameters as in `lenet.network.architecture.PARAM_SHAPES`. They check their
    arguments and raise UserError for anything else. An adapter (`lenet_*/port.py`) implements the methods
    that begin with an underscore, in the framework's own layout and memory; what lies between is here.

    Attributes:
        layout: the framework's `weights` module: shared layout ↔ framework layout.
    """

    layout: ModuleType
    _model: Any = None
    _optimizer: Any = None

    def __init__(self, name: str, dtype: str = "float32") -> None:
        self.name = name
        self.mode = name.partition(":")[2]
        self.dtype = dtype
        line = registry.FRAMEWORKS[name.partition(":")[0]]
        if dtype not in line.dtypes:
            raise Unsupported(f"port {name!r} computes in {' and '.join(line.dtypes)} alone, not {dtype}")
        self.version = registry.version(line.package)
        with self._scope():
            self._setup()

    def load(
        self, params: Mapping[str, np.ndarray], velocity: Mapping[str, np.ndarray] | None = None
    ) -> None:
        """Load shared weights, float32 or in the port's dtype, and a velocity, which is zero if not given."""
        checked = self._checked(params)
        at_rest = {name: np.zeros_like(array) for name, array in checked.items()}
        self._start = at_rest if velocity is None else self._checked(velocity)
        self._optimizer = None
        with self._scope():
            self._load(checked)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """The forward pass as a user runs it: (N, 10)."""
        with self._scope():
            return self._logits(self._images(images))

    def activations(self, images: np.ndarray) -> Arrays:
        """The output of every layer: {name: array}, as in `lenet.network.architecture.ACTIVATION_SHAPES`."""
        with self._scope():
            return self._activations(self._images(images))

    def gradients(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, Arrays]:
        """The mean softmax cross-entropy over the batch, and its gradients for all parameters."""
        checked = self._images(images)
        with self._scope():
            return self._gradients(checked, self._labels(labels, len(images)))

    def backward(self, images: np.ndarray, cotangent: np.ndarray) -> Arrays:
        """d(sum(cotangent · logits)) / d(parameter), for a cotangent (N, 10)."""
        checked = self._images(images)
        if cotangent.shape != (len(images), CLASSES):
            raise UserError(f"cotangent has shape {cotangent.shape}, expected ({len(images)}, {CLASSES})")
        with self._scope():
            return self._backward(checked, cotangent.astype(self.dtype))

    def train(self, batches: Iterable[Batch], recipe: Recipe) -> Iterator[float]:
        """An SGD step for each batch, from the current weights and velocity; yields each loss."""
        with self._scope():
            self._optimizer = self._make_optimizer(recipe, self._framework(self.velocity()))
        for batch in batches:
            images = self._images(batch.images)
            with self._scope():
                loss = self._train_step(images, self._labels(batch.labels, len(images)), batch.rate)
            yield loss

    def params(self) -> Arrays:
        """A copy of the current parameters in the shared layout."""
        return self._params()

    def velocity(self) -> Arrays:
        """A copy of the current momentum buffers in the shared layout; zeros before the first step."""
        if self._optimizer is None:
            return {name: array.copy() for name, array in self._start.items()}
        return self._shared(self._velocity())

    # For timing: batches are already in the framework's layout and memory, and arguments are not checked.

    def inputs(self, images: np.ndarray) -> Any:
        """Images for `forward` and `one_step`, in the framework's own layout and memory."""
        with self._scope():
            return self._inputs(self._images(images))

    def targets(self, labels: np.ndarray) -> Any:
        """Labels for `one_step`, in the framework's own memory."""
        with self._scope():
            return self._tensor(self._labels(labels, len(labels)))

    def forward(self, inputs: Any) -> np.ndarray:
        """The logits (N, 10) of a batch from `inputs`; the computation is finished when it returns."""
        with self._scope():
            return self._forward(inputs)

    def one_step(self, inputs: Any, targets: Any, rate: float) -> float:
        """An SGD step on a batch from `inputs` and `targets`, after `train` has set up the optimizer."""
        with self._scope():
            return float(self._step(inputs, targets, rate))

    # Between the public methods and an adapter's: the shared layout on this side, the framework's on that.

    def _logits(self, images: np.ndarray) -> np.ndarray:
        return self._forward(self._inputs(images))

    def _activations(self, images: np.ndarray) -> Arrays:
        return self.layout.activations_to_shared(self._outputs(self._inputs(images)))

    def _gradients(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, Arrays]:
        loss, gradient = self._differentiate(self._inputs(images), self._tensor(labels))
        return float(loss), self._shared(gradient)

    def _backward(self, images: np.ndarray, cotangent: np.ndarray) -> Arrays:
        return self._shared(self._pull_back(self._inputs(images), self._tensor(cotangent)))

    def _train_step(self, images: np.ndarray, labels: np.ndarray, rate: float) -> float:
        return float(self._step(self._inputs(images), self._tensor(labels), rate))

    def _framework(self, values: Arrays) -> dict[str, Any]:
        return {name: self.layout.to_framework(name, value) for name, value in values.items()}

    def _shared(self, values: Mapping[str, Any]) -> Arrays:
        return in_order({name: self.layout.to_shared(name, value) for name, value in values.items()})

    def _checked(self, params: Mapping[str, np.ndarray]) -> Arrays:
        dtypes = {str(array.dtype) for array in params.values()}
        weights.check(params, dtype=self.dtype if dtypes == {self.dtype} else "float32")
        return {name: params[name].astype(self.dtype) for name in PARAM_SHAPES}

    def _images(self, images: np.ndarray) -> np.ndarray:
        check_images(images, dtype=self.dtype if images.dtype == self.dtype else "float32")
        return images.astype(self.dtype, copy=False)

    def _labels(self, labels: np.ndarray, count: int) -> np.ndarray:
        check_labels(labels, count)
        return labels.astype(np.int64, copy=False)  # the only integer type that all frameworks accept

    # What most adapters have in common; the others say it in their own way.

    def _scope(self) -> AbstractContextManager[Any]:
        """Held whenever the framework works."""
        return nullcontext()

    def _load(self, params: Arrays) -> None:
        self.layout.load_params(self._model, params)

    def _params(self) -> Arrays:
        return in_order(self.layout.read_params(self._model))

    def _inputs(self, images: np.ndarray) -> Any:
        return self.layout.images_to_framework(images)

    def _tensor(self, array: np.ndarray) -> Any:
        """Labels or a cotangent in the framework's own memory."""
        return array

    # What every adapter says. Losses, gradients and velocities are the framework's own.

    @abstractmethod
    def _setup(self) -> None: ...

    @abstractmethod
    def _forward(self, inputs: Any) -> np.ndarray: ...

    @abstractmethod
    def _outputs(self, inputs: Any) -> Mapping[str, Any]: ...

    @abstractmethod
    def _differentiate(self, inputs: Any, targets: Any) -> tuple[Any, Mapping[str, Any]]: ...

    @abstractmethod
    def _pull_back(self, inputs: Any, cotangent: Any) -> Mapping[str, Any]: ...

    @abstractmethod
    def _make_optimizer(self, recipe: Recipe, velocity: dict[str, Any]) -> Any: ...

    @abstractmethod
    def _step(self, inputs: Any, targets: Any, rate: float) -> Any: ...

    @abstractmethod
    def _velocity(self) -> Mapping[str, Any]: ...


class ForwardPort(Port):
    """A port that runs the network but cannot differentiate it; its line in the registry gives the reason."""

    def _gradients(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, Arrays]:
        self._refuse("gradients")

    def _backward(self, images: np.ndarray, cotangent: np.ndarray) -> Arrays:
        self._refuse("gradients")

    def _tensor(self, array: np.ndarray) -> Any:
        self._refuse("training")

    def _framework(self, values: Arrays) -> dict[str, Any]:
        self._refuse("training")

    def _differentiate(self, inputs: Any, targets: Any) -> tuple[Any, Mapping[str, Any]]:
        self._refuse("gradients")

    def _pull_back(self, inputs: Any, cotangent: Any) -> Mapping[str, Any]:
        self._refuse("gradients")

    def _make_optimizer(self, recipe: Recipe, velocity: dict[str, Any]) -> Any:
        self._refuse("training")

    def _step(self, inputs: Any, targets: Any, rate: float) -> Any:
        self._refuse("training")

    def _velocity(self) -> Mapping[str, Any]:
        self._refuse("training")

    def _refuse(self, what: str) -> NoReturn:
        reason = registry.FRAMEWORKS[self.name.partition(":")[0]].forward_only
        raise Unsupported(f"port {self.name!r} has no {what}: {reason}")
