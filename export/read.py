"""ONNX back to shared weights: what any port can load again."""

from pathlib import Path

import numpy as np

from export.graph import read_graph
from export.onnx_file import read_file
from lenet.network import weights
from parity.errors import UserError


def read_params(path: Path | str) -> dict[str, np.ndarray]:
    """The shared weights in an ONNX file, whoever wrote it: {name: float32 array}, table order.

    Layouts are undone by following the graph (see `export.graph`), so that what comes out is bit for
    bit what went in.

    Raises:
        UserError: the file cannot be read, is not this network (the text says at which layer it
            departs, and how), or holds a weight that is not finite.
    """
    reading = read_graph(read_file(Path(path)))
    if reading.problem is not None:
        raise UserError(f"{path}: not this network, at {reading.problem}")
    weights.check(reading.params, source=str(path))
    return reading.params
