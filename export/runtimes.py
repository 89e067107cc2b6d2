"""What runs an ONNX file: the same graph, other code each time. `parity.record.sessions` opens and runs it.

A runtime is opened on a model and returns a function: images float32 (N, 1, 28, 28) in, every output
of the graph {name: array} out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from onnx import ModelProto

from export.onnx_file import inputs
from parity.record.sessions import open_model

Arrays = dict[str, np.ndarray]
Run = Callable[[np.ndarray], Arrays]


@dataclass(frozen=True)
class Runtime:
    """A line of the table.

    Attributes:
        package: the distribution whose version counts.
        start: what opens it on a model.
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
    return RUNTIMES[name].start(model)


def _started(name: str, model: ModelProto) -> Run:
    run = open_model(name, model, threads=1)  # a small network: no pool
    return lambda images: run({one.name: images for one in inputs(model)[:1]})


RUNTIMES = {
    "onnxruntime": Runtime("onnxruntime", partial(_started, "onnxruntime"), "graph optimisation off"),
    "onnxruntime-all": Runtime("onnxruntime", partial(_started, "onnxruntime-all"), "graph optimisation on"),
    "reference": Runtime("onnx", partial(_started, "reference")),
    "openvino-f32": Runtime(
        "openvino",
        partial(_started, "openvino-f32"),
        "told to compute in float32, as its default is bfloat16 where the processor has it",
    ),
    "opencv": Runtime(
        "opencv-python-headless",
        partial(_started, "opencv"),
        "given the file with its batch fixed, as it takes a symbolic one for 1",
    ),
}
