"""Writes Caffe's files from shared weights, and reads them back, bit for bit."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lenet.network import weights
from lenet.network.architecture import PARAM_SHAPES
from lenet_caffe.model import DEPLOY
from lenet_caffe.schema import NetParameter, read_binary, read_text
from lenet_caffe.train import SOLVER
from lenet_caffe.weights import fill, named_blobs, to_shared
from parity.errors import UserError
from parity.files import write_atomically

TEXTS = (DEPLOY, DEPLOY.with_name("train_val.prototxt"), SOLVER)


def write(path: Path, params: Mapping[str, np.ndarray]) -> None:
    """Write shared weights as a .caffemodel, completely or not at all.

    Raises:
        UserError: the parameters are not this network's, or `path` cannot be written.
    """
    weights.check(params, source=f"weights for {path}")
    net = read_text(NetParameter, DEPLOY)
    fill(net, dict(params))
    write_atomically(path, net.SerializeToString())


def write_folder(folder: Path, params: Mapping[str, np.ndarray]) -> list[Path]:
    """Write the three .prototxt and `lenet.caffemodel`, the files with which Caffe runs and trains.

    Raises:
        UserError: as `write`, or `folder` cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from error
    model = folder / "lenet.caffemodel"
    write(model, params)
    for text in TEXTS:
        write_atomically(folder / text.name, text.read_bytes())
    return [model, *(folder / text.name for text in TEXTS)]


def read(path: Path) -> dict[str, np.ndarray]:
    """Read shared weights from a .caffemodel of this network, written by any version of Caffe.

    Raises:
        UserError: the file is missing, truncated, or does not hold this network.
    """
    net = read_binary(NetParameter, path)
    blobs = named_blobs([*net.layer, *net.layers])
    if unknown := blobs.keys() - PARAM_SHAPES.keys():
        raise UserError(f"{path}: unknown {min(unknown)!r}; expected exactly {', '.join(PARAM_SHAPES)}")
    try:
        params = {name: to_shared(name, blob) for name, blob in blobs.items()}
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    weights.check(params, source=str(path))
    return {name: params[name] for name in PARAM_SHAPES}
