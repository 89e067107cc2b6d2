"""Mistakes of masks that are added to the scores of attention, or chosen by."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from parity.arithmetic import Array, Number
from parity.judging.causes.mistake import Changed, Inputs, Mistake, Seen, first, made_in, with_input
from parity.operators import Operator
from parity.operators.elementwise import Identity, Mul
from parity.operators.softmax import Softmax

LOW = -1e3  # what is added to a hidden score is lower
ABSORBING = -1e8  # a number from which on it swallows a score, whose digits are below its own
TRANSPOSED = "Queries see the keys that see them: a causal mask then hides the earlier keys, not the later."


def is_mask(x: Number | None) -> bool:
    """Whether an operand holds nothing but zeros and very low numbers, and both."""
    if x is None or x.size < 2 or x.comparable.dtype.kind != "f":
        return False
    hidden = x.comparable < LOW
    return bool(hidden.any() and (x.comparable[~hidden] == 0).all() and not hidden.all())


@made_in("Add")
def masks(operator: Any, seen: Seen) -> Iterator[Mistake]:
    for place in (0, 1):
        mask = seen.inputs[place]
        if mask is None or not is_mask(mask):
            continue
        hidden = mask.comparable < LOW
        low = mask.comparable.min()

        def instead(values: Array, place: int = place, operator: Operator = operator) -> Changed:
            return with_input(operator, place, lambda m: m.like(values.astype(np.float32)))

        yield Mistake(
            "mask inverted",
            "True means 'masked' in some interfaces, 'seen' in others.",
            "Invert the mask.",
            replace(instead(np.where(hidden, 0.0, low)), after=_absorbed(~hidden, float(low))),
        )
        for name, values in {"1 where keys are seen": ~hidden, "1 where keys are hidden": hidden}.items():
            yield Mistake(
                f"mask added as 0 and 1: {name}",
                "A boolean mask is added to the scores as it stands, so that hidden keys stay visible.",
                "Add minus infinity where a key is hidden.",
                instead(values),
            )
        yield Mistake(
            "mask multiplied, not added",
            "Hidden scores become 0, which is not the lowest score.",
            "Add minus infinity where a key is hidden.",
            Changed(
                Mul(),
                lambda inputs, place=place, seen_=~hidden: [  # type: ignore[misc]
                    one if k != place or one is None else one.like(seen_.astype(np.float32))
                    for k, one in enumerate(inputs)
                ],
            ),
        )
        for name, other in _others(hidden):
            yield Mistake(
                name,
                TRANSPOSED if name == "mask transposed" else "Queries see other keys.",
                "Hide the keys that the reference hides: those above the diagonal, in a causal mask.",
                instead(np.where(other, low, 0.0)),
            )


@made_in("Softmax")
def masked_afterwards(operator: Softmax, seen: Seen) -> Iterator[Mistake]:
    """Shares of all keys, of which those of hidden keys are then set to zero."""
    adding = next((one for one in seen.nodes if seen.node and seen.node.inputs[0] in one.outputs), None)
    if adding is None or adding.type != "Add":
        return
    for place in (0, 1):
        mask, scores = (seen.values[adding.inputs[k]] for k in (place, 1 - place))
        if is_mask(mask) and scores.ndim:
            shown = (mask.comparable >= LOW).astype(np.float32)
            yield Mistake(
                "mask applied after the softmax",
                "All keys get shares, then those of hidden keys are set to zero: the rest is no longer 1 "
                "altogether.",
                "Add the mask to the scores, before the softmax.",
                Changed(operator, after=lambda y, inputs, shown=shown: y * y.like(shown)),  # type: ignore[misc]
                inputs=(adding.inputs[1 - place],),
            )


def _absorbed(hidden: Array, low: float) -> Callable[[Number, Inputs], Number]:
    """Sums of scores and a mask: where a query sees no key, all are the same, since scores are too small."""

    def after(y: Number, inputs: Inputs) -> Number:
        empty = np.broadcast_to(hidden.all(-1, keepdims=True) & (-np.inf < low < ABSORBING), y.shape)
        return y.move(lambda a: np.where(empty, 0, a)) + y.like(np.where(empty, low, 0.0))

    return after


def _others(hidden: Array) -> Iterator[tuple[str, Array]]:
    """Other masks of the same shape that are meant for causal ones."""
    if hidden.ndim < 2 or 1 in hidden.shape[-2:]:
        return
    queries, keys = hidden.shape[-2:]
    shifts = {
        0: "aligned at the top left",
        keys - queries: "aligned at the bottom right",
        -1: "off by one: queries do not see themselves",
        1: "off by one: queries see the next key",
    }
    causal = {k: np.broadcast_to(~np.tri(queries, keys, k, dtype=bool), hidden.shape) for k in shifts}
    if any((one == hidden).all() for one in causal.values()):
        for k, name in shifts.items():
            if not (causal[k] == hidden).all():
                yield f"causal mask {name}", causal[k]
    if queries == keys:
        yield "mask transposed", hidden.swapaxes(-1, -2)


@made_in("Softmax")
def empty_rows(operator: Softmax, seen: Seen) -> Iterator[Mistake]:
    """Rows in which every score is hidden, by whatever is added or chosen before."""
    scores = first(seen.inputs).comparable
    if operator.to_the_end or scores.ndim < 2:
        return
    highest = scores.max(operator.axis, keepdims=True)
    for name, empty, instead in (
        ("fully masked rows are zeros", highest < LOW, 0.0),
        ("fully masked rows are NaN", (highest < LOW) & (highest > -np.inf), np.nan),
        ("fully masked rows are uniform", highest == -np.inf, 1 / scores.shape[operator.axis]),
    ):
        if empty.any():
            yield Mistake(
                name,
                "A query that sees no key gets zeros from some implementations of attention, NaN from a "
                "softmax of minus infinities, and equal shares from one of large negative numbers.",
                "Decide what such a query is to get, or leave it out where the result is used.",
                Changed(operator, after=_in_rows(empty, instead)),
            )


def _in_rows(empty: Array, instead: float) -> Callable[[Number, Inputs], Number]:
    """One value in all places of some rows."""

    def after(y: Number, inputs: Inputs) -> Number:
        rows = np.broadcast_to(empty, y.shape)
        return y.move(lambda a: np.where(rows, 0, a)) + y.like(np.where(rows, instead, 0.0))

    return after


@made_in("Where")
def choices(operator: Any, seen: Seen) -> Iterator[Mistake]:
    condition, a, b = seen.inputs
    assert condition is not None
    assert a is not None
    assert b is not None
    yield Mistake(
        "condition inverted",
        "The two choices are exchanged, as by a mask in which True means 'masked', not 'seen'.",
        "Invert the mask.",
        Changed(operator, lambda inputs: [inputs[0], inputs[2], inputs[1]]),
    )
    if condition.ndim > 1 and condition.shape[-1] == condition.shape[-2] > 1:
        yield Mistake(
            "mask transposed",
            TRANSPOSED,
            "Exchange its last two axes: the first of them is that of the queries.",
            with_input(operator, 0, lambda one: one.move(lambda m: m.swapaxes(-1, -2))),
        )
    shape = np.broadcast_shapes(*(one.shape for one in seen.inputs if one is not None))
    for place, one in {1: a, 2: b}.items():
        if one.shape == shape:
            yield Mistake(
                "mask ignored" if place == 1 else "condition ignored: the second choice everywhere",
                "The condition is not applied.",
                "Pass the mask.",
                Changed(Identity(), lambda inputs, place=place: [inputs[place]]),  # type: ignore[misc]
            )
