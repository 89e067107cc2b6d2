"""Mistakes of softmax and of attention: scale, masks, heads, exchanged inputs."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from parity.arithmetic import Array, Number
from parity.judging.causes.mistake import Changed, Inputs, Mistake, Seen, first, given, made_in, with_input
from parity.operators.activation import BELOW, Sigmoid
from parity.operators.attention import Attention
from parity.operators.softmax import LogSoftmax, Softmax

Change = Callable[[list[Number | None]], list[Number | None]]
HIDDEN = -1e3  # what is added to a score that is to count for nothing is lower than this

# --- softmax -----------------------------------------------------------------------------------


@made_in("Softmax", "LogSoftmax")
def softmaxes(operator: Any, seen: Seen) -> Iterator[Mistake]:
    if seen.constant:
        return
    x = first(seen.inputs)
    right = operator.axis % x.ndim
    whole = f"all axes from {operator.axis} on (before opset 13)"
    for axis in range(x.ndim):
        if axis != right or operator.to_the_end:
            yield Mistake(
                f"axis {axis} alone for {whole}"
                if operator.to_the_end
                else f"axis {axis} for {operator.axis}",
                "The shares add up to 1 along another axis.",
                f"Take the shares of {whole}." if operator.to_the_end else f"Pass axis={operator.axis}.",
                replace(operator, axis=axis, to_the_end=False),
            )
    if not operator.to_the_end:
        yield Mistake(
            "softmax over all axes from the axis on",
            "Before opset 13 the tensor is flattened to two axes.",
            "Use opset 13 or later.",
            replace(operator, to_the_end=True),
        )
    if right > 0:
        yield Mistake(
            "softmax over all axes",
            "The shares of the whole tensor add up to 1 (axis=None).",
            f"Pass axis={operator.axis}.",
            replace(operator, axis=0, to_the_end=True),
        )
    if seen.found is not None:
        yield Mistake(
            f"{operator.TYPE} missing",
            "The logits are returned as they are.",
            "Apply the softmax.",
            Changed(operator, after=lambda y, inputs: first(inputs)),
        )
    other = (LogSoftmax if operator.TYPE == "Softmax" else Softmax)(operator.axis, operator.to_the_end)
    yield Mistake(
        f"{other.TYPE} for {operator.TYPE}",
        "One returns shares, the other their logarithms.",
        f"Apply {operator.TYPE}.",
        other,
    )
    yield Mistake(
        f"sigmoid for {operator.TYPE}",
        "Each value gets a probability of its own; they do not add up to 1.",
        f"Apply {operator.TYPE}.",
        Sigmoid(),
    )


@made_in("Softmax")
def scores(operator: Softmax, seen: Seen) -> Iterator[Mistake]:
    """The softmax of attention, if that is what it is: of (..., queries, keys)."""
    x = first(seen.inputs)
    if x.ndim < 3 or operator.axis % x.ndim != x.ndim - 1 or operator.to_the_end:
        return
    queries, keys = x.shape[-2:]
    if queries == 1 or keys == 1:
        return
    later = ~np.tri(queries, keys, keys - queries if keys > queries else 0, dtype=bool)
    low = np.where(later, -1e9, 0.0)
    if later.any() and not (x.comparable[..., later] < HIDDEN).all():
        yield Mistake(
            "causal mask added",
            "Queries do not see later keys.",
            "Leave the mask out: is_causal=False.",
            Changed(operator, lambda inputs: [first(inputs) + first(inputs).like(low)]),
        )
    if queries == keys:
        yield Mistake(
            "queries and keys exchanged",
            "The scores are those of keys for queries: the transpose.",
            "Exchange the two projections.",
            Changed(operator, lambda inputs: [first(inputs).move(lambda a: a.swapaxes(-1, -2))]),
        )


# --- the operator ------------------------------------------------------------------------------


def sizes(operator: Attention, inputs: Inputs) -> tuple[int, int, int, int]:
    """Of one head: its values; and how many query heads, queries, and keys there are."""
    q, k = first(inputs), first(inputs[1:])
    heads = q.shape[1] if q.ndim == 4 else operator.q_num_heads
    return (q.shape[-1] if q.ndim == 4 else q.shape[-1] // heads), heads, q.shape[-2], k.shape[-2]


@made_in("Attention")
def scales(operator: Attention, seen: Seen) -> Iterator[Mistake]:
    size, heads, _, _ = sizes(operator, seen.inputs)
    right = operator.scale or size**-0.5
    options = {
        "scale missing": 1.0,
        "scale 1/d for 1/sqrt(d)": 1 / size,
        "scale applied twice": right * right,
        "scale of all heads together: 1/sqrt(H·d) for 1/sqrt(d)": (heads * size) ** -0.5,
        "scale multiplied, not divided: sqrt(d)": size**0.5,
    }
    seen_before = {f"{right:.9g}"}
    for name, scale in options.items():
        if f"{scale:.9g}" not in seen_before:
            seen_before.add(f"{scale:.9g}")
            yield Mistake(
                name,
                "The scores are multiplied by another factor before the softmax.",
                f"Multiply by {right:g}.",
                replace(operator, scale=scale),
            )
    if operator.softcap:
        yield Mistake(
            "softcap ignored",
            "The scores are not limited by a tanh.",
            f"Pass softcap={operator.softcap:g}.",
            replace(operator, softcap=0.0),
        )
    if operator.left_window_size >= 0 or operator.right_window_size >= 0:
        yield Mistake(
            "window ignored",
            "Queries see all keys.",
            "Pass the sizes of the window.",
            replace(operator, left_window_size=-1, right_window_size=-1),
        )


def _number(inputs: Inputs, values: Array) -> Number:
    """An array, in the arithmetic of the inputs."""
    return first(inputs).like(values)


def _boolean(inputs: Inputs, values: Array) -> Number:
    """An array of truth values, in the arithmetic of the inputs."""
    return first(inputs).like(np.where(values, -1.0, 1.0)).apply(BELOW, 0.0)


def _masked(operator: Attention, allowed: Array) -> Changed:
    """Attention with this mask of (queries, keys) instead of the causal one."""

    def before(inputs: list[Number | None]) -> list[Number | None]:
        mask = given(inputs, 3)
        shown = allowed
        if mask is not None:
            shown = allowed & mask.comparable if mask.comparable.dtype == bool else shown
        one = _boolean(inputs, shown)
        if mask is not None and mask.comparable.dtype != bool:
            one = mask + first(inputs).like(np.where(allowed, 0.0, -np.inf))
        return [*inputs[:3], one, *inputs[4:]]

    return Changed(replace(operator, is_causal=0), before)


@made_in("Attention")
def causal_masks(operator: Attention, seen: Seen) -> Iterator[Mistake]:
    yield Mistake(
        "causal mask missing" if operator.is_causal else "causal mask added",
        "Queries see later keys, or do not see them.",
        f"Pass is_causal={bool(operator.is_causal)}.",
        replace(operator, is_causal=1 - operator.is_causal),
    )
    if given(seen.inputs, 4) is not None or given(seen.inputs, 6) is not None:
        return
    _, _, queries, keys = sizes(operator, seen.inputs)
    if queries != keys:
        yield Mistake(
            "causal mask aligned at the bottom right, not at the top left"
            if operator.is_causal
            else "causal mask added, aligned at the bottom right",
            "The last query sees all keys, as with a cache; is_causal in PyTorch and ONNX lets the first one "
            "see the first key alone.",
            "Pass the mask itself.",
            _masked(operator, np.tri(queries, keys, keys - queries, dtype=bool)),
        )
    if operator.is_causal:
        earlier = np.tri(queries, keys, -1, dtype=bool)
        but_the_first = earlier.copy()
        but_the_first[0, 0] = True
        for name, allowed in {
            "queries do not see themselves": earlier,
            "queries do not see themselves, except for the first, which sees nothing else": but_the_first,
            "queries see the next key": np.tri(queries, keys, 1, dtype=bool),
        }.items():
            yield Mistake(
                f"causal mask off by one: {name}",
                "The diagonal belongs to the keys that are seen.",
                "Hide the keys above the diagonal.",
                _masked(operator, allowed),
            )


@made_in("Attention")
def masks(operator: Attention, seen: Seen) -> Iterator[Mistake]:
    mask = given(seen.inputs, 3)
    if mask is None:
        return
    yield Mistake(
        "mask ignored",
        "The attention mask is not applied.",
        "Pass the mask.",
        with_input(operator, 3, lambda mask: None),
    )
    boolean = mask.comparable.dtype == bool
    allowed = mask.comparable if boolean else mask.comparable > HIDDEN
    if allowed.all():
        return

    def instead(values: Array) -> Changed:
        make = _boolean if values.dtype == bool else _number
        return Changed(operator, lambda inputs: [*inputs[:3], make(inputs, values), *inputs[4:]])

    yield Mistake(
        "boolean mask inverted" if boolean else "mask inverted",
        "True means 'masked' in some interfaces, 'seen' in others.",
        "Invert the mask.",
        instead(~allowed if boolean else np.where(allowed, -np.inf, 0.0)),
    )
    for name, values in {"1 where keys are seen": allowed, "1 where keys are hidden": ~allowed}.items():
        yield Mistake(
            f"mask added as 0 and 1: {name}",
            "A boolean mask is added to the scores as it stands, so that hidden keys stay visible.",
            "Add minus infinity where a key is hidden.",
            instead(values.astype(np.float32)),
        )
    empty = np.asarray(~allowed.any(-1, keepdims=True))
    if empty.any() and first(seen.inputs).ndim == 4 and not operator.is_causal:
        yield from _empty_rows(operator, empty)


def _empty_rows(operator: Attention, empty: Array) -> Iterator[Mistake]:
    """Queries that see no key. The standard says zero."""

    def uniform(inputs: list[Number | None]) -> list[Number | None]:
        q, k, v, mask, *rest = inputs
        assert q is not None
        assert mask is not None
        if mask.comparable.dtype == bool:
            full = _boolean(inputs, mask.comparable | empty)
        else:
            full = _number(inputs, np.where(empty, 0.0, mask.comparable))
        return [
            q.move(lambda a: np.where(empty, 0, a)),
            k,
            v,
            full,
            *rest,
        ]

    yield Mistake(
        "fully masked rows uniform",
        "Hidden scores are large negative numbers, not minus infinity: a query without a key takes the mean "
        "of all values.",
        "Return zeros for a query that sees no key.",
        Changed(operator, uniform),
        "microsoft/onnxscript#2479",
    )
    yield Mistake(
        "fully masked rows NaN",
        "The softmax of scores that are all minus infinity divides zero by zero.",
        "Return zeros for a query that sees no key.",
        Changed(operator, after=lambda y, inputs: y * y.like(np.where(empty, np.nan, 1.0))),
        "microsoft/onnxscript#2479",
    )
