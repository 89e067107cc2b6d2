"""The readers of files, each with a right file and how it is damaged."""

import gzip
import io
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lenet.network import weights
from parity.errors import UserError
from tests.fuzz.damage import damaged, damaged_json

Damage = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Reader:
    """A reader of files.

    Attributes:
        file: the name of the file.
        right: makes the content of a file that it reads.
        read: reads a file; it may raise `UserError` alone.
        damage: makes another content.
    """

    file: str
    right: Callable[[], bytes]
    read: Callable[[Path], object]
    damage: Damage = damaged


def fault(reader: Reader, file: Path) -> str | None:
    """What is wrong with how a file is read or refused; None if nothing is."""
    try:
        reader.read(file)
    except UserError as error:
        if len(str(error).splitlines()) != 1:
            return f"a refusal that is not one line: {str(error)[:500]!r}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:500]}"
    return None


def _packed(content: bytes, chance: random.Random) -> bytes:
    """A gzip file with damage inside, or outside."""
    if chance.random() < 0.7:
        return gzip.compress(damaged(gzip.decompress(content), chance), 1)
    return damaged(content, chance)


def _idx() -> bytes:
    pixels = np.arange(24, dtype=np.uint8)
    return gzip.compress(bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4]) + pixels.tobytes())


def _read_idx(file: Path) -> object:
    from lenet.network.digits import read_idx

    return read_idx(file)


def _small_model() -> bytes:
    """An ONNX file of a few operators, with every kind of attribute and of weight."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["a"], name="conv", pads=[1, 1, 1, 1], auto_pad="NOTSET"),
        helper.make_node("Constant", [], ["shape"], value_ints=[0, -1]),
        helper.make_node("Reshape", ["a", "shape"], ["b"]),
        helper.make_node("Softmax", ["b"], ["y"], axis=-1),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *dims])
        for name, dims in (("x", [1, 4, 4]), ("y", [32]))
    ]
    kernel = numpy_helper.from_array(np.ones((2, 1, 3, 3), np.float32), "kernel")
    graph = helper.make_graph(nodes, "small", values[:1], values[1:], [kernel])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return model.SerializeToString()


def _network() -> bytes:
    from export import from_numpy

    return from_numpy.export(weights.read()).SerializeToString()


def _read_graph(file: Path) -> object:
    from parity.onnx import read_onnx

    graph = read_onnx(file)
    return {name: graph.constants[name] for name in graph.constants}


def _read_params(file: Path) -> object:
    from export.read import read_params

    return read_params(file)


def _npz() -> bytes:
    held = io.BytesIO()
    np.savez(held, a=np.ones((2, 3), np.float32), b=np.arange(5))
    return held.getvalue()


def _read_npz(file: Path) -> object:
    from parity.record import read_npz

    return dict(read_npz(file))


def _names() -> bytes:
    return json.dumps({"own": "theirs", "other": ["x", "NHWC->NCHW"]}).encode()


def _read_names(file: Path) -> object:
    from parity.record.own_names import entries_of

    return entries_of(file)


def _bench() -> bytes:
    row = {"port": "numpy", "version": "1", "task": "train", "batch": 1, "microseconds_per_digit": 2.5}
    return json.dumps({"threads": 1, "rounds": 2, "sgemm_gflops": 3.5, "timings": [row, row]}).encode()


def _read_bench(file: Path) -> object:
    from lenet.compare.speed import TASKS, read

    found = read(file)
    for row in found.timings:  # what a page asks of it
        assert row.microseconds is None or row.microseconds / found.fastest(row.task, row.batch) >= 1
    return [found.limit(task) for task in TASKS]


def _caffemodel() -> bytes:
    from lenet_caffe.schema import NetParameter
    from lenet_caffe.weights import fill

    net = NetParameter()
    for name in ("conv1", "conv2", "fc1", "fc2", "logits"):
        net.layer.add(name=name)
    fill(net, weights.read())
    return net.SerializeToString()


def _read_caffemodel(file: Path) -> object:
    from lenet_caffe.caffemodel import read

    return read(file)


def _solver() -> bytes:
    from lenet_caffe.train import SOLVER

    return SOLVER.read_bytes()


def _read_solver(file: Path) -> object:
    from lenet_caffe.schema import SolverParameter, read_text

    return read_text(SolverParameter, file)


def _checkpoint() -> bytes:
    from lenet.ports.training import _checksum

    params = weights.read()
    arrays = {f"{kind}/{name}": params[name] for kind in ("params", "velocity") for name in params}
    metadata = {"run": "a run", "step": "3"}
    return weights.serialized(arrays, metadata | {"sha256": _checksum(arrays, metadata)})


def _read_checkpoint(file: Path) -> object:
    from lenet.ports.training import read_checkpoint

    return read_checkpoint(file, "a run", "float32")


def _image(kind: str) -> Callable[[], bytes]:
    def right() -> bytes:
        from PIL import Image

        pixels = np.full((20, 30), 255, np.uint8)
        pixels[5:15, 12:18] = 0
        held = io.BytesIO()
        Image.fromarray(pixels).save(held, kind)
        return held.getvalue()

    return right


def _read_image(file: Path) -> object:
    from lenet.network import pictures

    return pictures.read(file)


READERS = {
    "safetensors": Reader("w.safetensors", weights.TRAINED.read_bytes, weights.read),
    "idx": Reader("digits.gz", _idx, _read_idx, _packed),
    "onnx": Reader("small.onnx", _small_model, _read_graph),
    "onnx-network": Reader("lenet.onnx", _network, _read_params),
    "npz": Reader("values.npz", _npz, _read_npz),
    "caffemodel": Reader("w.caffemodel", _caffemodel, _read_caffemodel),
    "prototxt": Reader("solver.prototxt", _solver, _read_solver),
    "checkpoint": Reader("w.checkpoint", _checkpoint, _read_checkpoint),
    "json-names": Reader("names.json", _names, _read_names, damaged_json),
    "json-bench": Reader("bench.json", _bench, _read_bench, damaged_json),
    **{
        f"image-{kind.lower()}": Reader(f"digit.{kind.lower()}", _image(kind), _read_image)
        for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF")
    },
}
