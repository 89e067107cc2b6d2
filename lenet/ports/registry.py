"""The registry of ports with their requirements. A framework is imported only when its port is opened."""

import gc
import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from parity.errors import MissingFramework, UserError, described, did_you_mean, install_line

if TYPE_CHECKING:
    from lenet.ports.contract import Port


@dataclass(frozen=True)
class Framework:
    """A line of the registry: the module of a port, its modes, and the package that it needs.

    Attributes:
        needs: further packages that a part of a mode's name ("torch" in "torch/onnxruntime") imports.
        dtypes: the types that its ports compute in, to the accuracy of that type; the finest last.
        choices: the valid choices in which its ports differ from the others, as `lenet check` names them.
        forward_only: the reason why its ports cannot differentiate or train; empty if they can.
    """

    module: str
    package: str
    modes: tuple[str, ...] = ("",)
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dtypes: tuple[str, ...] = ("float32", "float64")
    choices: tuple[str, ...] = ()
    forward_only: str = ""

    @property
    def exported(self) -> bool:
        """Whether its ports run a file that another port was exported to."""
        return self.module.startswith("export.")

    def runs_in(self, mode: str) -> str:
        """The package in which a mode runs: "numpy/onnxruntime" in onnxruntime."""
        runtime = mode.partition("/")[2]
        return self.needs.get(runtime, (self.package,))[-1] if runtime else self.package


@cache  # to look through all distributions takes a fifth of a second
def version(package: str) -> str:
    """The installed version of a package; cv2 is part of distributions with four other names."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return importlib.metadata.version(importlib.metadata.packages_distributions()[package][0])


FRAMEWORKS = {
    "numpy": Framework("lenet_numpy.port", "numpy", ("", "fast")),
    "torch": Framework("lenet_torch.port", "torch", ("", "compile")),
    "tf": Framework("lenet_tf.port", "tensorflow", ("", "function", "xla")),
    "jax": Framework("lenet_jax.port", "jax", ("", "eager")),
    "flax": Framework("lenet_flax.port", "flax"),
    "tf1": Framework("lenet_tf1.port", "tensorflow"),
    "theano": Framework("lenet_theano.port", "pytensor"),
    "caffe": Framework(
        "lenet_caffe.port",
        "cv2",
        dtypes=("float32",),
        forward_only="OpenCV imports Caffe's network for inference; Caffe itself trained it",
    ),
    "litert": Framework(
        "export.litert",
        "ai_edge_litert",
        needs={"": ("tensorflow",)},
        dtypes=("float32",),
        forward_only="a TFLite file holds the forward pass in float32, and LiteRT only runs it",
    ),
    "onnx": Framework(
        "export.port",
        "onnx",
        tuple(
            f"{exporter}/{runtime}"
            for exporter in ("numpy", "torch", "tf")
            for runtime in ("onnxruntime", "onnxruntime-all", "reference", "openvino-f32", "opencv")
        ),
        needs={
            "torch": ("torch", "onnxscript"),
            "tf": ("tensorflow", "tf2onnx"),
            "onnxruntime": ("onnxruntime",),
            "onnxruntime-all": ("onnxruntime",),
            "openvino-f32": ("openvino",),
            "opencv": ("cv2",),
        },
        dtypes=("float32",),
        forward_only="an ONNX file holds the forward pass in float32, and these runtimes only run it",
    ),
}


def names(*, forward_only: bool = False) -> list[str]:
    """All ports and modes: "numpy", "torch", "torch:compile", …

    Args:
        forward_only: whether to include those that cannot differentiate or train.
    """
    return [
        f"{name}:{mode}" if mode else name
        for name, line in FRAMEWORKS.items()
        for mode in line.modes
        if forward_only or not line.forward_only
    ]


def modes(name: str) -> list[str]:
    """The port with this name; if there is none, all modes of the framework ("onnx" has fifteen)."""
    known = names(forward_only=True)
    return [name] if name in known else [one for one in known if one.partition(":")[0] == name]


def framework(name: str) -> Framework:
    """The line of the registry for a port and mode.

    Raises:
        UserError: there is no such port.
    """
    known = names(forward_only=True)
    if name not in known:
        raise UserError(
            f"unknown port {name!r}: {did_you_mean(name, known)}`lenet ports` lists all {len(known)}"
        )
    return FRAMEWORKS[name.partition(":")[0]]


def needed(name: str) -> list[str]:
    """The packages that the port and mode imports."""
    line = framework(name)
    parts = name.partition(":")[2].split("/")
    return [line.package, *(package for part in parts for package in line.needs.get(part, ()))]


def missing(name: str) -> list[str]:
    """The packages that the port and mode needs and Python does not find (nothing is imported)."""
    return [package for package in needed(name) if importlib.util.find_spec(package) is None]


def installed(name: str) -> bool:
    """Whether Python finds all packages that the port and mode needs (nothing is imported)."""
    return not missing(name)


def require(name: str) -> None:
    """Refuse a port and mode that cannot be opened (nothing is imported).

    Raises:
        UserError: there is no such port; MissingFramework: what it needs is not installed.
    """
    if packages := missing(name):
        raise MissingFramework(f"port {name!r} needs {', '.join(packages)}: {install_line(*packages)}")


class Broken(UserError):
    """A framework is installed, but fails when it is imported or when its port is opened."""


def open_port(name: str, dtype: str = "float32") -> "Port":
    """Import the framework of the port with this name, and return the port, without weights.

    Raises:
        UserError: there is no such port; MissingFramework: its framework is not installed;
            Unsupported: it does not compute in `dtype`; Broken: its framework fails
            when it is imported, or the port when it is opened.
    """
    require(name)
    line = framework(name)
    try:
        with _no_garbage_collected():
            if "tensorflow" in needed(name):
                import_triton()
            module = importlib.import_module(line.module)
    except (ImportError, OSError) as error:
        raise MissingFramework(
            f"port {name!r}: {line.package} does not import ({error}); {install_line(*needed(name))}"
        ) from error
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise Broken(f"port {name!r}: {line.package} fails at its import ({described(error)})") from error
    try:
        return module.Port(name, dtype)
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise Broken(f"port {name!r}: {line.module} fails when it is opened ({described(error)})") from error


def import_triton() -> None:
    """Import Triton, which comes with PyTorch's CUDA builds, unless TensorFlow is there already.

    Behind TensorFlow its import ends the process, since both hold an LLVM
    (https://github.com/tensorflow/tensorflow/issues/124205), and PyTorch imports it for an optimizer.
    """
    if "tensorflow" not in sys.modules:
        with suppress(Exception):
            importlib.import_module("triton")


@contextmanager
def _no_garbage_collected() -> Iterator[None]:
    """Turn the garbage collector off during an import, and spare it what was imported.

    TensorFlow's import creates a million lasting objects. A fifth of its time is spent in collections among
    them, and each full collection afterwards holds up all threads for 0.3 s.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
