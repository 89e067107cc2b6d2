"""Finds out which mistake a wrong port makes: in its data, layers, loss, gradients or training."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lenet.diagnose.diagnosis import Verdict, diagnose
    from lenet.diagnose.findings import Diagnosis, Finding

__all__ = ["Diagnosis", "Finding", "Verdict", "diagnose"]


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: the process that runs somebody's file needs no mistakes."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("lenet.diagnose.diagnosis"), name)
