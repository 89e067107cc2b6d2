"""Parameters of another layer, or none, in place of a node's own."""

from collections.abc import Iterator, Mapping
from itertools import combinations, islice

import numpy as np

from parity.arithmetic import Array, Number
from parity.arithmetic.floats import format_of
from parity.graph import Graph, Node
from parity.judging.causes.mistake import Changed, Mistake
from parity.judging.causes.search.stretch import Stretch

MOST = 200  # other parameters of the same shape that are tried
SAID = "The layer computes with parameters of another layer, which have the same shape."
EXCHANGED = "Each of two layers computes with the parameters of the other, which have the same shape."
REMEDY = "Check the names under which the parameters are loaded."


def others(stretch: Stretch, graph: Graph) -> Iterator[tuple[int, Mistake]]:
    """For each node with parameters, its place and what it makes of others of the same shapes."""
    for place, node in enumerate(stretch.nodes):
        own = _parameters(graph, node)
        if not own:
            continue
        yield from ((place, one) for one in _zeros(node, own))
        yield from ((place, one) for one in _of_other_nodes(graph, node, own))
        if len(own) > 1 or node.type in ("Add", "Mul", "MatMul", "Gather"):
            yield from ((place, one) for one in _of_other_places(graph, node, own))


def exchanged(stretch: Stretch, graph: Graph) -> Iterator[tuple[int, dict[int, Mistake]]]:
    """For two layers with parameters of the same shapes, the first place, and what all their nodes do."""
    nodes = stretch.nodes
    own = {place: _parameters(graph, node) for place, node in enumerate(nodes)}
    layers = [place for place, arrays in own.items() if arrays]
    alike = (
        (a, b)
        for a, b in combinations(layers, 2)
        if nodes[a].type == nodes[b].type and nodes[a].inputs != nodes[b].inputs and _fit(own[a], own[b])
    )
    for a, b in islice(alike, MOST):
        said = f"parameters of {nodes[a].name} and {nodes[b].name} exchanged"
        c, d = _bias(stretch, own, a), _bias(stretch, own, b)
        weights = {a: own[b], b: own[a]}
        options = [weights]
        if c is not None and d is not None and c != d and _fit(own[c], own[d]):
            options += [{**weights, c: own[d], d: own[c]}]
        for arrays in options:
            yield (
                a,
                {
                    place: Mistake(said, EXCHANGED, REMEDY, _with(nodes[place], theirs))
                    for place, theirs in arrays.items()
                },
            )


def _fit(one: Mapping[int, Array], other: Mapping[int, Array]) -> bool:
    """Whether parameters at the same places have the same shapes."""
    return {k: a.shape for k, a in one.items()} == {k: a.shape for k, a in other.items()}


def _bias(stretch: Stretch, own: Mapping[int, Mapping[int, Array]], place: int) -> int | None:
    """The place of the sum that adds a bias to the product with the weights of a node."""
    while True:
        name = stretch.nodes[place].outputs[0]
        readers = [k for k, node in enumerate(stretch.nodes) if name in node.inputs]
        if len(readers) != 1:
            return None
        (place,) = readers
        if stretch.nodes[place].type == "Add" and own[place]:
            return place
        if stretch.nodes[place].type != "MatMul":
            return None


def _parameters(graph: Graph, node: Node) -> dict[int, Array]:
    """The constants of a node that are arrays of finite floats, by their places among its inputs."""
    known = {k: graph.constants[name] for k, name in enumerate(node.inputs) if name in graph.constants}
    floats = {k: a for k, a in known.items() if a.size > 1 and format_of(a) is not None}
    return {k: a for k, a in floats.items() if np.isfinite(a).all()}


def _with(node: Node, arrays: Mapping[int, Array]) -> Changed:
    """The node's operator, with other arrays at some places."""
    assert node.operator is not None

    def before(inputs: list[Number | None]) -> list[Number | None]:
        return [_as(x, arrays[k]) if k in arrays and x is not None else x for k, x in enumerate(inputs)]

    return Changed(node.operator, before)


def _as(x: Number, array: Array) -> Number:
    return x.move(lambda a: array.astype(a.dtype))


def _zeros(node: Node, own: Mapping[int, Array]) -> Iterator[Mistake]:
    place = min(own)
    if own[place].any():
        yield Mistake(
            f"weights not loaded: input {place} of {node.type} is zero",
            "The parameters are zero, as before they are loaded.",
            REMEDY,
            _with(node, {place: np.zeros_like(own[place])}),
        )


def _of_other_nodes(graph: Graph, node: Node, own: Mapping[int, Array]) -> Iterator[Mistake]:
    there = (one for one in graph.nodes if one.type == node.type and one.inputs != node.inputs)
    for count, one in enumerate(there):
        theirs = _parameters(graph, one)
        if count < MOST and _fit(own, theirs):
            yield Mistake(
                f"parameters of {one.name} for those of {node.name}", SAID, REMEDY, _with(node, theirs)
            )


def _of_other_places(graph: Graph, node: Node, own: Mapping[int, Array]) -> Iterator[Mistake]:
    """One parameter in place of another: also of the same node."""
    for place, array in own.items():
        same = [
            name
            for name, one in graph.constants.items()
            if one.shape == array.shape and one.dtype == array.dtype and name != node.inputs[place]
        ]
        for name in same[:MOST]:
            yield Mistake(
                f"{name} in place of {node.inputs[place]}",
                SAID,
                REMEDY,
                _with(node, {place: graph.constants[name]}),
            )
