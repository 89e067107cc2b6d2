"""Files in the format of MNIST's digits."""

import numpy as np


def idx(array: np.ndarray, code: int = 8) -> bytes:
    """An IDX file, not compressed: the format as its definition."""
    axes = b"".join(side.to_bytes(4, "big") for side in array.shape)
    return bytes([0, 0, code, array.ndim]) + axes + array.tobytes()
