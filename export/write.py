"""Writes the ONNX files: each one made, judged, and only then written."""

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto

from export.check import Verdict, check_model
from export.port import exporter_of
from export.runtimes import RUNTIMES
from lenet import ports
from parity.errors import UserError
from parity.files import write_atomically


@dataclass(frozen=True)
class Written:
    """One exporter's file: where it is, how long the export took, and the verdict on it."""

    exporter: str
    path: Path
    model: ModelProto
    seconds: float
    verdict: Verdict

    @property
    def operators(self) -> Counter[str]:
        """How many nodes there are of each operator."""
        return Counter(node.op_type for node in self.model.graph.node)

    @property
    def added(self) -> Counter[str]:
        """The nodes that compute no layer: what the exporter needed besides the network."""
        layers = {place.tensor for place in self.verdict.reading.places.values()}
        for node in self.model.graph.node:
            if node.op_type == "Add" and node.output[0] in layers:
                layers.update(node.input)  # the product that a bias is added to belongs to its layer
        return Counter(node.op_type for node in self.model.graph.node if node.output[0] not in layers)


def write_files(
    exporters: Iterable[str],
    params: Mapping[str, np.ndarray],
    folder: Path,
    images: np.ndarray,
    started: Callable[[str], None] = lambda exporter: None,
) -> list[Written]:
    """Export `params` by each exporter to `folder`/lenet-EXPORTER.onnx, judged in every runtime there is.

    Args:
        images: (N, 1, 28, 28), to judge the files by.
        started: called with each exporter's name before its work begins.

    Raises:
        UserError: `folder` cannot be written, or a file is not the network; nothing is written then.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):  # refused now rather than after all the work
            pass
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from error
    made = []
    for exporter in exporters:
        started(exporter)
        path, export = folder / f"lenet-{exporter}.onnx", exporter_of(exporter)
        start = time.perf_counter()
        model = export(params)
        seconds = time.perf_counter() - start
        installed = [name for name in RUNTIMES if ports.installed(f"onnx:{exporter}/{name}")]
        verdict = check_model(model, params, images, str(path), installed)
        if verdict.different:
            raise UserError(f"{path}: not written, as it is {verdict.summary}")
        made.append(Written(exporter, path, model, seconds, verdict))
    for file in made:
        write_atomically(file.path, file.model.SerializeToString())
    return made
