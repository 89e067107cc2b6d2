"""Uses of Softmax and its relatives, with rows short and long, before opset 13 and after."""

from typing import Any

import numpy as np

from parity.operators import OPERATORS
from tests.parity.examples.example import Example, Make


def _logits(shape: tuple[int, ...], scale: float = 3.0, shift: float = 0.0) -> Make:
    def make(rng: np.random.Generator) -> list[np.ndarray | None]:
        return [(rng.standard_normal(shape) * scale + shift).astype(np.float32)]

    return make


def _of(kind: str, make: Make, opset: int = 22, **attributes: Any) -> Example:
    return Example(OPERATORS[kind].read(attributes, opset), attributes, make, opset)


EXAMPLES = [
    example
    for kind in ("Softmax", "LogSoftmax", "Hardmax")
    for example in (
        _of(kind, _logits((3, 4, 5))),
        _of(kind, _logits((3, 4, 5)), axis=1),
        _of(kind, _logits((3, 4, 5)), axis=-3),
        _of(kind, _logits((3, 4, 5)), opset=11),
        _of(kind, _logits((3, 4, 5)), opset=11, axis=0),
        _of(kind, _logits((3, 4, 5)), opset=11, axis=-1),
        _of(kind, _logits((7,), 30.0)),
        _of(kind, _logits((2, 300), 1.0, 1000.0)),
    )
]
