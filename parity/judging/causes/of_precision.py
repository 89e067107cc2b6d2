"""Mistakes of precision: operands, weights or results in a shorter format."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from parity.arithmetic import Array, Function, Number
from parity.arithmetic.floats import BFLOAT16, FLOAT16, TF32, Format, format_of
from parity.judging.causes.mistake import Changed, Mistake, Seen, made_in, with_input

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum")
SHORTER = (TF32, BFLOAT16, FLOAT16)
NAMES = {"tf32": "TF32", "bfloat16": "bfloat16", "float16": "float16"}


def _shortened(form: Format) -> Any:
    """Rounds to a format; of a value that is known within an error both ends are rounded."""

    def change(a: Array) -> Array:
        return a if format_of(a) is None else form.round(a).astype(a.dtype)

    rounding = Function(f"rounded to {form.name}", change, monotone=True, exact=True)
    return lambda x: x.apply(rounding)


@made_in(*PRODUCTS)
def operands(operator: Any, seen: Seen) -> Iterator[Mistake]:
    for form in SHORTER:
        name, short = NAMES[form.name], _shortened(form)

        def both(inputs: list[Number | None], short: Any = short) -> list[Number | None]:
            return [None if one is None else short(one) if k < 2 else one for k, one in enumerate(inputs)]

        yield Mistake(
            f"operands rounded to {name}",
            f"Both factors of the products are rounded to {name} before they are multiplied: tensor cores "
            "do so by default.",
            "PyTorch: torch.set_float32_matmul_precision('highest') and "
            "torch.backends.cudnn.allow_tf32 = False; JAX: jax_default_matmul_precision='highest'.",
            Changed(operator, both),
            "pytorch/pytorch#107514",
        )
    for form in (FLOAT16, BFLOAT16):
        name, short = NAMES[form.name], _shortened(form)
        yield Mistake(
            f"weights rounded to {name}",
            f"The weights are stored in {name}, or went through it.",
            "Keep the weights in float32.",
            with_input(operator, 1, short),
        )


@made_in(
    *PRODUCTS, "Add", "Mul", "Relu", "BatchNormalization", "LayerNormalization", "Softmax", "Gelu", "Sigmoid"
)
def results(operator: Any, seen: Seen) -> Iterator[Mistake]:
    for form in (BFLOAT16, FLOAT16):
        if seen.found is None or not _are_in(seen.found, form):
            continue
        name = NAMES[form.name]
        yield Mistake(
            f"result rounded to {name}",
            f"The values went through {name}: all of them are numbers of this format.",
            "Keep activations in float32; switch autocast off.",
            Changed(operator, after=lambda y, inputs, form=form: _coarse(y, form)),  # type: ignore[misc]
            read_off=True,
        )


def _are_in(found: Array, form: Format) -> bool:
    wide = found.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        short = form.round(wide).astype(np.float64)
    return bool(np.array_equal(short, wide, equal_nan=True))


def _coarse(y: Number, form: Format) -> Number:
    """y, off by one rounding to the format: any in a bound, the nearest in a plain loop."""
    error = np.abs(y.comparable.astype(np.float64)) * form.u * 1.01
    return (y + y.like(np.zeros(y.shape), error)).either(_shortened(form)(y))
