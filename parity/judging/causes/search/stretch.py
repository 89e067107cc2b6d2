"""The nodes between recorded tensors, as one operator in which mistakes can be made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import ClassVar

from parity.arithmetic import Number
from parity.graph import Graph, Node, apply
from parity.judging.causes.mistake import Mistake
from parity.judging.causes.search.rewiring.branches import sources
from parity.operators import Operator
from parity.operators.operator import Points

READER = "DequantizeLinear"  # of integers, with which a runtime may compute instead


@dataclass(frozen=True)
class Stretch(Operator):
    """Nodes between recorded tensors, as one operator.

    Attributes:
        nodes: in order of execution.
        names: of its inputs.
        result: the tensor that it computes.
    """

    TYPE: ClassVar[str] = "stretch"

    nodes: tuple[Node, ...]
    names: tuple[str, ...]
    result: str

    def evaluate(self, *inputs: Number | None) -> Number:
        return self.values(inputs)[self.result]

    def sample(self, points: Points, *inputs: Number | None) -> Number:
        known = {name: one for name, one in zip(self.names, inputs, strict=True) if one is not None}
        return self.sampled(points, known, 0)

    def sampled(self, points: Points, known: Mapping[str, Number], start: int) -> Number:
        """(M,): the result at M points, from the tensors that nodes before `start` have computed."""
        last = self.nodes[-1]
        values = self.run(known, start, len(self.nodes) - 1)
        inputs = [values[name] if name else None for name in last.inputs]
        if last.outputs[0] != self.result or last.operator is None:
            return self.run(values, len(self.nodes) - 1)[self.result].move(lambda a: a[points])
        return last.operator.sample(points, *inputs)

    def with_mistakes(self, made: Mapping[int, Mistake]) -> "Stretch":
        """The same nodes, some of which make a mistake: by their places."""
        nodes = [
            replace(node, operator=made[place].operator, inputs=made[place].inputs or node.inputs)
            if place in made
            else node
            for place, node in enumerate(self.nodes)
        ]
        return replace(self, nodes=tuple(nodes))

    def values(self, inputs: Sequence[Number | None]) -> dict[str, Number]:
        """All tensors by name."""
        return self.run(
            {name: one for name, one in zip(self.names, inputs, strict=True) if one is not None}, 0
        )

    def run(self, known: Mapping[str, Number], start: int, stop: int | None = None) -> dict[str, Number]:
        """All tensors by name, after the nodes from `start` on have been evaluated."""
        values = dict(known)
        for node in self.nodes[start:stop]:
            results = apply(node, [values[name] if name else None for name in node.inputs])
            values |= {name: one for name, one in zip(node.outputs, results, strict=False) if name}
        return values


def between(graph: Graph, recorded: set[str], tensor: str) -> Stretch:
    """The nodes that compute a tensor from recorded ones; these, and others that may be taken for them.

    Those are in other branches, or integers of which an input is read back.
    """
    maker = {name: node for node in graph.nodes for name in node.outputs if name}
    needed: set[int] = set()
    names: dict[str, None] = {}
    stack = [tensor]
    while stack:
        node = maker[stack.pop()]
        if id(node) in needed:
            continue
        needed.add(id(node))
        for name in node.inputs:
            if not name:
                continue
            if name in maker and name not in recorded:
                stack.append(name)
            else:
                names[name] = None
    nodes = tuple(node for node in graph.nodes if id(node) in needed)
    elsewhere = (name for node in nodes for _, name, _ in sources(graph, node))
    before = takewhile(lambda node: node is not nodes[-1], graph.nodes)
    there = recorded & {*graph.inputs, *(name for node in before for name in node.outputs)}
    readers = (node for node in graph.nodes if node.type == READER and node.outputs[0] in names)
    read = [name for node in readers for name in node.inputs]
    names |= {name: None for name in (*elsewhere, *read) if name in there or name in graph.constants}
    return Stretch(nodes, tuple(names), tensor)
