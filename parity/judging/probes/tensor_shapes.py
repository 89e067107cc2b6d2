"""The shapes of all tensors of a graph, and the values of integers that say where or how many."""

from collections import Counter
from functools import cached_property

import numpy as np

from parity.arithmetic import Array, Bounded
from parity.errors import Unjudged
from parity.graph import Declared, Graph, Node, apply
from parity.judging.probes.operand import Operand
from parity.judging.walk import MISFITS
from parity.onnx.constants import named_dtype

KEPT = 2**20  # values of a computed tensor of integers that are kept


class Shapes:
    """Tensors as inputs of nodes: from what the graph declares, or else from evaluating it once.

    Args:
        graph: whose tensors are asked for.

    Raises:
        UserError: an input has a dimension without a size, so that nothing can be evaluated.
    """

    def __init__(self, graph: Graph) -> None:
        from parity.record.random_inputs import random_inputs

        self._graph = graph
        self._inputs = random_inputs(graph)
        self._declared = {**graph.declared, **graph.inputs}

    def operand(self, name: str) -> Operand | None:
        """A tensor as the input of a node; None if its shape or type is not known."""
        if name in self._graph.constants:
            array = self._graph.constants[name]
            return Operand(array.shape, array.dtype, array, constant=True)
        one = self._declared.get(name, Declared())
        if one.dtype and one.shape is not None and all(isinstance(size, int) for size in one.shape):
            operand = Operand(tuple(int(size or 0) for size in one.shape), named_dtype(one.dtype))
            if operand.is_float:
                return operand
        return self._evaluated.get(name)

    @cached_property
    def _evaluated(self) -> dict[str, Operand]:
        """All tensors, as far as their operators are known, for random inputs."""
        found = {name: _operand(array) for name, array in self._inputs.items()}
        values: dict[str, Bounded] = {name: Bounded(array) for name, array in self._inputs.items()}
        uses = Counter(name for node in self._graph.nodes for name in set(node.inputs))
        with np.errstate(all="ignore"):
            for node in self._graph.nodes:
                results = self._outputs(node, values)
                for name in set(node.inputs):
                    uses[name] -= 1
                    if not uses[name]:
                        values.pop(name, None)
                for name, one in results.items():
                    found[name] = _operand(one.value, self._declared.get(name))
                    values[name] = one
        return found

    def _outputs(self, node: Node, values: dict[str, Bounded]) -> dict[str, Bounded]:
        constants = self._graph.constants
        try:
            known = [
                None if not name else Bounded(constants[name]) if name in constants else values[name]
                for name in node.inputs
            ]
            results = apply(node, list(known))
        except (Unjudged, AssertionError, *MISFITS, KeyError):
            return {}
        named = zip(node.outputs, results, strict=False)
        return {name: Bounded(one.value) for name, one in named if name and isinstance(one, Bounded)}


def _operand(value: Array, declared: Declared | None = None) -> Operand:
    """A computed tensor; floats are in float64 here, and in the declared type in the graph."""
    whole = value.dtype.kind in "biu" and value.size <= KEPT
    float_dtype = np.dtype(np.float32) if value.dtype == np.float64 else value.dtype
    dtype = named_dtype(declared.dtype) if declared and declared.dtype else float_dtype
    return Operand(value.shape, dtype, value.astype(dtype) if whole else None)
