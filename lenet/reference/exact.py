"""The network in integers: what every correct implementation returns when no sum rounds.

Every finite float is an integer times a power of two, so that weights and pixels on a common grid make
each layer a sum of integers. It is computed here in int64, whose own overflow is excluded beforehand
in Python's integers, and no sum is ever rounded. `lenet.reference.certificate` decides whether float32 is
bound to return the same numbers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np

from lenet.errors import LenetError
from lenet.network.architecture import LAYERS, PARAM_SHAPES, Affine, Conv, Flatten, Layer, MaxPool, ReLU
from lenet.network.recipe import Recipe
from lenet.network.weights import TRAINED
from lenet.reference.dyadic import Dyadic, add, check_width, common_grid, dyadic, scale
from lenet.reference.forward import linear_map, window_taps

Array = np.ndarray

EXACT = TRAINED.with_name("exact.safetensors")
PIXEL_SHIFT = 5  # bits of a pixel that exact weights do not look at


def coarsen(images: Array, shift: int = PIXEL_SHIFT) -> Array:
    """Images as exact weights take them: (pixel >> shift) / 2^(8 − shift), float32, on a dyadic grid.

    With the default shift, 8 levels from 0 to 7/8: a 3-bit image.

    Args:
        images: float32 as `lenet.network.digits.scale` makes them, pixel / 255; the pixel is recovered by
            rounding, which is exact for each of the 256 values.
    """
    pixels = np.rint(images * np.float32(255)).astype(np.int64)
    return ((pixels >> shift) / 2 ** (8 - shift)).astype(np.float32)


def pixel_values(shift: int = PIXEL_SHIFT) -> Array:
    """Every value that a pixel of `coarsen` can take, ascending, float32."""
    return np.arange(2 ** (8 - shift), dtype=np.float32) / np.float32(2 ** (8 - shift))


# --- forward -----------------------------------------------------------------------------------


def forward(params: Mapping[str, Array], images: Array) -> dict[str, Dyadic]:
    """Every activation, by name, in the shared layout.

    Raises:
        TooWide: a sum could leave int64.
    """
    return {layer.name: y for layer, _, y in walk(params, dyadic(images))}


def walk(params: Mapping[str, Array], x: Dyadic) -> Iterator[tuple[Layer, Dyadic, Dyadic]]:
    """Each layer in order, with its exact input and output, from images on a grid.

    Raises:
        TooWide: a sum could leave int64; the layers before it have been handed out.
    """
    for layer in LAYERS:
        y = affine(layer, *parameters(layer, params), x) if isinstance(layer, Affine) else select(layer, x)
        yield layer, x, y
        x = y


def parameters(layer: Affine, params: Mapping[str, Array]) -> tuple[Dyadic, Dyadic]:
    """The layer's weights and biases, each on its own coarsest grid."""
    weight, bias = (f"{layer.name}.{kind}" for kind in ("weight", "bias"))
    return dyadic(params[weight], weight), dyadic(params[bias], bias)


def affine(layer: Affine, w: Dyadic, b: Dyadic, x: Dyadic) -> Dyadic:
    """Wx + b on the layer's grid: the product of the weights' and the input's, or the biases' if finer.

    Raises:
        TooWide: the largest input everywhere could overflow the unit whose Σ|w| is the largest.
    """
    product = w.exponent + x.exponent
    loads = abs(w).units.astype(object).reshape(len(w.units), -1).sum(axis=1) * x.peak()
    exponent, (lift, bias_lift) = common_grid((int(loads.max()), product), (b.peak(), b.exponent))
    bounds = (loads << lift) + (abs(b).units.astype(object) << bias_lift)
    check_width(layer.name, int(bounds.max()), exponent, (int(bounds.argmax()),))
    b = b.map(b.units.reshape(-1, *[1] * (len(layer.out_shape(x.units.shape[1:])) - 1)))
    return add(layer.name, Dyadic(_products(layer, w.units, x.units, int(loads.max())), product), b)


def _products(layer: Affine, w: Array, x: Array, load: int) -> Array:
    """Wx in integers, no sum of whose magnitudes exceeds `load`: below 2^24 float32 and below 2^53 float64
    add them exactly, in whatever order, and many times as fast."""
    for floats, width in ((np.float32, 24), (np.float64, 53)):
        if load < 2**width:
            return linear_map(layer, w.astype(floats), x.astype(floats)).astype(np.int64)
    return linear_map(layer, w, x)


def select(layer: Layer, x: Dyadic) -> Dyadic:
    """A layer without arithmetic: the grid stays."""
    match layer:
        case ReLU():
            return x.map(np.maximum(x.units, 0))
        case MaxPool(size=size):
            return x.map(reduce(np.maximum, window_taps(x.units, size)))
        case Flatten():
            return x.map(x.units.reshape(len(x.units), -1))
    raise TypeError(f"no exact form of {layer}")


# --- backward and update -----------------------------------------------------------------------


def backward(params: Mapping[str, Array], images: Array, cotangent: Array) -> dict[str, Dyadic]:
    """d(sum(cotangent · logits)) / d(parameter), for a cotangent (N, 10) on a dyadic grid.

    Raises:
        TooWide: a sum could leave int64.
    """
    gradients = {}
    for layer, x, dy in walk_back(params, images, cotangent):
        if isinstance(layer, Affine):
            gradients[f"{layer.name}.weight"] = weight_gradient(layer, x, dy)
            gradients[f"{layer.name}.bias"] = bias_gradient(layer, dy)
    return {name: gradients[name] for name in PARAM_SHAPES}


def walk_back(
    params: Mapping[str, Array], images: Array, cotangent: Array
) -> Iterator[tuple[Layer, Dyadic, Dyadic]]:
    """Each layer from the last to the first, with its exact input and the cotangent of its output."""
    dy = dyadic(cotangent, "cotangent")
    for layer, x, y in reversed(list(walk(params, dyadic(images)))):
        yield layer, x, dy
        if layer is not LAYERS[0]:  # nothing lies before it
            dy = input_gradient(layer, params, x, y, dy)


def input_gradient(layer: Layer, params: Mapping[str, Array], x: Dyadic, y: Dyadic, dy: Dyadic) -> Dyadic:
    """The cotangent of the layer's input.

    Zero where ReLU's input is not positive; of a pooling window, all of it goes to the first largest
    value in row order.
    """
    match layer:
        case Affine():
            return transposed(layer, parameters(layer, params)[0], dy)
        case ReLU():
            return dy.map(dy.units * (x.units > 0))
        case MaxPool(size=size):
            return dy.map(_to_winners(x.units, y.units, dy.units, size))
        case Flatten():
            return dy.map(dy.units.reshape(x.units.shape))
    raise TypeError(f"no exact gradient of {layer}")


def weight_gradient(layer: Affine, x: Dyadic, dy: Dyadic) -> Dyadic:
    """Σ dy · x over the batch and, in a convolution, over all positions: the shape of the weights."""
    exponent = dy.exponent + x.exponent
    check_width(f"{layer.name}.weight", dy.units[:, 0].size * dy.peak() * x.peak(), exponent)
    if not isinstance(layer, Conv):
        return Dyadic(dy.units.T @ x.units, exponent)
    dw = np.zeros(layer.weight_shape, np.int64)
    rows = dy.units.swapaxes(0, 1).reshape(layer.out_channels, -1)  # (O, N·P·Q)
    for i, j, seen in _kernel_views(layer, _pad(layer, x.units)):
        dw[:, :, i, j] = rows @ seen.swapaxes(0, 1).reshape(layer.in_channels, -1).T
    return Dyadic(dw, exponent)


def bias_gradient(layer: Affine, dy: Dyadic) -> Dyadic:
    """Σ dy over the batch and all positions: one for each output unit."""
    check_width(f"{layer.name}.bias", dy.units[:, 0].size * dy.peak(), dy.exponent)
    return dy.map(dy.units.sum(axis=tuple(axis for axis in range(dy.units.ndim) if axis != 1)))


def transposed(layer: Affine, w: Dyadic, dy: Dyadic) -> Dyadic:
    """Wᵀdy: every output's cotangent goes back along its weights; the shape of the input."""
    exponent = w.exponent + dy.exponent
    check_width(f"{layer.name}.input", w.units[:, 0].size * len(w.units) * w.peak() * dy.peak(), exponent)
    if not isinstance(layer, Conv):
        return Dyadic(dy.units @ w.units, exponent)
    n, maps, rows, columns = dy.units.shape
    border, p = layer.kernel - 1, layer.padding
    dx = np.zeros((n, layer.in_channels, rows + border, columns + border), np.int64)
    for i, j, seen in _kernel_views(layer, dx):
        seen += (w.units[:, :, i, j].T @ dy.units.reshape(n, maps, -1)).reshape(seen.shape)
    return Dyadic(dx[:, :, p : rows + border - p, p : columns + border - p], exponent)


def _to_winners(x: Array, y: Array, dy: Array, size: int) -> Array:
    dx, waiting = np.zeros_like(x), np.ones(y.shape, bool)
    for tap, back in zip(window_taps(x, size), window_taps(dx, size), strict=True):
        wins = waiting & (tap == y)
        back[...] = dy * wins
        waiting &= ~wins
    return dx


def _pad(layer: Conv, x: Array) -> Array:
    p = layer.padding
    return np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))


def _kernel_views(layer: Conv, padded: Array) -> Iterator[tuple[int, int, Array]]:
    """For each kernel position (i, j): what it meets of the padded input, a view (N, C, P, Q)."""
    rows, columns = (size - layer.kernel + 1 for size in padded.shape[2:])
    for i, j in np.ndindex(layer.kernel, layer.kernel):
        yield i, j, padded[:, :, i : i + rows, j : j + columns]


def sgd_step(
    w: Dyadic, v: Dyadic, g: Dyadic, recipe: Recipe, rate: float, name: str = "step"
) -> tuple[Dyadic, Dyadic]:
    """v ← μ·v + g + λ·w, w ← w − η·v for one parameter; returns the new w and v.

    Raises:
        TooWide: a sum could leave int64, as it does unless μ, λ and η are dyadic.
    """
    v = add(name, scale(name, recipe.momentum, v), g, scale(name, recipe.weight_decay, w))
    return add(name, w, scale(name, -rate, v)), v


# --- comparison --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """The first value whose bits differ: of which array, where, and how many more of that array do."""

    name: str
    where: tuple[int, ...]
    got: float
    expected: float
    values: int

    def __str__(self) -> str:
        where = ", ".join(map(str, self.where))
        return f"{self.name}[{where}] is {self.got!r}, not {self.expected!r}; {self.values} of it differ"


def first_difference(
    expected: Mapping[str, Array], got: Mapping[str, Array], start: int = 0
) -> Difference | None:
    """Where two sets of arrays, taken in the order of `expected`, first differ in a bit; None: nowhere.

    The sign of a zero does not count (see `lenet.reference.certificate`); a NaN differs from another
    NaN's bits.

    Args:
        expected: by layer or parameter.
        got: arrays of the same names, shapes and dtypes.
        start: added to the first index, which counts digits in an activation.

    Raises:
        LenetError: a name, a shape or a dtype differs.
    """
    if got.keys() != expected.keys():
        raise LenetError(f"got {', '.join(got)}; expected {', '.join(expected)}")
    for name, want in expected.items():
        array = got[name]
        if array.shape != want.shape or array.dtype != want.dtype:
            raise LenetError(f"{name} is {array.dtype} {array.shape}, not {want.dtype} {want.shape}")
        unequal = unequal_bits(want, array)
        if unequal.any():
            first, *unit = (int(i) for i in np.unravel_index(unequal.argmax(), unequal.shape))
            value, wanted = float(array[first, *unit]), float(want[first, *unit])
            return Difference(name, (start + first, *unit), value, wanted, int(unequal.sum()))
    return None


def unequal_bits(a: Array, b: Array) -> Array:
    """Where floats of one dtype and shape differ in a bit; the sign of a zero does not count."""
    bits = f"u{a.itemsize}"
    unequal = np.ascontiguousarray(a).view(bits) != np.ascontiguousarray(b).view(bits)
    return unequal & ((a != 0) | (b != 0))
