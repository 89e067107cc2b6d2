"""Mistakes of choosing and rounding values: borders, indices, casts."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from parity.arithmetic import Array, Number
from parity.judging.causes.mistake import (
    Changed,
    Mistake,
    Seen,
    first,
    given,
    made_in,
    second,
    with_input,
)
from parity.operators.reduction import ReduceMax, ReduceMean
from parity.operators.select import Gather, Pad

FEW = 4  # parts of which each is tried


@made_in("Pad")
def borders(pad: Pad, seen: Seen) -> Iterator[Mistake]:
    for mode in ("constant", "reflect", "edge", "wrap", "symmetric"):
        if mode != pad.mode:
            yield Mistake(
                f"pad mode {mode} for {pad.mode}",
                "The border is filled differently.",
                f"Pad in mode {pad.mode}.",
                replace(pad, mode=mode),
            )
    pads = given(seen.inputs, 1)
    if pads is None:
        return
    half = pads.size // 2
    changes = {
        "padded on the other sides": lambda a: np.concatenate([a[half:], a[:half]]),
        "padded at the end": lambda a: np.concatenate([0 * a[:half], a[:half] + a[half:]]),
        "padded at the beginning": lambda a: np.concatenate([a[:half] + a[half:], 0 * a[:half]]),
        "widths of the axes in reverse order": lambda a: np.concatenate([a[:half][::-1], a[half:][::-1]]),
        "widths of the last two axes exchanged": lambda a: np.concatenate(
            [*(np.concatenate([side[:-2], side[-2:][::-1]]) for side in (a[:half], a[half:]))]
        ),
        "not padded": lambda a: 0 * a,
    }
    for name, change in changes.items():
        yield Mistake(
            name,
            "The borders have other widths: PyTorch's F.pad begins with the last axis.",
            "Use the widths of the reference.",
            with_input(pad, 1, lambda x, change=change: x.move(change)),  # type: ignore[misc]
        )
    yield Mistake(
        "padded with zeros, not with the constant",
        "The border is zero.",
        "Pass the constant on.",
        Changed(pad, lambda inputs: [one if k != 2 else None for k, one in enumerate(inputs)]),
    )


@made_in("Gather", "GatherElements", "GatherND")
def indices(operator: Any, seen: Seen) -> Iterator[Mistake]:
    x, chosen = first(seen.inputs), second(seen.inputs).comparable
    if x.comparable.dtype.kind in "iu":
        return  # lengths of a shape: what follows from them says more
    if isinstance(operator, Gather) and chosen.size == 1:
        yield from _single(operator, x, int(chosen.ravel()[0]), chosen.ndim)
    else:
        yield from _off_by_one(operator)
    if isinstance(operator, Gather):
        for axis in range(x.ndim):
            if axis != operator.axis % x.ndim:
                yield Mistake(
                    f"axis {axis} for {operator.axis}",
                    "The values are gathered along another axis.",
                    f"Gather along axis {operator.axis}.",
                    replace(operator, axis=axis),
                )


def _single(operator: Gather, x: Number, right: int, keepdims: int) -> Iterator[Mistake]:
    """Another index in its place (the next ones, the first, the last; all of few), or all parts in one."""
    count = x.shape[operator.axis]
    place = right % count
    likely = dict.fromkeys((place + 1, place - 1, 0, count - 1, *range(min(count, FEW))))
    for other in (one for one in likely if 0 <= one < count and one != place):
        yield Mistake(
            f"index {other} for {right}",
            "Another part is taken: the next one, the first for the last, or another piece of what was "
            "computed together.",
            f"Take the part with index {right}.",
            with_input(operator, 1, lambda i, other=other: i.move(lambda a: np.full_like(a, other))),  # type: ignore[misc]
        )
    for name, kind in {"mean": ReduceMean, "maximum": ReduceMax}.items() if count > 1 else ():
        yield Mistake(
            f"{name} over axis {operator.axis} for index {right}",
            "All parts are put together, not one of them taken: a mean over time for the last state, or over "
            "tokens for the first.",
            f"Take the part with index {right}.",
            Changed(kind(axes=(operator.axis,), keepdims=keepdims), lambda inputs: inputs[:1]),
        )


def _off_by_one(operator: Any) -> Iterator[Mistake]:
    """All indices one larger or smaller; below 0 that is the last part, as NumPy and JAX take it."""
    for by in (-1, 1):
        yield Mistake(
            f"index {'one too large' if by > 0 else 'one too small'} (off by one)",
            "The indices are counted from another number: from 1 and from 0, or with a row for padding.",
            "Count them from the same number.",
            with_input(operator, 1, lambda i, by=by: i.move(lambda a: a + np.asarray(by, a.dtype))),  # type: ignore[misc]
        )


def half_away(a: Array) -> Array:
    """Rounded to the nearest integer, halves away from zero, as C's round()."""
    return np.sign(a) * np.floor(np.abs(a) + 0.5)


ROUNDINGS = {
    "cut off towards zero": np.trunc,
    "rounded down": np.floor,
    "rounded up": np.ceil,
    "rounded to nearest": np.rint,
    "rounded half away from zero": half_away,
}


@made_in("Cast", "Round")
def roundings(operator: Any, seen: Seen) -> Iterator[Mistake]:
    for name, rounding in ROUNDINGS.items():
        yield Mistake(
            f"{name}, not by {operator.TYPE}'s rule",
            "The digits behind the point are treated differently: a cast cuts them off, Round takes the "
            "nearest number, and the even one at a half.",
            "Round as the reference does.",
            with_input(operator, 0, lambda x, r=rounding: x.move(lambda a: _whole(a, r))),  # type: ignore[misc]
        )


def _whole(a: Array, rounding: Any) -> Array:
    return a if a.dtype.kind in "biu" else rounding(a).astype(a.dtype)
