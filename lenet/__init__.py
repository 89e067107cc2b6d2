"""One LeNet-style CNN: the parts that do not depend on a framework.

Import what stands in `__all__` from here, and comparisons from `lenet.compare`; everything else may move.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lenet.network.architecture import LENET, Layer, Network
    from lenet.network.digits import test_set
    from lenet.network.recipe import Recipe
    from lenet.ports import Port, open_port
    from lenet.testing import assert_same_network
    from parity.errors import UserError

__version__ = "0.1.0"
__all__ = [
    "LENET",
    "Layer",
    "Network",
    "Port",
    "Recipe",
    "UserError",
    "assert_same_network",
    "open_port",
    "test_set",
]

_PLACES = {
    "LENET": "lenet.network.architecture",
    "Layer": "lenet.network.architecture",
    "Network": "lenet.network.architecture",
    "Port": "lenet.ports",
    "Recipe": "lenet.network.recipe",
    "UserError": "parity.errors",
    "assert_same_network": "lenet.testing",
    "open_port": "lenet.ports",
    "test_set": "lenet.network.digits",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used, so that `lenet --help` does not wait for NumPy."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
