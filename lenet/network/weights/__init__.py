"""Reads and writes shared weights as safetensors, checked against `lenet.network.architecture`.

The shared layout is PyTorch's: convolutions OIHW, dense layers (out, in), biases 1-D, float32.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lenet.network.architecture import PARAM_SHAPES
from parity.errors import UserError, reinstall_line
from parity.files import write_atomically

Params = dict[str, np.ndarray]

FOLDER = Path(__file__).parent
TRAINED = FOLDER / "lenet.safetensors"
SHA256 = {  # of the files of this package: a flipped bit gives other weights, which no check of form sees
    "exact.safetensors": "1496f0c9963d951dc01cb7a615ba4d26b2a78205a4a05d04a14b8cc746e0b06f",
    "lenet.safetensors": "84d1aa70f0b92c67dbf4c4719ee7e380a60707ab0d9de1da497b61470bc6a7c0",
}


def check(params: Mapping[str, np.ndarray], dtype: str = "float32", source: str = "weights") -> None:
    """Refuse everything except the parameters of the table: same names, shapes and `dtype`, all finite.

    Raises:
        UserError: a line with the first wrong parameter and its fault.
    """
    missing, unknown = PARAM_SHAPES.keys() - params.keys(), params.keys() - PARAM_SHAPES.keys()
    if missing or unknown:
        problem = f"no {min(missing)!r}" if missing else f"unknown {min(unknown)!r}"
        raise UserError(f"{source}: {problem}; expected exactly {', '.join(PARAM_SHAPES)}")
    for name, shape in PARAM_SHAPES.items():
        array = params[name]
        if array.shape != shape:
            raise UserError(f"{source}: {name} has shape {array.shape}, expected {shape}")
        if array.dtype != dtype:
            raise UserError(f"{source}: {name} is {array.dtype}, expected {dtype}")
        if not np.isfinite(array).all():
            raise UserError(f"{source}: {name} holds a NaN or an infinity")


def read(path: Path | str = TRAINED) -> Params:
    """Read the network's parameters from a safetensors file: {name: float32 array}, in the table's order.

    Raises:
        UserError: the file is missing, damaged, or does not hold this network.
    """
    return read_with_metadata(path)[0]


def read_with_metadata(path: Path | str = TRAINED) -> tuple[Params, dict[str, str]]:
    """`read`, and the strings in the file's header, which tell how the weights were made."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such weights file; `lenet train numpy --out FILE` makes one")
    try:
        with safe_open(path, framework="numpy") as file:
            params = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
            metadata = dict(file.metadata() or {})
    except (SafetensorError, OSError, TypeError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({error})") from error
    check(params, source=str(path))
    if path.parent == FOLDER and hashlib.sha256(path.read_bytes()).hexdigest() != SHA256.get(path.name):
        raise UserError(f"{path}: was changed; {reinstall_line()}")
    return {name: params[name] for name in PARAM_SHAPES}, metadata


def write(path: Path | str, params: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Check parameters and write them with `metadata` to `path`, completely or not at all.

    Raises:
        UserError: the parameters are not this network's, or `path` cannot be written.
    """
    check(params, source=f"weights for {path}")
    arrays = {name: np.ascontiguousarray(params[name]) for name in PARAM_SHAPES}
    write_atomically(Path(path), serialized(arrays, metadata))


def serialized(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a safetensors file; the same for equal content.

    safetensors writes the metadata in a random order, so its header is written anew.
    """
    content = save(dict(arrays), dict(metadata))
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    if metadata:
        header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the data begin at a multiple of 8 bytes
    return len(text).to_bytes(8, "little") + text + content[end:]
