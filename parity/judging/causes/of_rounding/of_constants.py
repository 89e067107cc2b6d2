"""Tables that an exporter has computed, and that are some units in the last place off from the port's.

Where a module computes cosines and sines of constants, PyTorch's exporter replaces them by their values if it
optimizes. Another library computes these, and its functions round differently. Then the graph's constants are
no one's mistake, but the candidate's values are not those of the graph.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from parity.arithmetic import Array, Bounded, Looped, Number
from parity.arithmetic.floats import format_of
from parity.graph import Graph, Node
from parity.judging.causes.mistake import Changed, Mistake

UNITS = (1, 2, 4)  # in the last place: right libraries are no further apart
FUNCTIONS = ("Cos", "Sin", "Tan", "Exp", "Pow")


def folded(graph: Graph, nodes: tuple[Node, ...]) -> Iterator[dict[int, Mistake]]:
    """What nodes make of all tables among the constants, if each value is some units off.

    Args:
        graph: whose constants they are.
        nodes: that compute a wrong tensor.
    """
    tables = _tables(graph, nodes)
    used = {k: [name in tables for name in node.inputs] for k, node in enumerate(nodes)}
    places = [k for k, which in used.items() if any(which)]
    for units in UNITS if places else ():
        yield {k: _off(nodes[k], used[k], units, sorted(tables)) for k in places}


def _tables(graph: Graph, nodes: tuple[Node, ...]) -> set[str]:
    """The constants that are cosines and sines, or of which a function is taken."""
    into = {name for node in nodes if node.type in FUNCTIONS for name in node.inputs}
    names = dict.fromkeys(name for node in nodes for name in node.inputs if name in graph.constants)
    arrays = {name: graph.constants[name] for name in names}
    arrays = {name: a for name, a in arrays.items() if a.size > 1 and format_of(a) is not None}
    return {name for name, a in arrays.items() if name in into or _is_circle(a, arrays.values())}


def _is_circle(a: Array, others: Iterable[Array]) -> bool:
    """Whether squares add up to 1: with those of another constant, of the other half, or of neighbours."""
    half = a.shape[-1] // 2
    pairs = [(a[..., :half], a[..., half : 2 * half]), (a[..., 0 : 2 * half : 2], a[..., 1 : 2 * half : 2])]
    pairs += [(a, b) for b in others if b is not a and b.shape == a.shape]
    for one, other in pairs:
        if one.size > 1:
            squares = one.astype(np.float64) ** 2 + other.astype(np.float64) ** 2
            if (np.abs(squares - 1) <= 1e-5).all():
                return True
    return False


def _off(node: Node, which: list[bool], units: int, names: list[str]) -> Mistake:
    """A node whose constants are some units off, in either direction."""
    operator = node.operator
    assert operator is not None

    def before(inputs: list[Number | None]) -> list[Number | None]:
        return [_widened(x, units) if off else x for x, off in zip(inputs, which, strict=True)]

    return Mistake(
        f"constants of the graph ({', '.join(names)}) are {units} ulp{'s' * (units > 1)} off from the port's",
        "The graph holds tables that the port computes itself, and each is right to some units in the last "
        "place: PyTorch's exporter replaces cosines and sines of constants by what another library returns.",
        "Nothing in the port is wrong. Export with optimize=False, so that the graph computes the tables, or "
        "load the graph's tables into the port.",
        Changed(operator, before),
        read_off=True,
        wider=True,
    )


def _widened(x: Number | None, units: int) -> Number | None:
    """The values with a bound of some units in the last place; in a plain loop, so many units up or down."""
    if not isinstance(x, Bounded | Looped) or (form := format_of(x.value)) is None:
        return x
    _, exponent = np.frexp(np.abs(x.value.astype(np.float64)))
    off = units * np.ldexp(1.0, np.maximum(exponent - form.digits, form.lowest - form.digits + 1))
    if isinstance(x, Bounded):
        return replace(x, error=x.bound + off)
    signs = np.resize([1, -1, -1], x.shape)
    return replace(x, value=(x.value + signs * off).astype(x.value.dtype))
