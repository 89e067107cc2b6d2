"""Which part of a coarse sum of products loses digits: the inputs, the weights, the bias, or the result."""

from collections.abc import Callable, Iterator, Sequence
from math import floor

import numpy as np

from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import BFLOAT16, FLOAT32
from parity.judging.probes.single_products import SMALL
from parity.operators import Operator

KNOWN = {8: "as bfloat16 does", 11: "as TF32 and float16 do"}
Inputs = Sequence[Array | None]


def lost_digits(operator: Operator, inputs: Inputs, run: Callable[[Inputs], Array]) -> tuple[str, ...]:
    """A line for each part that loses digits; none if these cannot be told apart.

    Args:
        operator: a sum of products in float32.
        inputs: single products: x, weights, and a bias if there is one.
        run: what the candidate computes of such inputs.
    """
    kept = {name: _digits(operator, made, run) for name, made in _parts(*inputs)}
    if kept["result"] < FLOAT32.digits:  # which hides what the operands lose
        kept = {"result": kept["result"]}
    return tuple(
        f"the {name} keeps {digits} of {FLOAT32.digits} binary digits"
        + (f", {KNOWN[digits]}" if digits in KNOWN else "")
        for name, digits in kept.items()
        if digits < FLOAT32.digits - 1
    )


def _parts(x: Array | None, w: Array | None, bias: Array | None = None) -> Iterator[tuple[str, Inputs]]:
    """Inputs of which one part has all digits, and the others are 1, −1 or 0."""
    assert x is not None
    assert w is not None
    nothing = () if bias is None else (np.zeros_like(bias),)
    # Factors with so few digits that every format holds them; their product has twice as many.
    short = (BFLOAT16.round(one).astype(one.dtype) for one in (x, w))
    yield "result", (*short, *nothing)
    yield "input", (x, np.sign(w), *nothing)
    yield "weight", (np.sign(x), w, *nothing)
    if bias is not None:
        yield "bias", (np.zeros_like(x), np.sign(w), bias)


def _digits(operator: Operator, inputs: Inputs, run: Callable[[Inputs], Array]) -> int:
    """How many binary digits of the results are right at least."""
    right = operator.evaluate(*(None if a is None else Bounded(a) for a in inputs))
    assert isinstance(right, Bounded)
    found = run(inputs)
    size = np.abs(right.value)
    some = size > size.max(initial=0) * SMALL**0.5  # float16 has fewer digits for small numbers
    if found.shape != right.shape or not some.any():
        return FLOAT32.digits
    largest = float(np.abs(found[some] / right.value[some] - 1).max())
    if not largest < 1:  # another function, or no number
        return FLOAT32.digits
    return floor(-np.log2(largest)) if largest else FLOAT32.digits
