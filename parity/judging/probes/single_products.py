"""Single products: one non-zero value in each sum, with as many digits as the format has.

The number n of products is 1, so that the worst case is one rounding, and one more for a bias. Operands in a
shorter format lose digits, whatever n is in the graph.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from math import ceil
from typing import Any

import numpy as np

from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import FORMATS
from parity.arithmetic.integers import Integers
from parity.errors import Unjudged
from parity.judging.probes.integer_data import SELECTING, chosen, square_variance
from parity.judging.probes.operand import NoProbe, Operand, Operands, Probe, fixed, pooled, required
from parity.operators import Operator
from parity.operators.affine import Conv, ConvTranspose, Gemm, MatMul
from parity.operators.einsum import Einsum
from parity.operators.global_pooling import GlobalAveragePool
from parity.operators.normalization import BatchNormalization
from parity.operators.pooling import AveragePool
from parity.operators.reduction import Reduction

SMALL = 2.0**-18  # numbers of this size have few digits in float16, which tells it from TF32
LARGE = 3  # numbers that are selected reach up to 2 to this power: a Clip must have something to do


def probe(operator: Operator, operands: Operands, rng: np.random.Generator) -> Probe:
    """Inputs of the given shapes and types with one product in each sum.

    Raises:
        NoProbe: no such inputs are known for the operator.
    """
    maker = MAKERS.get(operator.TYPE)
    if maker is None:
        raise NoProbe(f"no single products are known for {operator.TYPE}")
    return maker(operator, operands, rng)


def full(one: Operand, rng: np.random.Generator, exponents: int = 1) -> Array:
    """Random numbers from 1 to 2^`exponents`, of either sign, whose last digit is set."""
    digits = FORMATS[one.dtype.name].digits

    def draw(count: int) -> Array:
        whole = rng.integers(2 ** (digits - 2), 2 ** (digits - 1), count) * 2 + 1
        scaled = np.ldexp(whole.astype(np.float64), rng.integers(0, exponents, count) + 1 - digits)
        return np.asarray(scaled * rng.choice((-1.0, 1.0), count)).astype(one.dtype)

    return pooled(one.shape, draw)


def _mixed(one: Operand, rng: np.random.Generator) -> Array:
    """Numbers with all digits, every fourth of them small where the format reaches that far."""
    values = full(one, rng)
    if FORMATS[one.dtype.name].tiny > SMALL / 2**16:
        return values
    return np.where(rng.random(one.shape) < 1 / 4, values * values.dtype.type(SMALL), values)


def one_each(one: Operand, axes: Sequence[int], rng: np.random.Generator) -> Array:
    """Zeros but for one number, at a random place along `axes`, for each place on the other axes."""
    kept = [axis for axis in range(len(one.shape)) if axis not in axes]
    values = _mixed(one, rng)
    lines = values.transpose(*kept, *axes).reshape(*(one.shape[axis] for axis in kept), -1)
    place = rng.integers(0, lines.shape[-1], lines.shape[:-1])
    lone = np.where(np.arange(lines.shape[-1]) == place[..., None], lines, 0)
    turned = lone.reshape([one.shape[axis] for axis in (*kept, *axes)])
    return np.asarray(turned.transpose(np.argsort([*kept, *axes]))).astype(one.dtype)


def lattice(one: Operand, spacing: Sequence[int], groups: int, rng: np.random.Generator) -> Array:
    """(N, C, ...): zeros but for numbers so far apart that no window holds two of one group of channels."""
    values, kept = _mixed(one, rng), np.zeros(one.shape, bool)
    batch, channels, *sizes = one.shape
    apart = channels // groups
    for item, group in product(range(batch), range(groups)):
        axes = [
            np.arange(int(rng.integers(0, min(step, size))), size, step)
            for step, size in zip(spacing, sizes, strict=True)
        ]
        sites = np.meshgrid(*axes, indexing="ij")
        channel = group * apart + rng.integers(0, apart, sites[0].shape)
        place: tuple[Any, ...] = (item, channel, *sites)
        kept[place] = True
    return np.asarray(np.where(kept, values, 0)).astype(one.dtype)


# --- one function for each family --------------------------------------------------------------


def _product(operator: Operator, operands: Operands, rng: np.random.Generator, *factors: Array) -> Probe:
    """The probe of a sum of products with these factors, of which no sum has two that are not zero."""
    addend = operands[2] if len(operands) > 2 else None
    counting = replace(operator, alpha=1.0, beta=1.0) if isinstance(operator, Gemm) else operator
    try:
        counts = counting.evaluate(*(Integers((one != 0).astype(np.int16), 0) for one in factors))
    except Unjudged as error:
        raise NoProbe(str(error)) from error
    if counts.comparable.max(initial=0) > 1:  # type: ignore[union-attr]
        raise NoProbe("its sums cannot be made of one product each")
    scaled = isinstance(operator, Gemm) and operator.alpha != 1
    roundings = 1 + scaled + (addend is not None) * (1 + (isinstance(operator, Gemm) and operator.beta != 1))
    rest = () if len(operands) < 3 else (None if addend is None else full(addend, rng),)
    return Probe((*factors, *rest), roundings=roundings)


def _conv(operator: Conv, operands: Operands, rng: np.random.Generator) -> Probe:
    x, w = required(operands, 0), required(operands, 1)
    reach = operator.window(_shaped(x), _shaped(w)).reach
    return _product(operator, operands, rng, lattice(x, reach, operator.group, rng), full(w, rng))


def _transposed(operator: ConvTranspose, operands: Operands, rng: np.random.Generator) -> Probe:
    x, w = required(operands, 0), required(operands, 1)
    ones = (1,) * (len(w.shape) - 2)
    sizes = zip(w.shape[2:], operator.dilations or ones, operator.strides or ones, strict=True)
    spacing = [ceil(((size - 1) * dilation + 1) / stride) for size, dilation, stride in sizes]
    return _product(operator, operands, rng, lattice(x, spacing, operator.group, rng), full(w, rng))


def _gemm(operator: Gemm, operands: Operands, rng: np.random.Generator) -> Probe:
    a, b = required(operands, 0), required(operands, 1)
    return _product(operator, operands, rng, one_each(a, [0 if operator.transA else 1], rng), full(b, rng))


def _matmul(operator: MatMul, operands: Operands, rng: np.random.Generator) -> Probe:
    a, b = required(operands, 0), required(operands, 1)
    return _product(operator, operands, rng, one_each(a, [len(a.shape) - 1], rng), full(b, rng))


def _einsum(operator: Einsum, operands: Operands, rng: np.random.Generator) -> Probe:
    if len(operands) != 2:
        raise NoProbe(f"Einsum with {len(operands)} operands")
    a, b = required(operands, 0), required(operands, 1)
    left, right, out = operator._labels(_shaped(a), _shaped(b))
    summed = [axis for axis, label in enumerate(left) if label not in out]
    alone = [axis for axis, label in enumerate(right) if label not in out and label not in left]
    return _product(
        operator, operands, rng, *(one_each(x, axes, rng) for x, axes in ((a, summed), (b, alone)))
    )


def _shaped(one: Operand) -> Bounded:
    """A number of this shape, for asking an operator what it makes of it."""
    return Bounded(np.broadcast_to(np.zeros((), one.dtype), one.shape))


def _reduced(operator: Reduction, operands: Operands, rng: np.random.Generator) -> Probe:
    x, given = required(operands, 0), [fixed(one) for one in operands[1:]]
    named = next((Bounded(a) for a in given if a is not None), None)
    axes = operator.over(_shaped(x), named)
    mean = operator.TYPE == "ReduceMean"  # a division, or a product with a rounded reciprocal
    return Probe((one_each(x, axes, rng), *given), roundings=2 * mean)


def _whole_maps(operator: GlobalAveragePool, operands: Operands, rng: np.random.Generator) -> Probe:
    x = required(operands, 0)
    return Probe((one_each(x, range(2, len(x.shape)), rng),), roundings=2)


def _averaged(operator: AveragePool, operands: Operands, rng: np.random.Generator) -> Probe:
    x = required(operands, 0)
    reach = operator.window(_shaped(x)).reach
    return Probe((lattice(x, reach, x.shape[1], rng),), roundings=2)


def _elementwise(operator: Operator, operands: Operands, rng: np.random.Generator) -> Probe:
    """Nothing is summed but what the operator says: all numbers are taken."""
    inputs = tuple(full(required(operands, place), rng) for place in range(len(operands)))
    return Probe(inputs, roundings=max(1, len(inputs) - 1))


def _selecting(operator: Operator, operands: Operands, rng: np.random.Generator) -> Probe:
    return Probe(chosen(operator, operands, lambda one: full(one, rng, LARGE)))


def _normalized(operator: BatchNormalization, operands: Operands, rng: np.random.Generator) -> Probe:
    """One product with the scale: mean and bias are zero, and the deviation is a power of two."""
    variance, _ = square_variance(operator, operands)
    x, scale, bias, mean, _ = (required(operands, place) for place in range(5))
    nothing = (np.zeros(one.shape, one.dtype) for one in (bias, mean))
    return Probe((full(x, rng), full(scale, rng), *nothing, variance), roundings=None)


Maker = Callable[[Any, Operands, np.random.Generator], Probe]
MAKERS: dict[str, Maker] = {
    "Conv": _conv,
    "ConvTranspose": _transposed,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Einsum": _einsum,
    "ReduceMean": _reduced,
    "ReduceSum": _reduced,
    "GlobalAveragePool": _whole_maps,
    "AveragePool": _averaged,
    "BatchNormalization": _normalized,
    **dict.fromkeys(("Add", "LeakyRelu", "Mul", "PRelu", "Sub", "Sum"), _elementwise),
    **dict.fromkeys(SELECTING, _selecting),
}
