"""Mistakes of a joint projection, of queries, keys and values most often: its pieces in another order."""

from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import combinations, permutations
from typing import Any

from parity.arithmetic import Number
from parity.graph import Node
from parity.judging.causes.mistake import Changed, Mistake

SELECTING = ("Gather", "Slice")
EXPLAINED: Mapping[str, Any] = {
    "explanation": "The pieces of a tensor (the halves of a gated unit, or queries, keys and values, say) "
    "are taken in another order.",
    "remedy": "Take the pieces in the order of the reference, or reorder the rows of the weights.",
}
MOST = 4  # pieces whose orders are all tried: 24; of more, each two are exchanged
ROLES = ("Q", "K", "V")
ON_SCORES = ("Mul", "Div", "Add", "Sub", "Where", "Cast", "Tanh", "Identity")
ON_SHARES = ("Cast", "Dropout", "Identity", "Where", "Mul")


def pieces(
    nodes: Sequence[Node], values: Mapping[str, Number], constants: Container[str]
) -> Iterator[tuple[int, dict[int, Mistake]]]:
    """The place of the first of several nodes that select from one tensor, and what each selects instead.

    Args:
        nodes: between recorded tensors, in order of execution.
        values: all tensors before the last of them, by name.
        constants: names of those whose pieces are no results: of weights, whose layer says more.
    """
    groups: dict[tuple[str, str, int], list[int]] = {}
    for place, node in enumerate(nodes):
        if node.type not in SELECTING or node.inputs[0] in constants:
            continue
        if values[node.inputs[0]].comparable.dtype.kind == "f":
            groups.setdefault((node.inputs[0], node.type, len(node.inputs)), []).append(place)
    for (source, *_), places in groups.items():
        selecting = [nodes[place] for place in places]
        for order in _orders(len(places)):
            changed = [k for k, other in enumerate(order) if k != other]
            if changed:
                name = _said([node.outputs[0] for node in selecting], order, nodes, source)
                wrong = {places[k]: _as_at(selecting[order[k]], values) for k in changed}
                yield (
                    places[changed[0]],
                    {place: Mistake(name, **EXPLAINED, operator=one) for place, one in wrong.items()},
                )


def _orders(count: int) -> Iterator[tuple[int, ...]]:
    """The orders of so many pieces that are tried."""
    if count <= MOST:
        yield from permutations(range(count))
        return
    for a, b in combinations(range(count), 2):
        yield tuple({a: b, b: a}.get(k, k) for k in range(count))


def _as_at(other: Node, values: Mapping[str, Number]) -> Changed:
    """The operator that selects what it selects at another node, whose indices may come later."""
    assert other.operator is not None
    chosen = [values[name].comparable if name else None for name in other.inputs[1:]]

    def before(inputs: list[Number | None]) -> list[Number | None]:
        mine = zip(inputs[1:], chosen, strict=True)
        return [inputs[0], *(x if x is None else x.move(lambda _, to=to: to) for x, to in mine)]  # type: ignore[misc]

    return Changed(other.operator, before)


def _said(names: Sequence[str], order: Sequence[int], nodes: Sequence[Node], source: str) -> str:
    """The name of pieces of a tensor in another order."""
    changed = [k for k, other in enumerate(order) if k != other]
    if roles := in_roles(names, order, nodes):
        return roles
    if len(changed) == 2:
        return f"pieces {changed[0]} and {changed[1]} of {source} exchanged"
    return f"pieces of {source} in the order {tuple(order)}"


def in_roles(names: Sequence[str], order: Sequence[int], nodes: Sequence[Node]) -> str:
    """What pieces in another order are to the attention behind them.

    "" if there is none, or not all of them have a name.

    Args:
        names: of the pieces.
        order: the number of the piece that each of them is taken for.
        nodes: those behind them.
    """
    if len(names) < len(order):
        return ""
    changed = [k for k, other in enumerate(order) if k != other]
    roles = {k: role(names[k], nodes) for k in changed}
    if sorted(set(roles.values()) & set(ROLES)) != sorted(roles.values()):
        return ""
    changed.sort(key=lambda k: ROLES.index(roles[k]))
    if len(changed) == 2:
        return f"{roles[changed[0]]} and {roles[changed[1]]} swapped"
    taken, right = (", ".join(each) for each in ([roles[order[k]] for k in changed], ROLES))
    return f"{taken} taken for {right}"


def role(name: str, nodes: Sequence[Node]) -> str:
    """Whether a tensor is the queries, keys or values of an attention: "Q", "K", "V"; "" if it is none."""
    reached = {name}
    maker = {one: node for node in nodes for one in node.outputs if one}
    for node in nodes:
        places = [k for k, one in enumerate(node.inputs) if one in reached]
        if not places or node.type == "Shape":
            continue
        if node.type == "Attention":
            return ROLES[places[0]] if places[0] < 3 else ""
        if node.type == "MatMul":
            if places[0] == 1 and _is_behind(node.inputs[0], maker):
                return "V"
            return ("Q", "K")[places[0]] if _is_before(node.outputs[0], nodes) else ""
        reached.update(node.outputs)
    return ""


def _is_behind(name: str, maker: Mapping[str, Node]) -> bool:
    """Whether a tensor is the shares of a softmax."""
    node = maker.get(name)
    while node is not None and node.type in ON_SHARES:
        node = maker.get(node.inputs[0])
    return node is not None and node.type == "Softmax"


def _is_before(name: str, nodes: Sequence[Node]) -> bool:
    """Whether a softmax makes shares of a tensor."""
    reached = {name}
    for node in nodes:
        if reached & set(node.inputs):
            if node.type == "Softmax":
                return True
            if node.type in ON_SCORES:
                reached.update(node.outputs)
    return False
