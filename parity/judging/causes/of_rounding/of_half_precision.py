"""Products, sums and results in half precision: then the values are numbers of a shorter format."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from parity.arithmetic import Array, Bounded, Looped, Number
from parity.arithmetic.floats import BFLOAT16, FLOAT16, Format, format_of
from parity.arithmetic.rounding_modes import CUT_BFLOAT16
from parity.judging.causes.mistake import Changed, Inputs, Mistake, given
from parity.judging.causes.of_rounding.of_precision import AUTOCAST, PRODUCTS, REPORTED, all_of
from parity.judging.causes.of_rounding.shortened import are_in, name_of, rounded_to, shortened
from parity.operators import Operator
from parity.operators.operator import Points

HALF = (BFLOAT16, FLOAT16, CUT_BFLOAT16)
ADDED = ("Conv", "ConvTranspose", "Gemm")  # products that may have a bias


def whole_stretch(operator: Any, found: Array) -> Iterator[Mistake]:
    """A shorter format in all products, or from the inputs on: then the values are numbers of it.

    Args:
        operator: the stretch that computes the tensor.
        found: the candidate's values.
    """
    own, nodes = format_of(found), operator.nodes
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

    def without(inputs: list[Number | None]) -> list[Number | None]:
        x, w, b, *_ = all_of(short, 2)(inputs)
        return [x, w, None if b is None else b.move(np.zeros_like)]

    def added(y: Number, inputs: Inputs) -> Number:
        b = given(inputs, 2)
        assert b is not None
        if b.ndim == 1:
            b = b.reshape(-1, *[1] * (y.ndim - 2))
        beta = getattr(operator, "beta", 1.0)
        return short(shortened(product)(y) + (short(b) if beta == 1 else short(b) * beta))

    return Mistake(
        f"operands, product and result {rounded_to(form)}",
        f"The layer runs in {name_of(form)}: it rounds the operands, the product, and the sum with the bias.",
        "Turn off mixed precision: Keras' policy 'float32', not 'mixed_bfloat16' or 'mixed_float16'.",
        Changed(operator, without, added),
        "keras-team/keras#19332",
        read_off=True,
        wider=product is not form,
    )


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


def rounded_result(operator: Operator, form: Format) -> Mistake:
    """The right result, rounded to a shorter format."""
    return Mistake(
        f"result {rounded_to(form)}",
        f"The values went through {name_of(form)}: all of them are numbers of this format.",
        AUTOCAST,
        Changed(operator, after=lambda y, inputs: shortened(form)(y)),
        REPORTED,
        read_off=True,
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


@dataclass(frozen=True)
class InFormat(Operator):
    """An operator that is computed in a shorter format, from inputs that are rounded to it or not.

    Attributes:
        right: the operator.
        form: the format.
    """

    TYPE: ClassVar[str] = "in_format"

    right: Operator
    form: Format

    def evaluate(self, *inputs: Number | None) -> Number | tuple[Number, ...]:
        return self._long(self.right.first(*self._short(inputs)), inputs)

    def sample(self, points: Points, *inputs: Number | None) -> Number:
        return self._long(self.right.sample(points, *self._short(inputs)), inputs)

    def _short(self, inputs: Inputs) -> list[Number | None]:
        return [None if x is None else self._rounded(x) for x in inputs]

    def _rounded(self, x: Number) -> Number:
        assert isinstance(x, Bounded | Looped)
        if format_of(x.value) is None:
            return replace(x, format=self.form)
        value = self.form.round(x.value).astype(x.value.dtype)
        if isinstance(x, Looped):
            return replace(x, value=value, format=self.form)
        error = x.bound + np.abs(value.astype(np.float64) - x.value.astype(np.float64))
        return Bounded(value, error, self.form)

    def _long(self, y: Number, inputs: Inputs) -> Number:
        """The result in the candidate's format; what is too large for the shorter one is infinite."""
        own = next(x.format for x in inputs if isinstance(x, Bounded | Looped))
        if isinstance(y, Looped):
            return replace(y, value=y.value.astype(own.dtype), format=own)
        assert isinstance(y, Bounded)
        return replace(_overflowed(y, self.form), format=own)


def _overflowed(y: Number, form: Format) -> Any:
    """y, infinite where it is too large for the format."""
    if not isinstance(y, Bounded):
        return y
    value = y.value.astype(np.float64)
    near = np.where(np.isinf(y.bound), 0.0, y.bound)
    surely = np.abs(value) - near > form.largest * (1 + form.u)
    return Bounded(np.where(surely, np.sign(value) * np.inf, value), y.error, y.format)
