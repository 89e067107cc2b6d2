"""Bounds of operators in exact rational numbers, one module for each family.

`STATEMENTS` says for each operator that rounds which bound its outputs have; `SMALL` holds small uses, of at
most eight terms, on which the code must have the same.
"""

from importlib import import_module
from pkgutil import iter_modules

from tests.parity.examples.example import Example
from tests.parity.statements.arrays import Statement

HELPERS = ("arrays", "interpolation")
FAMILIES = sorted(module.name for module in iter_modules(__path__) if module.name not in HELPERS)
STATEMENTS: dict[str, Statement] = {}
SMALL: list[Example] = []
for _family in FAMILIES:
    _module = import_module(f"{__name__}.{_family}")
    STATEMENTS.update(_module.STATEMENTS)
    SMALL += _module.SMALL
