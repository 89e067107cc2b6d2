"""Solutions of workshop/01_convolution.ipynb, and answers that are not right."""

import numpy as np


def matrix(kernel, height, width):
    """Output (p, q) meets pixel (h, w) in the weight (h − p, w − q), if the kernel reaches as far."""
    size = len(kernel)
    rows, columns = height - size + 1, width - size + 1
    found = np.zeros((rows, columns, height, width), kernel.dtype)
    for p, q in np.ndindex(rows, columns):
        found[p, q, p : p + size, q : q + size] = kernel
    return found.reshape(rows * columns, height * width)


def convolve(x, w, b, padding):
    """One shifted picture for each position of the kernel."""
    size = w.shape[2]
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    rows, columns = padded.shape[2] - size + 1, padded.shape[3] - size + 1
    y = np.zeros((len(x), len(w), rows, columns), x.dtype)
    for i, j in np.ndindex(size, size):
        shifted = padded[:, :, i : i + rows, j : j + columns]  # (N, C, P, Q)
        y += np.einsum("oc,ncpq->nopq", w[:, :, i, j], shifted)
    return y + b[:, None, None]


def _flipped(x, w, b, padding):
    return convolve(x, w[:, :, ::-1, ::-1], b, padding)


def _transposed(x, w, b, padding):
    return convolve(x, w.swapaxes(2, 3), b, padding)


def _without_bias(x, w, b, padding):
    return convolve(x, w, 0 * b, padding)


def _without_padding(x, w, b, padding):
    return convolve(x, w, b, 0)


def _first_channel(x, w, b, padding):
    return convolve(x[:, :1], w[:, :1], b, padding)


WRONG = {
    "matrix": [
        (lambda kernel, height, width: matrix(kernel[::-1, ::-1], height, width), "M[0, 0] is"),
        (lambda kernel, height, width: matrix(kernel, width, height), "M[0, 5] is"),
        (lambda kernel, height, width: matrix(kernel, height, width).T, "shape"),
    ],
    "convolution": [
        (_flipped, "kernel flipped"),
        (_transposed, "kernel height and width swapped"),
        (_without_bias, "bias missing"),
        (_without_padding, "shape"),
        (_first_channel, "only the first input channel"),
        (lambda x, w, b, padding: convolve(x, w, b, padding).astype(np.float64), "float64"),
    ],
}
