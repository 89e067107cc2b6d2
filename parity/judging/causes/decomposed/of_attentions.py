"""Mistakes of attention that the graph holds as reshapes, products and a softmax: heads, a shared scale."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from parity.arithmetic import Number
from parity.graph import Node
from parity.judging.causes.decomposed.recognised import agree
from parity.judging.causes.mistake import (
    Inputs,
    Mistake,
    Seen,
    first,
    made_in,
    mistakes,
    with_input,
)
from parity.operators import Operator
from parity.operators.attention import Attention

MOVES = ("Reshape", "Transpose")
SCALES = ("Mul", "Div")
# Others are mistakes of a single node: of the softmax, the scale, the mask.
OF_HEADS, EXCHANGED = ("heads ", "heads: "), ("keys and values ", "queries and values ")

Makers = Mapping[str, Node]


@made_in("MatMul")
def attentions(operator: Any, seen: Seen) -> Iterator[Mistake]:
    """Shares times values, of queries, keys and values of the same size that are split into heads before."""
    maker = {name: node for node in seen.nodes for name in node.outputs if name}
    names = _inputs(seen.node, maker)
    if names is None or any(name not in maker or seen.values[name].ndim != 4 for name in names[:3]):
        return
    inputs = [seen.values[name] for name in names]
    heads = inputs[0].shape[1]
    attention = Attention(q_num_heads=heads, kv_num_heads=heads)
    if inputs[2].shape[1] != heads or not agree(OfHeads(attention), inputs, operator.first(*seen.inputs)):
        return
    for one in mistakes(attention, Seen(joined(inputs), None)):
        if one.name.startswith((*OF_HEADS, *EXCHANGED)):
            wider = one.name.startswith(EXCHANGED)  # pieces of a joint projection say where
            yield replace(one, operator=OfHeads(one.operator), inputs=names, wider=wider)


@dataclass(frozen=True)
class OfHeads(Operator):
    """Attention to heads that were split off: of (B, H, S, D), but keys of (B, H, D, S).

    Attributes:
        right: the same of (B, S, H·D).
    """

    TYPE: ClassVar[str] = "attention of heads"

    right: Operator

    def evaluate(self, *inputs: Number | None) -> Number:
        y = self.right.first(*joined(inputs))
        heads = first(inputs).shape[1]
        return y.reshape(*y.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def joined(inputs: Inputs) -> list[Number | None]:
    """Queries, keys and values whose heads lie side by side in their last axis."""
    q, k, v = (first(inputs[place:]) for place in range(3))
    apart = (q, k.transpose(0, 1, 3, 2), v)
    return [*(x.transpose(0, 2, 1, 3).reshape(x.shape[0], x.shape[2], -1) for x in apart), *inputs[3:]]


def _inputs(product: Node | None, maker: Makers) -> tuple[str, ...] | None:
    """The names of queries, keys, values, and of the mask, if there is one: shares times values take them."""
    shares = maker.get(product.inputs[0]) if product is not None else None
    if product is None or shares is None or shares.type != "Softmax":
        return None
    scores, masks = maker.get(shares.inputs[0]), []
    while scores is not None and scores.type in ("Add", *SCALES):
        inside, other = scores.inputs if scores.inputs[0] in maker else scores.inputs[::-1]
        masks += [other] if scores.type == "Add" else []
        scores = maker.get(inside)
    if scores is None or scores.type != "MatMul" or len(masks) > 1:
        return None
    return (*(_unscaled(name, maker) for name in scores.inputs), product.inputs[1], *masks)


def _unscaled(name: str, maker: Makers) -> str:
    """The tensor that is multiplied by a scale."""
    while name in maker and maker[name].type in SCALES:
        name = maker[name].inputs[0]
    return name


def _through(name: str, maker: Makers, types: tuple[str, ...]) -> Node | None:
    """The first node before a tensor that has none of these types."""
    node = maker.get(name)
    while node is not None and node.type in types:
        node = maker.get(node.inputs[0])
    return node


# --- a scale that queries and keys share -------------------------------------------------------


@made_in(*SCALES)
def shared_scales(operator: Any, seen: Seen) -> Iterator[Mistake]:
    """Another scale, made at the queries: PyTorch's exporter multiplies queries and keys by its root."""
    both, q = sharing(seen), seen.inputs[0]
    if not both or both[0] is not seen.node or q is None:
        return
    right = float(np.prod([_factor(one, seen) for one in both]))
    for words, scale in _scales(right, q).items():
        by = scale / right if operator.TYPE == "Mul" else right / scale
        yield Mistake(
            f"scale {words}",
            "A product (the scores of attention, most often) is multiplied by another factor. The graph "
            "multiplies both of its operands by a part of the scale: queries and keys by its root.",
            f"Multiply by {right:.6g}.",
            with_input(operator, 1, lambda c, by=by: c * by),  # type: ignore[misc]
        )


def _scales(right: float, q: Number) -> dict[str, float]:
    """Other scales of queries (..., heads, queries, size), each with what it is."""
    size = q.shape[-1]
    said = f"for {right:.6g}"
    scales = {f"left out: 1 {said}": 1.0}
    if abs(right * size**0.5 - 1) > 1e-5:
        return {**scales, f"applied twice: {right * right:.6g} {said}": right * right}
    scales[f"applied twice: 1/d {said}"] = 1 / size
    scales[f"multiplied, not divided: sqrt(d) {said}"] = size**0.5
    if q.ndim == 4 and q.shape[1] > 1:
        scales["of all heads together: 1/sqrt(H·d) for 1/sqrt(d)"] = (size * q.shape[1]) ** -0.5
    for length in q.shape[:-1]:
        if length not in (1, size):
            scales[f"1/sqrt({length}), of the length of another axis, for 1/sqrt({size})"] = length**-0.5
    return scales


def sharing(seen: Seen) -> list[Node]:
    """The nodes that multiply the two factors of a product by a number each, if this is one of them."""
    maker = {name: one for one in seen.nodes for name in one.outputs if name}
    for product in (one for one in seen.nodes if one.type == "MatMul"):
        two = [_through(name, maker, MOVES) for name in product.inputs]
        both = [one for one in two if one is not None and one.type in SCALES and _factor(one, seen)]
        if len(both) == 2 and any(one is seen.node for one in both):
            return both
    return []


def _factor(node: Node, seen: Seen) -> float:
    """What a node multiplies its first input by, if that is a number; else 0."""
    c = seen.values.get(node.inputs[1])
    if c is None or c.size != 1 or c.comparable.dtype.kind != "f":
        return 0.0
    number = float(c.comparable.reshape(-1)[0])
    return 1 / number if node.type == "Div" and number else number
