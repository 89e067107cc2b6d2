"""Rounding or a bug, and which bug? Judges a port of any network against its graph."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parity.errors import UserError
    from parity.graph import Graph
    from parity.judging.causes import judge
    from parity.judging.probes import ProbeReport, probe, probe_operator
    from parity.judging.verdict import Cause, Report, TensorReport
    from parity.onnx import read_onnx

__all__ = [
    "Cause",
    "Graph",
    "ProbeReport",
    "Report",
    "TensorReport",
    "UserError",
    "judge",
    "probe",
    "probe_operator",
    "read_onnx",
]

_PLACES = {
    "Cause": "parity.judging.verdict",
    "Graph": "parity.graph",
    "ProbeReport": "parity.judging.probes",
    "Report": "parity.judging.verdict",
    "TensorReport": "parity.judging.verdict",
    "UserError": "parity.errors",
    "judge": "parity.judging.causes",
    "probe": "parity.judging.probes",
    "probe_operator": "parity.judging.probes",
    "read_onnx": "parity.onnx",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used, so that `parity --help` does not wait for NumPy and onnx."""
    import importlib

    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
