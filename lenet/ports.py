"""The contract of a port, and the registry. A framework is imported only when its port is opened."""

import importlib
import importlib.metadata
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lenet import weights
from lenet.data import check_images, check_labels
from lenet.errors import LenetError, MissingFramework
from lenet.recipe import Batch, Recipe
from lenet.spec import CLASSES, PARAM_SHAPES

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Framework:
    """A registry line: where the port lives, its modes, and the package that it needs."""

    module: str
    package: str
    modes: tuple[str, ...] = ("",)
    extra: str = ""

    @property
    def install(self) -> str:
        """The line that installs what is missing."""
        return (
            f"pip install 'lenet-migrations[{self.extra}]'" if self.extra else f"pip install {self.package}"
        )


FRAMEWORKS = {
    "numpy": Framework("lenet_numpy.port", "numpy"),
    "torch": Framework("lenet_torch.port", "torch", ("", "compile")),
    "tf": Framework("lenet_tf.port", "tensorflow", ("", "function", "xla")),
}


class Port(ABC):
    """One implementation in one framework, in one mode and one dtype.

    The public methods check what they are given and speak NumPy in the shared layout: images
    (N, 1, 28, 28) in [0, 1], labels (N,) integers, parameters as in `lenet.spec.PARAM_SHAPES`. They
    all raise LenetError for anything else. An adapter (`lenet_*/port.py`) implements the methods that
    begin with an underscore.
    """

    _optimizer: Any = None

    def __init__(self, name: str, dtype: str = "float32") -> None:
        self.name = name
        self.mode = name.partition(":")[2]
        self.dtype = dtype
        self.version = importlib.metadata.version(FRAMEWORKS[name.partition(":")[0]].package)
        self._setup()

    def load(
        self, params: Mapping[str, np.ndarray], velocity: Mapping[str, np.ndarray] | None = None
    ) -> None:
        """Take shared weights, float32 or the port's dtype; the velocity starts at zero, or as given."""
        at_rest = {name: np.zeros_like(array) for name, array in params.items()}
        self._start = self._checked(at_rest if velocity is None else velocity)
        self._optimizer = None
        self._load(self._checked(params))

    def logits(self, images: np.ndarray) -> np.ndarray:
        """The forward pass as a user runs it: (N, 10)."""
        return self._logits(self._images(images))

    def activations(self, images: np.ndarray) -> Arrays:
        """The output of every layer: {name: array}, as in `lenet.spec.ACTIVATION_SHAPES`."""
        return self._activations(self._images(images))

    def gradients(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, Arrays]:
        """Mean softmax cross-entropy over the batch, and its gradient for every parameter."""
        check_labels(labels, len(images))
        return self._gradients(self._images(images), labels)

    def backward(self, images: np.ndarray, cotangent: np.ndarray) -> Arrays:
        """d(sum(cotangent · logits)) / d(parameter), for a cotangent (N, 10)."""
        if cotangent.shape != (len(images), CLASSES):
            raise LenetError(f"cotangent has shape {cotangent.shape}, expected ({len(images)}, {CLASSES})")
        return self._backward(self._images(images), cotangent.astype(self.dtype))

    def train(self, batches: Iterable[Batch], recipe: Recipe) -> Iterator[float]:
        """One SGD step for each batch, from the current weights and velocity; yields each loss."""
        self._optimizer = self._make_optimizer(recipe, self.velocity())
        for batch in batches:
            check_labels(batch.labels, len(batch.images))
            yield self._train_step(self._images(batch.images), batch.labels, batch.rate)

    def params(self) -> Arrays:
        """The current parameters, copied out in the shared layout."""
        return self._params()

    def velocity(self) -> Arrays:
        """The current momentum buffers, copied out in the shared layout; zeros before any step."""
        return self._start if self._optimizer is None else self._velocity()

    def _checked(self, params: Mapping[str, np.ndarray]) -> Arrays:
        dtypes = {str(array.dtype) for array in params.values()}
        weights.check(params, dtype=self.dtype if dtypes == {self.dtype} else "float32")
        return {name: params[name].astype(self.dtype) for name in PARAM_SHAPES}

    def _images(self, images: np.ndarray) -> np.ndarray:
        check_images(images, dtype=self.dtype if images.dtype == self.dtype else "float32")
        return images.astype(self.dtype, copy=False)

    @abstractmethod
    def _setup(self) -> None: ...

    @abstractmethod
    def _load(self, params: Arrays) -> None: ...

    @abstractmethod
    def _logits(self, images: np.ndarray) -> np.ndarray: ...

    @abstractmethod
    def _activations(self, images: np.ndarray) -> Arrays: ...

    @abstractmethod
    def _gradients(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, Arrays]: ...

    @abstractmethod
    def _backward(self, images: np.ndarray, cotangent: np.ndarray) -> Arrays: ...

    @abstractmethod
    def _make_optimizer(self, recipe: Recipe, velocity: Arrays) -> Any: ...

    @abstractmethod
    def _train_step(self, images: np.ndarray, labels: np.ndarray, rate: float) -> float: ...

    @abstractmethod
    def _params(self) -> Arrays: ...

    @abstractmethod
    def _velocity(self) -> Arrays: ...


def names() -> list[str]:
    """Every port and mode: "numpy", "torch", "torch:compile", …"""
    return [f"{name}:{mode}" if mode else name for name, line in FRAMEWORKS.items() for mode in line.modes]


def framework(name: str) -> Framework:
    """The registry line of a port and mode.

    Raises:
        LenetError: there is no such port.
    """
    if name not in names():
        raise LenetError(f"unknown port {name!r}; known: {', '.join(names())}")
    return FRAMEWORKS[name.partition(":")[0]]


def installed(name: str) -> bool:
    """Whether the port's framework can be found (it is not imported)."""
    return importlib.util.find_spec(framework(name).package) is not None


def open_port(name: str, dtype: str = "float32") -> Port:
    """The port of that name, its framework imported, without weights.

    Raises:
        LenetError: there is no such port; MissingFramework: its framework is not installed.
    """
    line = framework(name)
    if not installed(name):
        raise MissingFramework(f"port {name!r} needs {line.package}: {line.install}")
    return importlib.import_module(line.module).Port(name, dtype)
