"""Weights and arithmetic on a dyadic grid, for the tests of what cannot round."""

import random
from fractions import Fraction

import numpy as np

from lenet.network.architecture import LAYERS
from lenet.network.weights import Params

SINGLE = (24, -149)  # significant bits, and the exponent of the smallest subnormal
DOUBLE = (53, -1074)


def ternary_params(seed: int, signs: tuple[int, ...] = (-1, 0, 0, 1)) -> Params:
    """Random weights of −1, 0, 1 times 2^-2 (most of them 0), biases on the grid of the layer's sums."""
    rng, params, exponent = np.random.default_rng(seed), {}, -4  # of 4-bit pixels
    for layer in LAYERS:
        if layer.affine:
            exponent -= 2
            weight, bias = layer.param_shapes().values()
            params[f"{layer.name}.weight"] = np.ldexp(rng.choice(signs, weight), -2).astype(np.float32)
            steps = rng.integers(0, 10, bias) * rng.choice(signs, bias)
            params[f"{layer.name}.bias"] = np.ldexp(steps, exponent).astype(np.float32)
    return params


def pixels16(count: int, seed: int) -> np.ndarray:
    """Random images (count, 1, 28, 28) float32 with the 16 levels of `lenet.reference.exact.coarsen`."""
    return (np.random.default_rng(seed).integers(0, 16, (count, 1, 28, 28)) / 16).astype(np.float32)


def nearest(value: Fraction, form: tuple[int, int] = SINGLE) -> Fraction:
    """IEEE rounding of an exact value: to nearest, ties to even, subnormals included, no overflow."""
    if value == 0:
        return value
    precision, lowest = form
    top = abs(value).numerator.bit_length() - value.denominator.bit_length()
    top -= abs(value) < Fraction(2) ** top  # 2^top ≤ |value| < 2^(top + 1)
    quantum = Fraction(2) ** max(top - precision + 1, lowest)
    return round(value / quantum) * quantum


def evaluate(
    terms: list[tuple[Fraction, Fraction]],
    bias: Fraction,
    rng: random.Random,
    form: tuple[int, int] = SINGLE,
) -> tuple[Fraction, int]:
    """Σ w·x + b as some correct implementation might: any order, any blocking, fused or not.

    Two of what is there are drawn and added until one is left; a product is rounded before, or fused
    into the addition.

    Returns:
        the result, and how many of the operations rounded.
    """
    heap: list[tuple[Fraction, Fraction]] = [*terms, (Fraction(1), bias)]
    roundings = 0

    def keep(exact: Fraction) -> Fraction:
        nonlocal roundings
        value = nearest(exact, form)
        roundings += value != exact
        return value

    while len(heap) > 1:
        (w, x), (v, y) = (heap.pop(rng.randrange(len(heap))) for _ in range(2))
        fused = rng.random() < 0.5
        product = w * x if fused else keep(w * x)
        heap.append((Fraction(1), keep(product + keep(v * y))))
    w, x = heap[0]
    return keep(w * x), roundings


def cotangent(count: int, seed: int) -> np.ndarray:
    """Random integers from −2 to 2, for the logits of so many digits."""
    return np.random.default_rng(seed).integers(-2, 3, (count, 10)).astype(np.float32)
