"""Products, sums and results in half precision: then the values are numbers of a shorter format."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from parity.arithmetic import Array, Number
from parity.arithmetic.floats import BFLOAT16, FLOAT16, TF32, Format, format_of
from parity.arithmetic.rounding_modes import CUT_BFLOAT16
from parity.judging.causes.mistake import Changed, Inputs, Mistake, Seen, first, given, made_in
from parity.judging.causes.of_rounding.in_format import InFormat, Overflowing
from parity.judging.causes.of_rounding.of_precision import AUTOCAST, PRODUCTS, REPORTED, all_of
from parity.judging.causes.of_rounding.shortened import (
    EQUALLY_LONG,
    Change,
    are_in,
    name_of,
    or_tf32,
    rounded_to,
    shortened,
)
from parity.operators import Operator

HALVES = (BFLOAT16, FLOAT16)  # a number of the first is one of the second, unless that ends before
HALF = (*HALVES, CUT_BFLOAT16)
ADDED = ("Conv", "ConvTranspose", "Gemm")  # products that may have a bias


def whole_stretch(operator: Any, found: Array) -> Iterator[Mistake]:
    """A shorter format in all products, or from the inputs on: then the values are numbers of it.

    Args:
        operator: the stretch that computes the tensor.
        found: the candidate's values.
    """
    own, nodes = format_of(found), operator.nodes
    if own is not None and own.digits > TF32.digits and are_in(found, TF32):
        yield rounded_result(operator, TF32)
    for form in HALF:
        if own is None or own.digits <= form.digits:
            continue
        is_in = are_in(found, form)
        products = {k: in_products(one.operator, form) for k, one in enumerate(nodes) if one.type in PRODUCTS}
        if products and (is_in or nodes[-1].type not in PRODUCTS):
            yield _at_each(operator, products, read_off=is_in, wider=not is_in)
        if not is_in:
            continue
        biased = {
            k: one.operator for k, one in enumerate(nodes) if one.type in ADDED and given(one.inputs, 2)
        }
        for product in ways(form) if biased else ():
            sums = {k: in_sums(one, form, product) for k, one in biased.items()}
            yield _at_each(operator, {**products, **sums}, read_off=True, wider=product is not form)
        yield from of_results(operator, form)


def _at_each(stretch: Any, made: dict[int, Mistake], read_off: bool, wider: bool) -> Mistake:
    """The stretch, some nodes of which make a mistake that has the name of the last one."""
    known = made[max(made)]
    return replace(known, operator=stretch.with_mistakes(made), read_off=read_off, wider=wider)


def in_products(operator: Operator, form: Format) -> Mistake:
    """Factors and result of a product in a shorter format, as under autocast; its sums are not."""
    name = name_of(form)
    return Mistake(
        f"products in {name}, added up in float32 (half precision, autocast)",
        f"The products are computed from {name} operands, added up in float32, then rounded.",
        AUTOCAST,
        Changed(operator, _half(form), lambda y, inputs: shortened(form)(y)),
        REPORTED,
        read_off=True,
    )


def _half(form: Format) -> Callable[[list[Number | None]], list[Number | None]]:
    """Rounds both factors, and the bias or not."""
    short = shortened(form)

    def change(inputs: list[Number | None]) -> list[Number | None]:
        factors = all_of(short, 2)(inputs)
        return [one if k < 2 or one is None else one.either(short(one)) for k, one in enumerate(factors)]

    return change


def ways(form: Format) -> tuple[Format, ...]:
    """How a product in a format may be rounded before its bias is added."""
    return (form, CUT_BFLOAT16) if form is BFLOAT16 else (form,)


def in_sums(operator: Operator, form: Format, product: Format) -> Mistake:
    """The same, but a product is rounded before its bias is added, and their sum once more.

    Args:
        operator: a product with a bias.
        form: the shorter format.
        product: how the product is rounded: TensorFlow cuts it off in bfloat16 on some processors.
    """
    short = shortened(form)

    def added(y: Number, inputs: Inputs) -> Number:
        return short(shortened(product)(y) + _bias(operator, y, inputs, short))

    return Mistake(
        f"operands, product and result {rounded_to(form)}",
        f"The layer runs in {name_of(form)}: it rounds the operands, the product, and the sum with the bias.",
        "Turn off mixed precision: Keras' policy 'float32', not 'mixed_bfloat16' or 'mixed_float16'.",
        Changed(operator, lambda inputs: _without_bias(all_of(short, 2)(inputs)), added),
        "keras-team/keras#19332",
        read_off=True,
        wider=product is not form,
    )


def _without_bias(inputs: Inputs) -> list[Number | None]:
    x, w, b = inputs[:3]
    return [x, w, None if b is None else b.move(np.zeros_like)]


def _bias(operator: Any, y: Number, inputs: Inputs, change: Change) -> Number:
    """What is added to a product, in its shape."""
    b = given(inputs, 2)
    assert b is not None
    if b.ndim == 1:
        b = b.reshape(-1, *[1] * (y.ndim - 2))
    beta = getattr(operator, "beta", 1.0)
    return change(b) if beta == 1 else change(b) * beta


@made_in(*ADDED)
def products_alone(operator: Any, seen: Seen) -> Iterator[Mistake]:
    """A product in a shorter format, to which the bias is added in the candidate's own."""
    if seen.found is None or given(seen.inputs, 2) is None or (own := format_of(seen.found)) is None:
        return
    found = first(seen.inputs).like(seen.found)
    bias = _bias(operator, found, seen.inputs, _same).comparable
    forms = [form for form in HALVES if own.digits > form.digits]
    form = next((form for form in forms if _is_sum(seen.found, np.asarray(bias), form, own)), None)
    if form is None:
        return
    name, short = name_of(form), shortened(form)
    ways: dict[str, Operator] = {
        f"product in {name}, added up in float32": Changed(operator, _half(form)),
        f"product {rounded_to(form)}": operator,
        f"product added up in {name}": InFormat(operator, form),
    }
    for words, one in ways.items():
        yield Mistake(
            f"{words}, the bias added in float32",
            f"Without its bias, every value is a number of {name}: the product is computed in it, or goes "
            "through it.",
            AUTOCAST,
            Changed(one, _without_bias, lambda y, inputs: short(y) + _bias(operator, y, inputs, _same)),
            read_off=True,
            wider=isinstance(one, InFormat),
        )


def _same(x: Number) -> Number:
    return x


def _is_sum(found: Array, bias: Array, form: Format, own: Format) -> bool:
    """Whether values are numbers of a format with a bias added in their own, which shows in most of them."""
    wide = found.astype(np.float64)
    product = wide - bias
    rest = np.abs(product - form.round(product).astype(np.float64))
    rounding = own.u * (np.abs(wide) + np.abs(product)) + own.smallest
    tells = form.u * np.abs(product) > 4 * rounding
    return bool((rest <= rounding).all() and 2 * tells.sum() > found.size and (bias != 0).any())


def of_results(operator: Operator, form: Format) -> Iterator[Mistake]:
    """Of which all values are numbers of a format: it is that which shows them.

    Args:
        operator: any, or a stretch of several.
        form: the format.
    """
    name, short = name_of(form), shortened(form)
    yield rounded_result(operator, form)
    yield Mistake(
        f"computed from {name} values, and {rounded_to(form)}",
        f"Inputs, weights and result are numbers of {name}; what is in between is float32.",
        AUTOCAST,
        Changed(operator, lambda inputs: all_of(short, len(inputs))(inputs), lambda y, inputs: short(y)),
        REPORTED,
        read_off=True,
        wider=True,
    )
    yield in_format(operator, form)
    if form is FLOAT16:
        yield overflowing(operator)


def rounded_result(operator: Operator, form: Format) -> Mistake:
    """The right result, rounded to a shorter format."""
    return Mistake(
        f"result {rounded_to(form)}",
        f"The values went through {name_of(form)}{or_tf32(form)}: all of them are numbers of this format.",
        AUTOCAST,
        Changed(operator, after=lambda y, inputs: shortened(form)(y)),
        REPORTED,
        read_off=True,
        alike=f"result {EQUALLY_LONG}" if form in (TF32, FLOAT16) else "",
    )


def in_format(operator: Operator, form: Format) -> Mistake:
    """Everything in a shorter format: each addition rounds to it."""
    name = name_of(form)
    return Mistake(
        f"computed in {name}",
        f"Sums and results are numbers of {name}; inputs and weights may be, too.",
        "Call .float() on the model and its inputs.",
        InFormat(operator, form),
        REPORTED,
        read_off=True,
        wider=True,
    )


def overflowing(operator: Operator) -> Mistake:
    """The same in float16, with a value on the way that is too large for it."""
    return Mistake(
        "computed in float16, with an overflow on the way",
        "A square, a power or a product is beyond 65504, the largest number of float16: infinity, and then "
        "the zeros and NaNs that come of it.",
        "Compute this in float32 (in PyTorch, outside of autocast), or make its input smaller.",
        Overflowing(operator, FLOAT16),
        "apple/coremltools#2110",
        read_off=True,
        wider=True,
    )
