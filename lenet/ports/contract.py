"""The contract of a port: the methods of every implementation of the network, in any framework."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
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


class Port(ABC):
    """An implementation of the network in a framework, in a given mode and dtype.

    The public methods take and return NumPy arrays in the shared layout: images (N, 1, 28, 28) in [0, 1],
    labels (N,) integers, parameters as in `lenet.network.architecture.PARAM_SHAPES`. They check their
    arguments and raise UserError for anything else. An adapter (`lenet_*/port.py`) implements the methods
    that begin with an underscore.
    """

    _optimizer: Any = None

    def __init__(self, name: str, dtype: str = "float32") -> None:
        self.name = name
        self.mode = name.partition(":")[2]
        self.dtype = dtype
        line = registry.FRAMEWORKS[name.partition(":")[0]]
        if dtype not in line.dtypes:
            raise Unsupported(f"port {name!r} computes in {' and '.join(line.dtypes)} alone, not {dtype}")
        self.version = line.version
        self._setup()

    def load(
        self, params: Mapping[str, np.ndarray], velocity: Mapping[str, np.ndarray] | None = None
    ) -> None:
        """Load shared weights, float32 or in the port's dtype, and a velocity, which is zero if not given."""
        checked = self._checked(params)
        at_rest = {name: np.zeros_like(array) for name, array in checked.items()}
        self._start = at_rest if velocity is None else self._checked(velocity)
        self._optimizer = None
        self._load(checked)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """The forward pass as a user runs it: (N, 10)."""
        return self._logits(self._images(images))

    def activations(self, images: np.ndarray) -> Arrays:
        """The output of every layer: {name: array}, as in `lenet.network.architecture.ACTIVATION_SHAPES`."""
        return self._activations(self._images(images))

    def gradients(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, Arrays]:
        """The mean softmax cross-entropy over the batch, and its gradients for all parameters."""
        checked = self._images(images)
        return self._gradients(checked, self._labels(labels, len(images)))

    def backward(self, images: np.ndarray, cotangent: np.ndarray) -> Arrays:
        """d(sum(cotangent · logits)) / d(parameter), for a cotangent (N, 10)."""
        checked = self._images(images)
        if cotangent.shape != (len(images), CLASSES):
            raise UserError(f"cotangent has shape {cotangent.shape}, expected ({len(images)}, {CLASSES})")
        return self._backward(checked, cotangent.astype(self.dtype))

    def train(self, batches: Iterable[Batch], recipe: Recipe) -> Iterator[float]:
        """An SGD step for each batch, from the current weights and velocity; yields each loss."""
        self._optimizer = self._make_optimizer(recipe, self.velocity())
        for batch in batches:
            images = self._images(batch.images)
            yield self._train_step(images, self._labels(batch.labels, len(images)), batch.rate)

    def params(self) -> Arrays:
        """A copy of the current parameters in the shared layout."""
        return self._params()

    def velocity(self) -> Arrays:
        """A copy of the current momentum buffers in the shared layout; zeros before the first step."""
        if self._optimizer is None:
            return {name: array.copy() for name, array in self._start.items()}
        return self._velocity()

    # For timing: batches are already in the framework's layout and memory, and arguments are not checked.

    def inputs(self, images: np.ndarray) -> Any:
        """Images for `forward` and `one_step`, in the framework's own layout and memory."""
        return self._inputs(self._images(images))

    def targets(self, labels: np.ndarray) -> Any:
        """Labels for `one_step`, in the framework's own memory."""
        return self._targets(self._labels(labels, len(labels)))

    def forward(self, inputs: Any) -> np.ndarray:
        """The logits (N, 10) of a batch from `inputs`; the computation is finished when it returns."""
        return self._forward(inputs)

    def one_step(self, inputs: Any, targets: Any, rate: float) -> float:
        """An SGD step on a batch from `inputs` and `targets`, after `train` has set up the optimizer."""
        return self._step(inputs, targets, rate)

    def _logits(self, images: np.ndarray) -> np.ndarray:
        return self._forward(self._inputs(images))

    def _train_step(self, images: np.ndarray, labels: np.ndarray, rate: float) -> float:
        return self._step(self._inputs(images), self._targets(labels), rate)

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

    @abstractmethod
    def _setup(self) -> None: ...

    @abstractmethod
    def _load(self, params: Arrays) -> None: ...

    @abstractmethod
    def _inputs(self, images: np.ndarray) -> Any: ...

    @abstractmethod
    def _targets(self, labels: np.ndarray) -> Any: ...

    @abstractmethod
    def _forward(self, inputs: Any) -> np.ndarray: ...

    @abstractmethod
    def _activations(self, images: np.ndarray) -> Arrays: ...

    @abstractmethod
    def _gradients(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, Arrays]: ...

    @abstractmethod
    def _backward(self, images: np.ndarray, cotangent: np.ndarray) -> Arrays: ...

    @abstractmethod
    def _make_optimizer(self, recipe: Recipe, velocity: Arrays) -> Any: ...

    @abstractmethod
    def _step(self, inputs: Any, targets: Any, rate: float) -> float: ...

    @abstractmethod
    def _params(self) -> Arrays: ...

    @abstractmethod
    def _velocity(self) -> Arrays: ...


class ForwardPort(Port):
    """A port that runs the network but cannot differentiate it; its line in the registry gives the reason."""

    def _targets(self, labels: np.ndarray) -> Any:
        self._refuse("training")

    def _gradients(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, Arrays]:
        self._refuse("gradients")

    def _backward(self, images: np.ndarray, cotangent: np.ndarray) -> Arrays:
        self._refuse("gradients")

    def _make_optimizer(self, recipe: Recipe, velocity: Arrays) -> Any:
        self._refuse("training")

    def _step(self, inputs: Any, targets: Any, rate: float) -> float:
        self._refuse("training")

    def _velocity(self) -> Arrays:
        self._refuse("training")

    def _refuse(self, what: str) -> NoReturn:
        reason = registry.FRAMEWORKS[self.name.partition(":")[0]].forward_only
        raise Unsupported(f"port {self.name!r} has no {what}: {reason}")
