"""The contract of a port, the registry, and functions that open and train ports.

The names below are imported when they are first used. `lenet.ports.threads` and `lenet.ports.quiet` must be
imported before NumPy and the frameworks, so this module may load nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lenet.ports.contract import Arrays, ForwardPort, Port, Unsupported
    from lenet.ports.registry import (
        FRAMEWORKS,
        Framework,
        framework,
        installed,
        missing,
        modes,
        names,
        needed,
        open_port,
        require,
    )

__all__ = [
    "FRAMEWORKS",
    "Arrays",
    "ForwardPort",
    "Framework",
    "Port",
    "Unsupported",
    "framework",
    "installed",
    "missing",
    "modes",
    "names",
    "needed",
    "open_port",
    "require",
]
CONTRACT = {"Arrays", "ForwardPort", "Port", "Unsupported"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{'contract' if name in CONTRACT else 'registry'}"), name)
