"""All operators that can be judged: one class for each operator, and one file for each family.

To use one operator, import it from its family. `OPERATORS`, which reading a file needs, imports all families.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from parity.operators.operator import Elementwise, Operator

if TYPE_CHECKING:
    from parity.operators.operator import OPERATORS

__all__ = ["FAMILIES", "OPERATORS", "Elementwise", "Operator"]

FAMILIES = (
    "activation",
    "affine",
    "attention",
    "cast",
    "create",
    "dropout",
    "einsum",
    "elementwise",
    "global_pooling",
    "grid_sample",
    "normalization",
    "pooling",
    "quantization",
    "recurrent",
    "reduction",
    "resize",
    "select",
    "shape",
    "softmax",
)


def __getattr__(name: str) -> Any:
    if name != "OPERATORS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for family in FAMILIES:
        import_module(f"{__name__}.{family}")
    return import_module(f"{__name__}.operator").OPERATORS
