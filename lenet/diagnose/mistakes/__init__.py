"""The catalogue of known mistakes, by family.

Each entry has a name, an explanation, a remedy, a reported case, and the change that it makes to the right
network. What can be done wrong in one operator stands in the catalogue of `parity`; `of_operators` takes it
from there. To add another entry, write it in the file of its family; the search finds it there. `second_look`
has what is tried only where none of these explains the values.
"""

from lenet.diagnose.mistakes import across_layers, data, gates, gradients, loss, precision, reduction, winners
from lenet.diagnose.mistakes.base import HandedOut, Mistake
from lenet.diagnose.mistakes.handed_out import HANDED_OUT
from lenet.diagnose.mistakes.of_operators import of_layers
from lenet.diagnose.mistakes.wrong_forward import STAGES

BACKWARD: tuple[Mistake, ...] = tuple(
    mistake for family in (reduction, loss, gradients, gates, winners) for mistake in family.FAMILY.mistakes
)


def forward(stages: tuple[str, ...] = tuple(STAGES)) -> tuple[Mistake, ...]:
    """The mistakes of the forward pass; in an operator, those of these stages alone."""
    before, behind = data.FAMILY.mistakes, (*across_layers.FAMILY.mistakes, *precision.FAMILY.mistakes)
    return (*before, *of_layers(stages), *behind)


__all__ = ["BACKWARD", "HANDED_OUT", "HandedOut", "Mistake", "forward"]
