"""Parameters that went through a shorter format: a checkpoint of half the size."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from parity.arithmetic import Array, Number
from parity.arithmetic.floats import BFLOAT16, FLOAT16, Format, format_of
from parity.graph import Graph, Node
from parity.judging.causes.mistake import Changed, Mistake, Seen, given, made_in
from parity.judging.causes.of_rounding.of_precision import PRODUCTS, STORED
from parity.judging.causes.of_rounding.shortened import name_of, or_tf32, rounded_to, shortened
from parity.operators import Operator

Places = frozenset[int]  # of a node's parameters among its inputs


def stored(graph: Graph, nodes: tuple[Node, ...]) -> Iterator[dict[int, Mistake]]:
    """Parameters in a shorter format, of all nodes, of all products or of one node: what each node does.

    Args:
        graph: whose constants are the parameters.
        nodes: that compute a wrong tensor.
    """
    for form in (FLOAT16, BFLOAT16):
        every = {k: places for k, node in enumerate(nodes) if (places := _parameters(graph, node, form))}
        products = {k: places for k, places in every.items() if nodes[k].type in PRODUCTS}
        named: dict[str, Mapping[int, Places]] = {f"parameters stored in {form.name}": every}
        if len(products) < len(every):
            named[f"parameters stored in {form.name}: those of all products"] = products
        for name, several in named.items():
            if len(several) > 1:
                yield _rounded(nodes, several, form, name)
        for k, places in every.items():
            if nodes[k].type not in PRODUCTS:  # these have names of their own: `parameters`, "weights"
                yield _rounded(nodes, {k: places}, form, f"parameters stored in {form.name}")


@made_in("Conv", "ConvTranspose", "Gemm")
def parameters(operator: Any, seen: Seen) -> Iterator[Mistake]:
    """Weights and biases of one layer. Nobody stores parameters in TF32: what is rounded to it comes last."""
    if given(seen.inputs, 2) is None:
        return
    for form in STORED:
        places = frozenset({1, 2})
        if seen.graph and seen.node and all(name in seen.graph.constants for name in seen.node.inputs[1:3]):
            places = _parameters(seen.graph, seen.node, form)
        if len(places) < 2:
            continue
        usual = form in (FLOAT16, BFLOAT16)
        words = f"stored in {form.name}" if usual else rounded_to(form)
        yield _mistake(operator, places, form, f"parameters {words}")


def _parameters(graph: Graph, node: Node, form: Format) -> Places:
    """The constants of a node that are arrays of numbers which the format changes, but not to infinities."""
    known = {k: graph.constants[name] for k, name in enumerate(node.inputs) if name in graph.constants}
    return frozenset(k for k, a in known.items() if a.size > 1 and _is_changed(a, form))


def _is_changed(a: Array, form: Format) -> bool:
    own = format_of(a)
    if own is None or own.digits <= form.digits:
        return False
    short = form.round(a).astype(a.dtype)
    return bool((short != a).any() and np.isfinite(short).all())


def _rounded(
    nodes: tuple[Node, ...], parameters: Mapping[int, Places], form: Format, name: str
) -> dict[int, Mistake]:
    made = {}
    for place, own in parameters.items():
        operator = nodes[place].operator
        assert operator is not None
        made[place] = _mistake(operator, own, form, name)
    return made


def _mistake(operator: Operator, own: Places, form: Format, name: str) -> Mistake:
    """An operator with some of its inputs in a shorter format."""
    short = shortened(form)

    def before(inputs: list[Number | None]) -> list[Number | None]:
        return [short(x) if k in own and x is not None else x for k, x in enumerate(inputs)]

    return Mistake(
        name,
        f"Weights, biases and other parameters went through {name_of(form)}{or_tf32(form)}: they were saved "
        "or converted in it, and are computed with in a longer format.",
        "Load the parameters in the format of the reference, or judge against the graph of the shorter ones.",
        Changed(operator, before),
        wider=form.name == "tf32",
    )
