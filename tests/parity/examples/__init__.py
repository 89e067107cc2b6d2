"""Uses of every operator: each module of this folder holds those of one family, as `EXAMPLES`."""

from importlib import import_module
from pkgutil import iter_modules

from tests.parity.examples.example import Example

FAMILIES = sorted(module.name for module in iter_modules(__path__) if module.name != "example")
EXAMPLES: list[Example] = [
    example for family in FAMILIES for example in import_module(f"{__name__}.{family}").EXAMPLES
]
