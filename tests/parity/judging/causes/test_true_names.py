"""Names that would not be true of what a port does, or that would mislead: the true one is said instead."""

import numpy as np
import pytest
from onnx import helper

from parity.arithmetic import Bounded, Looped
from parity.arithmetic.floats import FLOAT16, TF32
from parity.judging.causes import judge
from parity.onnx import read_onnx
from parity.operators.resize import Resize
from tests.parity.judging.causes.small_graphs import Array, N, drawn, graph_of, names, softmax

# --- indices -----------------------------------------------------------------------------------


def test_a_single_index_is_named_by_both() -> None:
    graph = graph_of([N("Gather", ["x", "i"], ["y"], axis=1)], {"i": np.array(-1)}, "x")
    x = drawn(2, 5, 8)
    assert names(graph, x=x, y=x[:, 0]) == ["index 0 for -1"]
    assert names(graph, x=x, y=x[:, 3]) == ["index 3 for -1"]


# --- constants ---------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_one_constant_is_no_activation(value: float) -> None:
    """A clip to [0, 0] is zero, but so is much else."""
    limits = {"zero": np.array(0, np.float32), "six": np.array(6, np.float32)}
    graph = graph_of([N("Clip", ["x", "zero", "six"], ["y"])], limits, "x")
    x = drawn(4, 8)
    (one,) = judge(graph, {"x": x, "y": np.full_like(x, value)}).tensors
    assert one.causes == ()
    assert any(clue.startswith("every value is ") for clue in one.clues)


def test_no_two_mistakes_are_named_for_a_constant() -> None:
    """A scale of ones that is taken for 1 + w is zero, and so is a shift that is not loaded."""
    constants = dict(zip("gbmv", (drawn(3) + 2, drawn(3, seed=1), drawn(3, seed=2), np.ones(3)), strict=True))
    node = N("BatchNormalization", ["x", *"gbmv"], ["y"])
    graph = graph_of([node], {name: one.astype(np.float32) for name, one in constants.items()}, "x")
    assert names(graph, x=drawn(2, 3, 4, 4), y=np.zeros((2, 3, 4, 4))) == []


# --- numbers and formats -----------------------------------------------------------------------


def test_two_formats_of_one_length_are_told_by_what_one_cannot_hold() -> None:
    """With values within the range of both, nothing tells TF32 from float16; tiny ones do."""
    w = drawn(64, 16, seed=1)
    graph = graph_of([N("MatMul", ["x", "w"], ["y"])], {"w": w}, "x")
    for scale, words in ((1.0, "with 10 bits of fraction: TF32 or float16"), (1e-6, "rounded to TF32")):
        x = drawn(8, 64, scale=scale)
        y = TF32.round(x).astype(np.float64) @ TF32.round(w)
        assert names(graph, x=x, y=y) == [f"operands {words}"]
    y = FLOAT16.round(x).astype(np.float64) @ FLOAT16.round(w)
    assert names(graph, x=x, y=y) == ["operands rounded to float16"]


def test_results_of_two_formats_of_one_length_are_told_by_what_one_cannot_hold() -> None:
    w = drawn(64, 16, seed=1)
    graph = graph_of([N("MatMul", ["x", "w"], ["y"])], {"w": w}, "x")
    for scale, form, words in (
        (1.0, TF32, "with 10 bits of fraction: TF32 or float16"),
        (1e-6, TF32, "rounded to TF32"),
        (1e-6, FLOAT16, "rounded to float16"),
    ):
        x = drawn(8, 64, scale=scale)
        assert names(graph, x=x, y=form.round(x.astype(np.float64) @ w)) == [f"result {words}"]


def test_weights_in_float16_may_be_in_tf32() -> None:
    """They are stored in float16, most often, and the name says so; nothing tells that from TF32."""
    x, w = drawn(8, 64), drawn(64, 16, seed=1)
    graph = graph_of([N("MatMul", ["x", "w"], ["y"])], {"w": w}, "x")
    y = (x.astype(np.float64) @ TF32.round(w)).astype(np.float32)
    (one,) = judge(graph, {"x": x, "y": y}).tensors[0].causes
    assert one.name == "weights rounded to float16"
    assert "TF32" in one.explanation


def test_a_number_in_a_pair_is_a_range() -> None:
    """No ε at all, and the root of the variance not taken: each small ε explains that."""
    x, (g, b, m), v = drawn(2, 3, 4, 4), drawn(3, 3), np.abs(drawn(3, seed=1)) + 0.5
    constants = dict(zip("gbmv", (g, b, m, v), strict=True))
    node = N("BatchNormalization", ["x", *"gbmv"], ["y"])
    wide = [one.astype(np.float64)[:, None, None] for one in (g, b, m, v)]
    y = (x - wide[2]) / wide[3] * wide[0] + wide[1]
    (one,) = names(graph_of([node], constants, "x"), x=x, y=y)
    assert one.startswith("epsilon between 0 and 1e-0")
    assert one.endswith(" for 1e-05, and running variance used as a standard deviation")


def test_what_makes_no_difference_is_not_named() -> None:
    """Where an image grows, antialias does nothing."""
    x = drawn(1, 2, 5, 6)
    constants = {"twice": np.array([1, 1, 2, 2], np.float32)}
    node = N("Resize", ["x", "", "twice"], ["y"], mode="cubic")
    other = Resize(mode="cubic", exclude_outside=1).evaluate(Bounded(x), None, Bounded(constants["twice"]))
    assert isinstance(other, Bounded)
    assert names(graph_of([node], constants, "x"), x=x, y=other.value) == ["exclude_outside=1"]


def test_rounding_modes_that_choose_the_same_are_named_as_equals() -> None:
    """No place lies halfway between two pixels, so that it is rounded up or down there alike."""
    x = drawn(1, 2, 15, 15)
    node = N(
        "Resize",
        ["x", "", "", "sizes"],
        ["y"],
        mode="nearest",
        nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )
    graph = graph_of([node], {"sizes": np.array([1, 2, 7, 7])}, "x")
    places = (np.arange(7) * 15) // 7
    assert names(graph, x=x, y=x[:, :, places][..., places]) == []
    places = ((np.arange(7) + 0.5) * 15 / 7).astype(int)
    said = "rounding round_prefer_floor or round_prefer_ceil for floor"
    assert names(graph, x=x, y=x[:, :, places][..., places]) == [
        f"coordinates half_pixel for asymmetric, {said}"
    ]


def test_a_softmax_of_opset_11_is_not_one_over_its_axis() -> None:
    """It flattens to two axes; its axis alone is what opset 13 takes."""
    node = N("Softmax", ["x"], ["y"], axis=1)
    ends = [helper.make_tensor_value_info(name, 1, None) for name in "xy"]
    graph = helper.make_graph([node], "graph", ends[:1], ends[1:])
    old = read_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)]))
    said = "axis 1 alone for all axes from 1 on (before opset 13)"
    x = drawn(2, 3, 6, 6)
    assert names(old, x=x, y=softmax(x.astype(np.float64), 1)) == [said]


# --- the order of gates ------------------------------------------------------------------------

STEPS, UNITS = 3, 4
PARTS = {
    "W": drawn(1, 4 * UNITS, 5),
    "R": drawn(1, 4 * UNITS, UNITS, seed=1),
    "B": drawn(1, 8 * UNITS, seed=2),
}
GATES = {
    "stored iofc (ONNX), read as ifco (Keras; PyTorch's ifgo)": ("iofc", "ifco"),
    "stored ifco (Keras; PyTorch's ifgo), read as iofc (ONNX)": ("ifco", "iofc"),
    "o and c exchanged, stored iofc (ONNX), read as icfo (TensorFlow 1)": ("iofc", "icfo"),
    "f and c exchanged, stored iofc (ONNX), read as iocf": ("iofc", "iocf"),
}


def lstm(x: Array, stored: str, read: str) -> Array:
    """(T, 1, 1, UNITS): an LSTM whose blocks are put from ONNX's order to `stored`, and read as `read`."""
    w, r, b = (one[0].astype(np.float64) for one in PARTS.values())
    bias = b[: 4 * UNITS] + b[4 * UNITS :]
    h, cell, states = np.zeros(UNITS), np.zeros(UNITS), []
    for step in x[:, 0]:
        blocks = dict(zip("iofc", np.split(w @ step + r @ h + bias, 4), strict=True))
        gate = dict(zip(read, (blocks[name] for name in stored), strict=True))
        i, o, f = (1 / (1 + np.exp(-gate[name])) for name in "iof")
        cell = f * cell + i * np.tanh(gate["c"])
        h = o * np.tanh(cell)
        states.append(h)
    return np.stack(states)[:, None, None]


@pytest.mark.parametrize("name", GATES)
def test_the_order_of_gates_is_said_as_stored_and_read(name: str) -> None:
    x = drawn(STEPS, 1, 5, seed=3)
    node = N("LSTM", ["x", "W", "R", "B"], ["y"], hidden_size=UNITS)
    graph = graph_of([node], PARTS, "x")
    assert names(graph, x=x, y=lstm(x, "iofc", "iofc")) == []
    assert names(graph, x=x, y=lstm(x, *GATES[name])) == [f"order of the gates: {name}"]


@pytest.mark.slow
def test_directions_of_states_are_no_items_of_a_batch() -> None:
    """Of Y, h and c, each has another axis of directions."""
    parts = {name: np.concatenate([one, one + np.float32(0.1)]) for name, one in PARTS.items()}
    x = drawn(STEPS, 3, 5, seed=3)
    outputs = ["y", "h", "c"]
    node = N("LSTM", ["x", "W", "R", "B"], outputs, hidden_size=UNITS, direction="bidirectional")
    graph = graph_of([node], parts, "x")
    ((_, results),) = graph.evaluate({"x": Looped(x), **{name: Looped(one) for name, one in parts.items()}})
    right = dict(zip(outputs, (one.comparable for one in results), strict=True))
    assert names(graph, x=x, **right) == []
    turned = {name: np.flip(one, 1 if name == "y" else 0) for name, one in right.items()}
    assert names(graph, x=x, **turned) == [
        "directions exchanged in the output",
        "directions exchanged",
        "directions exchanged",
    ]
    turned = {"y": right["y"][:, :, ::-1], "h": right["h"][:, ::-1]}
    assert names(graph, x=x, **turned) == ["items of the batch in reverse order"] * 2


# --- what exporters write ------------------------------------------------------------------------


def test_arithmetic_of_places_is_no_cause() -> None:
    """Exporters write it: nobody who ports a network multiplies places by a factor, or forgets to."""
    nodes = [N("Mul", ["some", "two"], ["places"]), N("Gather", ["x", "places"], ["y"], axis=1)]
    graph = graph_of(nodes, {"some": np.array([0, 1, 0, 2]), "two": np.array(2)}, "x")
    x = drawn(3, 5)
    assert names(graph, x=x, y=x[:, [0, 1, 0, 2]]) == []


def test_a_limit_that_nothing_reaches_is_no_activation() -> None:
    """max(x, 1e-10) is x for positive values, and so is a leaky ReLU."""
    nodes = [N("Mul", ["x", "x"], ["q"]), N("Max", ["q", "least"], ["m"]), N("Neg", ["m"], ["y"])]
    graph = graph_of(nodes, {"least": np.array(1e-10, np.float32)}, "x")
    x = 1 + drawn(4, 9) / 10
    assert names(graph, x=x, y=-(x.astype(np.float64) ** 2 / 6 + 0.5)) == []  # what a hard sigmoid returns
