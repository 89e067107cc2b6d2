"""The catalogue of known mistakes, by family.

Each entry has a name, an explanation, a remedy, a reported case, and the change that it makes to the right
network. To add an entry, write it in the file of its family; the search finds it there.
"""

from lenet.diagnose.mistakes import (
    activation,
    convolution,
    data,
    dense,
    gates,
    gradients,
    loss,
    pooling,
    precision,
    reduction,
)
from lenet.diagnose.mistakes.base import HandedOut, Mistake

FORWARD: tuple[Mistake, ...] = tuple(
    mistake
    for family in (data, convolution, activation, pooling, dense, precision)
    for mistake in family.FAMILY.mistakes
)
BACKWARD: tuple[Mistake, ...] = tuple(
    mistake for family in (reduction, loss, gradients, gates) for mistake in family.FAMILY.mistakes
)
HANDED_OUT: tuple[HandedOut, ...] = tuple(pooling.FAMILY.handed_out)

__all__ = ["BACKWARD", "FORWARD", "HANDED_OUT", "HandedOut", "Mistake"]
