"""Reads recordings: an npz of arrays, and beside it a JSON file with its origin and its SHA-256."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from lenet.compare import exact_bits
from lenet.network.architecture import ACTIVATION_SHAPES, CLASSES
from parity.errors import UserError, did_you_mean
from parity.record.npz import read_npz

FOLDER = Path(__file__).with_name("recordings")
TRAINING = ("caffe_steps", "caffe_lenet_iter_18760")  # of Caffe's own training: `museum.caffe_training`
LAYER_DIGITS, LOGIT_DIGITS, EXACT_DIGITS = 10, 1000, 100
LAYERS, LOGITS, EXACT = "layers10.", "logits_trained_1000", "logits_exact_100"
# {array of a recording: its shape}; all are float32.
SHAPES = {LAYERS + name: (LAYER_DIGITS, *shape) for name, shape in ACTIVATION_SHAPES.items()} | {
    LOGITS: (LOGIT_DIGITS, CLASSES),
    EXACT: (EXACT_DIGITS, CLASSES),
}


@dataclass(frozen=True)
class Origin:
    """Where a recording comes from: the JSON file beside it.

    Attributes:
        framework, version, released: the framework, and the year in which this version was released.
        obtained, run: how it was installed, and what was run.
        interpreter, processor, date: on what, and when.
        port: the port that has its framework's name, or "".
        script: the file of originals/ that records it again; None if there is none.
        environment: variables that are set for the script.
        sha256: of the npz file.
        sha256_exact: of the logits with exact weights, as `lenet migrations` hashes them; "" without these.
    """

    framework: str
    version: str
    released: int
    obtained: str
    run: str
    interpreter: str
    processor: str
    date: str
    port: str
    script: str | None
    environment: Mapping[str, str]
    sha256: str
    sha256_exact: str = ""


@dataclass(frozen=True)
class Recording:
    """What a framework returned.

    Attributes:
        name: the name of the files.
        logits: (1000, 10), of the first test digits with the trained weights.
        exact: (100, 10), of the first test digits with exact weights.
        layers: {layer: array} of the first ten test digits with the trained weights, in the shared layout.
    """

    name: str
    origin: Origin
    logits: np.ndarray
    exact: np.ndarray
    layers: Mapping[str, np.ndarray] = field(repr=False)


def names(folder: Path = FOLDER) -> list[str]:
    """The names of all recordings, oldest version first.

    Raises:
        UserError: one has no JSON file with its origin, or a damaged one.
    """
    found = {name: read_origin(name, folder) for name in _stems(folder) if name not in TRAINING}
    return sorted(found, key=lambda name: (found[name].released, name))


def _stems(folder: Path) -> set[str]:
    """The names of files of either kind: a recording of which one is gone is missed, not overlooked."""
    return {path.stem for path in folder.iterdir() if path.suffix in (".npz", ".json", ".caffemodel")}


def read(name: str, folder: Path = FOLDER) -> Recording:
    """Read a recording, after checking everything that can be checked without judging it.

    Raises:
        UserError: a file is missing or damaged, a SHA-256 is another, or an array is missing, of another
            shape or dtype, or not finite.
    """
    if name in TRAINING:
        raise UserError(f"{name} is of Caffe's training, which `lenet museum` shows")
    origin = read_origin(name, folder)
    arrays = read_arrays(folder / f"{name}.npz", origin.sha256, SHAPES)
    if exact_bits.sha256(arrays[EXACT]) != origin.sha256_exact:
        raise UserError(f"{folder / name}.npz: {EXACT} has another SHA-256 than {name}.json says")
    layers = {layer: arrays[LAYERS + layer] for layer in ACTIVATION_SHAPES}
    return Recording(name, origin, arrays[LOGITS], arrays[EXACT], layers)


def read_origin(name: str, folder: Path = FOLDER) -> Origin:
    """Read the JSON file of a recording.

    Raises:
        UserError: it is missing, or its fields are not those of `Origin`.
    """
    path, known = folder / f"{name}.json", _stems(folder)
    if name not in known:
        meant = did_you_mean(name.lower(), known)
        raise UserError(f"no recording is called {name!r}: {meant}`lenet museum` lists all")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        origin = Origin(**found)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, RecursionError) as error:
        wanted = ", ".join(one.name for one in fields(Origin))
        raise UserError(f"{path}: not the origin of a recording; expected the fields {wanted}") from error
    if field := _misfit(origin):
        raise UserError(f"{path}: {field!r} is not of its kind")
    return origin


def _misfit(origin: Origin) -> str | None:
    """The first field of an origin that is not what `Origin` says."""
    for name, value in vars(origin).items():
        if name == "environment":
            right = isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
        elif name == "released":
            right = type(value) is int and 1900 < value < 2100
        elif name == "script":
            right = value is None or (isinstance(value, str) and re.fullmatch(r"\w+\.py", value) is not None)
        else:
            right = isinstance(value, str)
        if not right:
            return name
    return None


def read_arrays(
    path: Path, wanted: str, shapes: Mapping[str, tuple[int, ...]] = SHAPES
) -> dict[str, np.ndarray]:
    """Read the float32 arrays of an npz file; `wanted` is its SHA-256.

    Raises:
        UserError: the file is another, or its arrays are not those of `shapes`, or not finite.
    """
    check_sha256(path, wanted)
    return checked(dict(read_npz(path)), shapes, str(path))


def check_sha256(path: Path, wanted: str) -> None:
    """Refuse a file that was changed.

    Raises:
        UserError: its SHA-256 is another, or it cannot be read.
    """
    if sha256(path) != wanted:
        raise UserError(f"{path}: was changed: its SHA-256 is not the one that was recorded")


def sha256(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def checked(
    arrays: dict[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], source: str
) -> dict[str, np.ndarray]:
    """The same arrays, if they are float32, finite, and of these names and shapes.

    Raises:
        UserError: a line with the first that is not.
    """
    if differing := arrays.keys() ^ shapes.keys():
        name = min(differing)
        raise UserError(f"{source}: {'no' if name in shapes else 'unknown'} {name!r}")
    for name, shape in shapes.items():
        array = arrays[name]
        if array.shape != shape or array.dtype != np.float32:
            raise UserError(f"{source}: {name} is {array.dtype} {array.shape}, expected float32 {shape}")
        if not np.isfinite(array).all():
            raise UserError(f"{source}: {name} holds a NaN or an infinity")
    return arrays
