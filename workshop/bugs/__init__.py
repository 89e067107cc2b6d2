"""The gallery of planted bugs: right ports with exactly one mistake each. The table is in README.md."""

from workshop.bugs import data, export, forward, gradients, loss, optimizer, precision
from workshop.bugs.gallery import BUGS, Bug, find

FAMILIES = (data, forward, loss, gradients, optimizer, precision, export)

__all__ = ["BUGS", "FAMILIES", "Bug", "find"]
