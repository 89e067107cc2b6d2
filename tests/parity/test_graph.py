"""A graph: what it declares, and its evaluation node by node."""

from typing import Any, cast

import pytest

from parity.graph import Declared, Graph, Node, apply, fits_shape


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        (Declared(), "any dtype of any shape"),
        (Declared("float32", ("batch", 3, None)), "float32 [batch, 3, ?]"),
        (Declared("int64", ()), "int64 []"),
    ],
)
def test_a_declaration_is_told_in_words(declared: Declared, text: str) -> None:
    assert str(declared) == text


@pytest.mark.parametrize(
    ("shape", "declared", "fits"),
    [
        ((2, 3), None, True),
        ((2, 3), ("n", 3), True),
        ((2, 3), (None, 3), True),
        ((2, 3), (2, 4), False),
        ((2, 3), ("n",), False),
        ((2,), ("n", 3), False),
        ((), (), True),
    ],
)
def test_a_shape_fits_what_is_declared(shape: tuple[int, ...], declared: object, fits: bool) -> None:
    assert fits_shape(shape, declared) is fits  # type: ignore[arg-type]


class Sum:
    """What it returns is one value."""

    def evaluate(self, x: Any, y: Any) -> Any:
        return x + y


class Two:
    """What it returns are two values, and it takes an optional input."""

    def evaluate(self, x: Any, skipped: Any, y: Any) -> Any:
        assert skipped is None
        return x + y, x - y


def test_a_graph_is_evaluated_node_by_node() -> None:
    one, two = cast("Any", Sum()), cast("Any", Two())
    nodes = (
        Node("first", "Sum", one, ("x", "w"), ("a",)),
        Node("parts", "Two", two, ("a", "", "x"), ("b", "")),
        Node("end", "Sum", one, ("b", "a"), ("y",)),
    )
    graph = Graph(nodes, {"x": Declared()}, ("y",))
    assert graph.tensors == ["a", "b", "y"]
    given: Any = {"x": 3, "w": 10}
    found: Any = [(node.name, outputs) for node, outputs in graph.evaluate(given)]
    assert found == [("first", (13,)), ("parts", (16, 10)), ("end", (29,))]
    assert given == {"x": 3, "w": 10}
    both: Any = apply(nodes[1], [cast("Any", 5), None, cast("Any", 1)])
    assert both == (6, 4)
