"""Decides in integers, layer by layer, whether every float evaluation of the network is exact.

Theorem. Let all products w·x and biases of a layer be integer multiples of a common 2^e. If for each
output unit

    Σ|w|·|x| + |b| < 2^p · 2^e        (p = 24 in float32, 53 in float64)

and both 2^e and 2^p · 2^e are in the range of normal numbers, then every correct evaluation of Wx + b in
that format returns the exact sum: no operation rounds, so no two implementations differ.

Proof. For any order of summation, blocking, vectors, threads or accumulators, each intermediate value is
the sum of a subset of the terms w·x and b. It is a multiple of 2^e, because all terms are, and it is
smaller than 2^(p + e), because the sum of *all* magnitudes is. So it is an integer of at most p bits times
2^e, and the format can represent it. IEEE arithmetic returns such a result exactly, in every rounding mode.
A product is a subset of a single term. A fused multiply-add rounds w·x + (subset), again a subset. A wider
accumulator can represent all these values too, and narrowing it loses nothing. No value is subnormal, so
flushing subnormals to zero changes nothing. By induction, the inputs of the next layer are the exact outputs
of this layer; ReLU and max pooling return one of their arguments or zero. Equal numbers have equal bits,
except for the sign of zero, which is left open: a ReLU or a gate computed as x·(x > 0), for example in
OpenCV, makes −0 of a negative x, and no later sum depends on it.

The backward pass follows from the same theorem for other sums. The gradient of a weight is Σ dy·x over the
batch and all positions, that of an input is Σ w·dy; pooling windows and ReLU gates move dy or drop it. Which
entry of a pooling window wins a tie is not a matter of rounding: the ports must agree (the first in row
order).

Algorithms that form other sums are not covered. Winograd and Strassen add weights to weights and inputs to
inputs before they multiply, and Winograd for 5×5 kernels divides by 6 and 24; an FFT multiplies by sines.
Formats that keep fewer bits of the operands are not covered either: TF32, bfloat16, or float32 assembled
from pieces of these.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import log2, prod

import numpy as np

from lenet.network import weights
from lenet.network.architecture import IMAGE_SHAPE, LAYERS, PARAM_SHAPES, Layer, Shape
from lenet.network.digits import check_images
from lenet.network.recipe import Recipe
from lenet.reference.backward import layer_gradient
from lenet.reference.exact import named, walk
from lenet.reference.forward import parameters
from lenet.reference.sgd_step import update
from parity.arithmetic import Array, Integers, TooWide, integers
from parity.arithmetic.integers import common_grid
from parity.operators.activation import Relu
from parity.operators.affine import Conv
from parity.operators.shape import Flatten

CHUNK = 100  # digits at once


@dataclass(frozen=True)
class Sum:
    """The size of the partial sums of a layer or of a gradient, in bits.

    Attributes:
        name: the layer's name; for gradients "fc1.weight", "fc1.bias", "fc1.input".
        exponent: all partial sums are multiples of 2^exponent.
        bound: no partial sum exceeds bound · 2^exponent.
        where: the index of that bound: (digit, unit...), or (unit...) if it holds for all digits.
        limit: the format's p; `bound` must be below 2^limit.
        normal: whether operands, grid and limit are in the format's range of normal numbers.
    """

    name: str
    exponent: int
    bound: int
    where: tuple[int, ...]
    limit: int
    normal: bool = True

    @property
    def bits(self) -> float:
        """log2 of the bound."""
        return log2(self.bound) if self.bound else 0.0

    @property
    def holds(self) -> bool:
        """Whether none of these sums can round."""
        return self.normal and self.bound < 1 << self.limit

    @property
    def problem(self) -> str | None:
        """The reason why a sum can round, in one line; None if none can."""
        if self.bound >= 1 << self.limit:
            return f"{self.name} {list(self.where)}: {self.bits:.2f} bits, more than {self.limit}"
        if not self.normal:
            return f"{self.name}: multiples of 2^{self.exponent} leave the range of normal numbers"
        return None


@dataclass(frozen=True)
class Certificate:
    """A `Sum` for each layer or gradient, in order of execution, up to the first that exceeds int64."""

    sums: tuple[Sum, ...]

    @property
    def broken(self) -> Sum | None:
        """The first sum that can round; None if none can."""
        return next((entry for entry in self.sums if not entry.holds), None)

    @property
    def holds(self) -> bool:
        """Whether every correct implementation must return the same bits."""
        return self.broken is None

    @property
    def bits(self) -> float:
        """The size of the largest sum, in bits."""
        return max(entry.bits for entry in self.sums)


@dataclass(frozen=True)
class BatchCertificate(Certificate):
    """A certificate for `digits` given images, and no others."""

    digits: int


@dataclass(frozen=True)
class RangeCertificate(Certificate):
    """A certificate for all images with pixels on a grid and in a range."""

    lowest: float
    highest: float
    exponent: int


def certify(
    params: Mapping[str, Array],
    images: Array,
    dtype: str = "float32",
    progress: Callable[[int], None] = lambda done: None,
) -> BatchCertificate:
    """Certify the forward pass on `images` (N, 1, 28, 28), N ≥ 1, from the sums of each digit and unit.

    Args:
        params: shared weights.
        images: on a dyadic grid, as `lenet.reference.exact.coarsen` makes them.
        dtype: the format that a port computes in, "float32" or "float64".
        progress: called with the number of digits done since the last call.
    """
    _check(params, images)
    sums: dict[str, Sum] = {}
    whole = integers(images, "images")
    for start in range(0, len(images), CHUNK):
        chunk = Integers(whole.units[start : start + CHUNK], whole.exponent)
        for entry in _caught(_forward_sums(params, chunk, start, dtype), dtype):
            if entry.name not in sums or entry.bound > sums[entry.name].bound:
                sums[entry.name] = entry
        progress(len(chunk.units))
    return BatchCertificate(tuple(sums.values()), len(images))


def certify_layer(layer: Layer, w: Integers, b: Integers, x: Integers, dtype: str, start: int = 0) -> Sum:
    """The largest Σ|w||x| + |b| of a layer over the digits of x, which are numbered from `start`.

    Raises:
        TooWide: the sum might overflow int64.
    """
    grid = min(w.exponent, x.exponent)  # that of the bias is one of the sum
    with named(layer.name):
        magnitude = layer.operator.evaluate(abs(x), abs(w), abs(b))
    assert isinstance(magnitude, Integers)
    return _largest(layer.name, magnitude, dtype, grid, start)


def certify_backward(
    params: Mapping[str, Array], images: Array, cotangent: Array, dtype: str = "float32"
) -> BatchCertificate:
    """Certify the forward and the backward pass on a whole batch, from the sums of every gradient.

    The gradient of a weight is a sum over the batch and all positions, so the batch size matters.

    Args:
        params: shared weights.
        images: (N, 1, 28, 28) on a dyadic grid.
        cotangent: (N, 10) on a dyadic grid, of the logits.
        dtype: the format that a port computes in.
    """
    _check(params, images)
    forward = list(_caught(_forward_sums(params, integers(images, "images"), 0, dtype), dtype))
    if not all(entry.holds for entry in forward):
        return BatchCertificate(tuple(forward), len(images))
    backward = _caught(_backward_sums(params, images, cotangent, dtype), dtype)
    return BatchCertificate((*forward, *backward), len(images))


def certify_step(
    params: Mapping[str, Array],
    velocity: Mapping[str, Array],
    gradients: Mapping[str, Integers],
    recipe: Recipe,
    rate: float,
    dtype: str = "float32",
) -> Certificate:
    """Certify an SGD step from exact gradients: v ← μ·v + g + λ·w, then w ← w − η·v, for each parameter.

    The sums are |μ||v| + |g| + |λ||w| and |w| + |η||v|, and μ, λ and η must be dyadic.
    """

    positive = replace(recipe, momentum=abs(recipe.momentum), weight_decay=abs(recipe.weight_decay))

    def sums() -> Iterator[Sum]:
        for name in PARAM_SHAPES:
            w, v = abs(integers(params[name], name)), abs(integers(velocity[name], name))
            grid = min(w.exponent, v.exponent)  # that of the gradient is one of the sum
            with named(name):
                new_w, new_v = update(w, v, abs(gradients[name]), positive, -abs(rate))
            yield _largest(f"{name}.velocity", new_v, dtype, grid)
            yield _largest(name, new_w, dtype, grid)

    return Certificate(tuple(_caught(sums(), dtype)))


def certify_range(
    params: Mapping[str, Array], pixel_values: Array, dtype: str = "float32"
) -> RangeCertificate:
    """Certify the forward pass on all images with pixels among `pixel_values`, by the worst case.

    Each unit's output lies in an interval. It is largest for the highest input at every positive weight and
    the lowest input at every negative weight. Python's integers do not overflow.

    Args:
        params: shared weights.
        pixel_values: all values that a pixel may take, e.g. `coarsen` of 0 to 255.
        dtype: the format that a port computes in.
    """
    weights.check(params)
    grid = integers(pixel_values, "pixels")
    low, high = (np.array([f(grid.units)]) for f in (np.min, np.max))
    sums = tuple(_caught(_range_sums(params, low, high, grid.exponent, dtype), dtype))
    return RangeCertificate(sums, float(pixel_values.min()), float(pixel_values.max()), grid.exponent)


def _forward_sums(params: Mapping[str, Array], images: Integers, start: int, dtype: str) -> Iterator[Sum]:
    for layer, x, _ in walk(params, images):
        if layer.affine:
            w, b = parameters(layer, params, x)
            yield certify_layer(layer, w, b, x, dtype, start)


def _backward_sums(params: Mapping[str, Array], images: Array, cotangent: Array, dtype: str) -> Iterator[Sum]:
    """The sums of each gradient: the formula of the gradient, applied to magnitudes."""
    dy = integers(cotangent, "cotangent")
    for layer, x, y in reversed(list(walk(params, integers(images)))):
        inputs = [x, *parameters(layer, params, x)]
        grid = min(dy.exponent, x.exponent)  # the forward pass has judged those of weights and biases
        sizes = [abs(one) for one in inputs]
        for k, part in ((1, "weight"), (2, "bias"), (0, "input")) if layer.affine else ():
            if part != "input" or layer is not LAYERS[0]:
                name = f"{layer.name}.{part}"
                with named(name):
                    magnitude = layer_gradient(layer, k, sizes, abs(y), abs(dy))
                yield _largest(name, magnitude, dtype, grid)
        if layer is not LAYERS[0]:
            dy = layer_gradient(layer, 0, inputs, y, dy)


def _range_sums(
    params: Mapping[str, Array], low: Array, high: Array, exponent: int, dtype: str
) -> Iterator[Sum]:
    shape: Shape = IMAGE_SHAPE
    for layer in LAYERS:
        if isinstance(layer.operator, Relu):
            low, high = np.maximum(low, 0), np.maximum(high, 0)
        elif isinstance(layer.operator, Flatten):
            low, high = (np.repeat(ends, prod(shape[1:])) for ends in (low, high))
        elif layer.affine:
            w, b = parameters(layer, params, integers(0.0))
            finest = min(w.exponent, exponent)
            low, high, bound, exponent = _interval(layer, w, b, low, high, exponent)
            yield _judge(layer.name, exponent, int(bound.max()), (int(bound.argmax()),), dtype, finest)
        shape = layer.out_shape(shape)


def _interval(
    layer: Layer, w: Integers, b: Integers, low: Array, high: Array, exponent: int
) -> tuple[Array, Array, Array, int]:
    """For each map or unit the lowest and highest output and the largest sum, as Python integers, and their
    grid."""
    taps = w.units.astype(object).reshape(*w.units.shape[:2], -1)  # (out, in, positions of the kernel)
    positive, negative = np.maximum(taps, 0).sum(axis=2), np.minimum(taps, 0).sum(axis=2)
    if isinstance(layer.operator, Conv) and layer.padding:
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    load = (positive - negative) @ np.maximum(abs(low), abs(high))
    exponent, (lift, bias_lift) = common_grid(
        (int(load.max()), w.exponent + exponent), (b.peak(), b.exponent)
    )
    bias = b.units.astype(object) << bias_lift
    highest = ((positive @ high + negative @ low) << lift) + bias
    lowest = ((positive @ low + negative @ high) << lift) + bias
    return lowest, highest, (load << lift) + abs(bias), exponent


def _largest(name: str, magnitude: Integers, dtype: str, finest: int, start: int = 0) -> Sum:
    """The largest sum in `magnitude`, whose first axis is numbered from `start`."""
    bound = magnitude.peak()
    where = [int(i) for i in np.unravel_index(magnitude.units.argmax(), magnitude.units.shape)]
    where[0] += start
    return _judge(name, magnitude.exponent, bound, tuple(where), dtype, finest)


def _judge(name: str, exponent: int, bound: int, where: tuple[int, ...], dtype: str, finest: int) -> Sum:
    limits = np.finfo(dtype)
    limit = limits.nmant + 1
    normal = min(finest, exponent) >= limits.minexp and exponent + limit <= limits.maxexp
    return Sum(name, exponent, bound, where, limit, bool(normal))


def _caught(sums: Iterator[Sum], dtype: str) -> Iterator[Sum]:
    """The sums, up to and including the first that overflows int64."""
    try:
        yield from sums
    except TooWide as found:
        yield _judge(found.name, found.exponent, found.bound, found.unit, dtype, found.exponent)


def _check(params: Mapping[str, Array], images: Array) -> None:
    weights.check(params)
    check_images(images, str(images.dtype))
