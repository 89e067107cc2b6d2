from dataclasses import dataclass
from typing import ClassVar

from parity.arithmetic import Number
from parity.operators.operator import Elementwise, Inputs, register


@register
@dataclass(frozen=True)
class Relu(Elementwise):
    """max(x, 0)."""

    TYPE: ClassVar[str] = "Relu"

    def evaluate(self, x: Number) -> Number:
        return x.maximum(0)

    def gradient(self, which: int, inputs: Inputs, output: Number, cotangent: Number) -> Number:
        positive = inputs[0].comparable > 0
        return cotangent.move(lambda d: d * positive)
