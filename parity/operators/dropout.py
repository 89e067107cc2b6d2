"""Dropout, which drops nothing in inference."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, ClassVar

import numpy as np

from parity.arithmetic import Function, Number
from parity.errors import Unjudged
from parity.operators.operator import Elementwise, Operator, plain_values, register

KEPT = Function("true", lambda a: np.ones(a.shape, bool), monotone=True, exact=True)
DROPPED = Function("false", lambda a: np.zeros(a.shape, bool), monotone=True, exact=True)


@register
@dataclass(frozen=True)
class Dropout(Elementwise):
    """Dropout in inference: x unchanged, and a mask that is true everywhere.

    Attributes:
        masks: what the mask may be. Before opset 12 the standard leaves it open; onnxruntime returns false.
    """

    TYPE: ClassVar[str] = "Dropout"
    IGNORED: ClassVar[Mapping[str, str]] = {
        "ratio": "nothing is dropped in inference",
        "seed": "nothing is drawn in inference",
    }
    OWN: ClassVar[tuple[str, ...]] = ("masks",)

    masks: tuple[Function, ...] = (KEPT,)

    @classmethod
    def read(cls, attributes: Mapping[str, Any], opset: int) -> "Dropout":
        made = super().read(attributes, opset)
        return made if opset >= 12 else replace(made, masks=(KEPT, DROPPED))

    def forms(self) -> tuple[Operator, ...]:
        return tuple(replace(self, masks=(one,)) for one in self.masks)

    @property
    def form_name(self) -> str:
        return f"the mask is {self.masks[0].name}"

    def evaluate(
        self, x: Number, ratio: Number | None = None, training_mode: Number | None = None
    ) -> tuple[Number, ...]:
        dropped = ratio is None or plain_values(ratio, "ratio").any()
        if dropped and training_mode is not None and plain_values(training_mode, "training_mode").any():
            raise Unjudged("Dropout in training mode")
        return x, reduce(lambda a, b: a.either(b), (x.apply(one) for one in self.masks))
