"""The contract of a port, and the registry. A framework is imported only when its port is opened."""

import gc
import importlib
import importlib.metadata
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from lenet import weights
from lenet.data import check_images, check_labels
from lenet.errors import LenetError, MissingFramework
from lenet.recipe import Batch, Recipe
from lenet.spec import CLASSES, PARAM_SHAPES

Arrays = dict[str, np.ndarray]


class Unsupported(LenetError):
    """A port was asked for what its registry line says that it cannot do."""


@dataclass(frozen=True)
class Framework:
    """A registry line: where the port lives, its modes, and the package that it needs.

    Attributes:
        needs: further packages that a part of a mode's name ("torch" in "torch/onnxruntime") imports.
        dtypes: what its ports compute in.
        forward_only: why they cannot differentiate or train; empty where they do the whole contract.
    """

    module: str
    package: str
    modes: tuple[str, ...] = ("",)
    extra: str = ""
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dtypes: tuple[str, ...] = ("float32", "float64")
    forward_only: str = ""

    @property
    def install(self) -> str:
        """The line that installs what is missing."""
        return f"pip install -e '.[{self.extra}]'" if self.extra else f"pip install {self.package}"

    @property
    def version(self) -> str:
        """The version that is installed; cv2 comes in distributions of four other names."""
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return importlib.metadata.version(importlib.metadata.packages_distributions()[self.package][0])


FRAMEWORKS = {
    "numpy": Framework("lenet_numpy.port", "numpy", ("", "fast")),
    "torch": Framework("lenet_torch.port", "torch", ("", "compile")),
    "tf": Framework("lenet_tf.port", "tensorflow", ("", "function", "xla")),
    "jax": Framework("lenet_jax.port", "jax", ("", "eager"), extra="jax"),
    "tf1": Framework("lenet_tf1.port", "tensorflow"),
    "theano": Framework("lenet_theano.port", "pytensor", extra="history"),
    "caffe": Framework(
        "lenet_caffe.port",
        "cv2",
        extra="history",
        dtypes=("float32",),
        forward_only="OpenCV imports Caffe's network for inference; Caffe itself trained it",
    ),
    "onnx": Framework(
        "export.port",
        "onnx",
        tuple(
            f"{exporter}/{runtime}"
            for exporter in ("numpy", "torch", "tf")
            for runtime in ("onnxruntime", "onnxruntime-all", "reference", "opencv")
        ),
        extra="export",
        needs={
            "torch": ("torch", "onnxscript"),
            "tf": ("tensorflow", "tf2onnx"),
            "onnxruntime": ("onnxruntime",),
            "onnxruntime-all": ("onnxruntime",),
            "opencv": ("cv2",),
        },
        dtypes=("float32",),
        forward_only="an ONNX file holds the forward pass in float32, and these runtimes only run it",
    ),
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
        line = FRAMEWORKS[name.partition(":")[0]]
        if dtype not in line.dtypes:
            raise Unsupported(f"port {name!r} computes in {' and '.join(line.dtypes)} alone, not {dtype}")
        self.version = line.version
        self._setup()

    def load(
        self, params: Mapping[str, np.ndarray], velocity: Mapping[str, np.ndarray] | None = None
    ) -> None:
        """Take shared weights, float32 or the port's dtype; the velocity starts at zero, or as given."""
        checked = self._checked(params)
        at_rest = {name: np.zeros_like(array) for name, array in checked.items()}
        self._start = at_rest if velocity is None else self._checked(velocity)
        self._optimizer = None
        self._load(checked)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """The forward pass as a user runs it: (N, 10)."""
        return self._logits(self._images(images))

    def activations(self, images: np.ndarray) -> Arrays:
        """The output of every layer: {name: array}, as in `lenet.spec.ACTIVATION_SHAPES`."""
        return self._activations(self._images(images))

    def gradients(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, Arrays]:
        """Mean softmax cross-entropy over the batch, and its gradient for every parameter."""
        checked = self._images(images)
        return self._gradients(checked, self._labels(labels, len(images)))

    def backward(self, images: np.ndarray, cotangent: np.ndarray) -> Arrays:
        """d(sum(cotangent · logits)) / d(parameter), for a cotangent (N, 10)."""
        checked = self._images(images)
        if cotangent.shape != (len(images), CLASSES):
            raise LenetError(f"cotangent has shape {cotangent.shape}, expected ({len(images)}, {CLASSES})")
        return self._backward(checked, cotangent.astype(self.dtype))

    def train(self, batches: Iterable[Batch], recipe: Recipe) -> Iterator[float]:
        """One SGD step for each batch, from the current weights and velocity; yields each loss."""
        self._optimizer = self._make_optimizer(recipe, self.velocity())
        for batch in batches:
            images = self._images(batch.images)
            yield self._train_step(images, self._labels(batch.labels, len(images)), batch.rate)

    def params(self) -> Arrays:
        """The current parameters, copied out in the shared layout."""
        return self._params()

    def velocity(self) -> Arrays:
        """The current momentum buffers, copied out in the shared layout; zeros before any step."""
        if self._optimizer is None:
            return {name: array.copy() for name, array in self._start.items()}
        return self._velocity()

    # What a stopwatch may stand beside: batches already in the framework's layout and memory, no checks.

    def inputs(self, images: np.ndarray) -> Any:
        """Images for `forward` and `one_step`, in the framework's own layout and memory."""
        return self._inputs(self._images(images))

    def targets(self, labels: np.ndarray) -> Any:
        """Labels for `one_step`, likewise."""
        return self._targets(self._labels(labels, len(labels)))

    def forward(self, inputs: Any) -> np.ndarray:
        """The logits (N, 10) of a batch from `inputs`; computed to the end when it returns."""
        return self._forward(inputs)

    def one_step(self, inputs: Any, targets: Any, rate: float) -> float:
        """One SGD step on a batch from `inputs` and `targets`, after `train` has set the optimizer up."""
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
        return labels.astype(np.int64, copy=False)  # the one type of integer that all frameworks take

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
    """A port that runs the network but cannot differentiate it; its registry line says why."""

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
        reason = FRAMEWORKS[self.name.partition(":")[0]].forward_only
        raise Unsupported(f"port {self.name!r} has no {what}: {reason}")


def names(*, forward_only: bool = False) -> list[str]:
    """Every port and mode: "numpy", "torch", "torch:compile", …

    Args:
        forward_only: whether to list as well those that do not differentiate or train.
    """
    return [
        f"{name}:{mode}" if mode else name
        for name, line in FRAMEWORKS.items()
        for mode in line.modes
        if forward_only or not line.forward_only
    ]


def modes(name: str) -> list[str]:
    """The port of that name; where there is none, every mode of the framework: "onnx" names twelve."""
    known = names(forward_only=True)
    return [name] if name in known else [one for one in known if one.partition(":")[0] == name]


def framework(name: str) -> Framework:
    """The registry line of a port and mode.

    Raises:
        LenetError: there is no such port.
    """
    known = names(forward_only=True)
    if name not in known:
        raise LenetError(f"unknown port {name!r}; known: {', '.join(known)}")
    return FRAMEWORKS[name.partition(":")[0]]


def missing(name: str) -> list[str]:
    """What the port and mode needs and Python does not find (nothing is imported)."""
    line = framework(name)
    parts = name.partition(":")[2].split("/")
    needed = [line.package, *(package for part in parts for package in line.needs.get(part, ()))]
    return [package for package in needed if importlib.util.find_spec(package) is None]


def installed(name: str) -> bool:
    """Whether all that the port and mode needs can be found (nothing is imported)."""
    return not missing(name)


def open_port(name: str, dtype: str = "float32") -> Port:
    """The port of that name, its framework imported, without weights.

    Raises:
        LenetError: there is no such port; MissingFramework: its framework is not installed;
            Unsupported: it does not compute in `dtype`.
    """
    line = framework(name)
    if packages := missing(name):
        raise MissingFramework(f"port {name!r} needs {', '.join(packages)}: {line.install}")
    try:
        with _no_garbage_collected():
            module = importlib.import_module(line.module)
    except (ImportError, OSError) as error:
        raise MissingFramework(
            f"port {name!r}: {line.package} does not import ({error}); {line.install}"
        ) from error
    return module.Port(name, dtype)


@contextmanager
def _no_garbage_collected() -> Iterator[None]:
    """For imports: TensorFlow's makes a million objects that stay, and a fifth of its time goes into looking
    for garbage among them, again and again.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
