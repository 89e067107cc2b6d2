"""One use of an operator, with data: what every operator's tests are run on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from parity.operators import Operator

Make = Callable[[np.random.Generator], list[np.ndarray | None]]


@dataclass(frozen=True)
class Example:
    """An operator with attributes, and inputs for it.

    Attributes:
        operator: as its class describes it.
        node: the same attributes as `onnx.helper.make_node` takes them.
        make: draws the inputs; None for an optional one that is not given.
        opset: version of the standard that the node keeps to.
        data: positions of the inputs that may hold any float values, which the tests replace by large, small,
            cancelling ones; None: every float input. (Resize's `scales` is no such input.)
    """

    operator: Operator
    node: dict[str, Any]
    make: Make
    opset: int = 22
    data: tuple[int, ...] | None = None

    def __str__(self) -> str:
        given = ",".join(f"{name}={value}" for name, value in self.node.items())
        return f"{self.operator.TYPE}({given})".replace(" ", "")
