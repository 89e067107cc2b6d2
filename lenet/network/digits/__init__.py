"""MNIST: the 10,000 test digits are part of the package; the 60,000 training digits are downloaded.

Every file is gzipped IDX. It is verified by the SHA-256 of its decompressed content, because mirrors compress
the same content differently.
"""

import gzip
import hashlib
import os
import zlib
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path

import numpy as np

from lenet.network.architecture import CLASSES, IMAGE_SHAPE
from parity.errors import UserError, reinstall_line
from parity.files import refuse_stream

BUNDLED = Path(__file__).parent
MOST_AXES = 32  # of an array in every version of NumPy
LARGEST = 64 << 20  # bytes of a file; the largest of MNIST has 47 million
CHECKSUMS = {
    "train-images-idx3-ubyte.gz": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte.gz": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte.gz": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte.gz": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


@dataclass(frozen=True)
class Digits:
    """Images (N, 1, 28, 28) float32 in [0, 1] and labels (N,) int64 in 0..9."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: slice | np.ndarray) -> "Digits":
        return Digits(self.images[index], self.labels[index])


def scale(pixels: np.ndarray) -> np.ndarray:
    """Scale uint8 pixels (..., 28, 28), 0 to 255, to float32 images (..., 1, 28, 28) in [0, 1].

    Pixels are scaled only here: by a single float32 division, correctly rounded by IEEE 754.
    """
    return pixels[..., None, :, :].astype(np.float32) / np.float32(255)


def test_set() -> Digits:
    """The 10,000 test digits, which are part of the package: at each call in arrays of their own."""
    return _digits(*_kept_pair(BUNDLED, "t10k"))


def training_set(folder: Path | None = None) -> Digits:
    """The 60,000 training digits from `folder`, else `$LENET_DATA`, else the `lenet data` cache.

    Raises:
        UserError: the files are missing, damaged, or not MNIST's.
    """
    return _digits(*_read_pair(training_folder(folder), "train"))


def training_folder(folder: Path | None = None) -> Path:
    """The folder of the training set: `folder`, else `$LENET_DATA`, else the user's cache."""
    if folder is not None:
        return folder
    if "LENET_DATA" in os.environ:
        return Path(os.environ["LENET_DATA"])
    import pooch

    return Path(pooch.os_cache("lenet"))


def read_idx(path: Path) -> np.ndarray:
    """Read a gzipped IDX file of unsigned bytes as an array with the shape in its header.

    IDX (yann.lecun.com/exdb/mnist): two zero bytes, a type code (8: unsigned byte), the number of
    axes, each axis as a big-endian uint32, then the bytes in row-major order.

    Raises:
        UserError: the file is missing, truncated, of another type, or its checksum is not MNIST's.
    """
    content = _read_gzip(path)
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise UserError(f"{path}: not an IDX file of unsigned bytes (magic {content[:4].hex()})")
    axes = content[3]
    header = 4 + 4 * axes
    shape = tuple(int(n) for n in np.frombuffer(content[4:header], ">u4")) if len(content) >= header else ()
    if axes > MOST_AXES:
        raise UserError(f"{path}: {axes} axes, expected at most {MOST_AXES}")
    if len(shape) != axes or len(content) != header + prod(shape):
        raise UserError(f"{path}: truncated or padded ({len(content)} bytes for shape {shape})")
    wanted = CHECKSUMS.get(path.name)
    if wanted and hashlib.sha256(content).hexdigest() != wanted:
        raise UserError(f"{path}: content is not MNIST's (SHA-256 differs); {_remedy(path)}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def check_images(images: np.ndarray, dtype: str = "float32") -> None:
    """Refuse everything except a batch of images: (N ≥ 1, 1, 28, 28), `dtype`, all values in [0, 1].

    Raises:
        UserError: a line with the actual and the expected property.
    """
    if images.shape[1:] != IMAGE_SHAPE:
        raise UserError(f"images have shape {images.shape}, expected (N, 1, 28, 28)")
    if len(images) == 0:
        raise UserError("the batch is empty: give at least one image")
    if images.dtype != dtype:
        raise UserError(f"images are {images.dtype}, expected {dtype}")
    if not (images.min() >= 0 and images.max() <= 1):  # a NaN fails this too
        raise UserError(
            "images must lie in [0, 1] with no NaN: divide pixels by 255 (lenet.network.digits.scale)"
        )


def check_labels(labels: np.ndarray, count: int) -> None:
    """Refuse everything except `count` integer labels in 0..9.

    Raises:
        UserError: a line with the actual and the expected property.
    """
    if labels.shape != (count,):
        raise UserError(f"labels have shape {labels.shape}, expected ({count},): one for each image")
    if not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"labels are {labels.dtype}, expected integers")
    if count and not (labels.min() >= 0 and labels.max() < CLASSES):
        raise UserError(f"labels must lie in 0..{CLASSES - 1}, got {labels.min()}..{labels.max()}")


def _read_pair(folder: Path, prefix: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, 28, 28) and labels (N,), both uint8."""
    pixels = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz")
    return pixels, read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz")


_kept_pair = cache(_read_pair)  # for the test digits, which most commands ask for more than once


def _digits(pixels: np.ndarray, labels: np.ndarray) -> Digits:
    return Digits(scale(pixels), labels.astype(np.int64))


def _read_gzip(path: Path) -> bytes:
    refuse_stream(path)
    try:
        with gzip.open(path) as file:  # which may hold a thousand times its size
            content = file.read(LARGEST + 1)
    except FileNotFoundError as error:
        ours = path.parent == BUNDLED
        remedy = reinstall_line() if ours else "`lenet data` fetches it, --data names its folder"
        raise UserError(f"{path}: not there; {remedy}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: not a whole gzip file ({error}); {_remedy(path)}") from error
    if len(content) > LARGEST:
        raise UserError(f"{path}: holds more than {LARGEST >> 20} MiB, no digits; {_remedy(path)}")
    return content


def _remedy(path: Path) -> str:
    """What to do with a damaged file: `lenet data` fetches the training digits alone."""
    return reinstall_line() if path.parent == BUNDLED else "`lenet data` fetches it anew"
