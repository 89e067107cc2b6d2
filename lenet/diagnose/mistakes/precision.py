"""Mistakes of precision: operands, results or sums in a coarser format than the port claims.

If operands are rounded to p bits and sums stay in float32, the rounded operands are known exactly, and the
bound is float32's: the test is as sharp as for the right layer. If a *result* is rounded to a coarse format,
the bound is that format's, and it contains the right value too. The evidence is then that every value is a
number of the coarse format, and the right values are not.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lenet.diagnose.mistakes.base import Family, Kind, case
from lenet.diagnose.mistakes.wrong_forward import (
    Call,
    Change,
    Compute,
    Gridded,
    after,
    before,
    instead,
    of_type,
    right,
)
from lenet.network.architecture import LAYERS
from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import gamma
from parity.operators.activation import Relu
from parity.operators.affine import Conv, Gemm
from parity.operators.pooling import MaxPool
from parity.operators.shape import Flatten

FAMILY = Family()
AFFINE = of_type(Conv, Gemm)
GROUPS = (AFFINE, of_type(Conv), of_type(Gemm))  # cuDNN and cuBLAS have separate switches
SELECTING = of_type(Relu, MaxPool, Flatten)
Format = Callable[[Array], Array]

TF32 = case("pytorch/pytorch", 107514)
WIDE = case("geomstats/geomstats", 775)


def to_bits(x: Array, bits: int, whole: Callable[[Array], Array] = np.rint) -> Array:
    """x rounded to `bits` significant bits, with `np.rint` (nearest, ties to even) or `np.trunc`."""
    mantissa, exponent = np.frexp(x)
    return np.ldexp(whole(np.ldexp(mantissa, bits)), exponent - bits)


def away(x: Array) -> Array:
    """x rounded to the nearest integer, ties away from zero, as GPUs do for TF32."""
    return np.trunc(x + np.copysign(0.5, x))


def half(x: Array) -> Array:
    """x rounded to float16, including its range: subnormal below 2^-14, infinite from 65520."""
    with np.errstate(over="ignore"):
        return x.astype(np.float16).astype(np.float64)


def tf32(x: Array) -> Array:
    """x rounded to TF32, which has float32's exponent and float16's mantissa."""
    return to_bits(x, 11)


def bfloat16(x: Array) -> Array:
    """x rounded to bfloat16."""
    return to_bits(x, 8)


# Significant bits, with the hidden bit.
FORMATS: tuple[tuple[str, int, Format], ...] = (
    ("TF32", 11, tf32),
    ("TF32", 11, lambda x: to_bits(x, 11, away)),
    ("TF32, cut off", 11, lambda x: to_bits(x, 11, np.trunc)),
    ("bfloat16", 8, bfloat16),
    ("bfloat16, cut off", 8, lambda x: to_bits(x, 8, np.trunc)),
    ("float16", 11, half),
)
OPERANDS = (tf32, bfloat16, half)  # roundings of operands, and of inputs alone, that parity's catalogue holds
STORED = (bfloat16, half)  # and of weights alone


def _to(name: str) -> str:
    """ "rounded to TF32"; "cut off to TF32" for "TF32, cut off"."""
    form, _, cut = name.partition(", ")
    return f"{cut or 'rounded'} to {form}"


def rounded(x: Bounded, grid: Format) -> Bounded:
    """x rounded to a coarse format. Rounding is monotone, so for x known to within e, the result lies between
    the roundings of x − e and x + e, which are mostly equal."""
    value = grid(x.value)
    with np.errstate(invalid="ignore"):  # infinite in float16
        spread = np.maximum(grid(x.value + x.bound) - value, value - grid(x.value - x.bound))
    return Bounded(value, np.where(x.bound == 0, 0.0, spread))


def _operands(call: Call, grid: Format) -> Call:
    return replace(call, x=rounded(call.x, grid), w=grid(call.w))


def _result(y: Bounded, bits: int, grid: Format) -> Bounded:
    found = rounded(y, grid)
    return Gridded(found.value, found.bound, grid=grid, coarser=lambda x: to_bits(x, bits - 1))


def _narrow(bits: int, grid: Format) -> Change:
    """A change that rounds operands and result to a coarse format; sums keep the port's dtype."""

    def change(compute: Compute) -> Compute:
        def narrow(call: Call) -> Bounded:
            operands = _operands(call, grid)
            return _result(compute(replace(operands, b=grid(call.b))), bits, grid)

        return narrow

    return change


def _narrow_twice(bits: int, grid: Format, cut: Format) -> Change:
    """A change that rounds operands, the product (by `cut`) and its sum with the bias to a coarse format."""

    def change(compute: Compute) -> Compute:
        def narrow(call: Call) -> Bounded:
            product = rounded(compute(replace(_operands(call, grid), b=np.zeros(call.b.shape))), cut)
            value = product.value + grid(call.b).reshape(-1, *[1] * (product.value.ndim - 2))
            once = call.u * (np.abs(value) + product.bound)  # the addition in the port's dtype
            return _result(Bounded(value, product.bound + once), bits, grid)

        return narrow

    return change


def _sums(call: Call, unit: float, bits: int, grid: Format) -> Bounded:
    """The whole layer in a format of `bits` bits: its bound is γ_{n+1} with that unit roundoff."""
    operands = _operands(call, grid)
    operands = replace(operands, b=grid(call.b))
    y = right(operands)
    size = right(
        replace(
            operands,
            w=np.abs(operands.w),
            b=np.abs(operands.b),
            x=Bounded(np.abs(operands.x.value) + operands.x.bound, np.zeros(operands.x.value.shape)),
        )
    ).value
    n = call.layer.terms + 2
    underflow = n * float(np.finfo(np.float16).smallest_subnormal)
    error = y.bound + gamma(n, unit) * size + underflow
    return Gridded(grid(y.value), error, grid=grid, coarser=lambda x: to_bits(x, bits - 1))


for _name, _bits, _grid in FORMATS:
    if _grid not in OPERANDS:
        FAMILY.add_groups(
            GROUPS,
            Kind(
                f"operands {_to(_name)}",
                f"Weights and inputs are rounded to {_name} ({_bits} significant bits) before the products.",
                "Use full float32 products: allow_tf32=False, precision='highest', no autocast.",
                TF32,
            ),
            before(lambda call, grid=_grid: _operands(call, grid)),
        )
    if _grid not in STORED:
        FAMILY.add_groups(
            GROUPS,
            Kind(
                f"weights {_to(_name)}",
                f"The weights are rounded to {_name} ({_bits} significant bits); inputs are not.",
                "Keep the weights in float32.",
                TF32,
            ),
            before(lambda call, grid=_grid: replace(call, w=grid(call.w))),
        )
    if _grid not in OPERANDS:
        FAMILY.add_groups(
            GROUPS,
            Kind(
                f"input {_to(_name)}",
                f"The layer's inputs are rounded to {_name} ({_bits} significant bits); its weights are not.",
                "Keep activations in float32.",
                TF32,
            ),
            before(lambda call, grid=_grid: replace(call, x=rounded(call.x, grid))),
        )
    FAMILY.add_groups(
        GROUPS,
        Kind(
            f"parameters {_to(_name)}",
            f"Weights and biases are rounded to {_name} ({_bits} significant bits); inputs are not.",
            "Keep the parameters in float32.",
            TF32,
        ),
        before(lambda call, grid=_grid: replace(call, w=grid(call.w), b=grid(call.b))),
    )
    if _name.startswith("TF32"):
        continue  # this format is only for operands: nothing is stored or added in it
    _coarse = Kind(
        f"result {_to(_name)}",
        f"The layer's output is rounded to {_name} ({_bits} significant bits).",
        "Keep activations in float32.",
        TF32,
    )
    _rounds = after(lambda y, call, bits=_bits, grid=_grid: _result(y, bits, grid))
    for _stage in SELECTING:  # rounding the operands of the next layer is the same function
        FAMILY.add([_stage], _coarse, _rounds, told_by=_stage)
    FAMILY.add_groups(GROUPS, _coarse, _rounds, tier=1)
    FAMILY.add_groups(
        GROUPS,
        Kind(
            f"operands and result {_to(_name)}",
            f"The layer runs in {_name}: operands and result are rounded to it, sums are not.",
            "Turn off autocast and mixed precision; load the model in float32.",
            TF32,
        ),
        _narrow(_bits, _grid),
        tier=1,
    )
    _unit = 2.0 ** (1 - _bits if "cut" in _name else -_bits)
    FAMILY.add(
        [layer.name for layer in LAYERS if layer.affine and (layer.terms + 2) * _unit < 1],
        Kind(
            f"everything in {_name}",
            f"The layer runs in {_name}, including its sums: each addition rounds to {_bits} bits.",
            "Load the model in float32, or request float32 accumulation.",
            TF32,
        ),
        instead(lambda call, unit=_unit, bits=_bits, grid=_grid: _sums(call, unit, bits, grid)),
        tier=2,
    )

# On some CPUs, TensorFlow's matrix product in bfloat16 truncates its result.
for _name, _bits, _grid, _product in (
    ("bfloat16", 8, bfloat16, bfloat16),
    ("bfloat16", 8, bfloat16, lambda x: to_bits(x, 8, np.trunc)),
    ("float16", 11, half, half),
):
    FAMILY.add_groups(
        GROUPS,
        Kind(
            f"operands, product and result {_to(_name)}",
            f"The layer runs in {_name}: it rounds the operands, the product, and the sum with the bias.",
            "Turn off mixed precision: Keras' policy 'float32', not 'mixed_bfloat16' or 'mixed_float16'.",
            case("keras-team/keras", 19332),
        ),
        _narrow_twice(_bits, _grid, _product),
        tier=1,
    )


for _name, _whole in (("cut off to integers", np.trunc), ("rounded to integers", np.rint)):
    FAMILY.add(
        AFFINE,
        Kind(
            f"result {_name}",
            f"The layer's output is {_name}: it was cast to an integer type.",
            "Keep activations in float32: no astype(int), no integer output type.",
            WIDE,
        ),
        after(lambda y, call, whole=_whole: rounded(y, whole)),
    )


def single(x: Array) -> Array:
    """x rounded to float32."""
    return x.astype(np.float32).astype(np.float64)


@FAMILY.instead(
    AFFINE,
    Kind(
        "float32 in a float64 port",
        "The layer is computed or stored in float32, but the port claims float64.",
        "Cast the weights and the images to float64 before they are used.",
        WIDE,
    ),
)
def _(call: Call) -> Bounded:
    if call.dtype == "float32":
        raise ValueError("the port claims only float32")
    y = right(replace(call, dtype="float32"))
    error = y.bound + 2.0**-24 * np.abs(y.value)
    return Gridded(single(y.value), error, grid=single, coarser=lambda x: to_bits(x, 23))


FLOAT64 = Kind(
    "float64 where float32 was meant",
    "The values have more digits than float32 holds, perhaps because of a NumPy default.",
    'Write DTYPE = "float64" into the file, to be judged by its smaller bounds; or make weights, images and '
    "constants float32: np.float32(...), dtype=np.float32.",
    WIDE,
    valid=True,
)
