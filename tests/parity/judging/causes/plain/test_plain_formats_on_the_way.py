"""Results that are rounded on the way, tables that are some units off, overflows, ReLU by half a sum."""

import numpy as np
import pytest
from onnx import NodeProto

from parity.arithmetic import Bounded, Looped
from parity.arithmetic.floats import FLOAT16, FLOAT32, FLOAT64, gamma
from parity.graph import Graph
from parity.judging.causes import mistakes
from parity.judging.causes.mistake import Mistake, Seen
from parity.judging.causes.of_rounding.in_format import InFormat, Overflowing
from parity.judging.causes.of_rounding.of_constants import folded
from parity.judging.causes.of_rounding.of_half_sums import NAME, HalfSum, is_half_sum
from parity.judging.causes.of_rounding.of_results import on_the_way
from parity.operators.elementwise import Identity, Mul
from tests.parity.judging.causes.plain.layer import Array, Layer, drawn
from tests.parity.judging.causes.plain.several import Several
from tests.parity.judging.causes.plain.short import bits_kept
from tests.parity.judging.causes.small_graphs import N, graph_of
from tests.parity.judging.causes.words import check_said
from tests.parity.operators.one_node import check_inside

X = drawn(4, 6)
WIDE = X.astype(np.float64)
SHORT = {"bfloat16": bits_kept(7), "float16": bits_kept(10)}  # of numbers that are not tiny


# --- results -------------------------------------------------------------------------------------


def test_each_result_but_the_last_may_be_rounded():
    """Not one that is only moved, nor a product, which has mistakes of its own."""
    nodes = [
        N("Exp", ["x"], ["e"]),
        N("Transpose", ["e"], ["t"], perm=[1, 0]),
        N("MatMul", ["x", "t"], ["m"]),
        N("Neg", ["m"], ["y"]),
    ]
    one = Several(nodes, {}, x=X)
    found = {changes[min(changes)].name: changes for changes in on_the_way(one.stretch.nodes)}
    assert list(found) == ["result of Exp rounded to bfloat16", "result of Exp rounded to float16"]
    for name, rounded in zip(found, SHORT.values(), strict=True):
        check_said(*found[name].values())
        assert list(found[name]) == [0]
        result = one.returned(found[name])
        exact = -WIDE @ rounded(np.exp(WIDE).astype(np.float32)).astype(np.float64).T
        check_inside(result, exact, name)


def test_both_tables_of_angles_may_be_rounded():
    nodes = [N("Cos", ["x"], ["c"]), N("Sin", ["x"], ["s"]), N("Add", ["c", "s"], ["y"])]
    one = Several(nodes, {}, x=X)
    found = [(changes[0].name, changes) for changes in on_the_way(one.stretch.nodes) if len(changes) == 2]
    assert [name for name, _ in found] == [f"cosines and sines rounded to {form}" for form in SHORT]
    for (name, changes), rounded in zip(found, SHORT.values(), strict=True):
        cos, sin = (rounded(f(WIDE).astype(np.float32)).astype(np.float64) for f in (np.cos, np.sin))
        one.returns(changes, cos + sin, name)
    single = Several([nodes[0], N("Neg", ["c"], ["y"])], {}, x=X)
    assert not [changes for changes in on_the_way(single.stretch.nodes) if "sines" in changes[0].name]


def test_a_result_that_is_cast_to_integers():
    w = 3 * drawn(6, 5, seed=1)
    layer = Layer("MatMul", X, w)
    exact = WIDE @ w.astype(np.float64)
    layer.returns("result cut off to integers", np.trunc(exact))
    layer.returns("result rounded to integers", np.rint(exact))
    constant = Layer("MatMul", X, w, found=np.zeros((4, 5), np.float32))
    assert not [name for name in constant.mistakes if "to integers" in name]


def test_products_in_three_parts():
    """Of what is left of each factor behind its first eight bits, eight more are kept."""
    w = drawn(6, 5, seed=1)
    layer = Layer("MatMul", X, w)
    high, low = [], []
    for one in (X, w):
        first = SHORT["bfloat16"](one)
        high.append(first.astype(np.float64))
        low.append(SHORT["bfloat16"](one - first).astype(np.float64))
    expected = high[0] @ high[1] + high[0] @ low[1] + low[0] @ high[1]
    name = "products in three parts of bfloat16 (bf16x3)"
    layer.returns(name, expected)
    points = (np.array([0, 3, 2]), np.array([4, 0, 2]))
    check_inside(layer.mistakes[name].operator.sample(points, *layer.inputs), expected[points])
    bias = drawn(5, seed=2)
    Layer("Gemm", X, w, bias).returns(name, expected + bias)
    three = Layer("Einsum", X, w, w.T.copy(), equation="ij,jk,kl->il")
    assert name not in three.mistakes
    assert name in Layer("Einsum", X, w, equation="ij,jk->ik").mistakes


@pytest.mark.parametrize("shifted", [False, True])
def test_normalized_values_that_are_rounded_before_the_scale(shifted):
    scale, shift = drawn(6, seed=1), drawn(6, seed=2)
    layer = Layer("LayerNormalization", X, scale, *([shift] if shifted else []), epsilon=0.25)
    apart = WIDE - WIDE.mean(-1, keepdims=True)
    normal = apart / np.sqrt((apart**2).mean(-1, keepdims=True) + 0.25)
    for form, rounded in SHORT.items():
        short = rounded(normal.astype(np.float32)).astype(np.float64)
        name = f"normalized values rounded to {form} before the scale"
        layer.returns(name, short * scale + (shift if shifted else 0))


# --- tables --------------------------------------------------------------------------------------

ANGLES = np.arange(12.0).reshape(4, 3)


def offs(nodes: list[NodeProto], constants: dict[str, Array]) -> list[dict[int, Mistake]]:
    one = graph_of(nodes, {name: a.astype(np.float32) for name, a in constants.items()}, "x")
    found = list(folded(one, one.nodes))
    for changes in found:
        check_said(*changes.values())
        assert all(mistake.read_off and mistake.wider for mistake in changes.values())
    return found


def of_table(table: Array) -> list[dict[int, Mistake]]:
    return offs([N("Mul", ["x", "t"], ["m"]), N("Relu", ["m"], ["y"])], {"t": table})


def test_a_table_is_known_by_its_squares():
    """Cosines beside sines: in halves, in turns, or in another constant."""
    both = np.concatenate([np.cos(ANGLES), np.sin(ANGLES)], -1)
    turns = np.stack([np.cos(ANGLES), np.sin(ANGLES)], -1).reshape(4, 6)
    for table in (both, turns, np.concatenate([both, np.ones((4, 1))], -1)):
        assert len(of_table(table)) == 3
    for table in (np.cos(ANGLES), both + 1e-4, np.ones(1), X):
        assert of_table(table) == []
    nodes = [N("Mul", ["x", "c"], ["m"]), N("Mul", ["m", "s"], ["y"])]
    (one, *_) = offs(nodes, {"c": np.cos(ANGLES), "s": np.sin(ANGLES)})
    assert list(one) == [0, 1]
    assert offs(nodes, {"c": np.cos(ANGLES), "s": np.sin(ANGLES[:2])}) == []


def test_what_a_function_is_taken_of_is_a_table_too():
    (one, *_) = offs([N("Cos", ["t"], ["c"]), N("Mul", ["x", "c"], ["y"])], {"t": X})
    assert list(one) == [0]
    assert offs([N("Neg", ["t"], ["c"]), N("Mul", ["x", "c"], ["y"])], {"t": X}) == []
    assert offs([N("Cos", ["t"], ["c"]), N("Mul", ["x", "c"], ["y"])], {"t": X[:1, :1]}) == []


def test_each_value_of_a_table_is_some_units_off():
    found = of_table(np.concatenate([np.cos(ANGLES), np.sin(ANGLES)], -1))
    table = np.array([1.0, 0.75, -0.3, 2.0**-140], np.float32)
    inputs = [Bounded(np.ones(4, np.float32)), Bounded(table)]
    for changes, units in zip(found, (1, 2, 4), strict=True):
        (one,) = changes.values()
        assert (
            one.name == f"constants of the graph (t) are {units} ulp{'s' * (units > 1)} off from the port's"
        )
        off = units * np.spacing(np.abs(table)).astype(np.float64)
        assert isinstance(one.operator.evaluate(*inputs), Bounded)
        before = one.operator.before(inputs)  # type: ignore[attr-defined]
        assert before[0] is inputs[0]
        assert before[1].bound.tolist() == off.tolist()
        (_, moved) = one.operator.before([Looped(a.value) for a in inputs])  # type: ignore[attr-defined]
        assert moved.value.tolist() == (table + np.array([1, -1, -1, 1]) * off).tolist()
        assert moved.value.dtype == np.float32
    whole = np.array([3, 4])
    (same,) = found[0][0].operator.before([Bounded(whole), None])[:1]  # type: ignore[attr-defined]
    assert same.comparable is whole


# --- overflows -----------------------------------------------------------------------------------

LARGE = np.array([300.0, 100.0, -300.0, 0.5, 255.9], np.float32)


def test_what_is_too_large_for_a_format_is_infinite():
    for x in (Bounded(LARGE), Looped(LARGE)):
        found = InFormat(Mul(), FLOAT16).first(x, x)
        assert found.comparable.tolist()[:3] == [np.inf, 10000, np.inf]
        assert found.comparable.dtype in (np.float32, np.float64)
        assert found.format is FLOAT32  # type: ignore[attr-defined]
        negative = InFormat(Mul(), FLOAT16).first(x, -x)
        assert negative.comparable.tolist()[0] == -np.inf
    points = (np.array([1, 3]),)
    some = InFormat(Mul(), FLOAT16).sample(points, Bounded(LARGE), Bounded(LARGE))
    check_inside(some, np.array([10000, 0.25]))


def test_inputs_are_known_up_to_their_rounding():
    x = np.array([1 + 2.0**-12, 1 + 2.0**-9], np.float32)
    found = InFormat(Identity(), FLOAT16).first(Bounded(x, np.array([2.0**-20, 0])))
    assert found.comparable.tolist() == [1, 1 + 2.0**-9]
    assert found.bound.tolist() == [2.0**-12 + 2.0**-20, 0]  # type: ignore[attr-defined]


def test_what_becomes_of_an_infinity_on_the_way():
    """Of float16: a norm of large values is zero, one of zeros NaN, and others are as they are."""
    x = np.array([[300.0, 400, 0, 0], [3, 4, 0, 0]], np.float32)
    norm = Layer("LpNormalization", x, axis=-1, p=2).operator
    with np.errstate(all="ignore"):
        found = Overflowing(norm, FLOAT16).first(Bounded(x))
    assert found.comparable[0].tolist() == [0, 0, 0, 0]
    check_inside(found, np.array([[0, 0, 0, 0], [0.6, 0.8, 0, 0]]))
    assert (found.bound[0, :2] == 0).all()  # type: ignore[attr-defined]
    assert isinstance(Overflowing(norm, FLOAT16).first(Looped(x)), Looped)
    assert found.format is FLOAT32  # type: ignore[attr-defined]


# --- ReLU by half a sum --------------------------------------------------------------------------

BIAS = drawn(40, seed=3)
SUMS = 4 * drawn(50, 40, seed=4)


def by_half_sum(s: Array, b: Array, order: int = 0) -> Array:
    """In float32."""
    x = s - b
    terms = ((np.abs(s) + x) + b, (np.abs(s) + b) + x)
    return np.asarray(terms[order] * np.float32(0.5))


@pytest.mark.parametrize("order", [0, 1])
def test_a_relu_by_half_a_sum_is_known_by_its_errors(order):
    found = by_half_sum(SUMS, BIAS, order)
    assert is_half_sum(SUMS, BIAS, found, FLOAT32)
    operator = HalfSum(np.broadcast_to(BIAS, SUMS.shape))
    check_inside(operator.evaluate(Bounded(SUMS)), found)
    looped = operator.evaluate(Looped(SUMS))
    assert isinstance(looped, Looped)
    assert (np.abs(looped.value - np.maximum(SUMS, 0)) <= operator.evaluate(Bounded(SUMS)).bound).all()  # type: ignore[attr-defined]


def test_other_errors_are_not_those_of_half_a_sum():
    right = np.maximum(SUMS, 0)
    assert not is_half_sum(SUMS, BIAS, right, FLOAT32)
    error = by_half_sum(SUMS, BIAS) - right
    assert not is_half_sum(SUMS, BIAS, right - error, FLOAT32)
    shuffled = np.random.default_rng(0).permutation(error.ravel()).reshape(error.shape)
    assert not is_half_sum(SUMS, BIAS, right + shuffled, FLOAT32)
    found = by_half_sum(SUMS, BIAS)
    for place in (SUMS, found):
        broken = place.copy()
        broken[0, 0] = np.inf
        assert not is_half_sum(
            broken if place is SUMS else SUMS, BIAS, broken if place is found else found, FLOAT32
        )


def test_the_bound_of_half_a_sum_is_that_of_its_roundings():
    """x is off by u |s|, and the sum of three terms by γ₂ times their sizes; half of it, and no more."""
    u, bias = FLOAT32.u, np.array([0.5, -4.0], np.float32)
    found = HalfSum(bias).evaluate(Bounded(np.array([2.0, -3.0], np.float32), np.array([0.0, 0.25])))
    s, b = np.array([2.0, 3.25]), np.abs(bias)
    x = s + b + u * s
    expected = (u * s + gamma(2, u) * (s + x + b)) / 2 + FLOAT32.smallest
    assert isinstance(found, Bounded)
    assert found.value.tolist() == [2, 0]
    operations = 10  # in float64, of positive numbers
    assert (np.abs(found.bound - expected) <= operations * FLOAT64.u * expected).all()


def half_sums(graph: Graph, place: int, s: Array, found: Array | None) -> list[str]:
    node = graph.nodes[place]
    assert node.operator is not None
    inputs = [Bounded(s)]
    some = mistakes(node.operator, Seen(inputs, found, node, (node,), {}, graph))
    return [one.name for one in some if one.name == NAME and one.less_accurate and one.read_off]


def test_the_bias_is_that_of_the_layer_before():
    found, relu = by_half_sum(SUMS, BIAS), N("Relu", ["s"], ["y"])
    known = {"w": drawn(6, 40, seed=5), "b": BIAS}
    gemm = graph_of([N("Gemm", ["x", "w", "b"], ["s"]), relu], known, "x")
    assert half_sums(gemm, 1, SUMS, found) == [NAME]
    assert half_sums(gemm, 1, SUMS, None) == []
    assert half_sums(gemm, 1, SUMS, np.maximum(SUMS, 0)) == []
    assert half_sums(gemm, 1, SUMS, found[:1]) == []
    for first in (("m", "b"), ("b", "m")):
        added = graph_of([N("MatMul", ["x", "w"], ["m"]), N("Add", first, ["s"]), relu], known, "x")
        assert half_sums(added, 2, SUMS, found) == [NAME]
    scaled = graph_of([N("Gemm", ["x", "w", "b"], ["s"], beta=2.0), relu], known, "x")
    assert half_sums(scaled, 1, SUMS, found) == []
    other = graph_of([N("MatMul", ["x", "w"], ["m"]), N("Mul", ["m", "b"], ["s"]), relu], known, "x")
    assert half_sums(other, 2, SUMS, found) == []
    none = graph_of([N("Gemm", ["x", "w"], ["s"]), relu], {"w": known["w"]}, "x")
    assert half_sums(none, 1, SUMS, found) == []
    alone = graph_of([N("Relu", ["x"], ["y"])], {}, "x")
    assert half_sums(alone, 0, SUMS, found) == []


def test_the_bias_of_a_convolution_lies_along_its_channels():
    maps = SUMS.reshape(2, 40, 5, 5)
    found = by_half_sum(maps, BIAS.reshape(-1, 1, 1))
    known = {"w": drawn(40, 3, 1, 1, seed=5), "b": BIAS}
    conv = graph_of([N("Conv", ["x", "w", "b"], ["s"]), N("Relu", ["s"], ["y"])], known, "x")
    assert half_sums(conv, 1, maps, found) == [NAME]
    assert half_sums(conv, 1, maps, by_half_sum(maps, BIAS[::-1].reshape(-1, 1, 1).copy())) == []
