from dataclasses import dataclass
from typing import ClassVar

from parity.arithmetic import Number
from parity.operators.operator import Inputs, Operator, register


@register
@dataclass(frozen=True)
class Flatten(Operator):
    """(N, ...) to (N, ·)."""

    TYPE: ClassVar[str] = "Flatten"

    def evaluate(self, x: Number) -> Number:
        return x.reshape(x.shape[0], -1)

    def gradient(self, which: int, inputs: Inputs, output: Number, cotangent: Number) -> Number:
        return cotangent.reshape(*inputs[0].shape)
