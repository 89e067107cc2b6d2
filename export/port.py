"""The adapter of the port `onnx`: each exporter's file in each runtime, judged like any port."""

import importlib
import importlib.metadata
from collections.abc import Callable, Mapping

import numpy as np
from onnx import ModelProto

from export.find_layers import read_graph
from export.kept import Kept
from export.onnx_file import with_outputs
from export.runtimes import RUNTIMES, open_runtime
from lenet import ports
from lenet.ports import Arrays
from lenet.ports.registry import import_triton

# {exporter: (its module, the distribution that determines its version)}
EXPORTERS = {
    "numpy": ("export.from_numpy", "numpy"),
    "torch": ("export.from_torch", "torch"),
    "tf": ("export.from_tf", "tensorflow"),
}


def exporter_of(name: str) -> Callable[..., ModelProto]:
    """The exporter's `export`: shared weights, and an opset, to an ONNX model. This imports its framework."""
    module, package = EXPORTERS[name]
    if package == "tensorflow":
        import_triton()
    return importlib.import_module(module).export


_kept: dict[str, Kept[ModelProto]] = {name: Kept() for name in EXPORTERS}


def exported(exporter: str, params: Mapping[str, np.ndarray]) -> ModelProto:
    """The exporter's model of these weights, which several runtimes share."""
    return _kept[exporter].of(params, lambda: exporter_of(exporter)(params))


class Opened:
    """A model opened twice in a runtime: unchanged, and with every layer as an output of the graph.

    A runtime cannot fuse a value away that is an output, so the second model is not what a user runs.

    Raises:
        UserError: the model is not this network, or the runtime refuses it.
    """

    def __init__(self, model: ModelProto, runtime: str) -> None:
        self.reading = read_graph(model)
        if self.reading.problem is not None:
            raise self.reading.problem
        self._run = open_runtime(runtime, model)
        shown = [place.tensor for place in self.reading.places.values()]
        self._show = open_runtime(runtime, with_outputs(model, shown))

    def logits(self, images: np.ndarray) -> np.ndarray:
        """The logits (N, 10) of the unchanged model."""
        return self._run(images)[self.reading.places["logits"].tensor]

    def activations(self, images: np.ndarray) -> Arrays:
        """{layer: output}, in the shared layout."""
        values = self._show(images)
        places = self.reading.places
        return {layer: place.to_shared(layer, values[place.tensor]) for layer, place in places.items()}


class Port(ports.ForwardPort):
    """ONNX with the exporter and runtime in the mode's name: `onnx:torch/onnxruntime`."""

    def _setup(self) -> None:
        self._exporter, self._runtime = self.mode.split("/")
        self._kept = Kept[Opened]()
        packages = EXPORTERS[self._exporter][1], RUNTIMES[self._runtime].package
        self.version = "/".join(importlib.metadata.version(package) for package in packages)

    def _load(self, params: Arrays) -> None:
        self._opened = self._kept.of(params, lambda: Opened(exported(self._exporter, params), self._runtime))

    def _inputs(self, images: np.ndarray) -> np.ndarray:
        return images

    def _forward(self, inputs: np.ndarray) -> np.ndarray:
        return self._opened.logits(inputs)

    def _activations(self, images: np.ndarray) -> Arrays:
        return self._opened.activations(images)

    def _outputs(self, inputs: np.ndarray) -> Arrays:
        return self._activations(inputs)

    def _params(self) -> Arrays:
        return {name: array.copy() for name, array in self._opened.reading.params.items()}
