"""The gallery of planted bugs: ports with exactly one mistake each. README.md lists them."""

from workshop.bugs import data, export, forward, gradients, loss, optimizer, precision
from workshop.bugs.gallery import BUGS, Bug, find

FAMILIES = (data, forward, loss, gradients, optimizer, precision, export)

__all__ = ["BUGS", "FAMILIES", "Bug", "find"]
