"""Mistakes of attention before its products: exchanged inputs, heads split or shared in another order."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from parity.arithmetic import Array, Number
from parity.judging.causes.mistake import Changed, Mistake, Seen, first, given, made_in
from parity.operators.attention import Attention

Change = Callable[[list[Number | None]], list[Number | None]]
MOST = 64  # heads that are tried


@made_in("Attention")
def exchanged(operator: Attention, seen: Seen) -> Iterator[Mistake]:
    q, k, v = seen.inputs[:3]
    assert q is not None
    assert k is not None
    assert v is not None
    for name, order, fits in (
        ("queries and keys exchanged", (1, 0, 2), q.shape == k.shape),
        ("keys and values exchanged", (0, 2, 1), k.shape == v.shape),
        ("queries and values exchanged", (2, 1, 0), q.shape == v.shape),
    ):
        if fits:
            yield Mistake(
                name,
                "The projections are taken in another order.",
                "Pass query, key, value.",
                Changed(operator, _in_order(order)),
            )


def _in_order(order: tuple[int, ...]) -> Change:
    return lambda inputs: [*(inputs[k] for k in order), *inputs[3:]]


@made_in("Attention")
def head_orders(operator: Attention, seen: Seen) -> Iterator[Mistake]:
    q, k = first(seen.inputs), first(seen.inputs[1:])
    flat = q.ndim == 3
    heads, shared = (operator.q_num_heads, operator.kv_num_heads) if flat else (q.shape[1], k.shape[1])
    groups = heads // max(shared, 1)
    if groups > 1 and shared > 1 and given(seen.inputs, 4) is None:
        axis = 2 if flat else 1
        times = tuple(groups if place == axis else 1 for place in range(q.ndim))

        def tiled(inputs: list[Number | None]) -> list[Number | None]:
            k, v = (first(inputs[place:]).move(lambda a: np.tile(a, times)) for place in (1, 2))
            return [inputs[0], k, v, *inputs[3:]]

        yield Mistake(
            "keys and values tiled, not repeated",
            "Query heads share keys and values in the order 0, 1, 0, 1, not in groups: 0, 0, 1, 1.",
            "Use repeat_interleave (np.repeat), not repeat (np.tile).",
            Changed(replace(operator, kv_num_heads=heads if flat else 0), tiled),
        )
    if flat and heads == shared > 1:
        yield from _split_otherwise(operator, heads)
    if flat and heads == shared:
        yield from _other_numbers(operator, q.shape[-1])


def _other_numbers(operator: Attention, size: int) -> Iterator[Mistake]:
    """As many values altogether, in more heads or in fewer."""
    right = operator.q_num_heads
    for heads in range(1, min(size, MOST) + 1):
        if size % heads == 0 and heads != right:
            yield Mistake(
                f"heads: {heads} for {right}",
                f"The last axis is split into {heads} heads of {size // heads} values each.",
                f"Pass num_heads={right}.",
                replace(operator, q_num_heads=heads, kv_num_heads=heads),
            )


def _split_otherwise(operator: Attention, heads: int) -> Iterator[Mistake]:
    """(B, S, H·D) read as (B, S, D, H), or as (B, H, S, D) without a transpose."""

    def columns(a: Array) -> Array:
        return a.reshape(*a.shape[:2], -1, heads).swapaxes(2, 3).reshape(a.shape)

    def back(a: Array) -> Array:
        return a.reshape(*a.shape[:2], heads, -1).swapaxes(2, 3).reshape(a.shape)

    def as_rows(a: Array) -> Array:
        return a.reshape(a.shape[0], heads, a.shape[1], -1).swapaxes(1, 2).reshape(a.shape)

    def from_rows(a: Array) -> Array:
        return a.reshape(*a.shape[:2], heads, -1).swapaxes(1, 2).reshape(a.shape)

    def all_three(change: Callable[[Array], Array]) -> Change:
        return lambda inputs: [
            *(None if one is None else one.move(change) for one in inputs[:3]),
            *inputs[3:],
        ]

    for name, change, undo in (
        ("heads taken from every n-th value", columns, back),
        ("heads reshaped, not transposed", as_rows, from_rows),
    ):
        back_again: dict[str, Any] = {
            name: lambda y, _, undo=undo: y.move(undo),
            f"{name}, on the way in alone": None,
        }
        for said, after in back_again.items():
            yield Mistake(
                said,
                "The last axis holds head after head; the heads are split off in another order.",
                "Reshape to (batch, length, heads, size), then exchange length and heads.",
                Changed(operator, all_three(change), after),
            )
