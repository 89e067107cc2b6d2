"""Mistakes of activations and normalizations, each as plain NumPy makes it."""

from collections.abc import Callable
from math import erf

import numpy as np
import pytest

from tests.parity.judging.causes.plain.layer import Array, Layer, drawn
from tests.parity.judging.causes.small_graphs import N, graph_of, names

X = 3 * drawn(8, 32)
WIDE = X.astype(np.float64)
Function = Callable[[Array], Array]


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def softplus(x: Array) -> Array:
    return np.log1p(np.exp(x))


def elu(x: Array, alpha: float = 1.0) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def celu(x: Array, alpha: float) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha))


def leaky(x: Array, alpha: float) -> Array:
    return np.where(x > 0, x, alpha * x)


def gelu(x: Array) -> Array:
    return x * (1 + np.vectorize(erf)(x / np.sqrt(2))) / 2


def gelu_by_tanh(x: Array) -> Array:
    return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2


def hard_sigmoid(x: Array, slope: float) -> Array:
    return np.clip(slope * x + 0.5, 0, 1)


def selu(x: Array) -> Array:
    return 1.0507009873554805 * elu(x, 1.6732632423543772)


# --- another activation ------------------------------------------------------------------------

ACTIVATIONS: dict[str, Function] = {
    "no activation": lambda x: x,
    "ReLU": lambda x: np.maximum(x, 0),
    "ReLU6 (cut off at 6)": lambda x: np.clip(x, 0, 6),
    "squared ReLU": lambda x: np.maximum(x, 0) ** 2,
    "SiLU (Swish)": lambda x: x * sigmoid(x),
    "GELU (exact)": gelu,
    "GELU (tanh)": gelu_by_tanh,
    "quick GELU, x·sigmoid(1.702x)": lambda x: x * sigmoid(1.702 * x),
    "hard swish": lambda x: x * hard_sigmoid(x, 1 / 6),
    "hard sigmoid 0.2x + 0.5": lambda x: hard_sigmoid(x, 0.2),
    "hard sigmoid x/6 + 0.5": lambda x: hard_sigmoid(x, 1 / 6),
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "ELU": elu,
    "SELU": selu,
    "Mish": lambda x: x * np.tanh(softplus(x)),
    "softplus": softplus,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "leaky ReLU (0.01)": lambda x: leaky(x, 0.01),
    "leaky ReLU (0.1)": lambda x: leaky(x, 0.1),
    "leaky ReLU (0.2)": lambda x: leaky(x, 0.2),
    "leaky ReLU (0.3)": lambda x: leaky(x, 0.3),
}


def times(factor: float) -> Function:
    return lambda x: factor * np.maximum(x, 0)


OF_RELU: dict[str, Function] = {
    "sine for ReLU": np.sin,
    "1.7159 tanh(2x/3) for ReLU": lambda x: 1.7159 * np.tanh(2 * x / 3),
    "hard tanh for ReLU": lambda x: np.clip(x, -1, 1),
    "ReLU cut off at 1": lambda x: np.clip(x, 0, 1),
    "absolute value for ReLU": np.abs,
    "ReLU of the negated input": lambda x: np.maximum(-x, 0),
    **{f"output scaled by {kept:g}": times(kept) for kept in (0.5, 0.75, 0.8, 0.9)},
    **{f"output scaled by 1 / {kept:g}": times(1 / kept) for kept in (0.5, 0.75, 0.8, 0.9)},
}


def test_another_activation_for_relu():
    one = Layer("Relu", X)
    assert X.max() > 6
    others = {f"{name} for ReLU": f for name, f in ACTIVATIONS.items() if name != "ReLU"} | OF_RELU
    assert set(others) == set(one.mistakes)
    for name, function in others.items():
        one.returns(name, function(WIDE))
    assert "ReLU6 (cut off at 6) for ReLU" not in Layer("Relu", X / 4).mistakes


KINDS: dict[str, tuple[str, set[str]]] = {  # what each is called, and what it is not taken for
    "Sigmoid": ("sigmoid", {"squared ReLU"}),
    "Tanh": ("tanh", {"squared ReLU"}),
    "Softplus": ("softplus", {"squared ReLU"}),
    "Softsign": ("softsign", {"squared ReLU"}),
    "Mish": ("Mish", {"squared ReLU"}),
    "HardSwish": ("hard swish", {"squared ReLU"}),
    "Gelu": ("GELU (exact)", {"GELU (tanh)"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_another_activation(kind):
    right, never = KINDS[kind]
    one = Layer(kind, X, opset=22)
    one.returns("", ACTIVATIONS[right](WIDE))
    for name, function in ACTIVATIONS.items():
        if name == right or name in never or name.startswith("leaky"):
            assert f"{name} for {kind}" not in one.mistakes
        else:
            one.returns(f"{name} for {kind}", function(WIDE))
    if kind != "Softsign":
        one.returns(f"{kind} applied twice", ACTIVATIONS[right](ACTIVATIONS[right](WIDE)))


def test_near_relatives():
    Layer("HardSwish", X).returns("hard swish with 0.2x + 0.5 for HardSwish", WIDE * hard_sigmoid(WIDE, 0.2))
    Layer("Sigmoid", X).returns("log sigmoid for Sigmoid", -softplus(-WIDE))
    Layer("Tanh", X).returns("hard tanh for Tanh", np.clip(WIDE, -1, 1))
    exact, by_tanh = Layer("Gelu", X), Layer("Gelu", X, approximate="tanh")
    exact.returns("Gelu by the tanh approximation", gelu_by_tanh(WIDE))
    by_tanh.returns("", gelu_by_tanh(WIDE))
    by_tanh.returns("Gelu by the error function, not by tanh", gelu(WIDE))
    for beta in (0.5, 2.0, 10.0, 20.0):
        expected = np.maximum(WIDE, 0) + np.log1p(np.exp(-beta * np.abs(WIDE))) / beta
        Layer("Softplus", X).returns(f"softplus with beta {beta:g}", expected)


# --- parameters of activations -----------------------------------------------------------------


def test_slopes():
    one = Layer("LeakyRelu", X, alpha=0.25)
    for alpha in (0.01, 0.1, 0.2, 0.3, -0.25):
        one.returns(f"slope alpha {alpha:g} for 0.25", leaky(WIDE, alpha))
    assert "slope alpha 0.2 for 0.2" not in Layer("LeakyRelu", X, alpha=0.2).mistakes


def test_parameters_of_exponential_units():
    one = Layer("Elu", X, alpha=2.0)
    one.returns("", elu(WIDE, 2))
    for alpha in (0.1, 0.2, 0.3, 0.5, 1.0, 1.6732632):
        one.returns(f"alpha {alpha:g} for 2", elu(WIDE, alpha))
    one.returns("Celu with the same alpha 2 for Elu", celu(WIDE, 2))
    one.returns("Celu with alpha 0.5 for Elu", celu(WIDE, 0.5))
    assert not [name for name in Layer("Elu", X).mistakes if "the same alpha" in name]
    other = Layer("Celu", X, alpha=0.5)
    other.returns("", celu(WIDE, 0.5))
    other.returns("Elu with the same alpha 0.5 for Celu", elu(WIDE, 0.5))
    other.returns("Elu with alpha 0.2 for Celu", elu(WIDE, 0.2))
    scaled = Layer("Selu", X)
    scaled.returns("", selu(WIDE))
    scaled.returns("SELU without its factor gamma", elu(WIDE, 1.6732632423543772))
    scaled.returns("alpha 0.5 for 1.67326", 1.0507009873554805 * elu(WIDE, 0.5))
    cut = Layer("ThresholdedRelu", X, alpha=2.0)
    cut.returns("alpha 0.5 for 2", np.where(WIDE > 0.5, WIDE, 0))


def test_limits():
    one = Layer("Clip", X, np.array(-2, np.float32), np.array(3, np.float32))
    for (low, high), words in {
        (0, 1): "[0, 1]",
        (-1, 1): "[-1, 1]",
        (-np.inf, 3): "[-∞, 3]",
        (-2, np.inf): "[-2, ∞]",
    }.items():
        one.returns(f"clipped to {words}, for [-2, 3]", np.clip(WIDE, low, high))
    assert (
        "clipped to [0, ∞], for [0, 2]"
        not in Layer("Clip", X, np.zeros((), np.float32), np.full((), 2, np.float32)).mistakes
    )
    line = Layer("HardSigmoid", X)
    line.returns("line 0.25x + 0.5 for 0.2x + 0.5", hard_sigmoid(WIDE, 0.25))
    line.returns("line 0.5x + 0.5 for 0.2x + 0.5", hard_sigmoid(WIDE, 0.5))


def test_slopes_of_channels():
    x = drawn(2, 3, 4, 3)
    slope = np.array([0.1, -0.2, 0.3], np.float32).reshape(3, 1, 1)
    one, wide, s = Layer("PRelu", x, slope), x.astype(np.float64), slope.astype(np.float64)

    def returned(slope: Array | float) -> Array:
        return np.where(wide > 0, wide, slope * wide)

    for name, expected in {
        "": returned(s),
        "negative slope: relu(x) + slope·relu(-x)": returned(-s),
        "the first slope for all channels": returned(s[0]),
        "slopes in reverse order": returned(s[::-1]),
        "slopes along axis 3": returned(s.ravel()),
        "one slope 0.25 for all values": returned(0.25),
    }.items():
        one.returns(name, expected)
    assert "slopes along axis 1" not in one.mistakes
    assert "the first slope for all channels" not in Layer("PRelu", x, slope[:1]).mistakes


# --- normalizations ----------------------------------------------------------------------------

SCALE, SHIFT = drawn(6, seed=1), drawn(6, seed=2)
EPSILON = 0.25
ROWS = drawn(3, 4, 6, seed=3) + np.float32(0.5)


def normalized(
    x: Array,
    axes: tuple[int, ...],
    less: int = 0,
    root: Function = lambda v: np.sqrt(v + EPSILON),
    centered: bool = True,
    squares: bool = False,
) -> Array:
    x = x.astype(np.float64)
    count = np.prod([x.shape[axis] for axis in axes])
    mean = x.mean(axes, keepdims=True)
    spread = (x**2 if squares else (x - mean) ** 2).sum(axes, keepdims=True) / (count - less)
    return (x - mean if centered else x) / root(spread)


OTHERWISE: dict[str, dict] = {
    "": {},
    "variance divided by n - 1": {"less": 1},
    "variance divided by n - 1, epsilon outside of the root": {
        "less": 1,
        "root": lambda v: np.sqrt(v) + EPSILON,
    },
    "epsilon outside of the root": {"root": lambda v: np.sqrt(v) + EPSILON},
    "root missing: divided by the variance": {"root": lambda v: v + EPSILON},
    "not divided by the standard deviation": {"root": np.ones_like},
    "root mean square for the standard deviation": {"centered": False, "squares": True},
    "mean not subtracted": {"centered": False},
}


@pytest.mark.parametrize("name", OTHERWISE)
def test_moments_that_are_computed_otherwise(name):
    rows = Layer("LayerNormalization", ROWS, SCALE, SHIFT, epsilon=EPSILON)
    rows.returns(name, normalized(ROWS, (2,), **OTHERWISE[name]) * SCALE + SHIFT)
    maps = drawn(2, 6, 3, 4, seed=4) + np.float32(0.5)
    each = Layer("InstanceNormalization", maps, SCALE, SHIFT, epsilon=EPSILON)
    expected = normalized(maps, (2, 3), **OTHERWISE[name])
    each.returns(name, expected * SCALE.reshape(6, 1, 1) + SHIFT.reshape(6, 1, 1))


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("", {"centered": False, "squares": True}),
        ("standard deviation for the root mean square", {}),
        ("divided by the standard deviation, the mean not subtracted", {"centered": False}),
        (
            "epsilon outside of the root",
            {"centered": False, "squares": True, "root": lambda v: np.sqrt(v) + EPSILON},
        ),
        (
            "root missing: divided by the mean of squares",
            {"centered": False, "squares": True, "root": lambda v: v + EPSILON},
        ),
        (
            "divided by the norm, not by the root mean square",
            {"centered": False, "squares": True, "root": lambda v: np.sqrt(6 * v + EPSILON)},
        ),
    ],
)
def test_root_mean_squares_that_are_computed_otherwise(name, changed):
    one = Layer("RMSNormalization", ROWS, SCALE, epsilon=EPSILON, opset=23)
    one.returns(name, normalized(ROWS, (2,), **changed) * SCALE)


def test_a_deviation_that_is_not_divided_by_is_named():
    graph = graph_of([N("LayerNormalization", ["x", "s", "b"], ["y"])], {"s": SCALE, "b": SHIFT}, "x")
    wide = ROWS.astype(np.float64)
    wrong = (wide - wide.mean(-1, keepdims=True)) * SCALE + SHIFT
    assert names(graph, x=ROWS, y=wrong) == ["not divided by the standard deviation"]


WHAT = "Mean and variance are those of"


def test_moments_over_other_axes():
    one = Layer("LayerNormalization", ROWS, SCALE, SHIFT, epsilon=EPSILON)
    for axes in ((0,), (1,), (0, 1), (0, 2), (1, 2), (0, 1, 2)):
        one.returns(f"moments over axes {axes} for (2,)", normalized(ROWS, axes) * SCALE + SHIFT)
    square = drawn(3, 6, 6, seed=5)
    there = "moments over axes (1,) for (2,), scale and shift there, too"
    moved = normalized(square, (1,)) * SCALE[:, None] + SHIFT[:, None]
    same = Layer("LayerNormalization", square, SCALE, SHIFT, epsilon=EPSILON)
    same.returns(there, moved)
    maps = Layer("InstanceNormalization", drawn(2, 6, 3, 4), SCALE, SHIFT)
    assert {
        name.split(" axes ")[1]: one.explanation for name, one in maps.mistakes.items() if " axes " in name
    } == {
        f"{axes} for (2, 3)": f"{WHAT} {words}."
        for axes, words in {
            (0,): "values along other axes",
            (1,): "values along other axes",
            (2,): "values along other axes",
            (3,): "the last axis alone",
            (0, 1): "values along other axes",
            (0, 2): "values along other axes",
            (0, 3): "values along other axes",
            (1, 2): "values along other axes",
            (1, 3): "values along other axes",
            (0, 1, 2): "values along other axes",
            (0, 1, 3): "values along other axes",
            (0, 2, 3): "each channel over the whole batch, as batch normalization does in training",
            (1, 2, 3): "all of an image, as layer normalization does",
            (0, 1, 2, 3): "the whole tensor",
        }.items()
    }


def test_groups_of_channels():
    x = drawn(2, 6, 3, 4, seed=6)
    column = (6, 1, 1)

    def grouped(count: int) -> Array:
        return normalized(x.reshape(2, count, -1), (2,)).reshape(x.shape)

    def scaled(y: Array) -> Array:
        return y * SCALE.reshape(column) + SHIFT.reshape(column)

    one = Layer("GroupNormalization", x, SCALE, SHIFT, num_groups=2, epsilon=EPSILON, opset=21)
    one.returns("", scaled(grouped(2)))
    for count in (1, 3, 6):
        one.returns(f"number of groups {count} for 2", scaled(grouped(count)))
    every = x.reshape(2, 3, 2, -1)  # a group takes every second channel
    one.returns("channels grouped in another order", scaled(normalized(every, (1, 3)).reshape(x.shape)))
    each = Layer("InstanceNormalization", x, SCALE, SHIFT, epsilon=EPSILON)
    for count in (2, 3):
        each.returns(f"number of groups {count} for 6", scaled(grouped(count)))
    assert "number of groups 6 for 6" not in each.mistakes
    assert (
        "channels grouped in another order"
        not in Layer("GroupNormalization", x, SCALE, SHIFT, num_groups=6, opset=21).mistakes
    )


# --- heads -------------------------------------------------------------------------------------

LENGTH, HEADS, SIZE = 5, 2, 3
Q, K, V = (drawn(2, LENGTH, HEADS * SIZE, seed=seed).astype(np.float64) for seed in range(3))


def attended(*heads: Array) -> Array:
    """Of (B, heads, length, size)."""
    q, k, v = heads
    powers = np.exp(q @ k.swapaxes(2, 3) / np.sqrt(q.shape[-1]))
    return powers / powers.sum(-1, keepdims=True) @ v


def test_heads_that_are_split_otherwise():
    flat = [a.astype(np.float32) for a in (Q, K, V)]
    one = Layer("Attention", *flat, q_num_heads=HEADS, kv_num_heads=HEADS, opset=23)

    def joined(y: Array) -> Array:
        return y.swapaxes(1, 2).reshape(2, LENGTH, HEADS * SIZE)

    one.returns("", joined(attended(*(a.reshape(2, LENGTH, HEADS, SIZE).swapaxes(1, 2) for a in (Q, K, V)))))
    for heads in (1, 3, 6):
        split = (a.reshape(2, LENGTH, heads, -1).swapaxes(1, 2) for a in (Q, K, V))
        one.returns(f"heads: {heads} for {HEADS}", joined(attended(*split)))
    nth = attended(*(a.reshape(2, LENGTH, SIZE, HEADS).transpose(0, 3, 1, 2) for a in (Q, K, V)))
    one.returns("heads taken from every n-th value", nth.transpose(0, 2, 3, 1).reshape(2, LENGTH, -1))
    one.returns("heads taken from every n-th value, on the way in alone", joined(nth))
    rows = attended(*(a.reshape(2, HEADS, LENGTH, SIZE) for a in (Q, K, V)))
    one.returns("heads reshaped, not transposed", rows.reshape(2, LENGTH, -1))
    one.returns("heads reshaped, not transposed, on the way in alone", joined(rows))


def test_heads_that_share_keys_in_another_order():
    q, (k, v) = drawn(2, 4, LENGTH, SIZE), (drawn(2, 2, LENGTH, SIZE, seed=n) for n in (1, 2))
    one = Layer("Attention", q, k, v, opset=23)
    wide = [a.astype(np.float64) for a in (q, k, v)]
    one.returns("", attended(wide[0], *(a[:, [0, 0, 1, 1]] for a in wide[1:])))
    name = "keys and values tiled, not repeated"
    one.returns(name, attended(wide[0], *(a[:, [0, 1, 0, 1]] for a in wide[1:])))
    assert name not in Layer("Attention", q, k[:, :1], v[:, :1], opset=23).mistakes
