"""ONNX models that several test files need, each exported once."""

import onnx

from export.port import EXPORTERS, exported
from lenet import ports
from lenet.network import weights
from tests.conftest import unavailable

MODES = [name for name in ports.names(forward_only=True) if name.startswith("onnx:")]
EXPORTED = [*MODES, "litert"]  # every port that runs a file
_PARAMS = weights.read()


def needs_port(name: str) -> None:
    """Skip where the packages of a port are missing; under CI, fail."""
    if missing := ports.missing(name):
        unavailable(f"{name} needs {', '.join(missing)}")


def needs(mode: str) -> None:
    """The same for a mode of the ONNX port."""
    needs_port(f"onnx:{mode}")


def model_of(exporter: str) -> onnx.ModelProto:
    """The trained weights as that exporter writes them: a copy, to be changed at will."""
    needs(f"{exporter}/reference")
    copy = onnx.ModelProto()
    copy.CopyFrom(exported(exporter, _PARAMS))
    return copy


__all__ = ["EXPORTED", "EXPORTERS", "MODES", "model_of", "needs", "needs_port"]
