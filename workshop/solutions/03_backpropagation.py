"""Solutions of workshop/03_backpropagation.ipynb, and answers that are not right."""

import numpy as np


def linear_backward(dy, x, w):
    """Each product of the forward pass, sent back to its other factor; the batch is summed over."""
    return dy @ w, dy.T @ x, dy.sum(axis=0)


def pool_backward(dy, x):
    """argmax takes the first of several equal values."""
    n, channels, rows, columns = dy.shape
    windows = x.reshape(n, channels, rows, 2, columns, 2).swapaxes(3, 4).reshape(*dy.shape, 4)
    dx = np.zeros(windows.shape, dy.dtype)
    np.put_along_axis(dx, windows.argmax(axis=-1)[..., None], dy[..., None], axis=-1)
    return dx.reshape(n, channels, rows, columns, 2, 2).swapaxes(3, 4).reshape(x.shape)


def _last_digit(dy, x, w):
    return dy @ w, dy[-1:].T @ x[-1:], dy[-1]


def _mean(dy, x, w):
    dx, dw, db = linear_backward(dy, x, w)
    return dx, dw / dy.dtype.type(len(dy)), db / dy.dtype.type(len(dy))


def _transposed(dy, x, w):
    dx, dw, db = linear_backward(dy, x, w)
    return dx, dw.T, db


def _every_winner(dy, x):
    """Equal maxima get the whole cotangent each."""
    dy2 = dy.repeat(2, axis=2).repeat(2, axis=3)
    n, channels, rows, columns = dy.shape
    tops = x.reshape(n, channels, rows, 2, columns, 2).max(axis=(3, 5))
    return dy2 * (x == tops.repeat(2, axis=2).repeat(2, axis=3))


def _average(dy, x):
    """The gradient of average pooling."""
    return dy.repeat(2, axis=2).repeat(2, axis=3) / 4


WRONG = {
    "linear_backward": [
        (_last_digit, "gradient of the last digit alone"),
        (_mean, "gradient of logits.weight differs"),
        (_transposed, "shape"),
    ],
    "pool_backward": [
        (_every_winner, "gradient of conv"),
        (_average, "gradient of conv"),
        (lambda dy, x: dy, "shape"),
    ],
}


ANSWERS = {  # to the predictions: the right guess, and the explanation
    "lines_per_line": (
        1.5,
        "Each layer of the forward pass has a line in the backward pass, in the opposite order.",
    ),
    "saved": (
        ["x", "W"],
        "Each product sends the cotangent back to one factor, multiplied by the other factor. So both "
        "factors are needed; a sum needs nothing.",
    ),
    "best_h_float64": (
        0.0002,
        "",
    ),
    "best_h_float32": (
        0.005,
        "",
    ),
    "digits_float32": (
        3,
        "And only at the right step: **check gradients in float64**, even those of a float32 network.",
    ),
    "smallest_h": (
        "1e-03",
        "The quotient is then the mean slope of two different smooth functions. Its error does not shrink "
        "like the square of the step.",
    ),
    "agreeing_digits": (
        15,
        "Derivations by different people give the same gradient, and all agree with the float64 reference "
        "far within its bound. A quotient is much less precise, but it is the only check that uses "
        "nothing of backpropagation.",
    ),
    "loss_falls": (
        "yes",
        "A falling loss proves nothing: descent works with a wrong gradient as long as it points downhill.",
    ),
    "notices": (
        ["a quotient"],
        "A single quotient in a *random* direction finds the error. (A direction of ones, or a cotangent "
        "of ones, misses every error that sums to zero.)",
    ),
}
