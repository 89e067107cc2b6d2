"""What a probe knows of an input of a node, and what it gives to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from parity.arithmetic import Array
from parity.arithmetic.floats import FORMATS

POOL = (
    1_000_003  # random values, which larger arrays repeat; a prime, so that no two rows of a matrix are equal
)
NO_FLOATS = "its operands are no floating-point numbers"


class NoProbe(Exception):
    """A probe makes no sense for an operator, or for this use of it. Its text is the reason."""


@dataclass(frozen=True)
class Operand:
    """One input of a node.

    Attributes:
        shape: its sizes.
        dtype: its element type.
        value: the graph's constant, or a computed integer (indices, sizes); None: the probe may choose.
        constant: whether the graph holds it: a runtime may choose its code by that.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    value: Array | None = None
    constant: bool = False

    @property
    def is_float(self) -> bool:
        """Whether it holds floating-point numbers."""
        return self.dtype.name in FORMATS


Operands = Sequence[Operand | None]  # None: an optional input that is not given


@dataclass(frozen=True)
class Probe:
    """Inputs for one node, for which every right implementation returns nearly the same values.

    Attributes:
        inputs: an array for each input of the node; None for one that is not given.
        grid: all results are multiples of it, and no implementation rounds; 0: results are rounded.
        roundings: how many roundings a right implementation makes for one result, at most; None: the bound
            of the operator says that, which has a root, say.
    """

    inputs: tuple[Array | None, ...]
    grid: float = 0.0
    roundings: int | None = 0


def required(operands: Operands, place: int) -> Operand:
    """An input that the operator always has.

    Raises:
        NoProbe: it is not given, holds no floating-point numbers, or is empty.
    """
    one = operands[place] if place < len(operands) else None
    if one is None or not one.is_float:
        raise NoProbe(NO_FLOATS)
    if 0 in one.shape:
        raise NoProbe("its operands are empty")
    return one


def fixed(operand: Operand | None) -> Array | None:
    """The value of an input that says where, or how many: it stays as it is.

    Raises:
        NoProbe: the value is not known.
    """
    if operand is None:
        return None
    if operand.value is None:
        raise NoProbe("the values of an input that is not a float are not known")
    return operand.value


def pooled(shape: tuple[int, ...], draw: Callable[[int], Array]) -> Array:
    """An array of this shape of so many drawn values; a large one repeats them, which is faster.

    Args:
        shape: of the result.
        draw: a function of a number that returns so many values.
    """
    size = prod(shape)
    values = draw(min(size, POOL))
    return values.reshape(shape) if size <= POOL else np.resize(values, shape)
