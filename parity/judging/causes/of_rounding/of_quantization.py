"""Mistakes of quantization: zero points and scales, how a value becomes an integer, and its range."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from parity.arithmetic import Array, Bounded, Number
from parity.graph import Node
from parity.judging.causes.mistake import (
    Changed,
    Inputs,
    Mistake,
    Seen,
    first,
    given,
    made_in,
    second,
    with_input,
)
from parity.judging.causes.of_places.of_selection import half_away
from parity.operators.elementwise import Identity
from parity.operators.quantization import DequantizeLinear, QuantizeLinear

ROUNDINGS: dict[str, Callable[[Array], Array]] = {
    "cut off towards zero": np.trunc,
    "rounded down": np.floor,
    "rounded up": np.ceil,
    "halves rounded away from zero": half_away,
}


@made_in("QuantizeLinear", "DequantizeLinear")
def parameters(operator: Any, seen: Seen) -> Iterator[Mistake]:
    x, scale, zero = first(seen.inputs), second(seen.inputs), given(seen.inputs, 2)
    if zero is not None and zero.comparable.astype(np.float64).any():
        yield Mistake(
            "zero point left out",
            "The values are scaled, but not moved by the zero point.",
            "Add the zero point when a value is quantized, and subtract it when it is read back.",
            with_input(operator, 2, lambda z: z.move(np.zeros_like)),
        )
    if scale.size > 1 and not operator.block_size:
        yield Mistake(
            "the first scale for all channels",
            "There is one scale for each channel; the first is used for all of them.",
            "Use each channel's own scale.",
            with_input(operator, 1, lambda s: s.move(lambda a: np.full_like(a, a.flat[0]))),
        )
        for axis in range(x.ndim):
            if axis != operator.axis % x.ndim and x.shape[axis] == scale.size:
                yield Mistake(
                    f"scales along axis {axis} for {operator.axis}",
                    "The scales of the channels are those of another axis.",
                    f"Use axis {operator.axis}.",
                    replace(operator, axis=axis),
                )


@made_in("QuantizeLinear")
def roundings(operator: QuantizeLinear, seen: Seen) -> Iterator[Mistake]:
    for name, rounding in ROUNDINGS.items():
        yield Mistake(
            f"{name}, not to the nearest",
            "A cast cuts off; C's round() takes halves away from zero. The standard takes the nearest "
            "integer, and of two the even one.",
            "Use np.rint, torch.round or nearbyint.",
            Changed(operator, lambda inputs, rounding=rounding: _rounded(operator, inputs, rounding)),  # type: ignore[misc]
        )
    form = operator.kind(second(seen.inputs), given(seen.inputs, 2))
    ranges = {"int8": {"-127 to 127": (-127, 127), "-64 to 63": (-64, 63)}, "uint8": {"0 to 127": (0, 127)}}
    for name, (low, high) in ranges.get(form.name, {}).items():
        yield Mistake(
            f"range {name} for that of {form.name}",
            "The integers are cut off at other ends: symmetric, or in 7 bits (reduce_range).",
            f"Use all numbers of {form.name}.",
            Changed(operator, after=_cut_off(low, high)),
        )


def _cut_off(low: int, high: int) -> Callable[[Number, Inputs], Number]:
    return lambda y, inputs: y.move(lambda a: a.clip(low, high))


def _rounded(
    operator: QuantizeLinear, inputs: list[Number | None], rounding: Callable[[Array], Array]
) -> list[Number | None]:
    """The inputs with x at the integer that `rounding` takes, of the quotient in float32; x must be known."""
    x, scale = inputs[:2]
    if not isinstance(x, Bounded) or x.error is not None or scale is None:
        return inputs
    each = operator.spread(scale, x).comparable.astype(np.float32)
    steps = rounding(x.value.astype(np.float32) / each)
    return [Bounded(steps * each.astype(np.float64), None, x.format), *inputs[1:]]


@made_in("DequantizeLinear")
def reading(operator: DequantizeLinear, seen: Seen) -> Iterator[Mistake]:
    zero = given(seen.inputs, 2)
    if zero is None or not zero.comparable.astype(np.float64).any():
        return

    def behind(y: Number, inputs: Inputs) -> Number:
        moved = inputs[2]
        assert moved is not None
        return y - operator.spread(moved, y).move(lambda a: a.astype(np.float64))

    yield Mistake(
        "zero point subtracted behind the scale",
        "The integer is multiplied by the scale first.",
        "Subtract the zero point from the integer.",
        Changed(operator, lambda inputs: inputs[:2], behind),
    )


def unquantized(nodes: tuple[Node, ...]) -> Iterator[dict[int, Mistake]]:
    """Values that stay floats where they are quantized and read back: at all such places, and at each."""
    said = Mistake(
        "not quantized: QuantizeLinear and DequantizeLinear left out",
        "The values stay floats, as in a model before quantization.",
        "Quantize them, or judge against the model before quantization.",
        Identity(),
    )
    maker = {node.outputs[0]: place for place, node in enumerate(nodes) if node.type == "QuantizeLinear"}
    pairs = [
        {
            maker[node.inputs[0]]: replace(said, inputs=nodes[maker[node.inputs[0]]].inputs[:1]),
            place: replace(said, inputs=node.inputs[:1]),
        }
        for place, node in enumerate(nodes)
        if node.type == "DequantizeLinear" and node.inputs[0] in maker
    ]
    if len(pairs) > 1:
        yield {place: one for pair in pairs for place, one in pair.items()}
    yield from pairs
