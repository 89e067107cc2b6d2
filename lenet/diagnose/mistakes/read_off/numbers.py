"""What a reading is, and how a number that was read off is written as somebody would have typed it."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lenet.diagnose.mistakes.base import Kind
from lenet.diagnose.mistakes.wrong_backward import Passed, Tape, walk_again
from parity.arithmetic import Array, Bounded

NEAR = 5e-3  # how far a typed number may lie from the one that was read off, relatively
SMALL = 1e-4  # a part of a gradient that rounding in float32 may add or hide

NUMBER = re.compile(r"±?-?\d[\d.e+-]*")

Expected = Iterator[tuple[str, Bounded]]


class Seen(Protocol):
    """One probe or training step: the right backward pass, and what the port returned or must have had.

    Attributes:
        tape: the forward pass.
        right: the right loss and gradients, in order of execution.
        seen: {"loss" or parameter: float64 array}; any may be missing.
    """

    @property
    def tape(self) -> Tape:
        """See the class."""

    @property
    def right(self) -> Passed:
        """See the class."""

    @property
    def seen(self) -> Mapping[str, Array]:
        """See the class."""


@dataclass(frozen=True)
class Reading:
    """A mistake whose number was read off the returned values. It is still to be held against all of them.

    Attributes:
        kind: its description, with the number.
        where: the stages that it changes.
        expect: the loss and gradients with this mistake: a function (tape, right) → (name, value) pairs.
    """

    kind: Kind
    where: tuple[str, ...]
    expect: Callable[[Tape, Passed], Expected]


def family(kind: Kind) -> str:
    """The name without its numbers: of mistakes that differ in the number alone, one is enough."""
    return NUMBER.sub("", kind.name.partition(":")[0])


def multiplied(what: str, factor: float, text: str) -> Kind:
    """The description of `what` being a multiple of the right one; a large power of two is a loss scale."""
    if what == "gradients" and factor >= 8 and np.log2(factor) == int(np.log2(factor)):
        remedy = "Divide the gradients by the loss scale before they are used."
        return Kind(f"{what} multiplied by {factor:.6g}: the loss scale left in", text, remedy)
    return Kind(f"{what} multiplied by {factor:.6g}", text, "Use the gradients of the mean loss as they are.")


def changed(kind: Kind, changes: Mapping[str, Callable]) -> Reading:
    """A reading that is a change of some stages of the backward pass."""
    return Reading(kind, tuple(changes), lambda tape, right: walk_again(tape, changes, right))


def typed(number: float) -> Iterator[float]:
    """The number with one to four significant digits where that is near enough, then as it is."""
    tried = set()
    for digits in (1, 2, 3, 4):
        near = float(f"{number:.{digits}g}")
        if near not in tried and abs(near - number) <= NEAR * abs(number):
            tried.add(near)
            yield near
    yield number


def whole(number: float) -> Iterator[float]:
    """The same for a factor: the nearest whole number or fraction 1/n comes first, if it is near enough."""
    tried = set()
    for near in (round(number), 1 / round(1 / number) if abs(number) < 1 else 0):
        if near and abs(near - number) <= NEAR / 10 * abs(number):
            tried.add(float(near))
            yield float(near)
    yield from (one for one in typed(number) if one not in tried)


def fitted(target: Iterable[Array], part: Iterable[Array]) -> float:
    """The factor c for which c · part comes nearest to target; 0 if there is no such part."""
    pairs = [(np.ravel(a), np.ravel(b)) for a, b in zip(target, part, strict=True)]
    size = sum(float(b @ b) for _, b in pairs)
    return sum(float(a @ b) for a, b in pairs) / size if size else 0.0


def gradients_of(right: Passed) -> dict[str, Bounded]:
    """The right gradients by parameter, without the loss."""
    return {key: value for key, value, _ in right if key != "loss"}


def is_finite(sample: Seen) -> bool:
    """Whether a number can be read off these values."""
    gradients = gradients_of(sample.right)
    return all(np.isfinite(a).all() for a in sample.seen.values()) and all(
        key not in sample.seen or sample.seen[key].shape == g.value.shape for key, g in gradients.items()
    )
