"""Layers left out, applied twice or exchanged, and normalizations on another side of a residual sum."""

from collections.abc import Sequence

import numpy as np
import pytest
from onnx import NodeProto

from parity.judging.causes import judge
from tests.parity.judging.causes.case import Array, Case, N, Port

RNG = np.random.default_rng(11)
SIZE = 8


def drawn(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


X = drawn(3, 5, SIZE)
WEIGHTS = {f"w{k}": drawn(SIZE, SIZE) / 2 for k in range(4)}
BIASES = {f"b{k}": drawn(SIZE) for k in range(4)}
NORM = {"scale": drawn(SIZE), "shift": drawn(SIZE)}
W, B = list(WEIGHTS.values()), list(BIASES.values())


def case(nodes: Sequence[NodeProto], wrong: dict[str, Port], **more: Array) -> Case:
    used = {name for node in nodes for name in node.input}
    constants = {name: a for name, a in (WEIGHTS | BIASES | NORM | more).items() if name in used}
    return Case(nodes, constants, X, lambda x: x, wrong)


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def norm(x: Array) -> Array:
    wide = x.astype(np.float64)
    apart = wide - wide.mean(-1, keepdims=True)
    return apart / np.sqrt((apart**2).mean(-1, keepdims=True) + 1e-5) * NORM["scale"] + NORM["shift"]


def silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


def branch(name: str, start: str, end: str) -> list[NodeProto]:
    """relu(start · w)."""
    return [N("MatMul", [start, f"w{name}"], [f"m{name}"]), N("Relu", [f"m{name}"], [end])]


def normalized(start: str, end: str) -> NodeProto:
    return N("LayerNormalization", [start, "scale", "shift"], [end])


def halves() -> list[NodeProto]:
    """silu(x[..., :4]) · x[..., 4:]."""
    return [
        N("Slice", ["x", "zero", "half", "axis"], ["one"]),
        N("Slice", ["x", "half", "size", "axis"], ["other"]),
        N("Sigmoid", ["one"], ["s"]),
        N("Mul", ["one", "s"], ["silu"]),
        N("Mul", ["silu", "other"], ["y"]),
    ]


def post_norm(blocks: int) -> Case:
    """norm(x + f(x)), in a row."""
    nodes, x = [], "x"
    for k in range(blocks):
        y = "y" if k == blocks - 1 else f"y{k}"
        nodes += [*branch(str(k), x, f"f{k}"), N("Add", [x, f"f{k}"], [f"s{k}"]), normalized(f"s{k}", y)]
        x = y

    def pre(x: Array) -> Array:
        for w in W[:blocks]:
            x = x + relu(norm(x) @ w)
        return x

    return case(nodes, {"normalization before the branch (pre-norm), not behind the residual sum": pre})


def pre_norm(blocks: int) -> Case:
    """x + f(norm(x)), in a row."""
    nodes, x = [], "x"
    for k in range(blocks):
        y = "y" if k == blocks - 1 else f"y{k}"
        nodes += [normalized(x, f"n{k}"), *branch(str(k), f"n{k}", f"f{k}"), N("Add", [x, f"f{k}"], [y])]
        x = y

    def post(x: Array) -> Array:
        for w in W[:blocks]:
            x = norm(x + relu(x @ w))
        return x

    return case(nodes, {"normalization behind the residual sum (post-norm), not before the branch": post})


def perceptron(x: Array, first: int, second: int) -> Array:
    hidden = relu(x.astype(np.float64) @ W[first] + B[first])
    return hidden @ W[second] + B[second]


def layers() -> Case:
    """Two dense layers of the same size, of which each is a product and a sum."""
    nodes = [
        N("MatMul", ["x", "w0"], ["m0"]),
        N("Add", ["m0", "b0"], ["h0"]),
        N("Relu", ["h0"], ["r0"]),
        N("MatMul", ["r0", "w1"], ["m1"]),
        N("Add", ["m1", "b1"], ["y"]),
    ]
    return case(nodes, {"parameters of m0 and m1 exchanged": lambda x: perceptron(x, 1, 0)})


def in_a_row() -> Case:
    """w0, ReLU, normalization, w1, ReLU."""
    nodes = [*branch("0", "x", "h"), normalized("h", "n"), *branch("1", "n", "y")]
    return case(
        nodes,
        {
            "LayerNormalization left out": lambda x: relu(relu(x @ W[0]) @ W[1]),
            "LayerNormalization applied twice": lambda x: relu(norm(norm(relu(x @ W[0]))) @ W[1]),
            "MatMul left out": lambda x: relu(norm(relu(x)) @ W[1]),
            "MatMul applied twice": lambda x: relu(norm(relu(x @ W[0] @ W[0])) @ W[1]),
        },
    )


def with_residual() -> Case:
    nodes = [*branch("0", "x", "h"), *branch("1", "h", "f"), N("Add", ["f", "h"], ["y"])]
    return case(
        nodes,
        {
            "residual connection h left out": lambda x: relu(relu(x @ W[0]) @ W[1]),
            "term f left out": lambda x: relu(x @ W[0]),
            "branch h into Add taken before Relu: m0": lambda x: relu(relu(x @ W[0]) @ W[1]) + x @ W[0],
        },
    )


def two_branches() -> Case:
    """A sum of which neither term is computed from the other."""
    nodes = [*branch("0", "x", "f"), *branch("1", "x", "g"), N("Add", ["f", "g"], ["y"])]
    return case(nodes, {"term g left out": lambda x: relu(x @ W[0])})


GATED = case(
    halves(),
    {"pieces 0 and 1 of x exchanged": lambda x: silu(x[..., 4:].astype(np.float64)) * x[..., :4]},
    **{name: np.array([n]) for name, n in (("zero", 0), ("half", 4), ("size", SIZE), ("axis", 2))},
)
CASES = {
    "gated": GATED,
    "post-norm": post_norm(1),
    "two post-norms": post_norm(2),
    "pre-norm": pre_norm(1),
    "two pre-norms": pre_norm(2),
    "layers": layers(),
    "row": in_a_row(),
    "residual": with_residual(),
    "branches": two_branches(),
}


@pytest.mark.parametrize(
    ("name", "cause"), [(name, cause) for name, one in CASES.items() for cause in one.wrong]
)
def test_a_mistake_is_named(name: str, cause: str) -> None:
    one = CASES[name]
    assert one.named(one.wrong[cause]) == ["different", cause]


@pytest.mark.parametrize(
    ("right", "taken", "cause"),
    [
        ("r", "m", "branch r into Concat taken before Relu: m"),
        ("m", "r", "branch m into Concat taken behind Relu: r"),
    ],
)
def test_a_branch_may_begin_at_a_recorded_tensor(right: str, taken: str, cause: str) -> None:
    nodes = [
        N("MatMul", ["x", "w0"], ["m"]),
        N("Relu", ["m"], ["r"]),
        *branch("1", "r", "f"),
        N("Concat", [right, "f"], ["y"], axis=2),
    ]
    m = (X @ W[0]).astype(np.float32)
    values = {"x": X, "m": m, "r": relu(m)}
    y = np.concatenate([values[taken], relu(relu(m) @ W[1])], -1)
    last = judge(case(nodes, {}).graph, values | {"y": y}).tensors[-1]
    assert [one.name for one in last.causes] == [cause]
