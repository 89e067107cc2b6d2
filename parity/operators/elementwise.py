from dataclasses import dataclass
from typing import ClassVar

from parity.arithmetic import Number
from parity.operators.operator import Elementwise, register


@register
@dataclass(frozen=True)
class Identity(Elementwise):
    """x."""

    TYPE: ClassVar[str] = "Identity"

    def evaluate(self, x: Number) -> Number:
        return x
