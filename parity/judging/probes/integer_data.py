"""Integers: inputs so small that no partial sum rounds, in whatever order and in formats down to bfloat16.

Every right implementation then returns the same bits. Other bits are other semantics.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from parity.arithmetic import Array, Bounded
from parity.arithmetic.integers import Integers, TooWide
from parity.errors import Unjudged
from parity.judging.probes.operand import (
    NO_FLOATS,
    NoProbe,
    Operand,
    Operands,
    Probe,
    fixed,
    pooled,
    required,
)
from parity.operators import Operator
from parity.operators.affine import Gemm
from parity.operators.elementwise import Add, Sub
from parity.operators.normalization import BatchNormalization

HELD = 2**8  # the integers up to it are numbers of bfloat16, TF32, float16 and float32
FACTOR = 3  # the largest factor and term
TERMS = 20  # products that are not zero in a sum, about: with more, sums would leave what all formats hold
DRAWS = 8  # attempts, each with fewer products that are not zero
PRODUCTS = ("Conv", "ConvTranspose", "Einsum", "Gemm", "MatMul")
SUMS = (
    *("Add", "AveragePool", "CumSum", "GlobalAveragePool", "Mean", "Mul"),
    *("ReduceMean", "ReduceSum", "Sub", "Sum"),
)
WHOLE = ("ConvInteger", "MatMulInteger")
SELECTING = (
    *("Abs", "CenterCropPad", "Clip", "Compress", "Concat", "DepthToSpace", "Dropout", "Expand", "Flatten"),
    *("Gather", "GatherElements", "GatherND", "GlobalMaxPool", "Identity", "Max", "MaxPool", "Min", "Neg"),
    *("Pad", "ReduceMax", "ReduceMin", "Relu", "Reshape", "ReverseSequence", "ScatterElements", "ScatterND"),
    *("Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Trilu", "Unsqueeze", "Where"),
)


def probe(operator: Operator, operands: Operands, rng: np.random.Generator) -> Probe:
    """Integer inputs of the given shapes and types.

    Raises:
        NoProbe: no such inputs are known for the operator, or its attributes make it round.
    """
    maker = MAKERS.get(operator.TYPE)
    if maker is None:
        raise NoProbe(f"no integers are known for {operator.TYPE}")
    return maker(operator, operands, rng)


def _sums(operator: Operator, operands: Operands, rng: np.random.Generator) -> Probe:
    """Random signs and factors, so many zeros between them that every sum stays small: this is proven."""
    required(operands, 0)
    factors = 2 if operator.TYPE in PRODUCTS else 1
    terms = operator.terms(*(one and Bounded(np.broadcast_to(_blank(one), one.shape)) for one in operands))
    density = min(1.0, TERMS / max(terms, 1)) ** (1 / factors)
    for _ in range(DRAWS):
        inputs = [_drawn(one, density if place < 2 else 1.0, rng) for place, one in enumerate(operands)]
        sizes = _partial_sums(operator, inputs)
        if sizes.peak() <= HELD:
            return Probe(tuple(inputs), grid=2.0**sizes.exponent)
        density *= 0.85
    raise NoProbe("its factors are no small integers, so that every sum rounds")


def _blank(operand: Operand) -> Array:
    """One value that stands for all, or the value where it says how to sum: an axis."""
    return np.zeros((), operand.dtype) if operand.is_float else np.asarray(fixed(operand))


def _drawn(operand: Operand | None, density: float, rng: np.random.Generator) -> Array | None:
    if operand is None or not operand.is_float:
        return fixed(operand)

    def draw(count: int) -> Array:
        signs = rng.choice((-1, 1), count) * (rng.random(count) < density)
        return np.asarray(rng.integers(1, FACTOR, count, endpoint=True) * signs).astype(operand.dtype)

    return pooled(operand.shape, draw)


def _partial_sums(operator: Operator, inputs: Sequence[Array | None]) -> Integers:
    """What bounds every partial sum of each result, in any order: the sum of the terms' magnitudes.

    Raises:
        NoProbe: the operator divides by no power of two, say.
    """

    def size(a: Array) -> Integers:
        return Integers(a if a.dtype.kind in "biu" else np.abs(a).astype(np.int16), 0)

    try:
        found = magnitudes(operator).evaluate(*(None if a is None else size(a) for a in inputs))
    except (Unjudged, TooWide) as error:
        raise NoProbe(str(error)) from error
    assert isinstance(found, Integers)
    return found


def magnitudes(operator: Operator) -> Operator:
    """The operator that returns the sum of the terms' magnitudes, given the magnitudes of its inputs."""
    if isinstance(operator, Gemm):
        return replace(operator, alpha=abs(operator.alpha), beta=abs(operator.beta))
    return Add() if isinstance(operator, Sub) else operator


def _whole(operator: Operator, operands: Operands, rng: np.random.Generator) -> Probe:
    """Operators of integers: any of their type, where the graph does not hold zero points."""
    inputs: list[Array | None] = []
    for place, one in enumerate(operands):
        if one is None or (place > 1 and one.value is not None):
            inputs.append(fixed(one))
            continue
        limits = np.iinfo(one.dtype)
        inputs.append(rng.integers(limits.min, limits.max, one.shape, one.dtype, endpoint=True))
    return Probe(tuple(inputs), grid=1.0)


def _selecting(operator: Operator, operands: Operands, rng: np.random.Generator) -> Probe:
    """Any integers that all formats hold, since nothing is computed."""

    def draw(one: Operand) -> Array:
        return rng.integers(-HELD // 2, HELD // 2, one.shape).astype(one.dtype)

    return Probe(chosen(operator, operands, draw), grid=1.0)


def chosen(
    operator: Operator, operands: Operands, draw: Callable[[Operand], Array]
) -> tuple[Array | None, ...]:
    """Inputs of an operator that selects: the first is drawn, and others that are floats and no constants.

    Raises:
        NoProbe: none is, or the operator adds values up.
    """
    if getattr(operator, "reduction", "none") != "none":
        raise NoProbe("it adds values up where they meet")
    free = [
        one is not None and one.is_float and (place == 0 or one.value is None)
        for place, one in enumerate(operands)
    ]
    if not any(free):
        raise NoProbe(NO_FLOATS)
    return tuple(
        draw(one) if one is not None and may else fixed(one) for one, may in zip(operands, free, strict=True)
    )


def _normalized(operator: BatchNormalization, operands: Operands, rng: np.random.Generator) -> Probe:
    """Multiples of the standard deviation, a power of two."""
    variance, deviation = square_variance(operator, operands)
    x, scale, bias, mean, _ = (required(operands, place) for place in range(5))
    return Probe(
        (
            (rng.integers(-8, 8, x.shape, endpoint=True) * deviation).astype(x.dtype),
            _drawn(scale, 1.0, rng),
            rng.integers(-8, 8, bias.shape, endpoint=True).astype(bias.dtype),
            (rng.integers(-3, 3, mean.shape, endpoint=True) * deviation).astype(mean.dtype),
            variance,
        ),
        grid=1.0,
        roundings=None,
    )


def square_variance(operator: BatchNormalization, operands: Operands) -> tuple[Array, float]:
    """A variance that is, with ε, a power of four; and the standard deviation, a power of two.

    Variance and ε are of one size, so that their sum rounds in no format that holds them.

    Raises:
        NoProbe: mean and variance are computed, in training.
    """
    if operator.training_mode:
        raise NoProbe("in training, mean and variance are computed")
    spread = required(operands, 4)
    exponent = int(np.frexp(operator.epsilon)[1]) if operator.epsilon else 0  # ε < 2^exponent
    square = 2.0 ** (exponent + exponent % 2)
    epsilon = float(np.asarray(operator.epsilon, spread.dtype))
    return np.full(spread.shape, square - epsilon, spread.dtype), float(np.sqrt(square))


Maker = Callable[[Any, Operands, np.random.Generator], Probe]
MAKERS: dict[str, Maker] = {
    **dict.fromkeys((*PRODUCTS, *SUMS), _sums),
    **dict.fromkeys(WHOLE, _whole),
    **dict.fromkeys(SELECTING, _selecting),
    "BatchNormalization": _normalized,
}
