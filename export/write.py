"""Writes the ONNX files: each file is exported and judged before it is written."""

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto

from export.check import Verdict, check_model
from export.onnx_file import OPSET
from export.port import exporter_of
from export.runtimes import RUNTIMES
from lenet import ports
from parity.errors import UserError
from parity.files import write_together


@dataclass(frozen=True)
class Written:
    """An exporter's file: its path, the duration of the export, and the verdict."""

    exporter: str
    path: Path
    model: ModelProto
    seconds: float
    verdict: Verdict

    @property
    def operators(self) -> Counter[str]:
        """{operator: number of nodes}."""
        return Counter(node.op_type for node in self.model.graph.node)

    @property
    def added(self) -> Counter[str]:
        """{operator: number of nodes}, for nodes that compute no layer."""
        layers = {place.tensor for place in self.verdict.reading.places.values()}
        for node in self.model.graph.node:
            if node.op_type == "Add" and node.output[0] in layers:
                layers.update(node.input)  # the product before the bias belongs to the layer
        return Counter(node.op_type for node in self.model.graph.node if node.output[0] not in layers)


def write_files(
    exporters: Iterable[str],
    params: Mapping[str, np.ndarray],
    folder: Path,
    images: np.ndarray,
    started: Callable[[str], None] = lambda exporter: None,
    opset: int = OPSET,
) -> list[Written]:
    """Export `params` with each exporter to `folder`/lenet-EXPORTER.onnx, after judging it in all runtimes.

    Args:
        images: (N, 1, 28, 28), to judge the files with.
        started: called with each exporter's name before its work begins.
        opset: the version of ONNX's operators.

    Raises:
        UserError: there is no such opset, `folder` cannot be written, or a file is not the network. Then
            nothing is written.
    """
    made = []
    with _made(folder):
        for exporter in exporters:
            started(exporter)
            path, export = folder / f"lenet-{exporter}.onnx", exporter_of(exporter)
            start = time.perf_counter()
            model = export(params, opset)
            seconds = time.perf_counter() - start
            installed = [name for name in RUNTIMES if ports.installed(f"onnx:{exporter}/{name}")]
            verdict = check_model(model, params, images, str(path), installed)
            if verdict.different:
                raise UserError(f"{path}: not written, as it is {verdict.summary}")
            made.append(Written(exporter, path, model, seconds, verdict))
        write_together({file.path: file.model.SerializeToString() for file in made})
    return made


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make the folder where it is missing, and remove it again if the block fails, Ctrl-C included."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        _make_writable(folder)
        yield
    except BaseException:
        for one in missing:
            with suppress(OSError):  # somebody else has put a file there
                one.rmdir()
        raise


def _make_writable(folder: Path) -> None:
    """Make the folder, and refuse now, before all the work, where no file can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from error
