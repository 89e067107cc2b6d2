"""ONNX models that several test files need, each exported once."""

import onnx

from export.port import EXPORTERS, exported
from lenet import ports
from lenet.network import weights
from tests.conftest import unavailable

MODES = [name for name in ports.names(forward_only=True) if name.startswith("onnx:")]
_PARAMS = weights.read()


def needs(mode: str) -> None:
    """Skip where the mode's packages are missing; under CI, fail."""
    if missing := ports.missing(f"onnx:{mode}"):
        unavailable(f"onnx:{mode} needs {', '.join(missing)}")


def model_of(exporter: str) -> onnx.ModelProto:
    """The trained weights as that exporter writes them: a copy, to be changed at will."""
    needs(f"{exporter}/reference")
    copy = onnx.ModelProto()
    copy.CopyFrom(exported(exporter, _PARAMS))
    return copy


__all__ = ["EXPORTERS", "MODES", "model_of", "needs"]
