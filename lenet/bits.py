"""With exact weights there is one right answer, to the bit: which ports give it?"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from lenet.certificate import certify_range
from lenet.dyadic import Dyadic
from lenet.errors import LenetError
from lenet.exact import coarsen, forward, pixel_values, unequal_bits
from lenet.ports import Port

Array = np.ndarray
RUN = 500  # digits at once


def right_logits(params: Mapping[str, Array], images: Array) -> list[Dyadic]:
    """The one right answer to each run of digits, in integers. No port takes part: it can be computed while
    frameworks are imported.

    Args:
        params: exact weights.
        images: (N, 1, 28, 28) as `lenet.data` reads them; coarsened here.

    Raises:
        LenetError: the weights are not exact in float32 for every image.
    """
    certificate = certify_range(params, pixel_values())
    if certificate.broken:
        raise LenetError(f"these weights are not exact: {certificate.broken.problem}")
    with threadpool_limits(1):  # a second thread would spin beside the imports
        return [forward(params, chunk)["logits"] for chunk in _runs(images)]


def equal_bits(
    ports: Sequence[Port],
    params: Mapping[str, Array],
    images: Array,
    right: Sequence[Dyadic],
    progress: Callable[[int], None] = lambda done: None,
) -> list[int]:
    """For each port, how many of its N × 10 logits are the one value that they can be, to the bit.

    The sign of a zero does not count, as in `lenet.exact.first_difference`.

    Args:
        ports: opened; `params` are loaded here.
        params, images, right: as of `right_logits`, and what it returned.
        progress: called with the number of digits done since the last call.
    """
    for port in ports:
        port.load(params)
    equal = [0] * len(ports)
    for chunk, want in zip(_runs(images), right, strict=True):
        for i, port in enumerate(ports):
            got = port.logits(chunk)
            if got.shape == want.units.shape and got.dtype == port.dtype:
                equal[i] += got.size - int(unequal_bits(want.to_float(port.dtype), got).sum())
        progress(len(chunk))
    return equal


def _runs(images: Array) -> list[Array]:
    return [coarsen(images[start : start + RUN]) for start in range(0, len(images), RUN)]
