"""Mistakes of precision: operands, results or sums in a coarser format than the port claims.

Where operands are rounded to p bits and sums then kept in float32, the rounded operands are known
exactly, so that float32's own bound applies: the test is as sharp as for the right layer. Where a
*result* is rounded to a coarse format, the bound is that format's, which admits the right value too; the
evidence is then that every value lies on the coarse grid, where the right values do not.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lenet.mistakes.base import Family, Kind, case
from lenet.mistakes.network import Call, Change, Compute, Gridded, after, before, instead, of_type, right
from lenet.rounding import Array, Bounded, gamma
from lenet.spec import LAYERS, Affine

FAMILY = Family()
AFFINE = of_type(Affine)
Format = Callable[[Array], Array]

TF32 = case("pytorch/pytorch", 107514)
WIDE = case("geomstats/geomstats", 775)


def to_bits(x: Array, bits: int, whole: Callable[[Array], Array] = np.rint) -> Array:
    """x with `bits` significant bits, by `np.rint` (nearest, ties to even) or `np.trunc`."""
    mantissa, exponent = np.frexp(x)
    return np.ldexp(whole(np.ldexp(mantissa, bits)), exponent - bits)


def half(x: Array) -> Array:
    """Nearest float16, with its short range: subnormal below 2^-14, infinite from 65520 on."""
    with np.errstate(over="ignore"):
        return x.astype(np.float16).astype(np.float64)


# Significant bits with the hidden one: TF32 has float32's exponent and float16's mantissa.
FORMATS: dict[str, tuple[int, Format]] = {
    "TF32": (11, lambda x: to_bits(x, 11)),
    "bfloat16": (8, lambda x: to_bits(x, 8)),
    "float16": (11, half),
    "TF32, cut off": (11, lambda x: to_bits(x, 11, np.trunc)),
    "bfloat16, cut off": (8, lambda x: to_bits(x, 8, np.trunc)),
}


def rounded(x: Bounded, bits: int, grid: Format) -> Bounded:
    """x in a coarse format. An x known exactly is rounded to one known number; one with an error e may
    lie in the next interval, and is known to e and the distance of two neighbours."""
    spacing = 2.0 ** (1 - bits) * (np.abs(x.value) + x.error) + float(np.finfo(np.float16).smallest_subnormal)
    return Bounded(grid(x.value), np.where(x.error == 0, 0.0, x.error + spacing))


def _operands(call: Call, bits: int, grid: Format) -> Call:
    return replace(call, x=rounded(call.x, bits, grid), w=grid(call.w))


def _result(y: Bounded, bits: int, grid: Format) -> Bounded:
    found = rounded(y, bits, grid)
    return found if not found.error.any() else Gridded(found.value, found.error, grid)


def _narrow(bits: int, grid: Format) -> Change:
    """Operands and result in a coarse format, sums wider."""

    def change(compute: Compute) -> Compute:
        def narrow(call: Call) -> Bounded:
            operands = _operands(call, bits, grid)
            return _result(compute(replace(operands, b=grid(call.b))), bits, grid)

        return narrow

    return change


def _sums(call: Call, unit: float, bits: int, grid: Format) -> Bounded:
    """The whole layer in a format of `bits` bits: γ_{n+1} with its unit roundoff."""
    operands = _operands(call, bits, grid)
    operands = replace(operands, b=grid(call.b))
    y = right(operands)
    size = right(
        replace(
            operands,
            w=np.abs(operands.w),
            b=np.abs(operands.b),
            x=Bounded(np.abs(operands.x.value) + operands.x.error, np.zeros(operands.x.value.shape)),
        )
    ).value
    n = call.layer.terms + 2
    underflow = n * float(np.finfo(np.float16).smallest_subnormal)
    return Gridded(grid(y.value), y.error + gamma(n, unit) * size + underflow, grid)


for _name, (_bits, _grid) in FORMATS.items():
    FAMILY.add(
        AFFINE,
        Kind(
            f"operands in {_name}",
            f"Weights and inputs are rounded to {_name} ({_bits} significant bits) before the products.",
            "Ask for full float32 products: allow_tf32=False, precision='highest', no autocast.",
            TF32,
        ),
        before(lambda call, bits=_bits, grid=_grid: _operands(call, bits, grid)),
    )
    FAMILY.add(
        AFFINE,
        Kind(
            f"weights in {_name}",
            f"The weights are rounded to {_name} ({_bits} significant bits); inputs are not.",
            "Keep the weights in float32.",
            TF32,
        ),
        before(lambda call, grid=_grid: replace(call, w=grid(call.w))),
    )
    FAMILY.add(
        AFFINE,
        Kind(
            f"inputs in {_name}",
            f"The layer's inputs are rounded to {_name} ({_bits} significant bits); its weights are not.",
            "Keep activations in float32.",
            TF32,
        ),
        before(lambda call, bits=_bits, grid=_grid: replace(call, x=rounded(call.x, bits, grid))),
    )
    if _name.startswith("TF32"):
        continue  # a format of operands alone: nothing is stored or added in it
    FAMILY.add(
        AFFINE,
        Kind(
            f"result in {_name}",
            f"The layer's output is rounded to {_name} ({_bits} significant bits).",
            "Keep activations in float32.",
            TF32,
        ),
        after(lambda y, call, bits=_bits, grid=_grid: _result(y, bits, grid)),
        tier=1,
    )
    FAMILY.add(
        AFFINE,
        Kind(
            f"operands and result in {_name}",
            f"The layer runs in {_name}: operands and result are rounded to it, sums are wider.",
            "Switch off autocast and mixed precision; load the model in float32.",
            TF32,
        ),
        _narrow(_bits, _grid),
        tier=1,
    )
    _unit = 2.0 ** (1 - _bits if "cut" in _name else -_bits)
    FAMILY.add(
        [layer.name for layer in LAYERS if isinstance(layer, Affine) and (layer.terms + 2) * _unit < 1],
        Kind(
            f"everything in {_name}",
            f"The layer runs in {_name}, its sums as well: each addition rounds to {_bits} bits.",
            "Load the model in float32, or ask for float32 accumulation.",
            TF32,
        ),
        instead(lambda call, unit=_unit, bits=_bits, grid=_grid: _sums(call, unit, bits, grid)),
        tier=2,
    )


def single(x: Array) -> Array:
    """Nearest float32."""
    return x.astype(np.float32).astype(np.float64)


@FAMILY.instead(
    AFFINE,
    Kind(
        "float32 in a float64 port",
        "The layer is computed or stored in float32, and the port claims float64.",
        "Cast the weights and the images to float64 before they are used.",
        WIDE,
    ),
)
def _(call: Call) -> Bounded:
    if call.dtype == "float32":
        raise ValueError("the port claims no more than float32")
    y = right(replace(call, dtype="float32"))
    return Gridded(single(y.value), y.error + 2.0**-24 * np.abs(y.value), single)


FLOAT64 = Kind(
    "float64 where float32 was meant",
    "The values have more digits than float32 holds: something widened them, such as a NumPy default.",
    "Make weights, images and constants float32: np.float32(...), dtype=np.float32.",
    WIDE,
)
