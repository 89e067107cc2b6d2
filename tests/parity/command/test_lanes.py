"""The drawing of a graph as lanes."""

from itertools import pairwise

import numpy as np
import pytest

from parity.command.page.lanes import PITCH, RADIUS, WIDEST, Row, gutter, lay_out
from parity.command.page.rows import constants_late
from parity.graph import Declared, Graph, Node

Nodes = list[tuple[list[str], list[str]]]


def test_a_chain_is_one_straight_lane() -> None:
    rows = lay_out([([], ["x"]), (["x", "w"], ["a"]), (["a"], ["y"])])
    assert rows == [Row(0, (), (), (0,)), Row(0, (), (0,), (0,)), Row(0, (), (0,), ())]


def test_a_shortcut_has_a_lane_of_its_own() -> None:
    rows = lay_out([([], ["x"]), (["x"], ["a"]), (["a"], ["b"]), (["b", "x"], ["y"])])
    assert rows == [
        Row(0, (), (), (0,)),
        Row(1, (0,), (0,), (1,)),
        Row(1, (0,), (1,), (1,)),
        Row(0, (), (0, 1), ()),
    ]


def test_each_result_that_is_read_has_a_lane() -> None:
    rows = lay_out([([], ["x"]), (["x"], ["a", "unread", "b"]), (["a"], ["c"]), (["b", "c"], ["y"])])
    assert rows[1] == Row(0, (), (0,), (0, 1))
    assert rows[2] == Row(0, (1,), (0,), (0,))


def random_graph(seed: int, size: int) -> Nodes:
    rng = np.random.default_rng(seed)
    made = ["x"]
    nodes: Nodes = [([], ["x"])]
    for place in range(size):
        recent = made[-8:]
        reads = [recent[k] for k in rng.integers(len(recent), size=rng.integers(0, 4))]
        makes = [f"{place}.{k}" for k in range(rng.integers(1, 4))]
        nodes.append((reads, makes))
        made += makes
    return nodes


@pytest.mark.parametrize("seed", range(20))
def test_no_lane_ends_between_rows_and_no_two_tensors_share_one(seed: int) -> None:
    nodes = random_graph(seed, 60)
    rows = lay_out(nodes)
    read = {name for reads, _ in nodes for name in reads}
    for above, below in pairwise(rows):
        assert {*above.passing, *above.going} == {*below.passing, *below.coming}
    for (reads, makes), row in zip(nodes, rows, strict=True):
        assert not {row.lane, *row.going} & set(row.passing)
        assert len(set(row.going)) == len(row.going) == len(read.intersection(makes))
        assert len(row.coming) == len(set(reads))


def test_many_lanes_stand_closer() -> None:
    assert gutter([Row(0, (), (), ())]).width == 2 * (RADIUS + 2)
    assert gutter([Row(2, (0, 1), (), (2,))]).at(2) == RADIUS + 2 + 2 * PITCH
    many = gutter([Row(200, (), (), ())])
    assert many.width == pytest.approx(WIDEST + 2 * (RADIUS + 2))
    assert len({many.at(lane) for lane in range(201)}) == 201


def test_a_line_leads_from_the_lane_above_to_the_node_and_on() -> None:
    lines = gutter([Row(1, (0,), (0,), (1,))]).lines(Row(1, (0,), (0,), (1,)), 40)
    assert lines == "M11 0V40M11 0C11 10 27 10 27 20M27 20V40"


def test_what_reads_constants_alone_stands_before_its_first_reader() -> None:
    def node(name: str, *reads: str) -> Node:
        return Node(name, "Add", None, reads, (name,))

    nodes = (node("w"), node("v", "w", "c"), node("a", "x"), node("b", "a", "v"), node("y", "b"), node("u"))
    graph = Graph(nodes, {"x": Declared()}, ("y",), {"c": np.zeros(1)})
    assert [one.name for one in constants_late(graph)] == ["a", "w", "v", "b", "y", "u"]
