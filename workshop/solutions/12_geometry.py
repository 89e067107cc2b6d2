"""Solutions of workshop/12_geometry.ipynb, and answers that are not right."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def unseen_part(w, x):
    """What is left of x without its part in w's row space, which the first right singular vectors span."""
    _, s, vt = np.linalg.svd(w, full_matrices=False)
    rows = vt[s > 1e-10 * s[0]]
    return x - x @ rows.T @ rows


def patch_covariance(images, size):
    """The mean patch is subtracted, then all products of two places are averaged."""
    patches = sliding_window_view(images[:, 0], (size, size), axis=(1, 2)).reshape(-1, size**2)
    centred = patches - patches.mean(axis=0)
    return centred.T @ centred / len(centred)


def _by_rows(w, x):
    basis = np.linalg.svd(w)[2][len(w) :]
    return x @ basis.T @ basis


def _of(centre, divide=len):
    def covariance(images, size):
        patches = sliding_window_view(images[:, 0], (size, size), axis=(1, 2)).reshape(-1, size**2)
        centred = patches - centre(patches)
        return centred.T @ centred / divide(centred)

    return covariance


def _without_overlap(images, size):
    n, _, h, w = images.shape
    cut = images[:, 0, : h // size * size, : w // size * size]
    tiles = cut.reshape(n, h // size, size, w // size, size).swapaxes(2, 3).reshape(-1, size**2)
    return np.cov(tiles.T, bias=True)


WRONG = {
    "unseen_part": [
        (lambda w, x: x - unseen_part(w, x), "that w sees"),
        (_by_rows, "count the rank"),
        (lambda w, x: x - x @ w.T @ w, "not to 0"),
        (lambda w, x: unseen_part(w, x) / 2, "not all that w does not see"),
        (lambda w, x: x @ np.linalg.svd(w)[2][len(w) :].T, "shape"),
    ],
    "patch_covariance": [
        (_of(lambda p: p.mean(axis=0), lambda p: len(p) - 1), "one less"),
        (_of(lambda p: 0), "mean patch was not subtracted"),
        (_of(lambda p: p.mean(axis=1, keepdims=True)), "its own mean"),
        (_of(lambda p: p.mean(axis=0), lambda p: 1), "not divided"),
        (_without_overlap, "expected"),
    ],
}


ANSWERS = {  # to the predictions: the right guess, and the explanation
    "null_of_fc1": (
        280,
        "120 outputs can tell apart 120 directions; all others are mapped to zero.",
    ),
    "null_of_conv1": (
        0,
        "Six maps hold more numbers than the image, and these kernels lose none of its directions.",
    ),
    "worst_at": (
        "all logits together",
        "A number that is added to all ten logits does not change the softmax: the gradient by the logits "
        "adds up to zero, so nothing is learnt along this direction, and the weight decay shrinks it.",
    ),
    "share_unseen": (
        0.26,
        "Each gradient of `fc1` is a sum of products with features, so training adds only directions that "
        "digits have. Before it, the share is that of the dimensions.",
    ),
    "outside_the_bound": (
        0,
        "For every later layer these are the same digits. No data is needed to find such changes, only the "
        "weights.",
    ),
    "condition": (
        6.6e8,
        "A blur takes out the finest checkerboard nearly, but not quite: it shrinks it by $10^{-9}$.",
    ),
    "come_back": (
        ["conv1, float64", "conv1, float32", "blur, float64"],
        r"A rounding of relative size $u$ may come back as $\kappa u$, which for the blur in float32 "
        "exceeds the image itself. One rounding of the blurred image is enough, and no other solver brings "
        "it back: what is missing was below the last bit.",
    ),
    "in_the_first": (
        2,
        "The first eigenvector is a patch that is dark or bright as a whole. It has nearly half of the "
        "variance, but tells little about the digit: less of the kernels lies in it than by chance.",
    ),
    "in_the_first_nine": (
        86,
        "Beyond the first, the kernels are made of the data's strongest directions: edges and bars. The "
        "other sixteen hold 6 % of the variance.",
    ),
    "bounds_off": (
        "more than 1,000",
        "`np.cov` divides by one less than the number of patches: a relative difference of one in a million, "
        "which no picture shows and a bound does.",
    ),
    "outside": (
        ["np.cov"],
        "The eigenvalues of the three libraries agree within the residuals of their own pairs, whatever sign "
        "their vectors have. `np.cov` gave another matrix.",
    ),
}
