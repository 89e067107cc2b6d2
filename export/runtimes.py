"""What runs an ONNX file: the same graph, other code each time.

A runtime is opened on a model and returns a function: images float32 (N, 1, 28, 28) in, every output
of the graph {name: array} out.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from onnx import ModelProto

from export.onnx_file import inputs, one_line, with_batch
from parity.errors import UserError

Arrays = dict[str, np.ndarray]
Run = Callable[[np.ndarray], Arrays]


@dataclass(frozen=True)
class Runtime:
    """A line of the table.

    Attributes:
        package: the distribution whose version counts.
        start: what opens it on a model; raises whatever the runtime raises.
        note: what must be known of how it is used; empty where it takes the file as it is.
    """

    package: str
    start: Callable[[ModelProto], Run]
    note: str = ""


def open_runtime(name: str, model: ModelProto) -> Run:
    """The runtime of that name, with `model` loaded.

    Raises:
        UserError: the runtime refuses the model; and the function returned, if it cannot run it.
    """
    with _refusing(f"{name} cannot load the model"):
        started = RUNTIMES[name].start(model)

    def run(images: np.ndarray) -> Arrays:
        with _refusing(f"{name} cannot run the model"):
            return started(images)

    return run


def _onnxruntime(model: ModelProto, optimise: bool) -> Run:
    """Microsoft's runtime; its graph optimisation fuses, folds and reorders nodes before they run."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
    # Else one: no pool of threads for so small a network.
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "1").partition(",")[0])
    options.log_severity_level = 4  # errors come as exceptions; not on the terminal as well
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(names, {inputs(model)[0].name: images}), strict=True))


def _reference(model: ModelProto) -> Run:
    """The standard's own evaluator: one NumPy function for each operator, read rather than raced."""
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(model)
    names = [output.name for output in model.graph.output]
    return lambda images: dict(zip(names, evaluator.run(names, {inputs(model)[0].name: images}), strict=True))


def _opencv(model: ModelProto) -> Run:
    """OpenCV's dnn module, which has its own importer and its own layers.

    Its importer takes a symbolic batch for 1 and says nothing: a shape computed in the graph is then
    folded with that 1, and a batch of 50 comes out as (50, 1, 10) and wrong. So it is given the file
    with the batch fixed, one network for each size. Fusion is off, so that the named values are
    those of single layers.
    """
    import cv2

    @lru_cache(maxsize=4)
    def network(batch: int) -> "cv2.dnn.Net":
        fixed = with_batch(model, batch).SerializeToString()
        net = cv2.dnn.readNetFromONNX(np.frombuffer(fixed, np.uint8))
        net.enableFusion(False)
        return net

    names = [output.name for output in model.graph.output]
    network(1)  # so that a model that cannot be loaded is refused now

    def run(images: np.ndarray) -> Arrays:
        net = network(len(images))
        net.setInput(images, inputs(model)[0].name)
        return dict(zip(names, net.forward(names), strict=True))

    return run


RUNTIMES = {
    "onnxruntime": Runtime("onnxruntime", partial(_onnxruntime, optimise=False), "graph optimisation off"),
    "onnxruntime-all": Runtime("onnxruntime", partial(_onnxruntime, optimise=True), "graph optimisation on"),
    "reference": Runtime("onnx", _reference),
    "opencv": Runtime(
        "opencv-python-headless",
        _opencv,
        "given the file with its batch fixed, as it takes a symbolic one for 1",
    ),
}


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    try:
        yield
    except ImportError:
        raise
    except Exception as error:  # the runtimes have no base class of their own in common
        raise UserError(f"{what}: {one_line(error)}") from error
