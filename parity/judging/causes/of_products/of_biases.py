"""Mistakes of a bias: missing, doubled, after the activation, in another order, of another layer."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from parity.arithmetic import Array, Number
from parity.judging.causes.mistake import Mistake, Seen, first, given, made_in, second, with_input
from parity.judging.causes.of_places.of_layout import in_words, ranked
from parity.judging.causes.of_products.of_channels import orders
from parity.operators.affine import Conv, ConvTranspose, Gemm

Biased = Conv | ConvTranspose | Gemm


@made_in("Conv", "ConvTranspose", "Gemm")
def biases(operator: Biased, seen: Seen) -> Iterator[Mistake]:
    b = given(seen.inputs, 2)
    if b is None:
        return
    yield Mistake(
        "bias missing",
        "The bias is not added.",
        "Copy the bias, too (`use_bias=True`).",
        with_input(operator, 2, lambda b: b.move(np.zeros_like)),
    )
    yield Mistake(
        "bias doubled",
        "The bias is added twice.",
        "Add it once.",
        with_input(operator, 2, lambda b: b * 2.0),
    )
    yield Mistake(
        "bias subtracted",
        "The bias is subtracted, not added.",
        "Add it.",
        with_input(operator, 2, lambda b: -b),
    )
    if b.ndim != 1:
        return
    known = [order for _, order in orders(b.size)]
    for words, order in orders(b.size):
        yield _reordered(operator, f"bias {words}", order)
    shown = _read_off(operator, seen, b)
    if shown is not None and not any((shown == one).all() for one in (*known, np.arange(b.size))):
        yield replace(_reordered(operator, f"bias {in_words(shown)}", shown), wider=True)


def _reordered(operator: Biased, name: str, order: Array) -> Mistake:
    return Mistake(
        name,
        "The values of the bias are in another order than the channels.",
        "Keep the order of the reference's bias.",
        with_input(operator, 2, lambda b: b.move(lambda a: a[order])),
    )


def _read_off(operator: Biased, seen: Seen, b: Number) -> Array | None:
    """The order of the bias, as the candidate's values show it."""
    if seen.found is None:
        return None
    x, w = first(seen.inputs), second(seen.inputs)
    y = operator.evaluate(x, w)
    if y.shape != seen.found.shape or seen.found.shape[1] != b.size:
        return None
    others = tuple(k for k in range(y.ndim) if k != 1)
    added = np.median(seen.found.astype(np.float64) - y.comparable, others)
    return ranked(added, b.comparable)
