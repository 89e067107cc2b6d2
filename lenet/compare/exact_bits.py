"""Counts which logits are right to the last bit. With exact weights there is only one right answer."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from lenet.reference.certificate import certify_range
from lenet.reference.exact import coarsen, forward, pixel_values
from parity import floats
from parity.errors import UserError

Array = np.ndarray
RUN = 200  # digits at once: of more, the patches are laid out in bands, and joined


@dataclass(frozen=True)
class Right:
    """Exact weights, images on their grid (N, 1, 28, 28), and the one right answer (N, 10)."""

    params: Mapping[str, Array]
    images: Array
    logits: Array


def right(params: Mapping[str, Array], images: Array, dtype: str = "float32") -> Right:
    """The answer, computed in integers. It needs no port, so it can run while frameworks are being imported.

    Args:
        params: exact weights.
        images: (N, 1, 28, 28) as `lenet.network.digits` reads them; coarsened here.
        dtype: of the answer, which both can hold.

    Raises:
        UserError: the weights are not exact in float32 for every image.
    """
    certificate = certify_range(params, pixel_values())
    if certificate.broken:
        raise UserError(f"these weights are not exact: {certificate.broken.problem}")
    images = coarsen(images)
    with threadpool_limits(1):  # a second thread would spin beside the imports
        runs = [forward(params, images[start : start + RUN]) for start in range(0, len(images), RUN)]
    return Right(params, images, np.concatenate([run["logits"].to_float(dtype) for run in runs]))


def equal_bits(want: Array, got: Array) -> int:
    """How many values equal the only right one, to the bit; 0 if shape or dtype differ.

    The sign of a zero does not count, as in `lenet.reference.exact.first_difference`.
    """
    if (got.shape, got.dtype) != (want.shape, want.dtype):
        return 0
    return int(floats.equal_bits(want, got).sum())
