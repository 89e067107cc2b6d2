"""Mistakes of precision: operands or weights in a shorter format, or weights in integers."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from parity.arithmetic import Array, Number
from parity.arithmetic.floats import BFLOAT16, FLOAT16, TF32
from parity.arithmetic.rounding_modes import AWAY_TF32, CUT_BFLOAT16, CUT_TF32, TiesAway
from parity.judging.causes.mistake import Changed, Mistake, Seen, made_in, second, with_input
from parity.judging.causes.of_rounding.shortened import (
    EQUALLY_LONG,
    NAMES,
    Change,
    has_ties,
    or_tf32,
    rounded_to,
    shortened,
)

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum")
SHORTER = (TF32, BFLOAT16, FLOAT16, AWAY_TF32, CUT_TF32, CUT_BFLOAT16)
# Weights in TF32 come last: almost all of them are numbers of float16, too, in which files are written.
STORED = (FLOAT16, BFLOAT16, CUT_BFLOAT16, TF32, CUT_TF32)
LEVELS = (127, 127.5, 128)  # of a signed 8-bit integer, on each side of zero: libraries differ
ENABLED = (
    "PyTorch: torch.set_float32_matmul_precision('highest') and "
    "torch.backends.cudnn.allow_tf32 = False; JAX: jax_default_matmul_precision='highest'."
)
REPORTED = "pytorch/pytorch#107514"
AUTOCAST = "Keep activations in float32; switch autocast off."


def all_of(short: Change, places: int) -> Callable[[list[Number | None]], list[Number | None]]:
    """A change that shortens so many of the inputs."""
    return lambda inputs: [one if one is None or k >= places else short(one) for k, one in enumerate(inputs)]


@made_in(*PRODUCTS)
def operands(operator: Any, seen: Seen) -> Iterator[Mistake]:
    for form in SHORTER:
        short, words = shortened(form), rounded_to(form)
        if isinstance(form, TiesAway) and not any(has_ties(one, form) for one in seen.inputs[:2]):
            continue  # the same function as ties to even
        alike = EQUALLY_LONG if form in (TF32, FLOAT16) else ""
        yield Mistake(
            f"operands {words}",
            "Both factors of the products are rounded before they are multiplied: tensor cores do so by "
            "default.",
            ENABLED,
            Changed(operator, all_of(short, 2)),
            REPORTED,
            alike=alike and f"operands {alike}",
        )
        yield Mistake(
            f"input {words}",
            "The first factor of the products is rounded, the weights are not.",
            ENABLED,
            with_input(operator, 0, short),
            alike=alike and f"input {alike}",
        )
    for form in STORED:
        yield Mistake(
            f"weights {rounded_to(form)}",
            f"The weights are stored in {NAMES[form.name]}, or went through it{or_tf32(form)}.",
            "Keep the weights in float32.",
            with_input(operator, 1, shortened(form)),
            wider=form.name == "tf32",
        )


@made_in(*PRODUCTS)
def integers(operator: Any, seen: Seen) -> Iterator[Mistake]:
    w = second(seen.inputs)
    if w.ndim < 2:
        return
    channels = _output_axis(operator, w)
    kinds = {"one scale": tuple(range(w.ndim)), "a scale per output channel": _but(w.ndim, channels)}
    for words, axes in kinds.items():
        quantizers = [(f"symmetric, {n:g} steps", _symmetric(n)) for n in LEVELS]
        for how, quantize in (*quantizers, ("with a zero point", _asymmetric)):
            yield Mistake(
                f"weights rounded to 8-bit integers (int8): {words}, {how}",
                "The weights are stored as 8-bit integers with a scale.",
                "Keep the weights in float32, or judge against the quantized graph.",
                with_input(operator, 1, lambda one, q=quantize, axes=axes: one.move(lambda a: q(a, axes))),  # type: ignore[misc]
            )


def _output_axis(operator: Any, w: Number) -> int:
    if operator.TYPE == "Conv" or getattr(operator, "transB", 0):
        return 0
    return 1 if operator.TYPE == "ConvTranspose" else w.ndim - 1


def _but(ndim: int, axis: int) -> tuple[int, ...]:
    return tuple(k for k in range(ndim) if k != axis)


def _symmetric(steps: float) -> Callable[[Array, tuple[int, ...]], Array]:
    def quantize(w: Array, axes: tuple[int, ...]) -> Array:
        a = w.astype(np.float32)  # as it was done: the largest weight may lie halfway between two steps
        scale = np.abs(a).max(axes, keepdims=True) / np.float32(steps)
        scale = np.where(scale == 0, np.float32(1), scale)
        return (np.clip(np.round(a / scale), -128, 127) * scale).astype(w.dtype)

    return quantize


def _asymmetric(w: Array, axes: tuple[int, ...]) -> Array:
    a = w.astype(np.float32)
    low, high = (np.minimum(a.min(axes, keepdims=True), 0), np.maximum(a.max(axes, keepdims=True), 0))
    scale = (high - low) / np.float32(255)
    scale = np.where(scale == 0, np.float32(1), scale)
    zero = np.round(-low / scale)
    return ((np.clip(np.round(a / scale) + zero, 0, 255) - zero) * scale).astype(w.dtype)
