"""Mistakes of the heads of attention that the graph holds as reshapes, products and a softmax."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from parity.graph import Node
from parity.judging.causes.decomposed.recognised import agree
from parity.judging.causes.mistake import Mistake, Seen, made_in, mistakes
from parity.operators.attention import Attention

MOVES = ("Reshape", "Transpose")
SCALES = ("Mul", "Div")
# Others are mistakes of a single node: of the softmax, the scale, the mask.
OF_HEADS = ("heads ", "keys and values ", "queries and values ")

Makers = Mapping[str, Node]


@made_in("Reshape")
def attentions(operator: Any, seen: Seen) -> Iterator[Mistake]:
    """(B, S, H·D) from queries, keys and values of the same shape, which are split into heads and back."""
    if seen.node is None:
        return
    maker = {name: node for node in seen.nodes for name in node.outputs if name}
    names = _inputs(seen.node, maker, seen)
    if names is None:
        return
    inputs = [seen.values[name] for name in names]
    product = maker[maker[seen.node.inputs[0]].inputs[0]]
    heads = seen.values[product.inputs[0]].shape[1]
    attention = Attention(q_num_heads=heads, kv_num_heads=heads)
    y = operator.evaluate(*seen.inputs)
    if any(one.ndim != 3 for one in (*inputs[:3], y)) or not agree(attention, inputs, y):
        return
    for one in mistakes(attention, Seen(inputs, seen.found)):
        if one.name.startswith(OF_HEADS):
            yield replace(one, inputs=names)


def _inputs(node: Node, maker: Makers, seen: Seen) -> tuple[str, ...] | None:
    """The names of queries, keys, values, and of the mask, if there is one."""
    product = _through(node.inputs[0], maker, MOVES[1:])
    shares = maker.get(product.inputs[0]) if product is not None and product.type == "MatMul" else None
    if product is None or shares is None or shares.type != "Softmax":
        return None
    scores, masks = maker.get(shares.inputs[0]), []
    while scores is not None and scores.type in ("Add", *SCALES):
        inside, other = scores.inputs if scores.inputs[0] in maker else scores.inputs[::-1]
        masks += [other] if scores.type == "Add" else []
        scores = maker.get(inside)
    if scores is None or scores.type != "MatMul" or len(masks) > 1:
        return None
    three = [_source(name, maker, seen) for name in (*scores.inputs, product.inputs[1])]
    return None if None in three else (*(name for name in three if name), *masks)


def _through(name: str, maker: Makers, types: tuple[str, ...]) -> Node | None:
    """The first node before a tensor that has none of these types."""
    node = maker.get(name)
    while node is not None and node.type in types:
        node = maker.get(node.inputs[0])
    return node


def _source(name: str, maker: Makers, seen: Seen) -> str | None:
    """The tensor of three axes that was split into heads."""
    while name in maker and maker[name].type in (*MOVES, *SCALES) and seen.values[name].ndim != 3:
        name = maker[name].inputs[0]
    return name if name in seen.values and seen.values[name].ndim == 3 else None
