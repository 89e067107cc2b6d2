"""A branch that begins elsewhere: before an activation or a normalization, or behind it."""

from collections.abc import Iterator, Sequence

from parity.graph import Graph, Node
from parity.judging.causes.mistake import Mistake
from parity.judging.causes.search.rewiring.residual_norms import NORMS

JOINS = ("Add", "Sum", "Concat")
PASSED = (
    *NORMS,
    "Relu",
    "LeakyRelu",
    "Clip",
    "Elu",
    "Gelu",
    "HardSwish",
    "Sigmoid",
    "Swish",
    "Mish",
    "Dropout",
)


def sources(graph: Graph, node: Node) -> Iterator[tuple[int, str, str]]:
    """For operands of a node that joins branches, the place, another tensor, and which that is, in words."""
    if node.type not in JOINS:
        return
    for other in graph.nodes:
        if other.type in PASSED and other is not node:
            x, y = other.inputs[0], other.outputs[0]
            for place, name in enumerate(node.inputs):
                if name == y:
                    yield place, x, f"before {other.type}"
                elif name == x and node.inputs.count(x) == 1 and y not in node.inputs:
                    yield place, y, f"behind {other.type}"


def branched_elsewhere(
    nodes: Sequence[Node], names: Sequence[str], graph: Graph
) -> Iterator[tuple[int, dict[int, Mistake]]]:
    """The place of a node that joins branches, and what it does if one of them begins elsewhere.

    Args:
        nodes: of a stretch.
        names: of its inputs.
        graph: the whole reference.
    """
    known = {*names, *graph.constants}
    for place, node in enumerate(nodes):
        for operand, name, words in sources(graph, node):
            if name in known and node.operator is not None:
                inputs = (*node.inputs[:operand], name, *node.inputs[operand + 1 :])
                mistake = Mistake(
                    f"branch {node.inputs[operand]} into {node.type} taken {words}: {name}",
                    "The skip connection begins at another tensor: on the other side of an activation or a "
                    "normalization.",
                    f"Join {node.inputs[operand]}.",
                    node.operator,
                    inputs=inputs,
                )
                yield place, {place: mistake}
        known.update(node.outputs)
