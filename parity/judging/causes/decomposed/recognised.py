"""Which known layer several nodes of arithmetic compute: told by their values, however they are written.

There are many ways to write GELU or a normalization as a graph. So the result of a node is compared with what
the known layers make of each tensor before it.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from parity.arithmetic import Array, Number
from parity.errors import Unjudged
from parity.graph import Node, apply
from parity.judging.causes.mistake import MISFITS, Mistake, Seen, mistakes
from parity.operators import Operator
from parity.operators.activation import (
    Elu,
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Mish,
    Sigmoid,
    Softplus,
    Swish,
)
from parity.operators.elementwise import Identity
from parity.operators.normalization import LayerNormalization, RMSNormalization
from parity.operators.operator import Elementwise

ACTIVATIONS = (
    *(Gelu(), Gelu(approximate="tanh"), Swish(), Swish(alpha=1.702), HardSwish(), Mish()),
    *(
        HardSigmoid(alpha=float(np.float32(1 / 6))),
        Sigmoid(),
        Softplus(),
        LeakyRelu(),
        LeakyRelu(alpha=0.2),
        Elu(),
    ),
)
CURVED = {"Erf", "Tanh", "Sigmoid", "HardSigmoid", "Clip", "Softplus", "Exp", "Log", "Relu", "Min", "Max"}
DEPTH = 9  # nodes in a row that one layer takes
FEW = 64
MEANS = {"ReduceMean", "ReduceSum"}
ROOTS = {"Sqrt", "Pow"}


@dataclass(frozen=True)
class LayerNormOver(LayerNormalization):
    """Layer normalization over any axes."""

    over: tuple[int, ...] = ()

    def row_axes(self, x: Number) -> tuple[int, ...]:
        return self.over


@dataclass(frozen=True)
class RMSNormOver(RMSNormalization):
    """RMS normalization over any axes."""

    over: tuple[int, ...] = ()

    def row_axes(self, x: Number) -> tuple[int, ...]:
        return self.over


@dataclass(frozen=True)
class Layer:
    """A layer that ends in a node.

    Attributes:
        operator: the layer.
        source: the tensor that it is applied to.
    """

    operator: Operator
    source: str

    def mistakes(self, seen: Seen) -> Iterator[Mistake]:
        """The known mistakes of the layer, at the node in which it ends."""
        found = mistakes(self.operator, Seen([seen.values[self.source]], seen.found))
        return (replace(one, inputs=(self.source,)) for one in found)


def activation_of(seen: Seen) -> Layer | None:
    """The activation that ends in this node."""
    inner = _before(seen)
    if len(inner) < 2 or not CURVED & {node.type for node in inner}:
        return None
    sources = [name for node in inner for name in node.inputs]
    return _first(seen, sources, ACTIVATIONS)


def normalization_of(seen: Seen) -> Layer | None:
    """The normalization, without scale and shift, that ends in this node."""
    inner = _before(seen)
    means = [node for node in inner if node.type in MEANS]
    if not means or not ROOTS & {node.type for node in inner}:
        return None
    averaged = [node.inputs[0] for node in means]
    squared = [name for node in inner if node.outputs[0] in averaged for name in node.inputs]
    layers = (
        kind(epsilon=epsilon, over=span)
        for span in _spans(seen, means)
        for epsilon in _scalars(seen, inner)
        for kind in (LayerNormOver, RMSNormOver)
    )
    return _first(seen, averaged + squared, list(layers))


def _spans(seen: Seen, means: list[Node]) -> Iterator[tuple[int, ...]]:
    """The axes over which means are taken."""
    for node in means:
        if node.inputs[0] in seen.values and node.outputs[0] in seen.values:
            wide, narrow = (seen.values[name].shape for name in (node.inputs[0], node.outputs[0]))
            if len(wide) == len(narrow):
                yield tuple(axis for axis, n in enumerate(wide) if n != narrow[axis])


def _scalars(seen: Seen, inner: list[Node]) -> list[float]:
    """The small numbers that are added somewhere, and 0."""
    names = (name for node in inner if node.type == "Add" for name in node.inputs)
    single = (seen.values[name] for name in names if name in seen.values and seen.values[name].size == 1)
    numbers = (float(one.comparable.reshape(-1)[0]) for one in single)
    return [*dict.fromkeys(number for number in numbers if 0 < number < 0.1), 0.0]


def _before(seen: Seen) -> list[Node]:
    """The node and the nearest of those that it depends on, in order of execution."""
    if seen.node is None:
        return []
    maker = {name: node for node in seen.nodes for name in node.outputs if name}
    found: set[int] = set()
    level = [seen.node]
    for _ in range(DEPTH):
        found |= {id(node) for node in level}
        level = [maker[name] for node in level for name in node.inputs if name in maker]
    return [node for node in seen.nodes if id(node) in found]


def _first(seen: Seen, sources: Sequence[str], layers: Sequence[Operator]) -> Layer | None:
    """The first layer whose values are those of the node, and the earliest tensor of which they are."""
    assert seen.node is not None
    y = seen.values.get(seen.node.outputs[0])
    if y is None:
        y = apply(seen.node, list(seen.inputs))[0]
    known = {name: seen.values[name] for name in sources if name in seen.values}
    fitting = {name: x for name, x in known.items() if x.shape == y.shape and x.size > 1}
    fitting = {name: x for name, x in fitting.items() if not agree(Identity(), [x], y)}  # no layer at all
    for operator in layers:
        for name, x in fitting.items():
            if agree(operator, [x], y):
                return Layer(operator, name)
    return None


def agree(operator: Operator, inputs: Sequence[Number], y: Number) -> bool:
    """Whether an operator has the values of y: in float64, up to constants that a file holds in float32."""
    with suppress(Unjudged, *MISFITS):
        if isinstance(operator, Elementwise) and y.size > FEW:  # look at some values before all
            few = np.random.default_rng(0).integers(0, y.size, FEW)
            if not _equal(operator, [_at(one, few) for one in inputs], _at(y, few)):
                return False
        return _equal(operator, inputs, y)
    return False


def _at(x: Number, places: Array) -> Number:
    return x.move(lambda a: a.reshape(-1)[places])


def _equal(operator: Operator, inputs: Sequence[Number], y: Number) -> bool:
    values, right = (one.comparable.astype(np.float64) for one in (operator.first(*inputs), y))
    return bool((np.abs(values - right) <= 1e-6 * np.abs(right).max()).all())
