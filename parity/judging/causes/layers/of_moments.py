"""Mistakes in the moments of a normalization: which values share them, and how they are computed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from math import prod
from typing import Any, ClassVar

import numpy as np

from parity.arithmetic import Number
from parity.judging.causes.mistake import Mistake, Seen, first, made_in
from parity.operators.functions import NORM, inverse_root, reciprocal
from parity.operators.moments import Moments, Rowwise, standardized, stated, variance

ROWS = ("InstanceNormalization", "LayerNormalization", "GroupNormalization")


@dataclass(frozen=True)
class Otherwise(Rowwise):
    """A normalization with other moments.

    Attributes:
        right: the normalization, whose scale and shift are applied.
        axes: of its view, that share the moments; None for its own.
        less: what is subtracted from the number of values before the sum of squares is divided by it.
        squares: of what the squares are added up: of the "deviations" from the mean, or of the "values".
        centered: whether the mean is subtracted from the values.
        divisor: "inside": sqrt(variance + ε); "outside": sqrt(variance) + ε; "no root": variance + ε;
            "none"; "norm": the root of the sum of squares.
        along: the axis of the view on which scale and shift lie; None for their own.
    """

    TYPE: ClassVar[str] = "normalization with other moments"

    right: Any
    axes: tuple[int, ...] | None = None
    less: int = 0
    squares: str = "deviations"
    centered: bool = True
    divisor: str = "inside"
    along: int | None = None

    def view(self, x: Number) -> tuple[int, ...]:
        return tuple(self.right.view(x))

    def row_axes(self, x: Number) -> tuple[int, ...]:
        return tuple(self.right.row_axes(x)) if self.axes is None else self.axes

    def spread(self, x: Number, parameter: Number) -> Number:
        if self.along is None:
            one: Number = self.right.spread(x, parameter)
            return one
        return parameter.reshape(-1, *(1,) * (len(self.view(x)) - 1 - self.along))

    def moments(self, x: Number, axes: tuple[int, ...]) -> Moments:
        mean = x.mean(axes)
        return mean, self._inverse(x, mean, axes)

    def _inverse(self, x: Number, mean: Number, axes: tuple[int, ...]) -> Number:
        count, epsilon = prod(x.shape[axis] for axis in axes), self.right.epsilon
        spread = variance(x, mean, axes, None) if self.squares == "deviations" else (x * x).mean(axes)
        if self.less:
            spread = spread * (count / (count - self.less))
        if self.divisor == "none":
            return spread.like(np.ones(spread.shape))
        if self.divisor == "norm":
            return (spread * float(count) + stated(x, epsilon)).apply(inverse_root(epsilon))
        if self.divisor == "outside":
            return (spread.apply(NORM) + stated(x, epsilon)).apply(reciprocal(epsilon))
        if self.divisor == "no root":
            return (spread + stated(x, epsilon)).apply(reciprocal(epsilon))
        return (spread + stated(x, epsilon)).apply(inverse_root(epsilon))

    def result(self, x: Number, moments: Moments, scale: Number | None, bias: Number | None) -> Number:
        mean, inverse = moments
        factor = inverse if scale is None else inverse * scale
        if self.centered:
            return standardized(x, mean, factor, bias, None)
        return x * factor if bias is None else x * factor + bias


TEXTS = {
    "n - 1": "The variance is that of a sample: torch.var's and R's default, not a normalization's.",
    "outside": "ε is added to the standard deviation, not to the variance.",
    "no root": "The values are divided by variance + ε.",
    "none": "The values are not divided by the standard deviation.",
    "mean kept": "The mean is subtracted for the variance alone, not from the values.",
}


@made_in(*ROWS)
def moments(operator: Any, seen: Seen) -> Iterator[Mistake]:
    x = first(seen.inputs)
    view = operator.view(x)
    several = prod(view[axis] for axis in operator.row_axes(x)) > 1
    right = Otherwise(operator)
    if several:
        yield Mistake(
            "variance divided by n - 1", TEXTS["n - 1"], "Divide by n (correction=0).", replace(right, less=1)
        )
        yield Mistake(
            "variance divided by n - 1, epsilon outside of the root",
            "The values are divided by std + ε, and std is that of a sample, as torch.std's is by default.",
            "Compute sqrt(variance + epsilon), the sum of squares divided by n.",
            replace(right, less=1, divisor="outside"),
        )
    yield Mistake(
        "epsilon outside of the root",
        TEXTS["outside"],
        "Compute sqrt(variance + epsilon).",
        replace(right, divisor="outside"),
    )
    yield Mistake(
        "root missing: divided by the variance",
        TEXTS["no root"],
        "Divide by sqrt(variance + epsilon).",
        replace(right, divisor="no root"),
    )
    yield Mistake(
        "not divided by the standard deviation",
        TEXTS["none"],
        "Divide by sqrt(variance + epsilon).",
        replace(right, divisor="none"),
    )
    yield Mistake(
        "root mean square for the standard deviation",
        "The mean is not subtracted, as in RMSNorm.",
        "Subtract the mean.",
        replace(right, squares="values", centered=False),
    )
    yield Mistake(
        "mean not subtracted", TEXTS["mean kept"], "Subtract the mean.", replace(right, centered=False)
    )


@made_in("RMSNormalization")
def root_mean_squares(operator: Any, seen: Seen) -> Iterator[Mistake]:
    right = Otherwise(operator, squares="values", centered=False)
    yield Mistake(
        "standard deviation for the root mean square",
        "The mean is subtracted, as in LayerNorm.",
        "Leave the mean.",
        Otherwise(operator),
    )
    yield Mistake(
        "divided by the standard deviation, the mean not subtracted",
        TEXTS["mean kept"],
        "Divide by the root of the mean of squares.",
        Otherwise(operator, centered=False),
    )
    yield Mistake(
        "epsilon outside of the root",
        "ε is added to the root, not to the mean of squares.",
        "Compute sqrt(mean of squares + epsilon).",
        replace(right, divisor="outside"),
    )
    yield Mistake(
        "root missing: divided by the mean of squares",
        "The values are divided by mean of squares + ε.",
        "Divide by sqrt(mean of squares + epsilon).",
        replace(right, divisor="no root"),
    )
    yield Mistake(
        "divided by the norm, not by the root mean square",
        "The squares are added up, not averaged: the factor sqrt(n) is missing.",
        "Multiply by sqrt(n), or take the mean.",
        replace(right, divisor="norm"),
    )
    yield from _over_other_axes(operator, right, first(seen.inputs))


@made_in(*ROWS)
def axes(operator: Any, seen: Seen) -> Iterator[Mistake]:
    yield from _over_other_axes(operator, Otherwise(operator), first(seen.inputs))


def _over_other_axes(operator: Any, right: Otherwise, x: Number) -> Iterator[Mistake]:
    """Moments over other axes of the view; scale and shift on their own axes, or there, too."""
    view, own = operator.view(x), tuple(operator.row_axes(x))
    spans = [span for n in range(1, len(view) + 1) for span in combinations(range(len(view)), n)]
    maps = tuple(range(2, len(view)))
    if operator.TYPE == "GroupNormalization":  # other sets are other numbers of groups
        spans = [(2,), (0, *own), (0, *own[1:])]
        maps = own[1:]
    for span in spans:
        if _real(span, view) == _real(own, view):
            continue
        said = f"moments over axes {span} for {own}"
        if operator.TYPE == "GroupNormalization":
            said += f" of the view {view}"
        for name, along in {said: None, f"{said}, scale and shift there, too": span[0]}.items():
            if along is None or (len(span) == 1 and len(own) == 1 and view[along] == view[own[0]]):
                yield Mistake(
                    name,
                    _kind(span, maps, view),
                    f"Take mean and variance over axes {own}.",
                    replace(right, axes=span, along=along),
                )


def _real(span: tuple[int, ...], view: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(axis for axis in span if view[axis] > 1)


def _kind(span: tuple[int, ...], maps: tuple[int, ...], view: tuple[int, ...]) -> str:
    """Which values share their moments, in words; `maps` are the axes of a channel's values."""
    last = len(view) - 1
    kinds = {
        (0, *maps): "each channel over the whole batch, as batch normalization does in training",
        maps: "each map of each image by itself, as instance normalization does",
        (1, *maps): "all of an image, as layer normalization does",
        (last,): "the last axis alone",
        tuple(range(len(view))): "the whole tensor",
    }
    return f"Mean and variance are those of {kinds.get(span, 'values along other axes')}."
