"""A normalization on another side of a residual sum: pre-norm for post-norm, and the other way round."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from parity.arithmetic import Number
from parity.graph import Node
from parity.judging.causes.mistake import Changed, Mistake, first
from parity.operators import Operator
from parity.operators.elementwise import Identity

NORMS = (
    *("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"),
    *("BatchNormalization", "GroupNormalization", "InstanceNormalization"),
)

Changes = dict[int, Mistake]  # what the node at each place does instead


def normalized_elsewhere(nodes: Sequence[Node]) -> Iterator[tuple[int, Changes]]:
    """The place of the first node that is changed, and what all do instead: at all blocks, and at each."""
    for find in (_before, _behind):
        blocks = [changes for place, node in enumerate(nodes) if (changes := find(nodes, place, node))]
        everywhere = [{place: one for block in blocks for place, one in block.items()}]
        yield from ((min(changes), changes) for changes in (everywhere if len(blocks) > 1 else []) + blocks)


def _before(nodes: Sequence[Node], place: int, norm: Node) -> Changes:
    """For norm(x + f(x)): x + f(norm(x))."""
    total = next((k for k, node in enumerate(nodes[:place]) if norm.inputs[0] in node.outputs), None)
    if norm.type not in NORMS or total is None or nodes[total].type != "Add":
        return {}
    said: Mapping[str, Any] = {
        "name": "normalization before the branch (pre-norm), not behind the residual sum",
        "explanation": "The input of each branch is normalized, not the sum: norm_first=True in PyTorch.",
        "remedy": "Normalize the sum (post-norm).",
    }
    for x, branch in (nodes[total].inputs, nodes[total].inputs[::-1]):
        into = _needed(nodes, branch)
        readers = [k for k in into if x in nodes[k].inputs]
        if readers:
            made = {
                k: Mistake(
                    **said,
                    operator=_normalizing(nodes[k], nodes[k].inputs.index(x), norm),
                    inputs=(*nodes[k].inputs, *norm.inputs[1:]),
                )
                for k in readers
            }
            return {**made, place: Mistake(**said, operator=Identity(), inputs=norm.inputs[:1])}
    return {}


def _behind(nodes: Sequence[Node], place: int, norm: Node) -> Changes:
    """For x + f(norm(x)): norm(x + f(x))."""
    x = norm.inputs[0]
    if norm.type not in NORMS:
        return {}
    said: Mapping[str, Any] = {
        "name": "normalization behind the residual sum (post-norm), not before the branch",
        "explanation": "The sum is normalized, not the input of each branch: norm_first=False in PyTorch.",
        "remedy": "Normalize the input of the branch (pre-norm).",
    }
    for k, node in enumerate(nodes):
        if node.type != "Add" or x not in node.inputs or len(node.inputs) != 2:
            continue
        branch = node.inputs[1 - node.inputs.index(x)]
        if place in _needed(nodes, branch):
            return {
                place: Mistake(**said, operator=Identity(), inputs=norm.inputs[:1]),
                k: Mistake(
                    **said,
                    operator=Changed(
                        _operator(node),
                        lambda inputs: inputs[:2],
                        lambda y, inputs: _operator(norm).first(y, *inputs[2:]),
                    ),
                    inputs=(*node.inputs, *norm.inputs[1:]),
                ),
            }
    return {}


def _normalizing(node: Node, at: int, norm: Node) -> Changed:
    """The node's operator, one of whose inputs is normalized; the normalization's own inputs follow."""
    own = len(node.inputs)

    def before(inputs: list[Number | None]) -> list[Number | None]:
        normalized = _operator(norm).first(first(inputs[at:]), *inputs[own:])
        return [*inputs[:at], normalized, *inputs[at + 1 : own]]

    return Changed(_operator(node), before)


def _needed(nodes: Sequence[Node], name: str) -> set[int]:
    """The places of the nodes that a tensor depends on."""
    names, places = {name}, set()
    for k in reversed(range(len(nodes))):
        if names & set(nodes[k].outputs):
            places.add(k)
            names |= set(nodes[k].inputs)
    return places


def _operator(node: Node) -> Operator:
    assert node.operator is not None
    return node.operator
