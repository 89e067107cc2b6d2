"""The float64 reference, and how far rounding alone can move an implementation away from it.

For a layer y = Wx + b with n products in each sum, whatever the order of summation, with or without
fused multiply-add, a floating-point evaluation ŷ satisfies

    |ŷ − (Wx + b)| ≤ γ_{n+1} (|W||x| + |b|),    γ_k = k·u / (1 − k·u),    u the unit roundoff

(N. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., sections 3.1 and 3.4), plus at
most half a smallest subnormal for each product that underflows. ReLU and max pooling select or
replace values and round nothing.

The reference is itself computed, in float64. Every bound below is on |port − computed reference|, so
that it holds the reference's own γ-term (in u = 2^-53) as well; and since the bound is computed too,
it is inflated by `cover`, which exceeds the relative error of evaluating it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lenet.network.architecture import LAYERS, Affine, Conv, Flatten, Layer, MaxPool, ReLU

Array = np.ndarray
U64 = 2.0**-53


@dataclass(frozen=True)
class Bounded:
    """Reference activation (N, ...), and the largest distance rounding allows from it, both float64."""

    value: Array
    error: Array


def unit_roundoff(dtype: str) -> float:
    """u: half the distance from 1 to the next larger number; 2^-24 in float32."""
    return float(np.finfo(dtype).eps) / 2


def gamma(k: int, u: float) -> float:
    """γ_k = k·u / (1 − k·u), the relative error that k roundings can add up to."""
    return k * u / (1 - k * u)


def reference(params: Mapping[str, Array], images: Array, dtype: str = "float32") -> dict[str, Bounded]:
    """Every activation in float64, with the end-to-end bound for a port that computes in `dtype`.

    The port's input error e at a layer is carried on: |W|e + γ_{n+1}(|W|(|x| + e) + |b|). Through
    ReLU only what stays above zero of it survives; through pooling its maximum over the window.

    Args:
        params: shared weights; widened to float64, which is exact.
        images: (N, 1, 28, 28).
        dtype: of the port, "float32" or "float64".
    """
    state = Bounded(images.astype(np.float64), np.zeros(images.shape))
    outputs = {}
    for layer in LAYERS:
        outputs[layer.name] = state = step(layer, params, state, dtype)
    return outputs


def local(layer: Layer, params: Mapping[str, Array], x: Array, dtype: str = "float32") -> Bounded:
    """What `layer` gives for a port's own input x, and how far the port's own output may be from it.

    No error is carried in, so that this tells which layer is wrong, not which comes after a wrong one.
    What rounds nothing is expected exactly, in the port's own dtype.
    """
    if isinstance(layer, Affine):
        x = x.astype(np.float64)
        return affine(layer, params, Bounded(x, np.zeros(x.shape)), dtype)
    value = select(layer, x)
    return Bounded(value, np.zeros(value.shape))


def certified(logits: Bounded) -> Array:
    """(N,) bool: digits on whose class no implementation within the bound can disagree."""
    return margins(logits) > 0


def margins(logits: Bounded) -> Array:
    """(N,) by how much the largest logit, less its bound, exceeds every other one plus its own bound."""
    top = logits.value.argmax(axis=1)[:, None]
    lowest = np.take_along_axis(logits.value - logits.error, top, axis=1)
    others = logits.value + logits.error
    np.put_along_axis(others, top, -np.inf, axis=1)
    return lowest[:, 0] - others.max(axis=1)


def linear_map(layer: Affine, w: Array, x: Array) -> Array:
    """Wx alone, in float64: the convolution or the dense product, without the bias."""
    return _fold(layer, w.reshape(len(w), -1) @ _columns(layer, x), x)


def step(layer: Layer, params: Mapping[str, Array], x: Bounded, dtype: str) -> Bounded:
    if isinstance(layer, Affine):
        return affine(layer, params, x, dtype)
    if isinstance(layer, ReLU):
        # value + error is what a port may have at most: below zero, both give exactly zero.
        alive = np.maximum(x.value + x.error, 0) * (1 + 2 * U64)
        return Bounded(select(layer, x.value), np.minimum(x.error, alive))
    return Bounded(select(layer, x.value), select(layer, x.error))


def select(layer: Layer, x: Array) -> Array:
    """A layer that rounds nothing: it only selects or moves values."""
    match layer:
        case ReLU():
            return np.maximum(x, 0)
        case MaxPool(size=size):
            return reduce(np.maximum, window_taps(x, size))
        case Flatten():
            return x.reshape(len(x), -1)
    raise TypeError(f"no rounding bound for {layer}")


def affine(layer: Affine, params: Mapping[str, Array], x: Bounded, dtype: str) -> Bounded:
    w = params[f"{layer.name}.weight"].astype(np.float64)
    b = params[f"{layer.name}.bias"].astype(np.float64)
    b = b.reshape(-1, *[1] * (len(layer.out_shape(x.value.shape[1:])) - 1))
    n = layer.terms
    value, error = _sums(layer, w, x.value)
    g, g64 = gamma(n + 1, unit_roundoff(dtype)), gamma(n + 1, U64)
    nothing = error == 0  # zeros + b is b, in any order
    error += np.abs(b)
    error *= (g + g64) * cover(n)
    if x.error.any():
        carried = linear_map(layer, np.abs(w), x.error)
        nothing &= carried == 0
        carried *= (1 + g) * cover(n)
        error += carried
    error += n * float(np.finfo(dtype).smallest_subnormal)  # products that underflow
    np.copyto(error, 0.0, where=nothing)
    value += b
    return Bounded(value, error)


def _sums(layer: Affine, w: Array, x: Array) -> tuple[Array, Array]:
    """Wx and |W||x| in float64."""
    flat, columns = w.reshape(len(w), -1), _columns(layer, x)
    if x.min(initial=0) < 0:
        return _fold(layer, flat @ columns, x), _fold(layer, np.abs(flat) @ np.abs(columns), x)
    both = np.concatenate([flat, np.abs(flat)]) @ columns  # what comes out of a ReLU: one pass over it
    return _fold(layer, both[:, : len(w)], x), _fold(layer, both[:, len(w) :], x)


def cover(n: int) -> float:
    """A factor above the relative error of a bound evaluated in float64 through sums of n terms."""
    return 1 + 4 * (n + 8) * U64


def patches(layer: Conv, x: Array) -> Array:
    """Every patch under the kernel: a view (N, C, P, Q, K, K) of the padded input."""
    p, k = layer.padding, layer.kernel
    padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    return sliding_window_view(padded, (k, k), axis=(2, 3))


def _columns(layer: Affine, x: Array) -> Array:
    """x laid out so that the layer is a matrix product: (batch, terms, outputs per map)."""
    if not isinstance(layer, Conv):
        return x.T[None]
    return patches(layer, x).transpose(0, 1, 4, 5, 2, 3).reshape(len(x), layer.terms, -1)


def _fold(layer: Affine, products: Array, x: Array) -> Array:
    """The product with `_columns`, back in the shared layout."""
    if not isinstance(layer, Conv):
        return products[0].T
    return products.reshape(len(x), *layer.out_shape(x.shape[1:]))


def window_taps(x: Array, size: int) -> list[Array]:
    """What every pooling window holds at each of its positions, in row order: views (N, C, P, Q)."""
    rows, columns = x.shape[2] // size * size, x.shape[3] // size * size
    return [x[:, :, i:rows:size, j:columns:size] for i, j in np.ndindex(size, size)]
