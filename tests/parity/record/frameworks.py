"""What the tests of the recorders share: frameworks, where they are installed, and one verdict."""

import importlib
from typing import Any

import numpy as np
from onnx import ModelProto

from parity import Report, judge, read_onnx
from tests.conftest import unavailable


def framework(*names: str) -> Any:
    """The first of these modules; where one is not installed, the tests are skipped, and fail under CI."""
    try:
        first, *_ = [importlib.import_module(name) for name in names]
        return first
    except ModuleNotFoundError as error:
        unavailable(f"{error.name} is not installed")
        raise


def judged(model: ModelProto, values: dict[str, np.ndarray]) -> Report:
    return judge(read_onnx(model), values)


def verdicts(report: Report) -> dict[str, str]:
    return {one.tensor: one.verdict for one in report.tensors}
