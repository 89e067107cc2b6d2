"""One layer and the mistakes that the catalogue lists for it, each by itself: nothing is searched."""

from functools import cached_property
from typing import Any

import numpy as np
from onnx import helper

from parity.arithmetic import Bounded
from parity.judging.causes import Mistake, mistakes
from parity.judging.causes.mistake import Seen
from parity.onnx import read_onnx
from tests.parity.judging.causes.words import check_said
from tests.parity.operators.one_node import check_inside

Array = np.ndarray


def drawn(*shape: int, seed: int = 0, scale: float = 1.0) -> Array:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


class Layer:
    """A node of these inputs; None for one that is left out. `found` are a candidate's values.

    Attributes:
        seen: what the catalogue is shown of it.
    """

    def __init__(
        self,
        kind: str,
        *inputs: Array | None,
        found: Array | None = None,
        outputs: int = 1,
        opset: int = 20,
        **attributes: Any,
    ) -> None:
        names = ["" if one is None else f"i{place}" for place, one in enumerate(inputs)]
        results = [f"y{place}" for place in range(outputs)]
        node = helper.make_node(kind, names, results, **attributes)
        ends = [helper.make_tensor_value_info(name, 1, None) for name in (*filter(None, names), *results)]
        graph = helper.make_graph([node], "layer", ends[:-outputs], ends[-outputs:])
        read = read_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]))
        (self.node,) = read.nodes
        assert self.node.operator is not None
        self.operator = self.node.operator
        self.inputs = [None if one is None else Bounded(one) for one in inputs]
        values = {name: one for name, one in zip(names, self.inputs, strict=True) if one is not None}
        self.seen = Seen(self.inputs, found, self.node, (self.node,), values)

    @cached_property
    def mistakes(self) -> dict[str, Mistake]:
        found = list(mistakes(self.operator, self.seen))
        check_said(*found)
        return {one.name: one for one in found}

    def outputs(self, name: str) -> list[Bounded]:
        """What the layer returns with this mistake; "" for none."""
        operator = self.mistakes[name].operator if name else self.operator
        with np.errstate(all="ignore"):
            result = operator.evaluate(*self.inputs)
        return [
            one for one in (result if isinstance(result, tuple) else (result,)) if isinstance(one, Bounded)
        ]

    def returns(self, name: str, expected: Array, place: int = 0) -> None:
        """With this mistake the layer returns these values, which plain NumPy computed, up to its bound."""
        check_inside(self.outputs(name)[place], expected, name)
