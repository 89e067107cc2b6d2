"""Mistakes of reductions: which axes, which operation, which of equal values."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from math import prod
from typing import Any

import numpy as np

from parity.judging.causes.mistake import Changed, Mistake, Seen, first, given, made_in, with_input
from parity.operators.reduction import (
    ArgMax,
    ArgMin,
    CumSum,
    ReduceL1,
    ReduceL2,
    ReduceMax,
    ReduceMean,
    ReduceMin,
    ReduceSum,
    ReduceSumSquare,
    Reduction,
    TopK,
)

KINDS: tuple[type[Reduction], ...] = (
    ReduceMean,
    ReduceSum,
    ReduceMax,
    ReduceMin,
    ReduceL1,
    ReduceL2,
    ReduceSumSquare,
)


def _as(kind: type[Reduction], one: Any) -> Reduction:
    return kind(axes=one.axes, keepdims=one.keepdims, noop_with_empty_axes=one.noop_with_empty_axes)


@made_in(*(kind.TYPE for kind in KINDS))
def operations(operator: Any, seen: Seen) -> Iterator[Mistake]:
    for kind in KINDS:
        if kind.TYPE != operator.TYPE:
            yield Mistake(
                f"{kind.TYPE} for {operator.TYPE}",
                "Another number is computed of the values along the axes.",
                f"Use {operator.TYPE}.",
                _as(kind, operator),
            )
    over = operator.over(first(seen.inputs), given(seen.inputs, 1))
    count = prod(first(seen.inputs).shape[axis] for axis in over)
    if isinstance(operator, ReduceMean) and count > 1:
        yield Mistake(
            "mean divided by n - 1",
            "The sum is divided by n - 1.",
            "Divide by n.",
            Changed(operator, after=lambda y, inputs: y * (count / (count - 1))),
        )


@made_in(*(kind.TYPE for kind in KINDS))
def axes(operator: Any, seen: Seen) -> Iterator[Mistake]:
    x = first(seen.inputs)
    right = operator.over(x, given(seen.inputs, 1))
    some = [one for n in range(1, x.ndim + 1) for one in combinations(range(x.ndim), n)]
    for one in some if x.ndim <= 5 else ():
        if one != right:
            yield Mistake(
                f"axes {one} for {right}",
                "The values are reduced along other axes: those of another layout, say.",
                f"Reduce along {right}.",
                Changed(replace(operator, axes=one), lambda inputs: inputs[:1]),
            )
    yield Mistake(
        f"keepdims={1 - operator.keepdims}",
        "The reduced axes stay with length 1, or they are left out.",
        f"Pass keepdims={bool(operator.keepdims)}.",
        replace(operator, keepdims=1 - operator.keepdims),
    )


@made_in("ArgMax", "ArgMin")
def places(operator: ArgMax | ArgMin, seen: Seen) -> Iterator[Mistake]:
    x = first(seen.inputs)
    yield Mistake(
        f"of equal values the {'first' if operator.select_last_index else 'last'} one",
        "Of several largest values another one is chosen.",
        "Choose as the reference does.",
        replace(operator, select_last_index=1 - operator.select_last_index),
    )
    for axis in range(x.ndim):
        if axis != operator.axis % x.ndim:
            yield Mistake(
                f"axis {axis} for {operator.axis}",
                "The largest value is searched along another axis.",
                f"Search along axis {operator.axis}.",
                replace(operator, axis=axis),
            )
    yield Mistake(
        f"keepdims={1 - operator.keepdims}",
        "The axis stays with length 1, or it is left out.",
        f"Pass keepdims={bool(operator.keepdims)}.",
        replace(operator, keepdims=1 - operator.keepdims),
    )
    other = ArgMin if isinstance(operator, ArgMax) else ArgMax
    yield Mistake(
        f"{other.TYPE} for {operator.TYPE}",
        "The smallest value is searched for the largest, or the largest for the smallest.",
        f"Use {operator.TYPE}.",
        other(operator.axis, operator.keepdims, operator.select_last_index),
    )


@made_in("TopK")
def ranks(operator: TopK, seen: Seen) -> Iterator[Mistake]:
    yield Mistake(
        f"largest={1 - operator.largest}",
        "The smallest values are taken for the largest, or the largest for the smallest.",
        f"Pass largest={bool(operator.largest)}.",
        replace(operator, largest=1 - operator.largest),
    )
    yield Mistake(
        "in ascending order",
        "The values come in the opposite order.",
        "Sort them as the reference does.",
        Changed(operator, after=lambda y, inputs: y.move(lambda a: np.flip(a, operator.axis))),
    )


@made_in("CumSum")
def sums(operator: CumSum, seen: Seen) -> Iterator[Mistake]:
    for name in ("exclusive", "reverse"):
        other = 1 - getattr(operator, name)
        yield Mistake(
            f"{name}={other}",
            "The running sum leaves out the value itself, or starts from the other end.",
            f"Pass {name}={getattr(operator, name)}.",
            replace(operator, **{name: other}),
        )
    x = first(seen.inputs)
    for axis in range(x.ndim):
        yield Mistake(
            f"summed along axis {axis}",
            "The running sum goes along another axis.",
            "Use the axis of the reference.",
            with_input(operator, 1, _axis(axis)),
        )


def _axis(axis: int) -> Any:
    return lambda one: one.move(lambda a: np.full_like(a, axis))
