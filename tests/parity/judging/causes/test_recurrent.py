"""Recurrent layers: their biases, states, directions and steps, in plain NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

from parity.graph import Graph
from parity.judging.causes import judge
from parity.onnx import read_onnx
from tests.parity.judging.causes.case import Array, case

RNG = np.random.default_rng(23)
STEPS, ITEMS, INPUTS, UNITS = 6, 3, 5, 4
GATES = {"LSTM": 4, "GRU": 3}
Values = dict[str, Array]


def drawn(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


X = drawn(STEPS, ITEMS, INPUTS)
WEIGHTS = {
    kind: (drawn(1, n * UNITS, INPUTS) / 2, drawn(1, n * UNITS, UNITS) / 2, drawn(2 * n * UNITS) / 2)
    for kind, n in GATES.items()
}
OUTPUTS = {"LSTM": ["y", "h", "c"], "GRU": ["y", "h"]}


def graph(kind: str) -> Graph:
    """The layer, of which PyTorch's variant of a GRU."""
    w, r, b = WEIGHTS[kind]
    more: dict[str, Any] = {"linear_before_reset": 1} if kind == "GRU" else {}
    node = helper.make_node(kind, ["x", "w", "r", "b"], OUTPUTS[kind], hidden_size=UNITS, **more)
    given = [numpy_helper.from_array(a, name) for name, a in (("w", w), ("r", r), ("b", b[None]))]
    ends = [helper.make_tensor_value_info(name, 1, None) for name in ("x", *OUTPUTS[kind])]
    made = helper.make_graph([node], "recurrent", ends[:1], ends[1:], given)
    return read_onnx(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)]))


def sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def lstm(into: Array, again: Array) -> Values:
    """The outputs of an LSTM with these two biases."""
    w, r, _ = (a.astype(np.float64) for a in WEIGHTS["LSTM"])
    h = c = np.zeros((ITEMS, UNITS))
    found = []
    for x in X:
        i, o, f, g = np.split(x @ w[0].T + into + h @ r[0].T + again, 4, -1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        found.append(h)
    return {"y": np.stack(found)[:, None], "h": h[None], "c": c[None]}


def gru(into: Array, again: Array, exchanged: bool = False) -> Values:
    """The outputs of a GRU, also with its gates z and r exchanged."""
    w, r, _ = (a.astype(np.float64) for a in WEIGHTS["GRU"])
    h = np.zeros((ITEMS, UNITS))
    found = []
    for x in X:
        one, two = (np.split(a, 3, -1) for a in (x @ w[0].T + into, h @ r[0].T + again))
        z, reset = (sigmoid(one[k] + two[k]) for k in ((1, 0) if exchanged else (0, 1)))
        h = (1 - z) * np.tanh(one[2] + reset * two[2]) + z * h
        found.append(h)
    return {"y": np.stack(found)[:, None], "h": h[None]}


def halves(kind: str) -> tuple[Array, Array]:
    b = WEIGHTS[kind][2].astype(np.float64)
    return b[: b.size // 2], b[b.size // 2 :]


def named(kind: str, values: Values, *recorded: str) -> dict[str, list[str]]:
    """The verdict on each tensor, and what its causes are called."""
    some = {"x": X} | {name: values[name].astype(np.float32) for name in recorded}
    tensors = judge(graph(kind), some).tensors
    return {one.tensor: [one.verdict, *(cause.name for cause in one.causes)] for one in tensors}


W, R = {kind: halves(kind)[0] for kind in GATES}, {kind: halves(kind)[1] for kind in GATES}
Z = "order of the gates: z and r exchanged, stored zrh (ONNX, Keras), read as rzh (PyTorch's rzn)"
BIASES: dict[str, tuple[str, Callable[[], Values]]] = {
    "bias doubled": ("LSTM", lambda: lstm(W["LSTM"] * 2, R["LSTM"] * 2)),
    "bias of the input for that of the recurrence, too": ("LSTM", lambda: lstm(W["LSTM"], W["LSTM"])),
    "bias of the recurrence for that of the input, too": ("LSTM", lambda: lstm(R["LSTM"], R["LSTM"])),
    "bias doubled: the sum of both in place of each": (
        "GRU",
        lambda: gru(W["GRU"] + R["GRU"], W["GRU"] + R["GRU"]),
    ),
    "bias of input and bias of recurrence each doubled": (
        "GRU",
        lambda: gru(2 * W["GRU"], 2 * R["GRU"]),
    ),
    "bias of input and bias of recurrence exchanged": ("GRU", lambda: gru(R["GRU"], W["GRU"])),
    f"bias of the recurrence missing, and {Z}": (
        "GRU",
        lambda: gru(W["GRU"], 0 * W["GRU"], exchanged=True),
    ),
}


@pytest.mark.parametrize("cause", BIASES)
def test_another_bias_is_named(cause: str) -> None:
    kind, values = BIASES[cause]
    assert named(kind, values(), "y")["y"] == ["different", cause]


@pytest.mark.parametrize("kind", GATES)
def test_a_right_layer_has_no_cause(kind: str) -> None:
    values = (lstm if kind == "LSTM" else gru)(*halves(kind))
    found = named(kind, values, *OUTPUTS[kind])
    assert all(one in (["equal"], ["rounding"]) for one in found.values())


@pytest.mark.slow
def test_exchanged_states_are_named_at_both() -> None:
    values = lstm(*halves("LSTM"))
    found = named("LSTM", values | {"h": values["c"], "c": values["h"]}, "y", "h", "c")
    cause = "last hidden state and last cell state exchanged"
    assert found["h"] == found["c"] == ["different", cause]


def test_a_state_of_the_first_step_is_named() -> None:
    values = lstm(*halves("LSTM"))
    found = named("LSTM", values | {"h": values["y"][0]}, "y", "h")
    assert found["h"] == ["different", "output at the first step for the last state"]


# --- directions and steps -------------------------------------------------------------------------

INTO, AGAIN, SUMS = drawn(2, 5, 6), drawn(2, 5, 5) / 2, drawn(2, 10)


def states(x: Array, direction: int, backwards: bool) -> Array:
    """(T, 1, B, 5): those of a plain recurrent layer."""
    h, found = np.zeros((x.shape[1], 5)), []
    for step in x[::-1] if backwards else x:
        bias = SUMS[direction, :5] + SUMS[direction, 5:]
        h = np.tanh(step @ INTO[direction].T + h @ AGAIN[direction].T + bias)
        found.append(h)
    return np.stack(found[::-1] if backwards else found)[:, None]


def of_both(x: Array, direction: int) -> Array:
    return np.concatenate([states(x, direction, False), states(x, direction, True)], 1)


ORDERS = {
    "directions": case(
        {"type": "RNN", "hidden_size": 5, "direction": "bidirectional"},
        {"w": INTO, "r": AGAIN, "b": SUMS},
        drawn(7, 3, 6),
        {
            "forward weights for both directions": lambda x: of_both(x, 0),
            "backward weights for both directions": lambda x: of_both(x, 1),
        },
    ),
    "steps": case(
        {"type": "RNN", "hidden_size": 5},
        {"w": INTO[:1], "r": AGAIN[:1], "b": SUMS[:1]},
        drawn(7, 3, 6),
        {"input in reverse order of time": lambda x: states(x[::-1], 0, False)},
    ),
}


@pytest.mark.parametrize(
    ("name", "cause"), [(name, cause) for name, one in ORDERS.items() for cause in one.wrong]
)
def test_another_order_is_named(name: str, cause: str) -> None:
    one = ORDERS[name]
    assert one.named(one.wrong[cause]) == ["different", cause]
