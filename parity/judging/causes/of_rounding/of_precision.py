"""Mistakes of precision: operands, weights, sums or results in a shorter format."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from parity.arithmetic import Array, Bounded, Looped, Number
from parity.arithmetic.floats import BFLOAT16, FLOAT16, TF32, Format, format_of
from parity.judging.causes.mistake import Changed, Inputs, Mistake, Seen, made_in, second, with_input
from parity.operators import Operator
from parity.operators.operator import Points

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum")
SHORTER = (TF32, BFLOAT16, FLOAT16)
NAMES = {"tf32": "TF32", "bfloat16": "bfloat16", "float16": "float16"}
LEVELS = (127, 127.5, 128)  # of a signed 8-bit integer, on each side of zero: libraries differ
ENABLED = (
    "PyTorch: torch.set_float32_matmul_precision('highest') and "
    "torch.backends.cudnn.allow_tf32 = False; JAX: jax_default_matmul_precision='highest'."
)
# They differ below 6.1e-5, where float16 has fewer, and above 65504, where it ends.
EQUALLY_LONG = "with 10 bits of fraction: TF32 or float16"
AUTOCAST = "Keep activations in float32; switch autocast off."

Change = Callable[[Number], Number]


def shortened(form: Format) -> Change:
    """Rounds to a format; where a value is not known well enough, to any of the numbers that it may give."""

    def change(a: Array) -> Array:
        return a if format_of(a) is None else form.round(a).astype(a.dtype)

    def shorten(x: Number) -> Number:
        if not isinstance(x, Bounded) or x.error is None or format_of(x.value) is None:
            return x.move(change)
        value = x.value.astype(np.float64)
        near, low, high = (
            form.round(a).astype(np.float64) for a in (value, value - x.error, value + x.error)
        )
        with np.errstate(invalid="ignore"):
            error = np.maximum(high - near, near - low)
        error = np.where((high == near) & (low == near), 0.0, error)
        return Bounded(near, error, x.format)

    return shorten


def _all(short: Change, places: int) -> Callable[[list[Number | None]], list[Number | None]]:
    """Shortens so many of the inputs."""
    return lambda inputs: [one if one is None or k >= places else short(one) for k, one in enumerate(inputs)]


@made_in(*PRODUCTS)
def operands(operator: Any, seen: Seen) -> Iterator[Mistake]:
    for form in SHORTER:
        name, short = NAMES[form.name], shortened(form)
        alike = EQUALLY_LONG if form in (TF32, FLOAT16) else ""
        yield Mistake(
            f"operands rounded to {name}",
            "Both factors of the products are rounded before they are multiplied: tensor cores do so by "
            "default.",
            ENABLED,
            Changed(operator, _all(short, 2)),
            "pytorch/pytorch#107514",
            alike=alike and f"operands {alike}",
        )
        yield Mistake(
            f"input rounded to {name}",
            "The first factor of the products is rounded, the weights are not.",
            ENABLED,
            with_input(operator, 0, short),
            alike=alike and f"input {alike}",
        )
    for form in (FLOAT16, BFLOAT16):
        name, short = NAMES[form.name], shortened(form)
        yield Mistake(
            f"weights rounded to {name}",
            f"The weights are stored in {name}, or went through it.",
            "Keep the weights in float32.",
            with_input(operator, 1, short),
        )


def _half(form: Format) -> Callable[[list[Number | None]], list[Number | None]]:
    """Rounds both factors, and the bias or not."""
    short = shortened(form)

    def change(inputs: list[Number | None]) -> list[Number | None]:
        factors = _all(short, 2)(inputs)
        return [one if k < 2 or one is None else one.either(short(one)) for k, one in enumerate(factors)]

    return change


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


# --- the whole stretch -------------------------------------------------------------------------


def whole_stretch(operator: Any, found: Array) -> Iterator[Mistake]:
    """A shorter format in all products, or from the inputs on: then the values are numbers of it.

    Args:
        operator: the stretch that computes the tensor.
        found: the candidate's values.
    """
    own = format_of(found)
    for form in (BFLOAT16, FLOAT16):
        name = NAMES[form.name]
        if own is None or own.digits <= form.digits:
            continue
        is_in = are_in(found, form)
        if is_in or operator.nodes[-1].type not in PRODUCTS:
            yield Mistake(
                f"products in {name}, added up in float32 (half precision, autocast)",
                f"The products are computed from {name} operands, added up in float32, then rounded.",
                AUTOCAST,
                _autocast(operator, form),
                read_off=is_in,
                wider=not is_in,
            )
        if not is_in:
            continue
        yield Mistake(
            f"result rounded to {name}",
            f"The values went through {name}: all of them are numbers of this format.",
            AUTOCAST,
            Changed(operator, after=lambda y, inputs, form=form: shortened(form)(y)),  # type: ignore[misc]
            read_off=True,
        )
        short = Changed(
            operator,
            lambda inputs, form=form: _all(shortened(form), len(inputs))(inputs),  # type: ignore[misc]
            lambda y, inputs, form=form: shortened(form)(y),  # type: ignore[misc]
        )
        yield Mistake(
            f"computed from {name} values, and rounded to {name}",
            f"Inputs, weights and result are numbers of {name}; what is in between is float32.",
            AUTOCAST,
            short,
            read_off=True,
            wider=True,
        )
        yield Mistake(
            f"computed in {name}",
            f"Sums and results are numbers of {name}; inputs and weights may be, too.",
            "Call .float() on the model and its inputs.",
            InFormat(operator, form),
            read_off=True,
            wider=True,
        )


def _autocast(stretch: Any, form: Format) -> Operator:
    """A stretch with operands and results of all products in a shorter format."""
    nodes = [
        replace(
            node,
            operator=Changed(node.operator, _half(form), lambda y, inputs: shortened(form)(y)),
        )
        if node.type in PRODUCTS
        else node
        for node in stretch.nodes
    ]
    return replace(stretch, nodes=tuple(nodes))


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


def are_in(found: Array, form: Format) -> bool:
    """Whether all values are numbers of a format, and not so round that those of any format are."""
    wide = found.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        short = form.round(wide).astype(np.float64)
    return bool(np.array_equal(short, wide, equal_nan=True))


def _overflowed(y: Number, form: Format) -> Any:
    """y, infinite where it is too large for the format."""
    if not isinstance(y, Bounded):
        return y
    value = y.value.astype(np.float64)
    near = np.where(np.isinf(y.bound), 0.0, y.bound)
    surely = np.abs(value) - near > form.largest * (1 + form.u)
    return Bounded(np.where(surely, np.sign(value) * np.inf, value), y.error, y.format)
