"""Images stretched to the size that the padding should give them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lenet.diagnose.mistakes.base import Family, Kind
from lenet.diagnose.mistakes.wrong_forward import Call, instead, right
from parity.arithmetic import Array, Bounded
from parity.operators.affine import Conv

FAMILY = Family()


def _weights(
    size: int, place: Callable[[Array], Array], kernel: Callable[[Array], Array], reach: int
) -> Array:
    """The (size, 28) matrix that samples 28 pixels at `size` places; beyond the edge stands its pixel."""
    matrix = np.zeros((size, 28))
    for row, centre in enumerate(place(np.arange(size))):
        for pixel in range(int(np.floor(centre)) - reach + 1, int(np.floor(centre)) + reach + 1):
            matrix[row, min(max(pixel, 0), 27)] += kernel(np.abs(centre - pixel))
    return matrix


def _cubic(a: float) -> Callable[[Array], Array]:
    def kernel(t: Array) -> Array:
        near = ((a + 2) * t - (a + 3)) * t * t + 1
        far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
        return np.where(t <= 1, near, np.where(t < 2, far, 0))

    return kernel


def _tent(t: Array) -> Array:
    return np.maximum(1 - t, 0)


SIDE = 32
CENTRES: dict[str, Callable[[Array], Array]] = {
    "": lambda k: (k + 0.5) * 28 / SIDE - 0.5,
    ", align_corners": lambda k: k * 27 / (SIDE - 1),
    ", asymmetric": lambda k: k * 28 / SIDE,
}
MATRICES: dict[str, Array] = {}
for _how, _centres in CENTRES.items():
    MATRICES[f"bilinear{_how}"] = _weights(SIDE, _centres, _tent, 1)
    MATRICES[f"bicubic (a = −0.75){_how}"] = _weights(SIDE, _centres, _cubic(-0.75), 2)
    MATRICES[f"bicubic (a = −0.5){_how}"] = _weights(SIDE, _centres, _cubic(-0.5), 2)
for _how, _centres in (
    ("", lambda k: np.floor(k * 28 / SIDE)),
    (", rounded", lambda k: np.rint(k * 27 / (SIDE - 1))),
):
    MATRICES[f"nearest{_how}"] = np.eye(28)[_centres(np.arange(SIDE)).astype(int)]


def _resized(call: Call, matrix: Array) -> Bounded:
    """The image at 32×32, and the convolution without padding."""
    if call.x.shape[2:] != (28, 28):
        raise ValueError("the image has another size")
    value = matrix @ call.x.value @ matrix.T
    size = np.abs(matrix) @ (np.abs(call.x.value) + call.x.bound) @ np.abs(matrix).T
    # Weights of pixels are computed, too, from coordinates of up to 32: 40 roundings of each product.
    error = np.abs(matrix) @ call.x.bound @ np.abs(matrix).T + 40 * call.u * size
    return right(replace(call.with_mistake(Conv()), x=Bounded(value, error)))


for _name, _matrix in MATRICES.items():
    FAMILY.add(
        ["conv1"],
        Kind(
            f"image resized to 32×32 instead of padded: {_name}",
            "The image of 28×28 is stretched to 32×32; it should be padded by 2 zeros on each side.",
            "Pad the image by 2, or the convolution; do not resize.",
        ),
        instead(lambda call, matrix=_matrix: _resized(call, matrix)),
    )
