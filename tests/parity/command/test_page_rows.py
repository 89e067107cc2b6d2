"""The rows of the page, before a browser shows them: nodes, their neighbours, their tensors, the overview."""

from dataclasses import replace

import pytest

from parity import judge, read_onnx
from parity.command.page.rows import Entry, counts, entries, stripes
from tests.parity.command.pages import padded
from tests.parity.small import computed, normal


@pytest.fixture(scope="module")
def rows() -> list[Entry]:
    """A convolution that was padded on the other side; what its ReLU returns was not recorded."""
    x = normal(2, 3, 10, 10)
    values = computed(padded([0, 0, 1, 1]), {"x": x})
    del values["relu"]
    graph = read_onnx(padded([1, 1, 1, 1]))
    return entries(graph, judge(graph, values))


def test_inputs_and_nodes_are_rows_with_their_verdicts(rows: list[Entry]) -> None:
    assert [(one.number, one.name, one.op, one.node) for one in rows] == [
        (0, "x", "input", ""),
        (1, "conv", "Conv", "first"),
        (2, "relu", "Relu", "second"),
        (3, "out", "Conv", "third"),
    ]
    assert [one.kind for one in rows][1] == "different"
    assert [one.kind for one in rows][3] in ("equal", "rounding")
    assert [one.is_output for one in rows] == [False, False, False, True]
    assert [one.outputs for one in rows] == [("x",), ("conv",), ("relu",), ("out",)]
    assert [bool(one.tensors) for one in rows] == [False, True, False, True]
    assert [any(one.figures) for one in rows] == [False, True, False, True]


def test_rows_are_linked_with_what_they_read_and_who_reads_them(rows: list[Entry]) -> None:
    reads = [[(link.number, link.name) for link in one.reads] for one in rows]
    read_by = [[(link.number, link.name) for link in one.read_by] for one in rows]
    assert reads == [[], [(0, "x")], [(1, "conv")], [(2, "relu")]]
    assert read_by == [[(1, "conv")], [(2, "relu")], [(3, "out")], []]


def test_bars_are_those_of_the_tensor_that_decides(rows: list[Entry]) -> None:
    (tensor,) = rows[1].tensors
    assert rows[1].bar is tensor.worst_case
    assert replace(rows[1], kind="coarse").bar is tensor.loop
    assert rows[2].bar is None


def test_wrong_rows_are_drawn_last_and_wide_enough_to_be_seen(rows: list[Entry]) -> None:
    right, wrong = (replace(rows[0], kind=kind) for kind in ("equal", "different"))
    many = [replace(wrong if place == 998 else right, number=place) for place in range(1000)]
    drawn = list(stripes(many))
    assert [(one.start, one.width, one.kind, one.wrong) for one in drawn] == [
        (0, 998, "equal", False),
        (999, 1, "equal", False),
        (995, 5, "different", True),
    ]
    assert list(counts(many).items()) == [("different", 1), ("equal", 999)]
