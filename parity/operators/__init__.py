"""Every operator that can be judged: one class each, a file for each family.

Whoever names an operator imports its family alone; `OPERATORS`, by which a file is read, imports them all.
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
