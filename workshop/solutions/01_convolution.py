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


ANSWERS = {  # to the predictions: the right guess, and the explanation
    "ink_begins": (
        "positive",
        "Red is positive: to the right there is more ink than to the left.",
    ),
    "ink_ends": (
        "negative",
        "Blue is negative: to the left there is more ink.",
    ),
    "inside_stroke": (
        "zero",
        "The two columns cancel, so this kernel does not see horizontal strokes.",
    ),
    "clean_edges": (
        0,
        "The kernels detect edges in several directions and blobs of ink, but none is clean: the loss "
        "rewards right labels, not edges.",
    ),
    "rows": (
        16,
        "One for each output: with a 3×3 kernel and no padding, a side of 6 becomes 4.",
    ),
    "entries": (
        144,
        "Each output reads one patch. This is *locality*: most entries are zero.",
    ),
    "values": (
        9,
        "The weights of the kernel repeat along the diagonals: *sharing*. Such a matrix is called doubly "
        "blocked Toeplitz. Locality and sharing distinguish a convolution from a dense layer.",
    ),
    "equal": (
        "no",
        "Both add the same 25 products in different orders, and floating-point sums depend on the order.",
    ),
    "outside": (
        [],
        "Neither is wrong: both are the same function, up to the bound below.",
    ),
    "positions": (
        0,
        "Sharing weights makes the layer *translation equivariant*: shifting and then convolving gives "
        "the same as convolving and then shifting.",
    ),
    "also_at_the_edge": (
        "no",
        "It is exact only as long as no ink reaches the padding.",
    ),
}
