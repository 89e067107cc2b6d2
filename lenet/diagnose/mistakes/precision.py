"""Mistakes of precision whose evidence is a coarse format: what `parity` knows of them, and what is LeNet's.

Rounded operands and parameters are among the mistakes of each operator (`of_operators`): they are known
exactly, and the bound is float32's. If a *result* is rounded to a coarse format, the bound is that format's,
and it contains the right value too. The evidence is then that every value is a number of the coarse format,
and the right values are not.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from lenet.diagnose.mistakes.base import Family, Kind, case, of_parity
from lenet.diagnose.mistakes.wrong_forward import (
    STAGES,
    Call,
    Change,
    Compute,
    Gridded,
    of_type,
    right,
)
from lenet.network.architecture import LAYERS
from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import BFLOAT16, FLOAT16, FLOAT32, TF32, Format
from parity.arithmetic.rounding_modes import AWAY_TF32, CUT_BFLOAT16, CUT_TF32
from parity.judging.causes.mistake import Mistake as Known
from parity.judging.causes.of_rounding.of_half_precision import (
    HALF,
    in_format,
    in_products,
    in_sums,
    rounded_result,
    ways,
)
from parity.judging.causes.of_rounding.shortened import shortened
from parity.operators import Operator
from parity.operators.activation import Relu
from parity.operators.affine import Conv, Gemm
from parity.operators.pooling import MaxPool
from parity.operators.shape import Flatten

FAMILY = Family()
AFFINE = of_type(Conv, Gemm)
GROUPS = (AFFINE, of_type(Conv), of_type(Gemm))  # cuDNN and cuBLAS have separate switches
SELECTING = of_type(Relu, MaxPool, Flatten)
# What is read off is the last one that fits: float16 before TF32, which has all of its numbers.
FORMATS = (CUT_TF32, AWAY_TF32, TF32, CUT_BFLOAT16, BFLOAT16, FLOAT16)

WIDE = case("geomstats/geomstats", 775)


def to_bits(x: Array, bits: int) -> Array:
    """x rounded to `bits` significant bits, to nearest, ties to even."""
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits)


def rounded(x: Bounded, form: Format) -> Bounded:
    """x rounded to a coarse format. Rounding is monotone, so for x known to within e, the result lies between
    the roundings of x − e and x + e, which are mostly equal."""
    y = shortened(form)(x)
    assert isinstance(y, Bounded)
    return y


def gridded(value: Array, error: Array, form: Format) -> Gridded:
    """Values that are numbers of a format, within an error."""
    return Gridded(
        value,
        error,
        grid=lambda x: form.round(x).astype(np.float64),
        coarser=lambda x: to_bits(x, form.digits - 1),
    )


def half_spacing(x: Bounded, form: Format) -> Array:
    """Half of the distance of two numbers of a format near these values; rounding moves them by no more."""
    size = np.maximum(np.abs(x.value) + x.bound, form.smallest)  # the exponent of zero would be that of 1
    _, exponent = np.frexp(size)
    return np.maximum(np.ldexp(1.01, exponent - form.digits - 1), form.smallest / 2)


Make = Callable[[Operator], Known]  # a mistake of parity's catalogue in an operator


def _changed(make: Make, form: Format) -> Change:
    """A mistake in the operator of any layer, whose result is a number of a format."""

    def change(compute: Compute) -> Compute:
        def wrong(call: Call) -> Bounded:
            y = compute(call.with_mistake(make(STAGES[call.layer.name].operator).operator))
            return gridded(y.value, y.bound, form)

        return wrong

    return change


def _of_products(form: Format) -> Iterator[Make]:
    yield lambda operator: in_products(operator, form)
    for product in ways(form):
        yield lambda operator, product=product: in_sums(operator, form, product)  # type: ignore[misc]


for _form in HALF:
    _result, _round = partial(rounded_result, form=_form), partial(_changed, form=_form)
    _kind = of_parity(_result(LAYERS[0].operator))
    for _stage in SELECTING:  # rounding the operands of the next layer is the same function
        FAMILY.add([_stage], _kind, _round(_result), told_by=_stage)
    FAMILY.add_groups(GROUPS, _kind, _round(_result), tier=1)
    for _make in _of_products(_form):
        FAMILY.add_groups(GROUPS, of_parity(_make(LAYERS[0].operator)), _round(_make), tier=1)
    _make = partial(in_format, form=_form)
    FAMILY.add(
        # In longer sums of so few bits, rounding can make anything of a value.
        [layer.name for layer in LAYERS if layer.affine and (layer.terms + 2) * _form.u < 1],
        of_parity(_make(LAYERS[0].operator)),
        _round(_make),
        tier=2,
    )


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
    return gridded(FLOAT32.round(y.value).astype(np.float64), error, FLOAT32)


FLOAT64 = Kind(
    "float64 where float32 was meant",
    "The values have more digits than float32 holds, perhaps because of a NumPy default.",
    'Write DTYPE = "float64" into the file, to be judged by its smaller bounds; or make weights, images and '
    "constants float32: np.float32(...), dtype=np.float32.",
    WIDE,
    valid=True,
)
