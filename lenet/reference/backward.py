"""The backward pass in float64, with bounds on the rounding errors of a port's gradients.

For fixed ReLU gates and pooling winners, the backward pass is linear: each gradient is a sum of products of
cotangents and activations (or weights). The γ-bound of `parity.arithmetic.bounded` applies, with the errors
of both factors carried through:

    |Σ d̂x̂ − Σ dx| ≤ Σ (ε|x| + |d|e + εe) + γ_k Σ (|d| + ε)(|x| + e)        k terms

`decided` tells for which digits gates and winners are the same in every implementation. The bounds hold
only for these digits.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar, cast

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lenet.network.architecture import LAYERS, Layer
from lenet.reference.forward import evaluate, given, parameters, reference
from parity.arithmetic import Array, Bounded, Number
from parity.arithmetic.floats import FORMATS, U64, cover, gamma
from parity.operators.activation import Relu
from parity.operators.affine import Conv
from parity.operators.pooling import MaxPool

Numbers = TypeVar("Numbers", bound=Number)
Step = tuple[Layer, Numbers, Numbers]  # a layer with its input and its output

# Roundings of a softmax and a logarithm over ten logits: exp and log within 4 ulps each, which IEEE 754 does
# not guarantee but every library used here achieves; ten additions; a subtraction and a division.
SOFTMAX_ROUNDINGS = 64


@dataclass(frozen=True)
class Gradients:
    """The loss and the gradients of all parameters, with their rounding bounds."""

    loss: Bounded
    params: dict[str, Bounded]


def loss_gradients(
    params: Mapping[str, Array], images: Array, labels: Array, dtype: str = "float64"
) -> Gradients:
    """The mean softmax cross-entropy and its gradients, with bounds for a port that computes in `dtype`.

    Args:
        params: shared weights, float32 or float64.
        images: (N, 1, 28, 28); every digit must be `decided`.
        labels: (N,).
        dtype: the port's dtype.
    """
    passed = forward_pass(params, given(images, dtype))
    loss, cotangent = cross_entropy(passed[-1][2], labels, dtype)
    return Gradients(loss, gradients(passed, params, cotangent))


def cotangent_gradients(
    params: Mapping[str, Array], images: Array, cotangent: Array, dtype: str = "float64"
) -> dict[str, Bounded]:
    """d(sum(cotangent · logits)) / d(parameter), with bounds; arguments as in `loss_gradients`."""
    return gradients(forward_pass(params, given(images, dtype)), params, given(cotangent, dtype))


def forward_pass(params: Mapping[str, Array], x: Numbers) -> list["Step[Numbers]"]:
    """All layers in order, each with its input and its output."""
    passed = []
    for layer in LAYERS:
        y = evaluate(layer, params, x)
        passed.append((layer, x, y))
        x = y
    return passed


def gradients(
    passed: Sequence["Step[Numbers]"], params: Mapping[str, Array], cotangent: Numbers
) -> dict[str, Numbers]:
    """All gradients, {parameter: gradient} in the table's order, for a cotangent of the logits."""
    found = dict(walk_back(passed, params, cotangent))
    return {name: found[name] for layer, _, _ in passed for name in layer.param_shapes()}


def walk_back(
    passed: Sequence["Step[Numbers]"], params: Mapping[str, Array], cotangent: Numbers
) -> Iterator[tuple[str, Numbers]]:
    """From the last layer to the first: the gradients of the layer's parameters ("fc1.weight"), then the
    cotangent of its input ("fc1.input"). The first layer gets no cotangent of its input."""
    for layer, x, y in reversed(passed):
        inputs = (x, *parameters(layer, params, x))
        for k, name in enumerate(layer.param_shapes(), 1):
            yield name, layer_gradient(layer, k, inputs, y, cotangent)
        if layer is not passed[0][0]:
            cotangent = layer_gradient(layer, 0, inputs, y, cotangent)
            yield f"{layer.name}.input", cotangent


def layer_gradient(
    layer: Layer, which: int, inputs: Iterable[Numbers], output: Numbers, cotangent: Numbers
) -> Numbers:
    """The cotangent of the layer's input (0), weight (1) or bias (2)."""
    back = layer.operator.gradient(which, list(inputs), output, cotangent)
    return cast(Numbers, back)


def window_taps(x: Array, size: int) -> list[Array]:
    """For each position of a pooling window, in row order, the values there in all windows: views
    (N, C, P, Q)."""
    rows, columns = x.shape[2] // size * size, x.shape[3] // size * size
    return [x[:, :, i:rows:size, j:columns:size] for i, j in np.ndindex(size, size)]


def decided(params: Mapping[str, Array], images: Array, dtype: str = "float64") -> Array:
    """(N,) bool: digits for which all gates and winners are the same in every implementation.

    A gate is decided if |z| exceeds the bound on z, or if that bound is zero. A winner is decided if its
    value minus its bound exceeds every other value of the window plus that value's bound. A rival that sees
    the same pixels may win as well: both values are equal in exact arithmetic, and both give the same
    contribution to the gradients of the parameters. If the whole window is exactly zero, the gates below it
    are closed, and nothing passes.
    """
    outputs = reference(params, images, dtype)
    fine = np.ones(len(images), bool)
    z = given(images, dtype)
    field, jump = 1, 1  # side of a unit's receptive field and distance of neighbouring units, in pixels
    padding = 0
    for layer in LAYERS:
        match layer.operator:
            case Relu():
                fine &= _per_digit((np.abs(z.value) > z.bound) | (z.bound == 0))
            case Conv():
                field += (layer.kernel - 1) * jump
                padding += layer.padding * jump
            case MaxPool():
                fine &= _per_digit(winner_decided(z, images, layer.kernel, field, jump, padding))
                field += (layer.kernel - 1) * jump
                jump *= layer.kernel
        z = outputs[layer.name]
    return fine


def _per_digit(ok: Array) -> Array:
    return np.asarray(ok.reshape(len(ok), -1).all(axis=1))


def winner_decided(z: Bounded, images: Array, size: int, field: int, jump: int, padding: int) -> Array:
    """(N, C, P, Q) bool: whether the winner of each window is decided when z is pooled; see `decided`."""
    values, errors = np.stack(window_taps(z.value, size)), np.stack(window_taps(z.bound, size))
    winner = values.argmax(axis=0)[None]
    lowest = np.take_along_axis(values - errors, winner, axis=0)
    beaten = values + errors < lowest
    same = same_fields(images, size, field, jump, padding)  # (taps, taps, N, P, Q)
    twins = np.stack([np.choose(winner[0], same[:, k][:, :, None]) for k in range(len(values))])
    dead = (values == 0).all(axis=0) & (errors == 0).all(axis=0)
    return np.asarray((beaten | twins).all(axis=0) | dead)


def same_fields(images: Array, size: int, field: int, jump: int, padding: int) -> Array:
    """(taps, taps, N, P, Q) bool: whether two positions of a window see identical pixels."""
    return _same_fields(images.tobytes(), images.shape, images.dtype.str, size, field, jump, padding)


@lru_cache(maxsize=64)  # a search walks back through the same few batches again and again
def _same_fields(
    pixels: bytes, shape: tuple[int, ...], dtype: str, size: int, field: int, jump: int, padding: int
) -> Array:
    images = np.frombuffer(pixels, dtype).reshape(shape)
    padded = np.pad(images[:, 0], ((0, 0), (padding, padding), (padding, padding)))
    fields = sliding_window_view(padded, (field, field), axis=(1, 2))[:, ::jump, ::jump]
    rows, columns = fields.shape[1] // size * size, fields.shape[2] // size * size
    taps = [fields[:, i:rows:size, j:columns:size] for i, j in np.ndindex(size, size)]
    return np.stack([np.stack([(a == b).all(axis=(-2, -1)) for b in taps]) for a in taps])


def cross_entropy(logits: Bounded, labels: Array, dtype: str) -> tuple[Bounded, Bounded]:
    """The mean loss, and its cotangent (p − [k = label]) / N for the logits.

    An error e of the logits changes each p_k by a factor within exp(±2e). As the p_k sum to 1, the same
    factor bounds the change of 1 − p_k, the smaller part for a digit that is classified well. Likewise,
    log p_label, whose derivative has 1-norm 2(1 − p), changes by at most 2e(1 − p)·exp(2e). Evaluation adds
    a relative error a to p, which is an absolute error of log p. A p below the smallest normal number may
    become zero, and so may the products in which it is a factor: fewer than 2^20 of them in a gradient,
    below 1e-31 in float32.
    """
    u = FORMATS[dtype].u
    n, rows = len(labels), np.arange(len(labels))
    shifted = logits.value - logits.value.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    p = np.exp(log_p)
    rest = 1 - p
    e = logits.bound.max(axis=1, keepdims=True)
    a = (u + U64) * (SOFTMAX_ROUNDINGS - 4 * shifted.min(axis=1, keepdims=True))
    losses = -log_p[rows, labels]
    loss_errors = (2 * e * np.exp(2 * e) * rest)[rows, labels] + a[:, 0]
    loss_error = loss_errors.mean() + (gamma(n + 2, u) + gamma(n + 2, U64)) * (losses + loss_errors).mean()
    d = p.copy()
    d[rows, labels] -= 1
    error = np.minimum(p, rest) * np.expm1(2 * e) + p * np.exp(2 * e) * np.expm1(a)
    error += (gamma(3, u) + gamma(3, U64)) * (np.abs(d) + error)
    form = FORMATS[dtype]
    return (
        Bounded(losses.mean(), loss_error * cover(n), form),
        Bounded(d / n, (error / n + 2.0**20 * form.tiny) * cover(n), form),
    )
