"""Mistakes of recurrent layers, each as a loop over the steps in plain NumPy makes it."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from tests.parity.judging.causes.plain.layer import Array, Layer, drawn

STEPS, ITEMS, INPUTS, UNITS = 4, 3, 5, 4
X = drawn(STEPS, ITEMS, INPUTS)
Act = Callable[[Array], Array]


def sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def relu(a: Array) -> Array:
    return np.maximum(a, 0)


def hard(slope: float) -> Act:
    return lambda a: np.clip(np.float32(slope) * a + 0.5, 0, 1)


def parameters(gates: int, seed: int = 1) -> tuple[Array, Array, Array, Array]:
    """W, R, and both biases of one direction, in float64."""
    w, r = drawn(gates * UNITS, INPUTS, seed=seed), drawn(gates * UNITS, UNITS, seed=seed + 1)
    b = drawn(2 * gates * UNITS, seed=seed + 2).astype(np.float64)
    return w.astype(np.float64), r.astype(np.float64), b[: gates * UNITS], b[gates * UNITS :]


def given(*each: tuple[Array, Array, Array, Array]) -> list[Array]:
    """W, R and B as the layer takes them, of each direction."""
    w, r = (np.stack([one[k] for one in each]).astype(np.float32) for k in (0, 1))
    return [w, r, np.stack([np.concatenate(one[2:]) for one in each]).astype(np.float32)]


# --- one step of each layer --------------------------------------------------------------------

Parameters = tuple[Array, Array, Array, Array]
State = tuple[Array, Array]


def rnn_step(p: Parameters, x: Array, state: State, function: Act = np.tanh) -> State:
    w, r, into, again = p
    return function(x @ w.T + into + state[0] @ r.T + again), state[1]


def lstm_step(
    p: Parameters,
    x: Array,
    state: State,
    order: str = "iofc",
    gate: Act = sigmoid,
    candidate: Act = np.tanh,
    output: Act = np.tanh,
) -> State:
    w, r, into, again = p
    blocks = np.split(x @ w.T + into + state[0] @ r.T + again, 4, -1)
    g = dict(zip(order, blocks, strict=True))
    c = gate(g["f"]) * state[1] + gate(g["i"]) * candidate(g["c"])
    return gate(g["o"]) * output(c), c


def gru_step(
    p: Parameters,
    x: Array,
    state: State,
    order: str = "zrh",
    gate: Act = sigmoid,
    candidate: Act = np.tanh,
    before: bool = False,
    inverted: bool = False,
) -> State:
    w, r, into, again = p
    h = state[0]
    one = dict(zip(order, np.split(x @ w.T + into, 3, -1), strict=True))
    matrices = dict(zip(order, np.split(r, 3), strict=True))
    biases = dict(zip(order, np.split(again, 3), strict=True))
    z, reset = (gate(one[k] + h @ matrices[k].T + biases[k]) for k in "zr")
    if before:
        new = candidate(one["h"] + (reset * h) @ matrices["h"].T + biases["h"])
    else:
        new = candidate(one["h"] + reset * (h @ matrices["h"].T + biases["h"]))
    return (z * new + (1 - z) * h if inverted else (1 - z) * new + z * h), state[1]


def run(step: Callable[..., State], p: Parameters, x: Array = X, **changed) -> tuple[Array, Array, Array]:
    """Y of one direction, and the last states."""
    h = c = np.zeros((x.shape[1], UNITS))
    found = []
    for one in x.astype(np.float64):
        h, c = step(p, one, (h, c), **changed)
        found.append(h)
    return np.stack(found)[:, None], h[None], c[None]


# --- both biases, both matrices ----------------------------------------------------------------

KINDS: dict[str, tuple[int, Callable[..., State]]] = {
    "RNN": (1, rnn_step),
    "LSTM": (4, lstm_step),
    "GRU": (3, gru_step),
}


def layer(kind: str, **attributes) -> Layer:
    more: dict[str, Any] = {"linear_before_reset": 1} if kind == "GRU" else {}
    outputs = 3 if kind == "LSTM" else 2
    return Layer(
        kind, X, *given(parameters(KINDS[kind][0])), outputs=outputs, hidden_size=UNITS, **more, **attributes
    )


def transposed(w: Array, blocks: int) -> Array:
    """Each square block by itself."""
    return np.concatenate([block.T for block in np.split(w, blocks)])


ALIKE: Mapping[str, Callable[[Parameters, int], Parameters]] = {
    "bias of the recurrence missing": lambda p, n: (*p[:3], 0 * p[3]),
    "bias of the input missing": lambda p, n: (p[0], p[1], 0 * p[2], p[3]),
    "bias missing": lambda p, n: (p[0], p[1], 0 * p[2], 0 * p[3]),
    "bias of the input for that of the recurrence, too": lambda p, n: (*p[:3], p[2]),
    "bias of the recurrence for that of the input, too": lambda p, n: (p[0], p[1], p[3], p[3]),
    "recurrent weights of each gate transposed": lambda p, n: (p[0], transposed(p[1], n), *p[2:]),
    "recurrent weights reshaped, not transposed": lambda p, n: (
        p[0],
        p[1].T.reshape(p[1].shape),
        *p[2:],
    ),
    "input weights reshaped, not transposed": lambda p, n: (p[0].T.reshape(p[0].shape), *p[1:]),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["", *ALIKE])
def test_other_parameters(kind, name):
    gates, step = KINDS[kind]
    p = parameters(gates)
    layer(kind).returns(name, run(step, ALIKE[name](p, gates) if name else p)[0])


def test_square_matrices_of_the_input_are_transposed_by_gates_too():
    w, *others = parameters(4)
    x, square = X[..., :UNITS], w[:, :UNITS]
    one = Layer("LSTM", x, *given((square, *others)), hidden_size=UNITS)  # type: ignore[arg-type]
    wrong = run(lstm_step, (transposed(square, 4), *others), x)  # type: ignore[arg-type]
    one.returns("input weights of each gate transposed", wrong[0])


def test_a_doubled_bias_is_the_sum_in_place_of_each():
    for kind in ("RNN", "LSTM"):
        gates, step = KINDS[kind]
        w, r, into, again = parameters(gates)
        layer(kind).returns("bias doubled", run(step, (w, r, 2 * into, 2 * again))[0])


FORGET = np.arange(4 * UNITS) // UNITS == 2  # in the order i, o, f, c


@pytest.mark.parametrize(("name", "more"), [("added once more", 1), ("missing", -1)])
def test_the_one_in_the_bias_of_the_forget_gate(name, more):
    w, r, into, again = parameters(4)
    wrong = run(lstm_step, (w, r, into + more * FORGET, again))[0]
    layer("LSTM").returns(f"1 in the bias of the forget gate {name}", wrong)


# --- gates and activations ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "read"),
    [
        ("LSTM", "stored iofc (ONNX), read as ifco (Keras; PyTorch's ifgo)", "ifco"),
        ("LSTM", "o and f exchanged, stored iofc (ONNX), read as ifoc", "ifoc"),
        ("LSTM", "i and o exchanged, stored iofc (ONNX), read as oifc", "oifc"),
        ("LSTM", "stored iofc (ONNX), read as fioc", "fioc"),
        ("LSTM", "stored iofc (ONNX), read as cfoi", "cfoi"),
        ("GRU", "z and r exchanged, stored zrh (ONNX, Keras), read as rzh (PyTorch's rzn)", "rzh"),
        ("GRU", "r and h exchanged, stored zrh (ONNX, Keras), read as zhr", "zhr"),
        ("GRU", "stored zrh (ONNX, Keras), read as hzr", "hzr"),
    ],
)
def test_gates_in_another_order(kind, name, read):
    steps: dict[str, Callable[..., Any]] = {"LSTM": lstm_step, "GRU": gru_step}
    found, *_ = run(steps[kind], parameters(len(read)), order=read)
    layer(kind).returns(f"order of the gates: {name}", found)


ACTIVATIONS: dict[str, dict[str, dict[str, Any]]] = {
    "RNN": {"Relu for Tanh": {"function": relu}, "Sigmoid for Tanh": {"function": sigmoid}},
    "LSTM": {
        "hard sigmoid 0.2x + 0.5 for the gates' Sigmoid": {"gate": hard(0.2)},
        "hard sigmoid x/6 + 0.5 for the gates' Sigmoid": {"gate": hard(1 / 6)},
        "Relu for Tanh": {"candidate": relu, "output": relu},
        "Sigmoid for Tanh": {"candidate": sigmoid, "output": sigmoid},
        "Relu for the candidate's Tanh": {"candidate": relu},
        "Sigmoid for the candidate's Tanh": {"candidate": sigmoid},
        "output not put through Tanh": {"output": lambda a: a},
    },
    "GRU": {
        "hard sigmoid 0.2x + 0.5 for the gates' Sigmoid": {"gate": hard(0.2)},
        "hard sigmoid x/6 + 0.5 for the gates' Sigmoid": {"gate": hard(1 / 6)},
        "Relu for Tanh": {"candidate": relu},
        "Sigmoid for Tanh": {"candidate": sigmoid},
        "reset gate applied before the product: linear_before_reset=0": {"before": True},
        "update gate inverted: z for 1 - z": {"inverted": True},
    },
}


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, some in ACTIVATIONS.items() for name in some]
)
def test_another_function(kind, name):
    gates, step = KINDS[kind]
    layer(kind).returns(name, run(step, parameters(gates), **ACTIVATIONS[kind][name])[0])


def test_biases_of_a_gru_whose_reset_gate_comes_after_the_product():
    one, (w, r, into, again) = layer("GRU"), parameters(3)
    last = np.arange(3 * UNITS) >= 2 * UNITS
    for name, biases in {
        "bias of input and bias of recurrence each doubled": (2 * into, 2 * again),
        "bias of input and bias of recurrence exchanged": (again, into),
        "bias doubled: the sum of both in place of each": (into + again, into + again),
        "both biases added up, also those of the candidate": (into + last * again, again * ~last),
    }.items():
        one.returns(name, run(gru_step, (w, r, *biases))[0])


def test_a_reset_gate_before_the_product_is_told_from_one_after_it():
    one = Layer("GRU", X, *given(parameters(3)), hidden_size=UNITS)
    after = run(gru_step, parameters(3))[0]
    one.returns("reset gate applied after the product: linear_before_reset=1", after)
    assert "both biases added up, also those of the candidate" not in one.mistakes
    assert "bias doubled" in one.mistakes


# --- steps, directions and states --------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_another_order_of_steps(kind):
    gates, step = KINDS[kind]
    p, one = parameters(gates), layer(kind)
    backwards = run(step, p, X[::-1])
    one.returns("input in reverse order of time", backwards[0])
    one.returns("direction reverse for forward", backwards[0][::-1])
    along = run(step, p, X.transpose(1, 0, 2))[0]  # the batch is taken for the time
    one.returns("batch and time exchanged", along.transpose(2, 1, 0, 3))
    right = run(step, p)
    one.returns("output at the first step for the last state", right[0][0], 1)
    one.returns("output at the first step for the last state", right[0])


def test_exchanged_states_of_an_lstm():
    _, h, c = run(lstm_step, parameters(4))
    one = layer("LSTM")
    one.returns("last hidden state and last cell state exchanged", c, 1)
    one.returns("last hidden state and last cell state exchanged", h, 2)


ONE, OTHER = parameters(1), parameters(1, seed=7)


def both(first: Parameters, second: Parameters) -> tuple[Array, Array]:
    """The outputs of two directions in the order of computation; the second reads from the end."""
    forward, backward = run(rnn_step, first)[0], run(rnn_step, second, X[::-1])[0]
    return forward, backward


def test_two_directions():
    one = Layer("RNN", X, *given(ONE, OTHER), hidden_size=UNITS, outputs=2, direction="bidirectional")
    forward, backward = both(ONE, OTHER)
    along, against = both(OTHER, ONE)
    for name, (first, second) in {
        "": (forward, backward[::-1]),
        "outputs of the backward direction not reversed": (forward, backward),
        "directions exchanged in the output": (backward[::-1], forward),
        "weights of the two directions exchanged": (along, against[::-1]),
        "forward weights for both directions": (forward, against[::-1]),
        "backward weights for both directions": (along, backward[::-1]),
        "backward direction reads forward": (forward, along),
    }.items():
        one.returns(name, np.concatenate([first, second], 1))
    right = np.concatenate([forward, backward[::-1]], 1)
    one.returns("output at the first step for the last state", right[0], 1)
    one.returns("output at the last step for the last state", right[-1], 1)


def test_a_layer_that_reads_from_the_end():
    one = Layer("RNN", X, *given(ONE), hidden_size=UNITS, outputs=2, direction="reverse")
    backwards = run(rnn_step, ONE, X[::-1])[0]
    one.returns("", backwards[::-1])
    one.returns("outputs of the backward direction not reversed", backwards)
    one.returns("direction forward for reverse", run(rnn_step, ONE)[0])
    one.returns("output at the last step for the last state", backwards[0], 1)
    assert "output at the first step for the last state" not in one.mistakes


def test_a_layer_whose_batch_comes_first():
    x = X.transpose(1, 0, 2)
    one = Layer(
        "RNN", x, *given(ONE, OTHER), hidden_size=UNITS, outputs=2, direction="bidirectional", layout=1
    )
    forward, backward = both(ONE, OTHER)

    def batch_first(first: Array, second: Array) -> Array:
        return np.concatenate([first, second], 1).transpose(2, 0, 1, 3)

    right = batch_first(forward, backward[::-1])
    one.returns("", right)
    one.returns("outputs of the backward direction not reversed", batch_first(forward, backward))
    one.returns("directions exchanged in the output", batch_first(backward[::-1], forward))
    one.returns("output at the first step for the last state", right[:, 0], 1)
    reversed_steps = run(rnn_step, ONE, X[::-1])[0], run(rnn_step, OTHER)[0][::-1]
    one.returns("input in reverse order of time", batch_first(*reversed_steps))


def test_the_batch_of_a_layer_whose_batch_comes_first_is_taken_for_the_time():
    one = Layer("RNN", X.transpose(1, 0, 2), *given(ONE), hidden_size=UNITS, outputs=2, layout=1)
    one.returns("", run(rnn_step, ONE)[0].transpose(2, 0, 1, 3))
    along = run(rnn_step, ONE, X.transpose(1, 0, 2))[0]
    one.returns("batch and time exchanged", along.transpose(0, 2, 1, 3))


def test_states_lengths_and_a_limit_that_are_ignored():
    start, cell = drawn(1, ITEMS, UNITS, seed=9), drawn(1, ITEMS, UNITS, seed=10)
    peepholes, lengths = drawn(1, 3 * UNITS, seed=11), np.array([2, 4, 3], np.int32)
    w, r, into, again = parameters(4)

    def limited(a: Array, limit: float) -> Array:
        return np.clip(a, -limit, limit)

    def states(h: Array, c: Array, peep: Array, ends: Array, limit: float) -> Array:
        at_i, at_o, at_f = np.split(peep[0].astype(np.float64), 3)
        h, c, found = h[0].astype(np.float64), c[0].astype(np.float64), []
        for t, x in enumerate(X.astype(np.float64)):
            i, o, f, g = np.split(x @ w.T + into + h @ r.T + again, 4, -1)
            i, f = (sigmoid(limited(a, limit)) for a in (i + at_i * c, f + at_f * c))
            new = f * c + i * np.tanh(limited(g, limit))
            out = sigmoid(limited(o + at_o * new, limit)) * np.tanh(new)
            going = (t < ends)[:, None]
            h, c = np.where(going, out, h), np.where(going, new, c)
            found.append(np.where(going, out, 0))
        return np.stack(found)[:, None]

    one = Layer(
        "LSTM", X, *given((w, r, into, again)), lengths, start, cell, peepholes, hidden_size=UNITS, clip=0.5
    )
    right = (start, cell, peepholes, lengths, 0.5)
    one.returns("", states(*right))
    one.returns("initial state ignored", states(0 * start, *right[1:]))
    one.returns("initial cell state ignored", states(start, 0 * cell, *right[2:]))
    one.returns("peephole weights ignored", states(start, cell, 0 * peepholes, *right[3:]))
    one.returns("lengths of the sequences ignored", states(*right[:3], 0 * lengths + STEPS, 0.5))
    one.returns("clip ignored", states(*right[:4], np.inf))


def test_states_go_with_a_batch_that_is_taken_for_the_time():
    """As many steps as items: then a state fits both."""
    start = drawn(1, STEPS, UNITS, seed=9)
    x = drawn(STEPS, STEPS, X.shape[2], seed=12)
    w, r, into, again = parameters(1)
    one = Layer("RNN", x, *given((w, r, into, again)), None, start, hidden_size=UNITS, outputs=2)
    along = [start[0].astype(np.float64)]
    for step in x.transpose(1, 0, 2).astype(np.float64):
        along.append(np.tanh(step @ w.T + along[-1] @ r.T + into + again))
    expected = np.stack(along[1:])[:, None]
    one.returns("batch and time exchanged", expected.transpose(2, 1, 0, 3))
