"""Several nodes, and the mistakes that the catalogue lists for each, each by itself: nothing is searched."""

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import NodeProto

from parity.arithmetic import Bounded
from parity.graph import Node
from parity.judging.causes import Mistake, mistakes
from parity.judging.causes.mistake import Seen
from parity.judging.causes.search.stretch import between
from tests.parity.judging.causes.small_graphs import Array, graph_of
from tests.parity.judging.causes.words import check_said
from tests.parity.operators.one_node import check_inside

Changes = Mapping[int, Mistake]


class Several:
    """Nodes between recorded inputs, which are named by one letter each, and y.

    Attributes:
        graph: that of the nodes.
        stretch: all of the nodes as one operator.
        values: all tensors without a mistake, by name.
    """

    def __init__(
        self, nodes: Sequence[NodeProto], constants: Mapping[str, Array], opset: int = 20, **inputs: Array
    ) -> None:
        self.graph = graph_of(list(nodes), dict(constants), "".join(inputs), opset=opset)
        self.stretch = between(self.graph, set(inputs), "y")
        known = {**self.graph.constants, **inputs}
        self.inputs = [Bounded(known[name]) for name in self.stretch.names]
        with np.errstate(all="ignore"):
            self.values = self.stretch.values(self.inputs)

    def place(self, name: str) -> int:
        """That of the node which returns this tensor."""
        return next(k for k, node in enumerate(self.stretch.nodes) if name in node.outputs)

    def seen(self, name: str) -> Seen:
        """What the search sees of the node which returns this tensor."""
        node: Node = self.stretch.nodes[self.place(name)]
        inputs = [self.values[one] if one else None for one in node.inputs]
        return Seen(inputs, None, node, self.stretch.nodes, self.values, self.graph)

    def mistakes(self, name: str) -> dict[str, Mistake]:
        """Those of the node which returns this tensor; the first of each name."""
        seen = self.seen(name)
        assert seen.node is not None
        assert seen.node.operator is not None
        found: dict[str, Mistake] = {}
        for one in mistakes(seen.node.operator, seen):
            check_said(one)
            found.setdefault(one.name, one)
        return found

    def returned(self, changes: Changes) -> Bounded:
        """What all nodes together return with these mistakes, by the places of the nodes."""
        with np.errstate(all="ignore"):
            result = self.stretch.with_mistakes(changes).evaluate(*self.inputs)
        assert isinstance(result, Bounded)
        return result

    def returns(self, changes: Changes, expected: Array, name: str = "") -> None:
        """Which plain NumPy computed, up to the bound."""
        check_inside(self.returned(changes), expected, name)

    def each(self, tensor: str, expected: Mapping[str, Array]) -> None:
        """Each of these mistakes of the node which returns this tensor makes y these values."""
        found = self.mistakes(tensor)
        assert expected.keys() <= found.keys(), (expected.keys() - found.keys(), found.keys())
        for name, values in expected.items():
            self.returns({self.place(tensor): found[name]}, values, name)
