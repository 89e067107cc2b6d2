"""Mistakes of activations and normalizations that the graph holds as several nodes."""

from collections.abc import Iterator
from typing import Any

from parity.judging.causes.decomposed.recognised import activation_of, normalization_of
from parity.judging.causes.mistake import Mistake, Seen, made_in

# What is found at a node in between, too: at the sum with ε, the root, the mean of squares.
ELSEWHERE = ("epsilon ", "variance divided by n - 1", "divided by the norm")
TOGETHER = "variance divided by n - 1, epsilon outside of the root"


@made_in("Mul", "Div", "Add", "Sub", "Clip", "Max")
def activations(operator: Any, seen: Seen) -> Iterator[Mistake]:
    layer = activation_of(seen)
    if layer is not None:
        yield from layer.mistakes(seen)


@made_in("Mul", "Div")
def normalizations(operator: Any, seen: Seen) -> Iterator[Mistake]:
    layer = normalization_of(seen)
    if layer is None:
        return
    for one in layer.mistakes(seen):
        if one.name == TOGETHER or not one.name.startswith(ELSEWHERE):
            yield one
