"""A candidate's tensors: from a framework, from a runtime that runs the model, or from an npz file.

Each framework is imported by its own function, when that is called.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parity.record.frameworks.jax_functions import record_jax
    from parity.record.frameworks.keras_layers import record_keras
    from parity.record.frameworks.torch_modules import export_torch, record_torch
    from parity.record.frameworks.torch_names import module_names
    from parity.record.npz import read_npz, write_npz
    from parity.record.onnx_runtimes import record as record_onnx
    from parity.record.own_names import renamed

__all__ = [
    "export_torch",
    "module_names",
    "read_npz",
    "record_jax",
    "record_keras",
    "record_onnx",
    "record_torch",
    "renamed",
    "write_npz",
]

_PLACES = {
    "export_torch": ("parity.record.frameworks.torch_modules", "export_torch"),
    "module_names": ("parity.record.frameworks.torch_names", "module_names"),
    "read_npz": ("parity.record.npz", "read_npz"),
    "record_jax": ("parity.record.frameworks.jax_functions", "record_jax"),
    "record_keras": ("parity.record.frameworks.keras_layers", "record_keras"),
    "record_onnx": ("parity.record.onnx_runtimes", "record"),
    "record_torch": ("parity.record.frameworks.torch_modules", "record_torch"),
    "renamed": ("parity.record.own_names", "renamed"),
    "write_npz": ("parity.record.npz", "write_npz"),
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used."""
    import importlib

    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, its_name = _PLACES[name]
    return getattr(importlib.import_module(module), its_name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
