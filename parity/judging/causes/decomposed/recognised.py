"""Which known layer several nodes of arithmetic compute: told by their values, however they are written.

There are many ways to write GELU or a normalization as a graph. So the result of a node is compared with what
the known layers make of each tensor before it.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from parity.arithmetic import Array, Bounded, Number
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
from parity.operators.normalization import LayerNormalization, RMSNormalization

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
MEANS = {"ReduceMean", "ReduceSum"}
ROOTS = {"Sqrt", "Pow"}


@dataclass(frozen=True)
class Standardized(LayerNormalization):
    """Layer normalization over any axes."""

    over: tuple[int, ...] = ()

    def row_axes(self, x: Number) -> tuple[int, ...]:
        return self.over


@dataclass(frozen=True)
class OfLength1(RMSNormalization):
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
    return _first(seen, inner, lambda: iter(ACTIVATIONS))


def normalization_of(seen: Seen) -> Layer | None:
    """The normalization, without scale and shift, that ends in this node."""
    inner = _before(seen)
    types = {node.type for node in inner}
    if not (MEANS & types and ROOTS & types):
        return None
    return _first(seen, inner, lambda: _normalizations(seen, inner))


def _normalizations(seen: Seen, inner: list[Node]) -> Iterator[Operator]:
    spans: dict[tuple[int, ...], None] = {}
    for node in inner:
        if node.type in MEANS and node.inputs[0] in seen.values and node.outputs[0] in seen.values:
            wide, narrow = (seen.values[name].shape for name in (node.inputs[0], node.outputs[0]))
            if len(wide) == len(narrow):
                spans[tuple(axis for axis, n in enumerate(wide) if n != narrow[axis])] = None
    for span in spans:
        for epsilon in _scalars(seen, inner):
            yield Standardized(epsilon=epsilon, over=span)
            yield OfLength1(epsilon=epsilon, over=span)


def _scalars(seen: Seen, inner: list[Node]) -> list[float]:
    """The small numbers that are added somewhere, and 0."""
    found = dict.fromkeys([0.0])
    for node in inner:
        for name in node.inputs if node.type == "Add" else ():
            one = seen.values.get(name)
            if one is not None and one.size == 1 and 0 < float(one.comparable.reshape(-1)[0]) < 0.1:
                found[float(one.comparable.reshape(-1)[0])] = None
    return list(found)[::-1]


def _before(seen: Seen) -> list[Node]:
    """The node and those that it depends on, in order of execution."""
    if seen.node is None:
        return []
    maker = {name: node for node in seen.nodes for name in node.outputs if name}
    found: set[int] = set()
    stack = [seen.node]
    while stack:
        node = stack.pop()
        found.add(id(node))
        stack += [maker[name] for name in node.inputs if name in maker]
    return [node for node in seen.nodes if id(node) in found]


def _first(seen: Seen, inner: list[Node], layers: object) -> Layer | None:
    """The first layer whose values are those of the node, and the earliest tensor of which they are."""
    node = seen.node
    assert node is not None
    assert callable(layers)
    (y, *_) = apply(node, list(seen.inputs))
    sources = dict.fromkeys(name for one in inner for name in one.inputs if name not in node.outputs)
    for operator in layers():
        for name in sources:
            x = seen.values.get(name)
            if x is not None and x.shape == y.shape and x.size > 1 and agree(operator, [x], y):
                return Layer(operator, name)
    return None


def agree(operator: Operator, inputs: Sequence[Number], y: Number) -> bool:
    """Whether an operator has the values of y, as far as rounding tells."""
    with suppress(Unjudged, *MISFITS):
        result = operator.evaluate(*inputs)
        one = result[0] if isinstance(result, tuple) else result
        assert isinstance(one, Bounded)
        assert isinstance(y, Bounded)
        apart = np.abs(_values(one) - _values(y))
        return bool((apart <= one.bound + y.bound + 1e-6 * np.abs(_values(y)).max()).all())
    return False


def _values(x: Bounded) -> Array:
    return x.value.astype(np.float64)
