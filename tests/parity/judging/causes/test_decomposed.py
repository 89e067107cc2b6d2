"""Mistakes in layers that a graph holds as several nodes: only its input and its result are recorded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from onnx import NodeProto, helper, numpy_helper

from parity.arithmetic.floats import BFLOAT16
from parity.graph import Graph
from parity.judging.causes import judge
from parity.onnx import read_onnx
from parity.operators.functions import erf

Array = np.ndarray
Port = Callable[[Array], Array]
N = helper.make_node
RNG = np.random.default_rng(0)


def drawn(*shape: int, scale: float = 1.0) -> Array:
    return (RNG.standard_normal(shape) * scale).astype(np.float32)


@dataclass(frozen=True)
class Case:
    """A graph of x and y.

    Attributes:
        nodes: the last one returns y.
        constants: by name; a number or an array.
        x: its input.
        right: what a right port computes.
        wrong: {the name of a cause: a port that makes this mistake}.
    """

    nodes: Sequence[NodeProto]
    constants: dict[str, Array | float]
    x: Array
    right: Port
    wrong: dict[str, Port]

    @property
    def graph(self) -> Graph:
        given = [
            numpy_helper.from_array(
                np.asarray(one, None if isinstance(one, np.ndarray) else np.float32), name
            )
            for name, one in self.constants.items()
        ]
        ends = [helper.make_tensor_value_info(name, 1, None) for name in "xy"]
        graph = helper.make_graph(self.nodes, "decomposed", ends[:1], ends[1:], given)
        return read_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]))

    def named(self, port: Port) -> list[str]:
        y = port(self.x).astype(np.float32)
        (one,) = judge(self.graph, {"x": self.x, "y": y}).tensors
        return [one.verdict, *(cause.name for cause in one.causes)]


# --- normalization -----------------------------------------------------------------------------

G, B = drawn(16) + 1, drawn(16)
MEAN = [N("ReduceMean", ["x", "last"], ["m"]), N("Sub", ["x", "m"], ["d"])]
ROOT = [N("ReduceMean", ["q", "last"], ["v"]), N("Add", ["v", "e"], ["ve"]), N("Sqrt", ["ve"], ["s"])]
AXIS = {"last": np.array([-1])}


def layer_norm(
    x: Array, e: float = 1e-5, axes: tuple[int, ...] = (2,), less: int = 0, outside: bool = False
) -> Array:
    d = x - x.mean(axes, keepdims=True)
    v = (d * d).sum(axes, keepdims=True) / (np.prod([x.shape[k] for k in axes]) - less)
    return d / (np.sqrt(v) + e if outside else np.sqrt(v + e)) * G + B


LAYER = Case(
    [
        *MEAN,
        N("Pow", ["d", "two"], ["q"]),
        *ROOT,
        N("Div", ["d", "s"], ["n"]),
        N("Mul", ["n", "g"], ["a"]),
        N("Add", ["a", "b"], ["y"]),
    ],
    {**AXIS, "two": 2.0, "e": 1e-5, "g": G, "b": B},
    drawn(3, 5, 16, scale=0.05),
    layer_norm,
    {
        "epsilon 0.001 for 1e-05": lambda x: layer_norm(x, 1e-3),
        "epsilon 2e-05 for 1e-05": lambda x: layer_norm(x, 2e-5),
        "epsilon outside of the root": lambda x: layer_norm(x, outside=True),
        "mean divided by n - 1": lambda x: layer_norm(x, less=1),
        "variance divided by n - 1, epsilon outside of the root": lambda x: layer_norm(
            x, less=1, outside=True
        ),
        "moments over axes (1,) for (2,)": lambda x: layer_norm(x, axes=(1,)),
        "moments over axes (0, 1, 2) for (2,)": lambda x: layer_norm(x, axes=(0, 1, 2)),
        "factor g left out": lambda x: (layer_norm(x) - B) / G + B,
        "term b left out": lambda x: layer_norm(x) - B,
        "scale 1 + w for w": lambda x: (layer_norm(x) - B) / G * (1 + G) + B,
    },
)


def rms(x: Array, e: float = 1e-6) -> Array:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + e)


RMS = Case(
    [
        N("Mul", ["x", "x"], ["q"]),
        *ROOT,
        N("Reciprocal", ["s"], ["r"]),
        N("Mul", ["x", "r"], ["n"]),
        N("Mul", ["g", "n"], ["y"]),
    ],
    {**AXIS, "e": 1e-6, "g": G},
    drawn(3, 5, 16, scale=0.003) + np.float32(0.002),
    lambda x: rms(x) * G,
    {
        "epsilon 1e-05 for 1e-06": lambda x: rms(x, 1e-5) * G,
        "epsilon outside of the root": lambda x: x / (np.sqrt((x * x).mean(-1, keepdims=True)) + 1e-6) * G,
        "scale 1 + w for w": lambda x: rms(x) * (1 + G),
        "standard deviation for the root mean square": lambda x: layer_norm(x, 1e-6) - B,
        "ReduceSum for ReduceMean": lambda x: x / np.sqrt((x * x).sum(-1, keepdims=True) + 1e-6) * G,
    },
)

# --- activations -------------------------------------------------------------------------------


def tanh_form(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def erf_form(x: Array) -> Array:
    return 0.5 * x * (1 + erf(x.astype(np.float64) / np.sqrt(2)))


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


GELU = Case(
    [
        N("Div", ["x", "root"], ["a"]),
        N("Erf", ["a"], ["e"]),
        N("Add", ["e", "one"], ["p"]),
        N("Mul", ["x", "half"], ["h"]),
        N("Mul", ["h", "p"], ["y"]),
    ],
    {"root": 2**0.5, "one": 1.0, "half": 0.5},
    drawn(4, 32, scale=2),
    erf_form,
    {
        "Gelu by the tanh approximation": tanh_form,
        "quick GELU, x·sigmoid(1.702x) for Gelu": lambda x: x * sigmoid(1.702 * x),
        "ReLU for Gelu": lambda x: np.maximum(x, 0),
        "factor 0.5 left out": lambda x: 2 * erf_form(x),
        "divisor 1.41421 left out": lambda x: 0.5 * x * (1 + erf(x.astype(np.float64))),
    },
)
GELU_BY_TANH = Case(
    [
        N("Pow", ["x", "three"], ["c"]),
        N("Mul", ["c", "cube"], ["cc"]),
        N("Add", ["x", "cc"], ["i"]),
        N("Mul", ["i", "slope"], ["z"]),
        N("Tanh", ["z"], ["t"]),
        N("Add", ["one", "t"], ["p"]),
        N("Mul", ["x", "p"], ["xp"]),
        N("Mul", ["half", "xp"], ["y"]),
    ],
    {"three": 3.0, "cube": 0.044715, "slope": (2 / np.pi) ** 0.5, "one": 1.0, "half": 0.5},
    drawn(4, 32, scale=2),
    tanh_form,
    {"Gelu by the error function, not by tanh": erf_form},
)
SILU = Case(
    [N("Sigmoid", ["x"], ["s"]), N("Mul", ["x", "s"], ["y"])],
    {},
    drawn(4, 32, scale=2),
    lambda x: x * sigmoid(x),
    {
        "hard swish for Swish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
        "no activation for Swish": lambda x: x,
    },
)

# --- attention ---------------------------------------------------------------------------------

KEY, VALUE = drawn(2, 2, 6, 8), drawn(2, 2, 6, 8)
CAUSAL = np.where(np.tri(6, dtype=bool), 0, -1e9).astype(np.float32)


def shares(q: Array, factor: float = 8**-0.5, mask: Array | float = 0.0, axis: int = -1) -> Array:
    scores = q @ KEY.swapaxes(2, 3) * factor + mask
    powers = np.exp(scores - scores.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def attention(q: Array, factor: float = 8**-0.5, mask: Array = CAUSAL, axis: int = -1) -> Array:
    return shares(q, factor, mask, axis) @ VALUE


ATTENTION = Case(
    [
        N("MatMul", ["x", "k"], ["s"]),
        N("Div", ["s", "root"], ["c"]),
        N("Add", ["c", "mask"], ["cm"]),
        N("Softmax", ["cm"], ["p"]),
        N("MatMul", ["p", "v"], ["y"]),
    ],
    {"k": KEY.swapaxes(2, 3), "root": 8**0.5, "mask": CAUSAL, "v": VALUE},
    drawn(2, 2, 6, 8, scale=2),
    attention,
    {
        "divisor 2.82843 left out": lambda q: attention(q, 1.0),
        "divisor 2.82843 applied twice (1/d for 1/sqrt(d))": lambda q: attention(q, 1 / 8),
        "divisor of all 2 heads together: 1/sqrt(H·d) for 1/sqrt(d)": lambda q: attention(q, 1 / 4),
        "mask mask left out": lambda q: attention(q, mask=0 * CAUSAL),
        "mask added as 0 and 1: 1 where keys are seen": lambda q: attention(
            q, mask=(CAUSAL == 0).astype(np.float32)
        ),
        "divisor 2.44949 for 2.82843: sqrt(6), of the length of another axis": lambda q: attention(
            q, 6**-0.5
        ),
        "mask applied after the softmax": lambda q: shares(q) * (CAUSAL == 0) @ VALUE,
        "mask inverted": lambda q: attention(q, mask=-1e9 - CAUSAL),
        "causal mask off by one: queries see the next key": lambda q: attention(
            q, mask=np.where(np.tri(6, k=1, dtype=bool), 0, -1e9).astype(np.float32)
        ),
        "axis 2 for -1": lambda q: attention(
            q, mask=np.where(CAUSAL < 0, -1e9, 0).astype(np.float32), axis=2
        ),
    },
)

# Queries, keys and values are the input of (2, 6, 4·5), once, twice and three times.


def heads(x: Array) -> Array:
    return x.reshape(2, 6, 4, 5).swapaxes(1, 2)


def self_attention(x: Array, split: Callable[[Array], Array] = heads) -> Array:
    q, k, v = split(x), split(2 * x), split(3 * x)
    powers = np.exp(q @ k.swapaxes(2, 3) * 5**-0.5)
    return (powers / powers.sum(-1, keepdims=True) @ v).swapaxes(1, 2).reshape(2, 6, 20)


def every_fourth(x: Array, first: int, second: int) -> Array:
    """Values of (first, second) as (second, first)."""
    return x.reshape(2, 6, first, second).swapaxes(2, 3).reshape(2, 6, 20)


def in_heads(x: Array, count: int) -> Array:
    q = x.reshape(2, 6, count, -1).swapaxes(1, 2).astype(np.float64)
    powers = np.exp(q @ (2 * q).swapaxes(2, 3) * (20 / count) ** -0.5)
    return (powers / powers.sum(-1, keepdims=True) @ (3 * q)).swapaxes(1, 2).reshape(2, 6, 20)


HEADS = Case(
    [
        N("Add", ["x", "x"], ["x2"]),
        N("Add", ["x", "x2"], ["x3"]),
        N("Reshape", ["x", "apart"], ["h"]),
        N("Reshape", ["x2", "apart"], ["h2"]),
        N("Reshape", ["x3", "apart"], ["h3"]),
        N("Transpose", ["h"], ["q"], perm=[0, 2, 1, 3]),
        N("Transpose", ["h2"], ["k"], perm=[0, 2, 3, 1]),
        N("Transpose", ["h3"], ["v"], perm=[0, 2, 1, 3]),
        N("Mul", ["q", "scale"], ["qs"]),
        N("MatMul", ["qs", "k"], ["s"]),
        N("Softmax", ["s"], ["p"]),
        N("MatMul", ["p", "v"], ["a"]),
        N("Transpose", ["a"], ["t"], perm=[0, 2, 1, 3]),
        N("Reshape", ["t", "joined"], ["y"]),
    ],
    {"apart": np.array([2, 6, 4, 5]), "joined": np.array([2, 6, 20]), "scale": 5**-0.5},
    drawn(2, 6, 20),
    self_attention,
    {
        "heads reshaped, not transposed, on the way in alone": lambda x: self_attention(
            x, lambda one: one.reshape(2, 4, 6, 5)
        ),
        "heads taken from every n-th value, on the way in alone": lambda x: self_attention(
            x, lambda one: one.reshape(2, 6, 5, 4).transpose(0, 3, 1, 2)
        ),
        "heads taken from every n-th value": lambda x: every_fourth(
            self_attention(every_fourth(x, 5, 4)), 4, 5
        ),
        "heads: 2 for 4": lambda x: in_heads(x, 2),
        "heads: 1 for 4": lambda x: in_heads(x, 1),
        "factor 0.447214 left out": lambda x: (
            self_attention(x, lambda one: heads(one) * 5**0.25) / np.float32(5**0.25)
        ),
    },
)

# --- rotary embedding --------------------------------------------------------------------------

POSITIONS = np.arange(5)[:, None]
ANGLES = POSITIONS * 100.0 ** -np.arange(4)  # of the base 1e8, as it is said of 8 values


def tables(angles: Array, joined: Callable[[Array], Array]) -> tuple[Array, Array]:
    cos, sin = (joined(f(angles)).astype(np.float32) for f in (np.cos, np.sin))
    return cos, sin


COS, SIN = tables(ANGLES, lambda a: np.concatenate([a, a], -1))


def halves(x: Array, cos: Array = COS, sin: Array = SIN) -> Array:
    half = x.shape[-1] // 2
    return x * cos + np.concatenate([-x[..., half:], x[..., :half]], -1) * sin


def turned(x: Array, angles: Array) -> Array:
    return halves(x, *tables(angles, lambda a: np.concatenate([a, a], -1)))


def neighbours(x: Array) -> Array:
    cos, sin = tables(ANGLES, lambda a: a.repeat(2, -1))
    other = np.stack([-x[..., 1::2], x[..., ::2]], -1).reshape(x.shape)
    return x * cos + other * sin


ROTATION = Case(
    [
        N("Slice", ["x", "four", "end", "three"], ["b"]),
        N("Neg", ["b"], ["nb"]),
        N("Slice", ["x", "nought", "four", "three"], ["a"]),
        N("Concat", ["nb", "a"], ["t"], axis=-1),
        N("Mul", ["x", "cos"], ["xc"]),
        N("Mul", ["t", "sin"], ["ts"]),
        N("Add", ["xc", "ts"], ["y"]),
    ],
    {
        **{"nought": np.array([0]), "four": np.array([4]), "end": np.array([8]), "three": np.array([3])},
        **{"cos": COS, "sin": SIN},
    },
    drawn(2, 3, 5, 8),
    halves,
    {
        "interleaved 1 for 0": neighbours,
        "sign of the sine: turned the other way": lambda x: halves(x, sin=-SIN),
        "positions one too large": lambda x: turned(x, ANGLES + ANGLES[1]),
        "base 10000 for 1e+08 (rope_theta)": lambda x: turned(x, POSITIONS * 1e4 ** -(np.arange(4) / 4)),
        "frequencies rounded to bfloat16 before the cosine and the sine": lambda x: turned(
            x, POSITIONS * BFLOAT16.round(ANGLES[1]).astype(float)
        ),
        "only 4 of 8 values of a head are turned, by frequencies of its own": lambda x: np.concatenate(
            [turned(x[..., :4], POSITIONS * [1, 1e-4]), x[..., 4:]], -1
        ),
    },
)

# --- images ------------------------------------------------------------------------------------

COLOURS = np.array([0.485, 0.456, 0.406], np.float32)
SPREAD = np.array([0.229, 0.224, 0.225], np.float32)
IMAGE = Case(
    [
        N("Div", ["x", "full"], ["d"]),
        N("Sub", ["d", "mean"], ["c"]),
        N("Div", ["c", "spread"], ["y"]),
    ],
    {"full": 255.0, "mean": COLOURS.reshape(1, 3, 1, 1), "spread": SPREAD.reshape(1, 3, 1, 1)},
    RNG.integers(0, 256, (2, 3, 4, 4)).astype(np.float32),
    lambda x: (x / 255 - COLOURS[:, None, None]) / SPREAD[:, None, None],
    {
        "divisor 255 left out": lambda x: (x - COLOURS[:, None, None]) / SPREAD[:, None, None],
        "input channels in reverse order (BGR for RGB)": lambda x: (
            (x[:, ::-1] / 255 - COLOURS[:, None, None]) / SPREAD[:, None, None]
        ),
    },
)
# --- gates and tables ----------------------------------------------------------------------------

TABLE = drawn(1, 3, 1, 1)


def gate(x: Array) -> Array:
    return 1 / (1 + np.exp(-x.mean((2, 3), keepdims=True)))


GATED = Case(
    [
        N("ReduceMean", ["x", "last"], ["m"]),
        N("Sigmoid", ["m"], ["g"]),
        N("Mul", ["x", "g"], ["p"]),
        N("Add", ["p", "table"], ["y"]),
    ],
    {"last": np.array([2, 3]), "table": TABLE},
    drawn(2, 3, 4, 4),
    lambda x: x * gate(x) + TABLE,
    {
        "Add for Mul": lambda x: x + gate(x) + TABLE,
        "Mul for Add": lambda x: x * gate(x) * TABLE,
        "1 + g for the factor g": lambda x: x * (1 + gate(x)) + TABLE,
        "table in reverse order along axis 1": lambda x: x * gate(x) + TABLE[:, ::-1],
    },
)

CASES = {
    **{"layer norm": LAYER, "RMS norm": RMS, "GELU": GELU, "GELU by tanh": GELU_BY_TANH, "SiLU": SILU},
    **{"attention": ATTENTION, "heads": HEADS, "rotation": ROTATION, "image": IMAGE},
    "gate": GATED,
}


@pytest.mark.parametrize("name", CASES)
def test_a_right_port_is_not_accused(name: str) -> None:
    case = CASES[name]
    verdict, *causes = case.named(case.right)
    assert verdict in ("equal", "rounding")
    assert causes == []


@pytest.mark.parametrize(
    ("name", "cause"), [(name, cause) for name, case in CASES.items() for cause in case.wrong]
)
def test_a_mistake_is_named(name: str, cause: str) -> None:
    case = CASES[name]
    verdict, *causes = case.named(case.wrong[cause])
    assert verdict in ("different", "coarse")
    assert cause in causes
    assert len(causes) <= 2, "a second name is another view of the same values"


@pytest.mark.parametrize("name", CASES)
def test_what_is_unknown_is_not_named(name: str) -> None:
    case = CASES[name]
    noise = np.random.default_rng(1).standard_normal(case.right(case.x).shape)
    for scale in (1e-2, 1e-4):
        verdict, *causes = case.named(lambda x, scale=scale: case.right(x) * (1 + scale * noise))  # type: ignore[misc]
        assert verdict == "different"
        assert causes == []


def test_many_epsilons_that_fit_are_one_cause() -> None:
    """The variance is so large that only an ε of 1e-3 would show beside the others."""
    x = drawn(3, 5, 16, scale=3)
    large = Case(LAYER.nodes, {**LAYER.constants, "e": 1e-2}, x, layer_norm, {})
    verdict, *causes = large.named(lambda x: layer_norm(x, 1e-9))
    assert verdict == "different"
    (cause,) = causes
    assert cause.startswith("epsilon between 0 and 1e-0")
    assert cause.endswith("for 0.01")
