"""Reads shared weights from ONNX files, for any port to load."""

from pathlib import Path

import numpy as np

from export.find_layers import read_graph
from export.onnx_file import read_file
from lenet.network import weights
from parity.errors import UserError


def read_params(path: Path | str) -> dict[str, np.ndarray]:
    """Read shared weights from an ONNX file of any origin: {name: float32 array}, in the table's order.

    The layouts are undone by following the graph (see `export.find_layers`), so the weights are equal bit for
    bit to those that were exported.

    Raises:
        UserError: the file cannot be read, is not this network (the text names the layer and the
            difference), or holds a weight that is not finite.
    """
    reading = read_graph(read_file(Path(path)))
    if reading.problem is not None:
        raise UserError(f"{path}: not this network, at {reading.problem}")
    weights.check(reading.params, source=str(path))
    return reading.params
