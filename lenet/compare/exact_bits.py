"""Counts the logits that are right to the last bit. With exact weights there is a single right answer."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from lenet.reference.certificate import certify_range
from lenet.reference.exact import coarsen, forward, pixel_values
from parity.arithmetic import floats
from parity.errors import UserError

Array = np.ndarray
RUN = 200  # digits at once: of more, the patches are laid out in bands, and joined


@dataclass(frozen=True)
class Right:
    """Exact weights, images (N, 1, 28, 28) on their grid, and the right logits (N, 10)."""

    params: Mapping[str, Array]
    images: Array
    logits: Array


def right(params: Mapping[str, Array], images: Array, dtype: str = "float32") -> Right:
    """The right logits, computed in integers. This needs no port, so it can run during imports.

    Args:
        params: exact weights.
        images: (N, 1, 28, 28) as `lenet.network.digits` reads them; coarsened here.
        dtype: the dtype of the logits; float32 and float64 can both represent them.

    Raises:
        UserError: the weights are not exact in float32 for every image.
    """
    certificate = certify_range(params, pixel_values())
    if certificate.broken:
        raise UserError(f"these weights are not exact: {certificate.broken.problem}")
    images = coarsen(images)
    with threadpool_limits(1):  # a second thread would slow the imports down
        starts = range(0, len(images), RUN)  # of each run only the logits are kept: all layers take 1 GB
        logits = [forward(params, images[start : start + RUN])["logits"].to_float(dtype) for start in starts]
    return Right(params, images, np.concatenate(logits))


def equal_bits(want: Array, got: Array) -> int:
    """The number of values that equal the right value to the bit; 0 if shape or dtype differ.

    The sign of zero does not count, as in `lenet.reference.exact.first_difference`.
    """
    if (got.shape, got.dtype) != (want.shape, want.dtype):
        return 0
    return int(floats.equal_bits(want, got).sum())


def sha256(logits: Array) -> str:
    """SHA-256 of float32 logits. The sign of zero does not count."""
    return hashlib.sha256((logits + 0.0).astype("<f4").tobytes()).hexdigest()
