"""The backward pass in float64, and how far rounding alone can move a port's gradients from it.

Once every ReLU gate and every pooling winner is decided, the backward pass is linear: each gradient is
a sum of products of cotangents and activations (or weights), and the γ-bound of `lenet.reference.forward`
applies to it, with both factors' own errors carried along:

    |Σ d̂x̂ − Σ dx| ≤ Σ (ε|x| + |d|e + εe) + γ_{k+1} Σ (|d| + ε)(|x| + e)        k terms

`decided` says where gates and winners are the same for every implementation; there, and only there,
do the bounds hold.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lenet.network.architecture import LAYERS, Affine, Conv, Flatten, Layer, MaxPool, ReLU
from lenet.reference.forward import (
    U64,
    Array,
    Bounded,
    cover,
    gamma,
    linear_map,
    patches,
    reference,
    unit_roundoff,
    window_taps,
)

# Roundings of one softmax and logarithm over ten logits: exp and log within 4 ulps each, which IEEE 754
# does not promise but every library used here does; ten additions; a subtraction and a division.
SOFTMAX_ROUNDINGS = 64


@dataclass(frozen=True)
class Gradients:
    """The loss and every parameter's gradient, each with the largest distance rounding allows."""

    loss: Bounded
    params: dict[str, Bounded]


def loss_gradients(
    params: Mapping[str, Array], images: Array, labels: Array, dtype: str = "float64"
) -> Gradients:
    """Mean softmax cross-entropy and its gradients, with bounds for a port that computes in `dtype`.

    Args:
        params: shared weights, float32 or float64.
        images: (N, 1, 28, 28), every digit `decided`.
        labels: (N,).
        dtype: of the port.
    """
    outputs = reference(params, images, dtype)
    loss, dlogits = cross_entropy(outputs["logits"], labels, dtype)
    return Gradients(loss, _backward(params, images, outputs, dlogits, unit_roundoff(dtype)))


def cotangent_gradients(
    params: Mapping[str, Array], images: Array, cotangent: Array, dtype: str = "float64"
) -> dict[str, Bounded]:
    """d(sum(cotangent · logits)) / d(parameter), with bounds; arguments as in `loss_gradients`."""
    outputs = reference(params, images, dtype)
    d = Bounded(cotangent.astype(np.float64), np.zeros(cotangent.shape))
    return _backward(params, images, outputs, d, unit_roundoff(dtype))


def decided(params: Mapping[str, Array], images: Array, dtype: str = "float64") -> Array:
    """(N,) bool: digits whose every gate and winner is the same in every implementation.

    A gate is decided where |z| exceeds the bound on z, or that bound is zero. A winner is decided where
    its value less its bound exceeds every rival plus its bound, or where the rival sees the very same
    pixels: then both are the same number in exact arithmetic, rounding may pick either, and it does not
    matter, since a unit's contribution to a parameter's gradient depends on nothing but what it sees.
    Where the whole window is exactly zero the gates below it are closed, and no winner passes anything.
    """
    outputs = reference(params, images, dtype)
    fine = np.ones(len(images), bool)
    z = Bounded(images, np.zeros(images.shape))
    field, jump = 1, 1  # side of what a unit sees of the image, and distance of neighbours, in pixels
    padding = 0
    for layer in LAYERS:
        match layer:
            case ReLU():
                fine &= _per_digit((np.abs(z.value) > z.error) | (z.error == 0))
            case Conv(kernel=kernel):
                field += (kernel - 1) * jump
                padding += layer.padding * jump
            case MaxPool(size=size):
                fine &= _per_digit(winner_decided(z, images, size, field, jump, padding))
                field += (size - 1) * jump
                jump *= size
        z = outputs[layer.name]
    return fine


def _per_digit(ok: Array) -> Array:
    return np.asarray(ok.reshape(len(ok), -1).all(axis=1))


def winner_decided(z: Bounded, images: Array, size: int, field: int, jump: int, padding: int) -> Array:
    """(N, C, P, Q) bool, for the pooling of activation z; see `decided`."""
    values, errors = np.stack(window_taps(z.value, size)), np.stack(window_taps(z.error, size))
    winner = values.argmax(axis=0)[None]
    lowest = np.take_along_axis(values - errors, winner, axis=0)
    beaten = values + errors < lowest
    same = same_fields(images, size, field, jump, padding)  # (taps, taps, N, P, Q)
    twins = np.stack([np.choose(winner[0], same[:, k][:, :, None]) for k in range(len(values))])
    dead = (values == 0).all(axis=0) & (errors == 0).all(axis=0)
    return np.asarray((beaten | twins).all(axis=0) | dead)


def same_fields(images: Array, size: int, field: int, jump: int, padding: int) -> Array:
    """(taps, taps, N, P, Q) bool: whether two positions of a window see identical pixels."""
    padded = np.pad(images[:, 0], ((0, 0), (padding, padding), (padding, padding)))
    fields = sliding_window_view(padded, (field, field), axis=(1, 2))[:, ::jump, ::jump]
    rows, columns = fields.shape[1] // size * size, fields.shape[2] // size * size
    taps = [fields[:, i:rows:size, j:columns:size] for i, j in np.ndindex(size, size)]
    return np.stack([np.stack([(a == b).all(axis=(-2, -1)) for b in taps]) for a in taps])


def cross_entropy(logits: Bounded, labels: Array, dtype: str) -> tuple[Bounded, Bounded]:
    """The mean loss, and its cotangent (p − [k = label]) / N for the logits.

    Logits off by at most e change each p_k by a factor within exp(±2e); as the p_k sum to 1, the same
    factor bounds the change of 1 − p_k, which is the smaller part for a digit that is well classified.
    By the same token log p_label, whose derivative has 1-norm 2(1 − p), moves by at most
    2e(1 − p)·exp(2e). The evaluation's own roundings add a relative error a in p, absolute in log p.
    A p below the smallest normal number may become zero besides, and so may the products that it enters
    on the way back: fewer than 2^20 of them in one gradient, below 1e-31 in float32.
    """
    u = unit_roundoff(dtype)
    n, rows = len(labels), np.arange(len(labels))
    shifted = logits.value - logits.value.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    p = np.exp(log_p)
    rest = 1 - p
    e = logits.error.max(axis=1, keepdims=True)
    a = (u + U64) * (SOFTMAX_ROUNDINGS - 4 * shifted.min(axis=1, keepdims=True))
    losses = -log_p[rows, labels]
    loss_errors = (2 * e * np.exp(2 * e) * rest)[rows, labels] + a[:, 0]
    loss_error = loss_errors.mean() + (gamma(n + 2, u) + gamma(n + 2, U64)) * (losses + loss_errors).mean()
    d = p.copy()
    d[rows, labels] -= 1
    error = np.minimum(p, rest) * np.expm1(2 * e) + p * np.exp(2 * e) * np.expm1(a)
    error += (gamma(3, u) + gamma(3, U64)) * (np.abs(d) + error)
    return (
        Bounded(losses.mean(), loss_error * cover(n)),
        Bounded(d / n, error / n * cover(n) + 2.0**20 * float(np.finfo(dtype).tiny)),
    )


def _backward(
    params: Mapping[str, Array], images: Array, outputs: Mapping[str, Bounded], d: Bounded, u: float
) -> dict[str, Bounded]:
    inputs = {layer.name: outputs[before.name] for before, layer in itertools.pairwise(LAYERS)}
    inputs[LAYERS[0].name] = Bounded(images.astype(np.float64), np.zeros(images.shape))
    gradients: dict[str, Bounded] = {}
    for layer in reversed(LAYERS):
        x = inputs[layer.name]
        if isinstance(layer, Affine):
            gradients[f"{layer.name}.weight"] = weight_gradient(layer, x, d, u)
            gradients[f"{layer.name}.bias"] = bias_gradient(layer, d, u)
            d = input_gradient(layer, params[f"{layer.name}.weight"].astype(np.float64), d, u)
        else:
            d = Bounded(send_back(layer, x.value, d.value), send_back(layer, x.value, d.error))
    return {name: gradients[name] for name in params}


def _summed(value: Array, magnitude: Array, carried: Array, terms: int, u: float) -> Bounded:
    """A sum of `terms` products: its value, given Σ|a||b| and what the factors' errors add up to."""
    error = carried + gamma(terms + 1, u) * (magnitude + carried) + gamma(terms + 1, U64) * magnitude
    return Bounded(value, error * cover(terms))


def weight_gradient(layer: Affine, x: Bounded, d: Bounded, u: float) -> Bounded:
    terms = d.value.size // layer.weight_shape[0]
    size = np.abs(d.value)
    if x.value.min(initial=0) >= 0:  # what comes out of a ReLU: one pass over it
        value, magnitude, carried = np.split(_outer(layer, np.hstack([d.value, size, d.error]), x.value), 3)
    else:
        value = _outer(layer, d.value, x.value)
        magnitude, carried = np.split(_outer(layer, np.hstack([size, d.error]), np.abs(x.value)), 2)
    if x.error.any():
        carried = carried + _outer(layer, size + d.error, x.error)
    return _summed(value, magnitude, carried, terms, u)


def bias_gradient(layer: Affine, d: Bounded, u: float) -> Bounded:
    axes = tuple(axis for axis in range(d.value.ndim) if axis != 1)
    terms = d.value.size // layer.weight_shape[0]
    return _summed(d.value.sum(axis=axes), np.abs(d.value).sum(axis=axes), d.error.sum(axis=axes), terms, u)


def input_gradient(layer: Affine, w: Array, d: Bounded, u: float) -> Bounded:
    terms = layer.weight_shape[0] * layer.terms // layer.weight_shape[1]
    sizes = np.concatenate([np.abs(d.value), d.error])
    magnitude, carried = np.split(_transposed(layer, np.abs(w), sizes), 2)
    return _summed(_transposed(layer, w, d.value), magnitude, carried, terms, u)


def _outer(layer: Affine, d: Array, x: Array) -> Array:
    """Σ over the batch, and over positions, of d · x: the shape of the weights, one row for each map of d."""
    if not isinstance(layer, Conv):
        return d.T @ x
    columns = patches(layer, x).transpose(0, 1, 4, 5, 2, 3).reshape(len(x), layer.terms, -1)
    products = d.reshape(*d.shape[:2], -1) @ columns.swapaxes(1, 2)
    return products.sum(axis=0).reshape(-1, *layer.weight_shape[1:])


def _transposed(layer: Affine, w: Array, d: Array) -> Array:
    """Wᵀd. For a convolution: the full correlation of d with the kernel turned by 180 degrees."""
    if not isinstance(layer, Conv):
        return d @ w
    turned = Conv(
        layer.name, layer.out_channels, layer.in_channels, layer.kernel, layer.kernel - 1 - layer.padding
    )
    return linear_map(turned, w[:, :, ::-1, ::-1].swapaxes(0, 1), d)


def send_back(layer: Layer, x: Array, d: Array) -> Array:
    """The cotangent through a layer that rounds nothing."""
    match layer:
        case ReLU():
            return d * (x > 0)
        case Flatten():
            return d.reshape(x.shape)
        case MaxPool(size=size):
            winner = np.stack(window_taps(x, size)).argmax(axis=0)  # the first of several in row order
            dx = np.zeros(x.shape)
            for k, tap in enumerate(window_taps(dx, size)):
                tap[...] = d * (winner == k)
            return dx
    raise TypeError(f"no backward pass for {layer}")
