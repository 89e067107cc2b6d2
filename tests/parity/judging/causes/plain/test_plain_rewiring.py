"""Layers with others' parameters, in another order, with branches from elsewhere: each in plain NumPy."""

from collections.abc import Iterator, Mapping

import numpy as np
from onnx import NodeProto

from parity.arithmetic import Bounded
from parity.graph import Graph
from parity.judging.causes.mistake import Mistake
from parity.judging.causes.search.rewiring.branches import branched_elsewhere, sources
from parity.judging.causes.search.rewiring.neighbours import neighbours
from parity.judging.causes.search.rewiring.parameters import exchanged, others
from parity.judging.causes.search.rewiring.residual_norms import normalized_elsewhere
from parity.judging.causes.search.stretch import Stretch, between
from tests.parity.judging.causes.small_graphs import Array, N, drawn, graph_of
from tests.parity.judging.causes.words import check_said
from tests.parity.operators.one_node import check_inside

X, SIZE = drawn(3, 5, 6), 6
W = [drawn(SIZE, SIZE, seed=n) for n in range(1, 4)]
B = [drawn(SIZE, seed=n) for n in range(4, 7)]
SCALE, SHIFT = drawn(SIZE, seed=8), drawn(SIZE, seed=9)
CONSTANTS = {
    **{f"w{k}": w for k, w in enumerate(W)},
    **{f"b{k}": b for k, b in enumerate(B)},
    **{"scale": SCALE, "shift": SHIFT},
}
Changes = Mapping[int, Mistake]


def graph(*nodes: NodeProto, **more: Array) -> Graph:
    """Of x and y; its constants are those that are read."""
    used = {name for node in nodes for name in node.input}
    return graph_of([*nodes], {name: a for name, a in (CONSTANTS | more).items() if name in used}, "x")


def returned(one: Graph, stretch: Stretch, changes: Changes, x: Array = X) -> Bounded:
    inputs = [Bounded(one.constants.get(name, x)) for name in stretch.names]
    result = stretch.with_mistakes(changes).evaluate(*inputs)
    assert isinstance(result, Bounded)
    return result


def same(one: Graph, some: Iterator[tuple[int, Changes]], expected: dict[str, Array], x: Array = X) -> None:
    """The first mistake of each of these names returns these values."""
    stretch = between(one, {"x"}, "y")
    found: dict[str, Changes] = {}
    for place, changes in some:
        assert place == min(changes)
        check_said(*changes.values())
        found.setdefault(changes[place].name, changes)
    assert expected.keys() <= found.keys(), found.keys()
    for name, values in expected.items():
        check_inside(returned(one, stretch, found[name], x), values, name)


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def norm(x: Array) -> Array:
    wide = x.astype(np.float64)
    apart = wide - wide.mean(-1, keepdims=True)
    return apart / np.sqrt((apart**2).mean(-1, keepdims=True) + 1e-5) * SCALE + SHIFT


WIDE = X.astype(np.float64)

# --- parameters --------------------------------------------------------------------------------


def linear(k: int, start: str, end: str) -> list[NodeProto]:
    """start · w + b."""
    return [N("MatMul", [start, f"w{k}"], [f"m{k}"]), N("Add", [f"m{k}", f"b{k}"], [end])]


TWO = graph(
    *linear(0, "x", "h"), N("Relu", ["h"], ["r"]), *linear(1, "r", "y"), N("Neg", ["y"], ["z"]), z=B[2]
)


def two(w: list[Array], b: list[Array]) -> Array:
    return relu(WIDE @ w[0] + b[0]) @ w[1] + b[1]


def test_parameters_of_other_layers():
    stretch = between(TWO, {"x"}, "y")
    some = ((place, {place: one}) for place, one in others(stretch, TWO))
    same(
        TWO,
        some,
        {
            "weights not loaded: input 1 of MatMul is zero": relu(0 * WIDE + B[0]) @ W[1] + B[1],
            "parameters of m1 for those of m0": two([W[1], W[1]], B),
            "parameters of m0 for those of m1": two([W[0], W[0]], B),
            "parameters of y for those of h": two(W, [B[1], B[1]]),
            "b0 in place of b1": two(W, [B[0], B[0]]),
            "w1 in place of w0": two([W[1], W[1]], B),
        },
    )


def test_parameters_that_two_layers_exchange():
    stretch = between(TWO, {"x"}, "y")
    found = [
        (changes[place].name, returned(TWO, stretch, changes)) for place, changes in exchanged(stretch, TWO)
    ]
    expected = [
        ("parameters of m0 and m1 exchanged", two(W[1::-1], B)),
        ("parameters of m0 and m1 exchanged", two(W[1::-1], B[1::-1])),
        ("parameters of h and y exchanged", two(W, B[1::-1])),
    ]
    assert [name for name, _ in found] == [name for name, _ in expected]
    for (_, values), (_, right) in zip(found, expected, strict=True):
        check_inside(values, right)


def test_parameters_of_other_shapes_are_not_taken():
    wide = graph(
        N("MatMul", ["x", "w0"], ["m"]), N("MatMul", ["m", "v"], ["y"]), v=drawn(SIZE, 4), one=np.ones(1)
    )
    stretch = between(wide, {"x"}, "y")
    assert {one.name for _, one in others(stretch, wide)} == {"weights not loaded: input 1 of MatMul is zero"}
    assert not list(exchanged(stretch, wide))


def test_one_constant_of_a_node_may_be_another_one():
    """Of sums, products and tables alone: another number is seldom taken for an exponent."""
    table = drawn(3, SIZE, seed=12)
    for kind, named in {"Add": True, "Mul": True, "Sub": False, "Div": False}.items():
        one = graph(N(kind, ["x", "b0"], ["m"]), N("Add", ["m", "b1"], ["y"]))
        found = {mistake.name for place, mistake in others(between(one, {"x"}, "y"), one) if place == 0}
        assert ("b1 in place of b0" in found) == named
    two = graph(
        N("Gather", ["t", "i"], ["g"]),
        N("Add", ["x", "g"], ["s"]),
        N("Gather", ["u", "i"], ["h"]),
        N("Add", ["s", "h"], ["y"]),
        t=table,
        u=2 * table,
        i=np.array(1),
    )
    stretch = between(two, {"x"}, "y")
    some, row = ((place, {place: one}) for place, one in others(stretch, two)), table[1].astype(np.float64)
    same(two, some, {"u in place of t": WIDE + 4 * row, "t in place of u": WIDE + 2 * row})


# --- neighbours --------------------------------------------------------------------------------


def test_nodes_in_the_opposite_order():
    one = graph(N("Gemm", ["x", "w0", "b0"], ["g"]), N("Sigmoid", ["g"], ["s"]), N("Mul", ["s", "b1"], ["y"]))
    x = drawn(4, SIZE, seed=3)
    product = x.astype(np.float64) @ W[0]

    def sigmoid(a: Array) -> Array:
        return 1 / (1 + np.exp(-a))

    same(
        one,
        neighbours(between(one, {"x"}, "y")),
        {
            "bias added behind Sigmoid": (sigmoid(product) + B[0]) * B[1],
            "Mul before Sigmoid": sigmoid((product + B[0]) * B[1]),
        },
        x,
    )


def test_a_bias_behind_a_pooling_lies_along_the_channels():
    w, b, x = drawn(3, 2, 1, 1), drawn(3, seed=1), drawn(2, 2, 4, 4, seed=2)
    one = graph(
        N("Conv", ["x", "w", "b"], ["c"]),
        N("MaxPool", ["c"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        N("Relu", ["p"], ["y"]),
        w=w,
        b=b,
    )
    maps = np.einsum("ncpq,oc->nopq", x.astype(np.float64), w[..., 0, 0])
    pooled = maps.reshape(2, 3, 2, 2, 2, 2).max((3, 5))
    same(
        one,
        neighbours(between(one, {"x"}, "y")),
        {
            "bias added behind MaxPool": relu(pooled + b.reshape(3, 1, 1)),
            "Relu before MaxPool": relu(pooled + b.reshape(3, 1, 1)),
        },
        x,
    )


def test_what_is_used_twice_or_needed_later_is_not_exchanged():
    twice = graph(N("Relu", ["x"], ["r"]), N("Sigmoid", ["r"], ["s"]), N("Add", ["s", "r"], ["y"]))
    names = {changes[place].name for place, changes in neighbours(between(twice, {"x"}, "y"))}
    assert names == {"Add before Sigmoid"}
    later = graph(N("Sigmoid", ["x"], ["s"]), N("Tanh", ["x"], ["t"]), N("Add", ["s", "t"], ["y"]))
    assert not list(neighbours(between(later, {"x"}, "y")))
    alike = graph(N("Relu", ["x"], ["r"]), N("Relu", ["r"], ["y"]))
    assert not list(neighbours(between(alike, {"x"}, "y")))


# --- branches ----------------------------------------------------------------------------------


def test_a_branch_that_begins_elsewhere():
    one = graph(
        N("MatMul", ["x", "w0"], ["m"]),
        N("Relu", ["m"], ["r"]),
        N("MatMul", ["r", "w1"], ["n"]),
        N("Add", ["n", "r"], ["s"]),
        N("Add", ["s", "m"], ["y"]),
    )
    m = WIDE @ W[0]
    r = relu(m)
    stretch = between(one, {"x"}, "y")
    same(
        one,
        branched_elsewhere(stretch.nodes, stretch.names, one),
        {
            "branch r into Add taken before Relu: m": r @ W[1] + m + m,
            "branch m into Add taken behind Relu: r": r @ W[1] + r + r,
        },
    )
    (joining,) = [node for node in one.nodes if node.outputs[0] == "s"]
    assert list(sources(one, joining)) == [(1, "m", "before Relu")]
    assert not list(sources(one, one.nodes[0]))


# --- normalizations ----------------------------------------------------------------------------


def normalized(start: str, end: str) -> NodeProto:
    return N("LayerNormalization", [start, "scale", "shift"], [end])


PRE = "normalization before the branch (pre-norm), not behind the residual sum"
POST = "normalization behind the residual sum (post-norm), not before the branch"


def test_a_normalization_before_the_branch():
    one = graph(
        N("MatMul", ["x", "w0"], ["m"]),
        N("Relu", ["m"], ["r"]),
        N("Add", ["x", "r"], ["s"]),
        normalized("s", "y"),
    )
    stretch = between(one, {"x"}, "y")
    same(one, normalized_elsewhere(stretch.nodes), {PRE: WIDE + relu(norm(X) @ W[0])})


def test_a_normalization_behind_the_sum():
    one = graph(
        normalized("x", "n"),
        N("MatMul", ["n", "w0"], ["m"]),
        N("Relu", ["m"], ["r"]),
        N("Add", ["r", "x"], ["y"]),
    )
    stretch = between(one, {"x"}, "y")
    same(one, normalized_elsewhere(stretch.nodes), {POST: norm(relu(WIDE @ W[0]) + WIDE)})


def test_normalizations_of_two_blocks_are_moved_at_once_and_one_by_one():
    nodes = []
    for k, (start, end) in enumerate((("x", "h"), ("h", "y"))):
        nodes += [
            N("MatMul", [start, f"w{k}"], [f"m{k}"]),
            N("Add", [start, f"m{k}"], [f"s{k}"]),
            normalized(f"s{k}", end),
        ]
    one = graph(*nodes)
    stretch = between(one, {"x"}, "y")
    found = [returned(one, stretch, changes) for _, changes in normalized_elsewhere(stretch.nodes)]
    h, pre = norm(WIDE + WIDE @ W[0]), WIDE + norm(X) @ W[0]
    expected = [
        pre + norm(pre) @ W[1],
        norm(pre + pre @ W[1]),
        h + norm(h) @ W[1],
    ]
    assert len(found) == len(expected)
    for values, right in zip(found, expected, strict=True):
        check_inside(values, right)


def test_without_a_residual_sum_nothing_is_moved():
    one = graph(N("MatMul", ["x", "w0"], ["m"]), normalized("m", "y"))
    assert not list(normalized_elsewhere(between(one, {"x"}, "y").nodes))
