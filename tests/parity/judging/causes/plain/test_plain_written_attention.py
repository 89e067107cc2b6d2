"""Attention that the graph holds as reshapes, products and a softmax: heads and scales, in plain NumPy."""

from typing import Any

import numpy as np
import pytest
from onnx import NodeProto

from parity.judging.causes.decomposed.of_attentions import sharing
from tests.parity.judging.causes.plain.several import Several
from tests.parity.judging.causes.small_graphs import Array, N, drawn, softmax

B, S, H, D = 2, 6, 4, 5
Q, K, V = (drawn(B, S, H * D, seed=n) for n in range(3))
SHAPES = {"apart": np.array([B, -1, H, D]), "joined": np.array([B, S, H * D])}
ROOT = np.array(D**-0.5, np.float32)
MASK = drawn(S, S, seed=9)
SPLIT = [
    node
    for n in "qkv"
    for node in (
        N("Reshape", [n, "apart"], [f"h{n}"]),
        N("Transpose", [f"h{n}"], [f"t{n}"], perm=[0, 2, 3, 1] if n == "k" else [0, 2, 1, 3]),
    )
]
SHARES = [N("Softmax", ["c"], ["p"]), N("MatMul", ["p", "tv"], ["a"])]
JOIN = [N("Transpose", ["a"], ["t"], perm=[0, 2, 1, 3]), N("Reshape", ["t", "joined"], ["y"])]


def heads(x: Array, count: int = H) -> Array:
    return x.astype(np.float64).reshape(B, S, count, -1).transpose(0, 2, 1, 3)


def joined(y: Array) -> Array:
    return y.transpose(0, 2, 1, 3).reshape(B, S, -1)


def attention(q: Array, k: Array, v: Array, factor: float, mask: Array | float = 0.0) -> Array:
    """Of heads."""
    return softmax(q @ k.swapaxes(2, 3) * factor + mask) @ v


def of(*scores: NodeProto, **more: Array) -> Several:
    """The nodes that make c of tq and tk; the constants are those that are read."""
    nodes = [*SPLIT, *scores, *SHARES, *JOIN]
    names = {name for node in nodes for name in node.input}
    known = {**SHAPES, "root": ROOT, "mask": MASK, "inverse": 1 / ROOT, **more}
    return Several(nodes, {name: a for name, a in known.items() if name in names}, q=Q, k=K, v=V)


SCALED = {
    "queries": [N("Mul", ["tq", "root"], ["sq"]), N("MatMul", ["sq", "tk"], ["c"])],
    "keys": [N("Div", ["tk", "inverse"], ["sk"]), N("MatMul", ["tq", "sk"], ["c"])],
    "scores": [N("MatMul", ["tq", "tk"], ["s"]), N("Mul", ["s", "root"], ["c"])],
    "scores by a division": [N("MatMul", ["tq", "tk"], ["s"]), N("Div", ["s", "inverse"], ["c"])],
    "scores with a mask": [
        N("MatMul", ["tq", "tk"], ["s"]),
        N("Mul", ["s", "root"], ["r"]),
        N("Add", ["r", "mask"], ["c"]),
    ],
    "queries, and scores with a mask before them": [
        N("Mul", ["tq", "root"], ["sq"]),
        N("MatMul", ["sq", "tk"], ["s"]),
        N("Add", ["mask", "s"], ["c"]),
    ],
}


def of_every_nth(x: Array) -> Array:
    """Heads of (B, S, H·D) that is read as (B, S, D, H)."""
    return x.astype(np.float64).reshape(B, S, D, H).transpose(0, 3, 1, 2)


def not_transposed(x: Array) -> Array:
    return x.astype(np.float64).reshape(B, H, S, D)


@pytest.mark.parametrize("where", SCALED)
def test_heads_that_are_split_otherwise(where):
    """Each head's scores are scaled by the root of its own size."""
    one, hidden, root = of(*SCALED[where]), MASK if "mask" in where else 0.0, float(ROOT)
    nth, rows = (
        attention(change(Q), change(K), change(V), root, hidden) for change in (of_every_nth, not_transposed)
    )
    q, k, v = (heads(x) for x in (Q, K, V))
    expected = {
        "heads taken from every n-th value, on the way in alone": joined(nth),
        "heads taken from every n-th value": nth.transpose(0, 2, 3, 1).reshape(B, S, -1),
        "heads reshaped, not transposed, on the way in alone": joined(rows),
        "heads reshaped, not transposed": rows.reshape(B, S, -1),
        "keys and values exchanged": joined(attention(q, v, k, root, hidden)),
        "queries and values exchanged": joined(attention(v, k, q, root, hidden)),
    }
    for count in (1, 2, 5, 10, 20):
        a, b, c = (heads(x, count) for x in (Q, K, V))
        expected[f"heads: {count} for 4"] = joined(attention(a, b, c, (H * D / count) ** -0.5, hidden))
    one.each("a", expected)
    found = one.mistakes("a")
    names = ("tq", "tk", "tv", "mask") if "mask" in where else ("tq", "tk", "tv")
    for name in expected:
        assert found[name].inputs == names
        assert found[name].wider == ("exchanged" in name)  # pieces of a joint projection say where


def of_heads(one: Several) -> list[str]:
    return [name for name in one.mistakes("a") if name.startswith(("heads", "keys and values", "queries"))]


def test_what_is_no_attention_of_heads_is_left_alone():
    """Another scale, two masks, scores from elsewhere, shares that are none, what was not split."""
    assert of_heads(of(*SCALED["queries"]))
    twice = [N("Mul", ["tq", "root"], ["sq"]), N("Div", ["tk", "inverse"], ["sk"])]
    assert not of_heads(of(*twice, N("MatMul", ["sq", "sk"], ["c"])))
    masks = [*SCALED["queries"][:1], N("MatMul", ["sq", "tk"], ["s"]), N("Add", ["s", "none"], ["n"])]
    assert not of_heads(of(*masks, N("Add", ["n", "none"], ["c"]), none=0 * MASK))
    assert of_heads(of(*masks[:-1], N("Add", ["s", "none"], ["c"]), none=0 * MASK))
    assert not of_heads(of(*SCALED["queries"][:1], N("MatMul", ["sq", "tk"], ["s"]), N("Abs", ["s"], ["c"])))
    split = [*SPLIT, *SCALED["queries"][:1], N("MatMul", ["sq", "tk"], ["c"])]
    other = Several(
        [*split, N("Sigmoid", ["c"], ["p"]), *SHARES[1:], *JOIN], {**SHAPES, "root": ROOT}, q=Q, k=K, v=V
    )
    assert not of_heads(other)
    four: dict[str, Any] = {
        name: heads(x).astype(np.float32) for name, x in zip("qkv", (Q, K, V), strict=True)
    }
    four["k"] = four["k"].swapaxes(2, 3).copy()
    nodes = [N("Mul", ["q", "root"], ["s"]), N("MatMul", ["s", "k"], ["c"]), N("Softmax", ["c"], ["p"])]
    recorded = Several([*nodes, N("MatMul", ["p", "v"], ["y"])], {"root": ROOT}, **four)
    assert not [name for name in recorded.mistakes("y") if "head" in name]


# --- a scale that queries and keys share -------------------------------------------------------

PART = np.array(D**-0.25, np.float32)


def sharing_by(kind: str, part: Array = PART, q: Array | None = None, k: Array | None = None) -> Several:
    """Queries and keys, which are scaled before they are transposed."""
    nodes = [
        N(kind, ["q", "part"], ["a"]),
        N(kind, ["k", "part"], ["b"]),
        N("Transpose", ["b"], ["t"], perm=[0, 1, 3, 2]),
        N("MatMul", ["a", "t"], ["y"]),
    ]
    q, k = (drawn(2, 4, 6, 5) if q is None else q), (drawn(2, 4, 7, 5, seed=1) if k is None else k)
    return Several(nodes, {"part": part}, q=q, k=k)


def scores(one: Several) -> Array:
    q, k = (one.values[name].comparable.astype(np.float64) for name in "qk")
    return q @ k.swapaxes(2, 3)


@pytest.mark.parametrize("kind", ["Mul", "Div"])
def test_another_scale_is_said_of_all_of_it(kind):
    """The queries' part makes up for that of the keys."""
    one = sharing_by(kind, PART if kind == "Mul" else 1 / PART)
    right = float(PART) ** 2
    factors = {
        f"scale left out: 1 for {right:.6g}": 1.0,
        f"scale applied twice: 1/d for {right:.6g}": 1 / 5,
        f"scale multiplied, not divided: sqrt(d) for {right:.6g}": 5**0.5,
        "scale of all heads together: 1/sqrt(H·d) for 1/sqrt(d)": 20**-0.5,
        "scale 1/sqrt(2), of the length of another axis, for 1/sqrt(5)": 2**-0.5,
        "scale 1/sqrt(4), of the length of another axis, for 1/sqrt(5)": 4**-0.5,
        "scale 1/sqrt(6), of the length of another axis, for 1/sqrt(5)": 6**-0.5,
    }
    one.each("a", {name: factor * scores(one) for name, factor in factors.items()})
    assert [name for name in one.mistakes("a") if name.startswith("scale ")] == list(factors)
    assert one.mistakes("a")["scale left out: 1 for 0.447214"].remedy == "Multiply by 0.447214."
    assert not [name for name in one.mistakes("b") if name.startswith("scale ")]
    assert [node.outputs[0] for node in sharing(one.seen("a"))] == ["a", "b"]
    assert [node.outputs[0] for node in sharing(one.seen("b"))] == ["a", "b"]


def test_a_scale_that_is_no_root_of_the_size_is_left_out_or_applied_twice():
    one = sharing_by("Mul", np.array(0.5, np.float32))
    one.each(
        "a",
        {
            "scale left out: 1 for 0.25": scores(one),
            "scale applied twice: 0.0625 for 0.25": scores(one) / 16,
        },
    )
    assert len([name for name in one.mistakes("a") if name.startswith("scale ")]) == 2


def test_lengths_of_one_or_of_the_size_are_no_other_scale():
    one = sharing_by("Mul", q=drawn(1, 1, 5, 5), k=drawn(1, 1, 7, 5, seed=1))
    names = [name for name in one.mistakes("a") if name.startswith("scale ")]
    assert [name.split(":")[0] for name in names] == [
        "scale left out",
        "scale applied twice",
        "scale multiplied, not divided",
    ]


def test_what_two_factors_do_not_share_is_no_scale():
    """One of both is not scaled, or by no single number, or by zero; or both hold integers."""
    q, k = drawn(2, 4, 6, 5), drawn(2, 4, 5, 7, seed=1)
    known = {"part": PART, "each": drawn(5, seed=2), "zero": np.array(0, np.float32), "two": np.array(2)}

    def shared(first: NodeProto, second: NodeProto, q: Array = q, k: Array = k) -> list[str]:
        nodes = [first, second, N("MatMul", ["a", "b"], ["y"])]
        names = {name for node in nodes for name in node.input}
        one = Several(nodes, {name: a for name, a in known.items() if name in names}, q=q, k=k)
        return [node.type for node in sharing(one.seen("a"))]

    keys = N("Div", ["k", "part"], ["b"])
    assert shared(N("Mul", ["q", "part"], ["a"]), keys) == ["Mul", "Div"]
    assert not shared(N("Relu", ["q"], ["a"]), keys)
    assert not shared(N("Mul", ["q", "part"], ["a"]), N("Relu", ["k"], ["b"]))
    assert not shared(N("Mul", ["q", "each"], ["a"]), keys)
    for kind in ("Mul", "Div"):
        assert not shared(N(kind, ["q", "zero"], ["a"]), keys)
    whole = {name: np.ones(x.shape, np.int64) for name, x in (("q", q), ("k", k))}
    assert not shared(N("Mul", ["q", "two"], ["a"]), N("Mul", ["k", "two"], ["b"]), **whole)


def test_a_product_further_on_shares_the_scale_of_its_own_factors():
    """The first product of the graph is another one."""
    nodes = [
        N("MatMul", ["q", "w"], ["h"]),
        N("Mul", ["h", "part"], ["a"]),
        N("Mul", ["k", "part"], ["b"]),
        N("MatMul", ["a", "b"], ["y"]),
    ]
    one = Several(nodes, {"w": drawn(5, 5), "part": PART}, q=drawn(2, 4, 6, 5), k=drawn(2, 4, 5, 7, seed=1))
    assert [node.outputs[0] for node in sharing(one.seen("a"))] == ["a", "b"]
    assert not sharing(one.seen("h"))
