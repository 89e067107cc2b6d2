"""LeNet's loss and gradients in plain NumPy, right or wrong, as a port returns them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from lenet.diagnose.mistakes.wrong_backward import Passed, Tape, walk_back
from lenet.network.architecture import LAYERS
from lenet.network.recipe import initial_params
from tests.lenet.diagnose.plain.network import PADDING, Array, Params, own, right, wide

Loss = Callable[[Array, Array], tuple[float, Array]]  # of logits and labels: the loss and its derivative


def probabilities(z: Array) -> Array:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def hot(labels: Array) -> Array:
    return np.eye(10)[labels]


def cross_entropy(z: Array, labels: Array) -> tuple[float, Array]:
    p = probabilities(z)
    return -np.log(p[np.arange(len(z)), labels]).mean(), (p - hot(labels)) / len(z)


def forward(params: Params, images: Array) -> dict[str, Array]:
    """The input of every layer; "loss" has the logits."""
    inputs, x = {}, images
    for layer in LAYERS:
        inputs[layer.name] = x
        x = right(layer.name, x, *own(layer.name, params))
    return inputs | {"loss": x}


def _convolution_back(name: str, x: Array, w: Array, d: Array) -> tuple[Array, Array]:
    p, k = PADDING[name], w.shape[-1]
    padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(2, 3))
    dw = np.einsum("nopq,ncpqij->ocij", d, windows, optimize=True)
    dx: Array = np.zeros(padded.shape)
    for i, j in np.ndindex(k, k):
        dx[:, :, i : i + d.shape[2], j : j + d.shape[3]] += np.einsum("nopq,oc->ncpq", d, w[:, :, i, j])
    return dw, dx[:, :, p : dx.shape[2] - p, p : dx.shape[3] - p]


def windows(x: Array) -> Array:
    """(N, C, H/2, W/2, 4), the places of a window in row order."""
    n, c, height, width = x.shape
    return (
        x.reshape(n, c, height // 2, 2, width // 2, 2)
        .transpose(0, 1, 2, 4, 3, 5)
        .reshape(n, c, height // 2, width // 2, 4)
    )


def unfolded(a: Array) -> Array:
    """The maps of which these are the windows."""
    n, c, rows, columns, _ = a.shape
    return (
        a.reshape(n, c, rows, columns, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, 2 * rows, 2 * columns)
    )


def pooling_back(x: Array, d: Array) -> Array:
    """To the first largest value of each window, in row order."""
    first = windows(x).argmax(-1)
    return unfolded(np.eye(4)[first] * d[..., None])


def back(name: str, x: Array, w: Array, d: Array, slope: float = 0.0) -> tuple[Array, Array, Array]:
    """The cotangent of a layer's input, the gradient of its weights and that of its bias."""
    none = np.empty(0)
    if name in PADDING:
        dw, dx = _convolution_back(name, x, w, d)
        return dx, dw, d.sum((0, 2, 3))
    if name.startswith("relu"):
        return d * np.where(x > 0, 1.0, slope), none, none
    if name.startswith("pool"):
        return pooling_back(x, d), none, none
    if name == "flatten":
        return d.reshape(x.shape), none, none
    return d @ w, d.T @ x, d.sum(0)


def gradients(
    params: Params, images: Array, labels: Array, loss: Loss = cross_entropy, slopes: Mapping[str, float] = {}
) -> Params:
    """{"loss" or parameter: value}; `slopes` of a ReLU's gradient where its input is not positive."""
    inputs = forward(params, images)
    value, d = loss(inputs["loss"], labels)
    found = {"loss": np.asarray(value)}
    for layer in LAYERS[::-1]:
        w, _ = own(layer.name, params)
        d, dw, db = back(layer.name, inputs[layer.name], w, d, slopes.get(layer.name, 0.0))
        if layer.affine:
            found |= {f"{layer.name}.weight": dw, f"{layer.name}.bias": db}
    return found


@dataclass(frozen=True)
class Seen:
    """One probe: the right pass, and what a port returned."""

    tape: Tape
    right: Passed
    seen: Params


def batch(seed: int, digits: int) -> tuple[Params, Array, Array]:
    """Parameters in float32, images and labels."""
    rng = np.random.default_rng(seed)
    # Spots of different light: digits of noise would be too much alike.
    light = 4 * rng.random((digits, 1, 28, 28)) * (rng.random((digits, 1, 1, 1)) + 0.2)
    images = light * np.kron(rng.random((digits, 1, 7, 7)) < 0.5, np.ones((4, 4)))
    params = {
        name: w if name.endswith("weight") else (0.1 * rng.standard_normal(w.shape)).astype(np.float32)
        for name, w in initial_params(seed).items()
    }
    return params, images.astype(np.float32), rng.integers(0, 10, digits)


def seen(
    seed: int = 0,
    digits: int = 6,
    loss: Loss = cross_entropy,
    change: Callable[[Params, Params], Params] = lambda g, w: g,
    slopes: Mapping[str, float] = {},
    labels: Array | None = None,
    dtype: str = "float64",
) -> Seen:
    """A probe on which a port has this loss, and gradients that are changed."""
    params, images, drawn_labels = batch(seed, digits)
    labels = drawn_labels if labels is None else labels
    tape = Tape.record(params, images, labels, dtype)
    found = gradients(wide(params), images.astype(np.float64), labels, loss, slopes)
    changed = change(found, wide(params))
    return Seen(
        tape, list(walk_back(tape, {})), {n: a.astype(dtype).astype(np.float64) for n, a in changed.items()}
    )
