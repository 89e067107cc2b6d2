"""Activations, normalizations and rotations that a graph holds as several nodes, each in plain NumPy."""

from itertools import pairwise
from math import sqrt

import numpy as np
import pytest
from onnx import NodeProto

from parity.arithmetic import Bounded
from parity.judging.causes.decomposed.recognised import Layer, activation_of, agree, normalization_of
from parity.judging.causes.mistake import Seen
from parity.operators.activation import Gelu, Relu, Swish
from parity.operators.elementwise import Identity
from tests.parity.judging.causes.decomposed.activation import (
    GELU,
    GELU_BY_TANH,
    SILU,
    erf_form,
    sigmoid,
    tanh_form,
)
from tests.parity.judging.causes.plain.several import Several
from tests.parity.judging.causes.small_graphs import Array, N, drawn

X = 2 * drawn(3, 40)
WIDE = X.astype(np.float64)
NUMBERS = {
    **{"half": 0.5, "one": 1.0, "two": 2.0, "three": 3.0, "six": 6.0, "nought": 0.0, "sixth": 1 / 6},
    **{
        "root": sqrt(2),
        "cube": 0.044715,
        "slope": sqrt(2 / np.pi),
        "quick": 1.702,
        "fifth": 0.2,
        "low": 0.01,
    },
}


def several(*nodes: NodeProto, x: Array = X, **more: Array) -> Several:
    """Their constants are those that are read."""
    known = {name: np.array(number, np.float32) for name, number in NUMBERS.items()} | more
    names = {name for node in nodes for name in node.input}
    return Several(nodes, {name: a for name, a in known.items() if name in names}, x=x)


# --- activations -------------------------------------------------------------------------------

HARD = [
    N("Mul", ["x", "sixth"], ["a"]),
    N("Add", ["a", "half"], ["b"]),
    N("Clip", ["b", "nought", "one"], ["c"]),
]
WRITTEN = {
    "Gelu": GELU.nodes,
    "Gelu by tanh": GELU_BY_TANH.nodes,
    "Swish": SILU.nodes,
    "Swish of 1.702": [
        N("Mul", ["x", "quick"], ["q"]),
        N("Sigmoid", ["q"], ["s"]),
        N("Mul", ["x", "s"], ["y"]),
    ],
    "HardSwish": [*HARD, N("Mul", ["x", "c"], ["y"])],
    "HardSigmoid": [*HARD[:2], N("Clip", ["b", "nought", "one"], ["y"])],
    "Mish": [N("Softplus", ["x"], ["s"]), N("Tanh", ["s"], ["t"]), N("Mul", ["x", "t"], ["y"])],
    "Sigmoid": [
        N("Neg", ["x"], ["n"]),
        N("Exp", ["n"], ["e"]),
        N("Add", ["e", "one"], ["d"]),
        N("Div", ["one", "d"], ["y"]),
    ],
    "LeakyRelu": [
        N("Relu", ["x"], ["r"]),
        N("Mul", ["x", "low"], ["l"]),
        N("Max", ["r", "l"], ["m"]),
        N("Min", ["x", "nought"], ["n"]),
        N("Mul", ["n", "low"], ["k"]),
        N("Add", ["r", "k"], ["y"]),
    ],
    "LeakyRelu of 0.2": [
        N("Relu", ["x"], ["r"]),
        N("Min", ["x", "nought"], ["n"]),
        N("Mul", ["n", "fifth"], ["k"]),
        N("Add", ["r", "k"], ["y"]),
    ],
    "Elu": [
        N("Relu", ["x"], ["r"]),
        N("Min", ["x", "nought"], ["n"]),
        N("Exp", ["n"], ["e"]),
        N("Sub", ["e", "one"], ["k"]),
        N("Add", ["r", "k"], ["y"]),
    ],
}
FUNCTIONS = {
    "Gelu": erf_form,
    "Gelu by tanh": tanh_form,
    "Swish": lambda x: x * sigmoid(x),
    "Swish of 1.702": lambda x: x * sigmoid(1.702 * x),
    "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "HardSigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "Mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "Sigmoid": sigmoid,
    "LeakyRelu": lambda x: np.where(x > 0, x, 0.01 * x),
    "LeakyRelu of 0.2": lambda x: np.where(x > 0, x, 0.2 * x),
    "Elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_an_activation_is_told_by_its_values(name):
    one = several(*WRITTEN[name])
    layer = activation_of(one.seen("y"))
    assert layer is not None
    assert layer.source == "x"
    found = layer.operator.first(Bounded(X)).comparable
    right = FUNCTIONS[name](WIDE)
    assert np.abs(found - right).max() <= 1e-6 * np.abs(right).max()  # as the search compares them


def test_mistakes_of_an_activation_are_made_at_its_last_node():
    one = several(*GELU.nodes)
    expected = {
        "Gelu by the tanh approximation": FUNCTIONS["Gelu by tanh"](WIDE),
        "quick GELU, x·sigmoid(1.702x) for Gelu": FUNCTIONS["Swish of 1.702"](WIDE),
        "ReLU for Gelu": np.maximum(WIDE, 0),
    }
    one.each("y", expected)
    assert all(one.mistakes("y")[name].inputs == ("x",) for name in expected)
    assert "factor h left out" not in one.mistakes("y")  # its own mistakes say what that is
    assert "factor 0.5 left out" in one.mistakes("h")


def test_no_other_nodes_are_an_activation():
    """One node by itself; arithmetic alone; another function; what returns its input; one number."""
    assert activation_of(several(N("Sigmoid", ["x"], ["y"])).seen("y")) is None
    assert (
        activation_of(several(N("Mul", ["x", "two"], ["a"]), N("Add", ["a", "one"], ["y"])).seen("y")) is None
    )
    other = several(N("Sigmoid", ["x"], ["s"]), N("Mul", ["s", "two"], ["y"]))
    assert activation_of(other.seen("y")) is None
    same = several(N("Exp", ["x"], ["e"]), N("Log", ["e"], ["l"]), N("Mul", ["l", "one"], ["y"]))
    assert activation_of(same.seen("y")) is None
    assert activation_of(several(*SILU.nodes, x=X[:1, :1]).seen("y")) is None
    assert activation_of(Seen([Bounded(X)], None)) is None


def test_the_earliest_tensor_of_which_the_values_are_is_the_source():
    """Behind another node x is another tensor; of two that are alike the first one."""
    one = several(N("Neg", ["x"], ["n"]), N("Sigmoid", ["n"], ["s"]), N("Mul", ["n", "s"], ["y"]))
    layer = activation_of(one.seen("y"))
    assert layer == Layer(Swish(), "n")
    swish = several(
        N("Neg", ["x"], ["m"]),
        N("Neg", ["m"], ["n"]),
        N("Sigmoid", ["n"], ["s"]),
        N("Mul", ["n", "s"], ["y"]),
    )
    layer = activation_of(swish.seen("y"))
    assert layer == Layer(Swish(), "x")


def test_the_source_is_no_more_than_nine_nodes_before():
    for before, source in ((8, "x"), (9, "i1")):
        names = ["x", *(f"i{k}" for k in range(1, before + 1))]
        nodes = [N("Identity", [a], [b]) for a, b in pairwise(names)]
        one = several(*nodes, N("Sigmoid", [names[-1]], ["s"]), N("Mul", [names[-1], "s"], ["y"]))
        layer = activation_of(one.seen("y"))
        assert layer is not None
        assert layer.source == source


def test_operators_agree_up_to_constants_in_float32():
    y = Bounded(FUNCTIONS["Gelu"](WIDE))
    assert agree(Gelu(), [Bounded(X)], y)
    assert not agree(Gelu(approximate="tanh"), [Bounded(X)], y)
    largest = np.abs(y.comparable).max()
    for off, same in ((0.9e-6, True), (1.1e-6, False)):
        assert agree(Gelu(), [Bounded(WIDE)], Bounded(y.comparable + off * largest)) == same
    one = y.comparable.copy()
    one[1, 3] += 0.01
    assert not agree(Gelu(), [Bounded(X)], Bounded(one))
    assert not agree(Relu(), [Bounded(X[:, :7])], y)
    assert agree(Identity(), [y], y)


# --- normalizations ----------------------------------------------------------------------------

ROWS, EPSILON = 0.05 * drawn(3, 5, 8, seed=1), 1e-3
NUMBERS["eps"] = EPSILON


def moments(x: Array, e: float = EPSILON, axes: tuple[int, ...] = (2,), less: int = 0) -> tuple[Array, Array]:
    """What is left of x without its mean, and the variance with ε."""
    x = x.astype(np.float64)
    off = x - x.mean(axes, keepdims=True)
    count = np.prod([x.shape[k] for k in axes])
    return off, (off**2).sum(axes, keepdims=True) / (count - less) + e


def layer_norm(x: Array, e: float = EPSILON, axes: tuple[int, ...] = (2,)) -> Array:
    off, variance = moments(x, e, axes)
    return off / np.sqrt(variance)


def normalization(axes: tuple[int, ...], *last: NodeProto) -> Several:
    nodes = [
        N("ReduceMean", ["x", "axes"], ["m"]),
        N("Sub", ["x", "m"], ["d"]),
        N("Mul", ["d", "d"], ["q"]),
        N("ReduceMean", ["q", "axes"], ["v"]),
        N("Add", ["v", "eps"], ["ve"]),
        N("Sqrt", ["ve"], ["s"]),
    ]
    return several(*nodes, *(last or [N("Div", ["d", "s"], ["y"])]), x=ROWS, axes=np.array(axes))


@pytest.mark.parametrize("axes", [(2,), (1,), (1, 2), (0, 2)])
def test_a_layer_normalization_over_these_axes(axes):
    one = normalization(axes)
    layer = normalization_of(one.seen("y"))
    assert layer is not None
    operator = layer.operator
    assert (operator.TYPE, operator.over, layer.source) == ("LayerNormalization", axes, "x")  # type: ignore[attr-defined]
    assert operator.epsilon == np.float32(EPSILON)  # type: ignore[attr-defined]
    one.returns({}, layer_norm(ROWS, axes=axes))


def test_mistakes_of_a_normalization_are_made_where_it_ends():
    """What is found at a node in between is not found twice."""
    one = normalization((2,))
    found = one.mistakes("y")
    off, variance = moments(ROWS, less=1)
    expected = {
        "moments over axes (1,) for (2,)": layer_norm(ROWS, axes=(1,)),
        "moments over axes (0, 1, 2) for (2,)": layer_norm(ROWS, axes=(0, 1, 2)),
        "variance divided by n - 1, epsilon outside of the root": off
        / (np.sqrt(variance - EPSILON) + EPSILON),
    }
    one.each("y", expected)
    assert all(found[name].inputs == ("x",) for name in expected)
    assert not [name for name in found if name.startswith("epsilon ")]
    assert "variance divided by n - 1" not in found
    assert not [name for name in found if name.startswith("divided by the norm")]


def test_a_root_mean_square_is_another_normalization():
    """Written as a product with a reciprocal."""
    axes = np.array([2])
    nodes = [
        N("Mul", ["x", "x"], ["q"]),
        N("ReduceMean", ["q", "axes"], ["v"]),
        N("Add", ["v", "eps"], ["ve"]),
        N("Sqrt", ["ve"], ["s"]),
        N("Reciprocal", ["s"], ["r"]),
        N("Mul", ["x", "r"], ["y"]),
    ]
    one = several(*nodes, x=ROWS, axes=axes)
    layer = normalization_of(one.seen("y"))
    assert layer is not None
    assert (layer.operator.TYPE, layer.source) == ("RMSNormalization", "x")
    one.each("y", {"standard deviation for the root mean square": layer_norm(ROWS)})


def test_what_is_not_divided_by_the_root_of_a_mean_is_no_normalization():
    assert normalization_of(normalization((2,), N("Mul", ["d", "s"], ["y"])).seen("y")) is None
    assert normalization_of(normalization((2,), N("Div", ["d", "ve"], ["y"])).seen("y")) is None
    assert normalization_of(several(*SILU.nodes).seen("y")) is None
    without_root = several(
        N("ReduceMean", ["x", "axes"], ["m"]), N("Sub", ["x", "m"], ["y"]), x=ROWS, axes=np.array([2])
    )
    assert normalization_of(without_root.seen("y")) is None


@pytest.mark.parametrize(("number", "is_small"), [(0.05, True), (0.1, False), (0.0, True), (-0.05, False)])
def test_an_epsilon_is_small(number, is_small, monkeypatch):
    """Another number that is added is none."""
    monkeypatch.setitem(NUMBERS, "eps", number)
    layer = normalization_of(normalization((2,)).seen("y"))
    assert (layer is not None) == is_small
    assert layer is None or layer.operator.epsilon == np.float32(number)  # type: ignore[attr-defined]


# --- rotations ---------------------------------------------------------------------------------

ANGLES = np.arange(5)[:, None] * 100.0 ** -np.arange(4)
COS, SIN = (np.tile(f(ANGLES), 2).astype(np.float32) for f in (np.cos, np.sin))
HEADS = drawn(2, 3, 5, 8, seed=2)


def turned(x: Array, cos: Array = COS, sin: Array = SIN) -> Array:
    x = x.astype(np.float64)
    return x * cos + np.concatenate([-x[..., 4:], x[..., :4]], -1) * sin


def rotation(*last: NodeProto, cos: Array = COS, sin: Array = SIN, x: Array = HEADS) -> Several:
    nodes = [
        N("Slice", ["x", "four", "end", "axis"], ["b"]),
        N("Neg", ["b"], ["nb"]),
        N("Slice", ["x", "zero", "four", "axis"], ["a"]),
        N("Concat", ["nb", "a"], ["t"], axis=-1),
        *last,
    ]
    ends = {"zero": np.array([0]), "four": np.array([4]), "end": np.array([8]), "axis": np.array([3])}
    return several(*nodes, x=x, **ends, cos=cos, sin=sin)


STRAIGHT, ACROSS = N("Mul", ["x", "cos"], ["c"]), N("Mul", ["t", "sin"], ["s"])


@pytest.mark.parametrize(
    "last",
    [
        [STRAIGHT, ACROSS, N("Add", ["c", "s"], ["y"])],
        [STRAIGHT, ACROSS, N("Add", ["s", "c"], ["y"])],
        [N("Mul", ["cos", "x"], ["c"]), N("Mul", ["sin", "t"], ["s"]), N("Add", ["c", "s"], ["y"])],
    ],
)
def test_a_rotation_that_is_written_out(last):
    one = rotation(*last)
    one.returns({}, turned(HEADS))
    x, half = HEADS.astype(np.float64), [table[:, :4].repeat(2, -1) for table in (COS, SIN)]
    neighbours = x * half[0] + np.stack([-x[..., 1::2], x[..., ::2]], -1).reshape(x.shape) * half[1]
    expected = {
        "interleaved 1 for 0": neighbours,
        "sign of the sine: turned the other way": turned(x, sin=-SIN),
    }
    one.each("y", expected)
    assert all(one.mistakes("y")[name].inputs == ("x", "cos", "sin") for name in expected)


def test_tables_of_each_item_of_the_batch():
    """(B, 1, S, D), with other angles for each."""
    cos, sin = (np.stack([one, one[::-1]])[:, None] for one in (COS, SIN))
    one = rotation(STRAIGHT, ACROSS, N("Add", ["c", "s"], ["y"]), cos=cos, sin=sin)
    one.each("y", {"sign of the sine: turned the other way": turned(HEADS, cos, -sin)})


def test_what_turns_no_halves_is_no_rotation():
    """Tables whose halves differ; a sum for a product; nothing joined; three axes."""
    turn = "sign of the sine: turned the other way"
    plus = N("Add", ["c", "s"], ["y"])
    assert turn in rotation(STRAIGHT, ACROSS, plus).mistakes("y")
    assert turn not in rotation(STRAIGHT, ACROSS, plus, cos=COS[:, :4].repeat(2, -1)).mistakes("y")
    assert turn not in rotation(N("Add", ["x", "cos"], ["c"]), ACROSS, plus).mistakes("y")
    assert turn not in rotation(STRAIGHT, N("Add", ["t", "sin"], ["s"]), plus).mistakes("y")
    assert turn not in rotation(N("Abs", ["x"], ["o"]), N("Mul", ["o", "cos"], ["c"]), ACROSS, plus).mistakes(
        "y"
    )
    flat = several(
        N("Neg", ["x"], ["n"]),
        N("Concat", ["n", "x"], ["t"], axis=0),
        N("Mul", ["t", "two"], ["s"]),
        N("Mul", ["x", "two"], ["c"]),
        N("Add", ["c", "s"], ["y"]),
        x=X[:1],
    )
    assert turn not in flat.mistakes("y")
