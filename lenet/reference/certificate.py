"""Whether float arithmetic is bound to be exact: decided in integers, layer by layer.

The claim. Let every weight and input of a layer be an integer multiple of its grid, and with them
every product w·x and every bias a multiple of one 2^e. If for each output unit

    Σ|w|·|x| + |b| < 2^p · 2^e        (p = 24 in float32, 53 in float64)

and 2^e and 2^p · 2^e both lie in the range of normal numbers, then every correct evaluation of
Wx + b in that format returns the exact sum: no operation rounds, so no two implementations differ.

Why. Whatever the order of summation, blocking, vectors, threads or accumulators, an implementation
adds up some of the terms w·x and b, then adds up such sums. Each of its intermediate values is thus the
sum of a subset of the terms. That is a multiple of 2^e, as they are, and smaller than 2^(p + e), as the
sum of *all* magnitudes is: an integer of at most p bits times 2^e, which the format holds. A result
that the format holds is returned by IEEE arithmetic as it is, in every rounding mode. A product is a
subset of one term. Fused multiply-add rounds w·x + (subset) once, which is a subset again. A wider
accumulator holds what the narrow one holds, and nothing is lost when it is narrowed. No value is
subnormal, so that flushing those to zero changes nothing. Induction over the layers: the inputs of
the next are the exact outputs of this one; ReLU and max pooling return one of their arguments or zero.
Equal numbers have equal bits, but for the sign of a zero, which is left open: a ReLU or a gate written
as x·(x > 0), OpenCV's for one, makes −0 of a negative x, and no later sum can tell.

The backward pass is the same claim about other sums. A weight's gradient is Σ dy·x over the batch and
all positions, an input's Σ w·dy; a pooling window's and ReLU's gates move dy or drop it. Which entry of
a pooling window wins a tie is no question of rounding: the ports must agree (the first in row order).

Not covered: algorithms that form other sums. Winograd and Strassen add weights among themselves and
inputs among themselves before they multiply, and Winograd on 5×5 kernels divides by 6 and 24; an FFT
multiplies by sines. Nor formats that keep fewer bits of the operands: TF32, bfloat16, or float32 put
together from pieces of them.
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
    """The most that the partial sums of one layer, or of one gradient, can take.

    Attributes:
        name: the layer; or "fc1.weight", "fc1.bias", "fc1.input" for its gradients.
        exponent: all of them are multiples of 2^exponent.
        bound: no partial sum exceeds `bound` of those.
        where: (digit, unit...) of that bound; (unit...) where no digit is singled out.
        limit: the format's p: `bound` must stay below 2^limit.
        normal: whether operands, grid and limit lie in the format's range of normal numbers.
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
        """Whether no sum of this kind can round."""
        return self.normal and self.bound < 1 << self.limit

    @property
    def problem(self) -> str | None:
        """Why not, in one line; None where it holds."""
        if self.bound >= 1 << self.limit:
            return f"{self.name} {list(self.where)}: {self.bits:.2f} bits, more than {self.limit}"
        if not self.normal:
            return f"{self.name}: multiples of 2^{self.exponent} leave the range of normal numbers"
        return None


@dataclass(frozen=True)
class Certificate:
    """One `Sum` for each layer or gradient, in order of execution, up to the first beyond int64."""

    sums: tuple[Sum, ...]

    @property
    def broken(self) -> Sum | None:
        """The first that can round; None if none can."""
        return next((entry for entry in self.sums if not entry.holds), None)

    @property
    def holds(self) -> bool:
        """Whether every correct implementation must return the same bits."""
        return self.broken is None

    @property
    def bits(self) -> float:
        """The largest of the sums, in bits."""
        return max(entry.bits for entry in self.sums)


@dataclass(frozen=True)
class BatchCertificate(Certificate):
    """What was found for `digits` given images, and claimed of them alone."""

    digits: int


@dataclass(frozen=True)
class RangeCertificate(Certificate):
    """What was found, and is claimed, for every image whose pixels lie on a grid in a range."""

    lowest: float
    highest: float
    exponent: int


def certify(
    params: Mapping[str, Array],
    images: Array,
    dtype: str = "float32",
    progress: Callable[[int], None] = lambda done: None,
) -> BatchCertificate:
    """The forward pass on `images` (N, 1, 28, 28), N ≥ 1: each digit's own sums, of each unit.

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


def certify_layer(
    layer: Layer, w: Integers, b: Integers, x: Integers, dtype: str = "float32", start: int = 0
) -> Sum:
    """The largest Σ|w||x| + |b| of one layer over the digits of x, which count from `start`.

    Raises:
        TooWide: it could leave int64.
    """
    grid = min(w.exponent, b.exponent, x.exponent)
    with named(layer.name):
        magnitude = layer.operator.evaluate(abs(x), abs(w), abs(b))
    assert isinstance(magnitude, Integers)
    return _largest(layer.name, magnitude, dtype, grid, start)


def certify_backward(
    params: Mapping[str, Array], images: Array, cotangent: Array, dtype: str = "float32"
) -> BatchCertificate:
    """The backward pass on a whole batch, after its forward pass: the sums of every gradient.

    A weight's gradient sums over the batch and all positions, so that it depends on the batch's size.

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
    """One SGD step from exact gradients: v ← μ·v + g + λ·w, then w ← w − η·v, for each parameter.

    The sums are |μ||v| + |g| + |λ||w| and |w| + |η||v|; they hold for dyadic μ, λ and η alone.
    """

    positive = replace(recipe, momentum=abs(recipe.momentum), weight_decay=abs(recipe.weight_decay))

    def sums() -> Iterator[Sum]:
        for name in PARAM_SHAPES:
            w, v = abs(integers(params[name], name)), abs(integers(velocity[name], name))
            grid = min(w.exponent, v.exponent, gradients[name].exponent)
            with named(name):
                new_w, new_v = update(w, v, abs(gradients[name]), positive, -abs(rate))
            yield _largest(f"{name}.velocity", new_v, dtype, grid)
            yield _largest(name, new_w, dtype, grid)

    return Certificate(tuple(_caught(sums(), dtype)))


def certify_range(
    params: Mapping[str, Array], pixel_values: Array, dtype: str = "float32"
) -> RangeCertificate:
    """The forward pass on every image whose pixels are any of `pixel_values`, in the worst case.

    Each unit's output is confined to an interval: its largest value takes the highest input under
    every positive weight and the lowest under every negative one. Python's integers do not overflow.

    Args:
        params: shared weights.
        pixel_values: all values that a pixel may take, e.g. `coarsen` of 0 to 255.
        dtype: the format that a port computes in.
    """
    weights.check(params)
    grid = integers(pixel_values, "pixels")
    low, high = (np.array([int(f(grid.units))], object) for f in (np.min, np.max))
    sums = tuple(_caught(_range_sums(params, low, high, grid.exponent, dtype), dtype))
    return RangeCertificate(sums, float(pixel_values.min()), float(pixel_values.max()), grid.exponent)


def _forward_sums(params: Mapping[str, Array], images: Integers, start: int, dtype: str) -> Iterator[Sum]:
    for layer, x, _ in walk(params, images):
        if layer.affine:
            w, b = parameters(layer, params, x)
            yield certify_layer(layer, w, b, x, dtype, start)


def _backward_sums(params: Mapping[str, Array], images: Array, cotangent: Array, dtype: str) -> Iterator[Sum]:
    """The sums of each gradient: the same formula of the magnitudes."""
    dy = integers(cotangent, "cotangent")
    for layer, x, y in reversed(list(walk(params, integers(images)))):
        inputs = [x, *parameters(layer, params, x)]
        grid = min(dy.exponent, x.exponent, *(one.exponent for one in inputs[1:2]))
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
            finest = min(w.exponent, b.exponent, exponent)
            low, high, bound, exponent = _interval(layer, w, b, low, high, exponent)
            yield _judge(layer.name, exponent, int(bound.max()), (int(bound.argmax()),), dtype, finest)
        shape = layer.out_shape(shape)


def _interval(
    layer: Layer, w: Integers, b: Integers, low: Array, high: Array, exponent: int
) -> tuple[Array, Array, Array, int]:
    """Lowest and highest output and largest sum of each map or unit, in Python integers, and their grid."""
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


def _largest(name: str, magnitude: Integers, dtype: str, finest: int, start: int | None = None) -> Sum:
    """The largest of the sums in `magnitude`, whose first axis counts digits from `start`, if given."""
    bound = magnitude.peak()
    where = [int(i) for i in np.unravel_index(magnitude.units.argmax(), magnitude.units.shape)]
    where[0] += start or 0
    return _judge(name, magnitude.exponent, bound, tuple(where), dtype, finest)


def _judge(name: str, exponent: int, bound: int, where: tuple[int, ...], dtype: str, finest: int) -> Sum:
    limits = np.finfo(dtype)
    limit = limits.nmant + 1
    normal = min(finest, exponent) >= limits.minexp and exponent + limit <= limits.maxexp
    return Sum(name, exponent, bound, where, limit, bool(normal))


def _caught(sums: Iterator[Sum], dtype: str) -> Iterator[Sum]:
    """The sums, and as the last of them the one that int64 cannot hold, if there is one."""
    try:
        yield from sums
    except TooWide as found:
        yield _judge(found.name, found.exponent, found.bound, found.unit, dtype, found.exponent)


def _check(params: Mapping[str, Array], images: Array) -> None:
    weights.check(params)
    check_images(images, str(images.dtype))
