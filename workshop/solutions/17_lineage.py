"""Solutions of workshop/17_lineage.ipynb, and answers that are not right."""

import numpy as np


def receptive_field(layers):
    """A kernel reaches kernel − 1 steps of the distance between neighbours; a stride multiplies the "
    "distance."""
    width, distance = 1, 1
    for kernel, stride in layers:
        width += (kernel - 1) * distance
        distance *= stride
    return width


def residual_backward(dy, x, w1, w2):
    """The gate of the last ReLU, then two ways: through the weights, and past them."""
    h = np.maximum(x @ w1.T, 0)
    ds = dy * (x + h @ w2.T > 0)
    dz = (ds @ w2) * (h > 0)
    return ds + dz @ w1, dz.T @ x, ds.T @ h


def _stride_first(layers):
    width, distance = 1, 1
    for kernel, stride in layers:
        distance *= stride
        width += (kernel - 1) * distance
    return width


def _no_skip(dy, x, w1, w2):
    _, dw1, dw2 = residual_backward(dy, x, w1, w2)
    h = np.maximum(x @ w1.T, 0)
    ds = dy * (x + h @ w2.T > 0)
    return (ds @ w2) * (h > 0) @ w1, dw1, dw2


def _around(dy, x, w1, w2):
    dx, dw1, dw2 = _no_skip(dy, x, w1, w2)
    return dy + dx, dw1, dw2


def _no_last_gate(dy, x, w1, w2):
    h = np.maximum(x @ w1.T, 0)
    dz = (dy @ w2) * (h > 0)
    return dy + dz @ w1, dz.T @ x, dy.T @ h


def _no_inner_gate(dy, x, w1, w2):
    h = np.maximum(x @ w1.T, 0)
    ds = dy * (x + h @ w2.T > 0)
    return ds + ds @ w2 @ w1, (ds @ w2).T @ x, ds.T @ h


def _open_at_zero(last, inner):
    def answer(dy, x, w1, w2):
        z = x @ w1.T
        s = x + np.maximum(z, 0) @ w2.T
        ds = dy * (s >= 0 if last else s > 0)
        dz = (ds @ w2) * (z >= 0 if inner else z > 0)
        return ds + dz @ w1, dz.T @ x, ds.T @ np.maximum(z, 0)

    return answer


WRONG = {
    "receptive_field": [
        (lambda layers: sum(kernel for kernel, _ in layers), "sum of the kernels"),
        (lambda layers: 1 + sum(kernel - 1 for kernel, _ in layers), "strides are left out"),
        (lambda layers: 1 + sum((kernel - 1) * stride for kernel, stride in layers), "expected"),
        (_stride_first, "own stride"),
        (lambda layers: float(receptive_field(layers)), "expected an int"),
    ],
    "residual_backward": [
        (_no_skip, "the skip is left out"),
        (_around, "must pass its gate first"),
        (_no_last_gate, "last ReLU has no gate"),
        (_no_inner_gate, "inner ReLU has no gate"),
        (_open_at_zero(True, False), "last ReLU is open"),
        (_open_at_zero(False, True), "inner ReLU is open"),
        (_open_at_zero(True, True), "both ReLUs are open"),
        (lambda *args: residual_backward(*args)[0], "expected a tuple of 3"),
        (lambda dy, x, w1, w2: (residual_backward(dy, x, w1, w2)[0] + 1, w1, w2), "dx"),
    ],
}


ANSWERS = {  # to the predictions: the right guess, and the explanation
    "sooner_at_one_rate": (
        "ReLU",
        "At the smaller rate tanh lags behind.",
    ),
    "times_as_many": (
        0.9,
        "tanh bears the larger rate, and five layers with a suitable initial scale do not saturate. The "
        "paper's "
        "factor of six belongs to its network, its data and its initial weights.",
    ),
    "percent_that_differ": (
        40,
        "In training mode each pass draws other units: it is a random function. This is why ports are "
        "judged in "
        "evaluation mode.",
    ),
    "dropout_nodes": (
        0,
        "In evaluation mode dropout is the identity, and the exporter leaves it out. (AlexNet's own "
        "weights expect a "
        "factor of ½ there. A port that drops the factor is wrong, and no layer shows it.)",
    ),
    "factor_of_parameters": (
        1.4,
        "18 C² is less than 25 C² if a layer has as many inputs as outputs. With few inputs, the second "
        "convolution "
        "costs more than the first one saves.",
    ),
    "pool2_sees": (
        16,
        "5 for `conv1`, 1 more for `pool1`, 4 · 2 for `conv2` on a grid of every second pixel, 2 for "
        "`pool2`.",
    ),
    "loss_changes": (
        1,
        "The scale is divided away, but for ε.",
    ),
    "gradient_changes": (
        0.25,
        "If L(cw) = L(w), the gradient at cw is 1/c of that at w: large weights turn slowly. Weight "
        "decay, which "
        "makes them smaller, acts as a rate.",
    ),
    "first_over_last": (
        200,
        "It does not vanish, it explodes: on its way back it grows by about 1.3 in each block. "
        "Normalisation alone does not make any depth trainable.",
    ),
    "plain_16": (
        "higher",
        "The paper calls it degradation. It is no overfitting: the loss is that of the training digits.",
    ),
    "residual_16": (
        "lower",
        "A block learns what to add to its input, and the gradient has a way past all of them.",
    ),
    "new_operators": (
        ["Add", "BatchNormalization", "ReduceMean"],
        "Three years of architectures brought a sum, a normalisation and a mean. ReduceMean is the "
        "pooling over the "
        "whole image.",
    ),
    "relu_before": (
        "different",
        "No shape and no weight differs. `parity` finds the first tensor that no rounding explains.",
    ),
}
