"""Numbers of shorter formats, by the bits of float32."""

from collections.abc import Callable

import numpy as np

Array = np.ndarray
Round = Callable[[Array], Array]


def bits_kept(fraction: int, cut: bool = False) -> Round:
    """Float32 numbers with fewer bits of fraction: rounded to even, or cut off."""

    def rounded(a: Array) -> Array:
        bits, dropped = a.astype(np.float32).view(np.uint32).astype(np.uint64), 23 - fraction
        if not cut:
            bits = bits + (1 << (dropped - 1)) - 1 + ((bits >> dropped) & 1)
        return ((bits >> dropped) << dropped).astype(np.uint32).view(np.float32)

    return rounded
