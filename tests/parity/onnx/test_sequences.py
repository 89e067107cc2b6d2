"""Parts of a split tensor, which PyTorch exports as a sequence of tensors."""

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper, numpy_helper

from parity import judge, read_onnx
from tests.parity.small import computed, model, normal


def parts(*places: int, sizes: np.ndarray | None = None, **attributes: Any) -> ModelProto:
    """A model that splits x and returns the parts at these places, doubled."""
    constants = [numpy_helper.from_array(np.array(place), f"p{place}") for place in places]
    inputs = ["x"]
    if sizes is not None:
        constants.append(numpy_helper.from_array(sizes, "sizes"))
        inputs.append("sizes")
    nodes = [helper.make_node("SplitToSequence", inputs, ["s"], "split", **attributes)]
    for place in places:
        nodes.append(helper.make_node("SequenceAt", ["s", f"p{place}"], [f"part{place}"], f"at{place}"))
        nodes.append(helper.make_node("Add", [f"part{place}"] * 2, [f"y{place}"]))
    made = model(nodes, {"x": [2, 7, 3]}, [f"y{place}" for place in places])
    made.graph.initializer.extend(constants)
    return made


@pytest.mark.parametrize(
    ("sizes", "places", "attributes"),
    [
        (np.array(3), (0, 1, 2), {"axis": 1}),  # the last part is shorter
        (np.array([2, 5]), (0, 1, -1), {"axis": -2}),
        (np.array([3, 1, 3], np.int32), (-3, 1), {"axis": 1}),
        (np.array([0, 7]), (0, 1), {"axis": 1}),
        (None, (0, 3, -1), {"axis": 1}),
        (None, (0, 1), {"keepdims": 0}),
        (None, (-1, 2), {"axis": 2, "keepdims": 0}),
    ],
)
def test_parts_are_slices(sizes: np.ndarray | None, places: tuple[int, ...], attributes: dict) -> None:
    proto = parts(*places, sizes=sizes, **attributes)
    graph = read_onnx(proto)
    assert {node.type for node in graph.nodes} == {
        "Slice" if attributes.get("keepdims", 1) else "Gather",
        "Add",
    }
    assert [node.name for node in graph.nodes if node.type != "Add"] == [f"at{place}" for place in places]
    report = judge(graph, computed(proto, {"x": normal(2, 7, 3)}))
    assert [one.verdict for one in report.tensors] == ["equal"] * 2 * len(places)
    assert not report.unjudged


@pytest.mark.parametrize(
    ("sizes", "place"),
    [(np.array(3), -1), (np.array([3, 4]), 2), (np.array([-3, 10]), 0), (np.array([3.0, 4.0]), 0)],
)
def test_parts_that_are_not_known_are_named(sizes: np.ndarray, place: int) -> None:
    """From the end, of a size that is not known; behind the last; sizes that no tensor has."""
    kinds = [node.type for node in read_onnx(parts(place, sizes=sizes, axis=1)).nodes]
    assert kinds == ["SplitToSequence", "SequenceAt", "Add"]


def test_a_sequence_that_something_else_reads_stays() -> None:
    proto = parts(1, axis=1)
    proto.graph.node.append(helper.make_node("SequenceLength", ["s"], ["n"]))
    nodes = read_onnx(proto).nodes
    assert [node.type for node in nodes] == ["SplitToSequence", "Slice", "Add", "SequenceLength"]
    assert nodes[1].name == "at1"


@pytest.mark.parametrize("place", [np.array([0, 1]), np.array(1.0)], ids=["two", "a float"])
def test_a_place_that_is_not_one_integer_stays(place: np.ndarray) -> None:
    proto = parts(1, axis=1)
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(place, "p1"))
    assert [node.type for node in read_onnx(proto).nodes] == ["SplitToSequence", "SequenceAt", "Add"]


def test_a_sequence_without_a_part_is_no_part() -> None:
    """It reads the sequence and a place as well, and returns one thing."""
    proto = parts(1, axis=1)
    proto.graph.node.append(helper.make_node("SequenceErase", ["s", "p1"], ["rest"]))
    nodes = read_onnx(proto).nodes
    assert [node.type for node in nodes] == ["SplitToSequence", "Slice", "Add", "SequenceErase"]


def test_a_part_without_a_place_stays() -> None:
    proto = parts(1, axis=1)
    del proto.graph.node[1].input[1]
    assert [node.type for node in read_onnx(proto).nodes] == ["SplitToSequence", "SequenceAt", "Add"]


def test_a_split_of_another_domain_is_left_alone() -> None:
    proto = parts(0, 1)
    proto.graph.node[0].domain = "own"
    proto.opset_import.add(domain="own", version=1)
    assert [node.type for node in read_onnx(proto).nodes] == [
        "own.SplitToSequence",
        "SequenceAt",
        "Add",
        "SequenceAt",
        "Add",
    ]
