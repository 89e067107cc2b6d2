"""The search: causes told apart, formats, nodes in a row, parameters, inputs, Winograd."""

import numpy as np
import pytest
from onnx import helper, numpy_helper

from parity.arithmetic import Bounded, Looped
from parity.arithmetic.floats import BFLOAT16, FLOAT16, TF32, Format
from parity.graph import Graph
from parity.judging.causes import judge
from parity.judging.causes.mistake import Changed, Mistake
from parity.judging.causes.of_rounding.of_winograd import Winograd
from parity.judging.causes.search.explaining import _nearest
from parity.judging.causes.search.hypotheses import Made
from parity.judging.causes.search.rewiring.parameters import others
from parity.judging.causes.search.stretch import between
from parity.judging.causes.search.wrong import Wrong
from parity.judging.question import Question
from parity.judging.verdict import TensorReport
from parity.operators.activation import Relu
from parity.operators.affine import Conv
from tests.parity.judging.causes.searched import GRAPH, causes_of, computed, conv, graph_of_x, only
from tests.parity.judging.causes.small_graphs import drawn
from tests.parity.judging.chains import ONE, Array, run

# --- several that explain the same values --------------------------------------------------------


def test_beside_an_exact_mistake_only_those_that_come_as_near_are_named() -> None:
    x = np.arange(8, dtype=np.float32)
    question = Question(Relu(), 0, [Bounded(x)], [Looped(x)])
    seen = np.where(x == 7, np.float32("inf"), x + 4)  # what is not finite counts for nothing
    wrong = Wrong(TensorReport("y", "n", "Relu"), question, seen, None, (), seen, Bounded(x))

    def off_by(distance: float, exact: bool) -> Made:
        operator = Changed(Relu(), after=lambda y, inputs: y + (4 - distance))
        return Made((), (Mistake(f"{distance}", "", "", operator, exact=exact),), operator)

    every = [off_by(3, exact=False), off_by(2, exact=False), off_by(1, exact=True)]
    assert [wrong.off(one.operator) for one in every] == [3, 2, 1]
    assert _nearest(wrong, every) == every[1:]
    assert _nearest(wrong, every[:2]) == every[:2]


def test_what_explains_the_same_values_is_told_apart_by_an_input() -> None:
    """Images of small integers: operands in TF32 and in float16 are the weights in float16."""
    x = np.random.default_rng(0).integers(0, 9, run(ONE)["x"].shape).astype(np.float32)
    w = FLOAT16.round(ONE.constants["w0"]).astype(np.float64)
    report = judge(ONE, {"x": x, "y0": (x @ w).astype(np.float32)}).tensors[0]
    apart = {cause.name: cause.apart for cause in report.causes}
    assert apart["operands with 10 bits of fraction: TF32 or float16"] == ""
    assert apart["weights rounded to float16"] == "random normal values of x"
    assert report.to_json()["causes"][1]["apart"] == "random normal values of x"


def test_what_is_the_same_function_is_named_once() -> None:
    report = judge(GRAPH, only(computed(channels_last=True), "x", "a", "b", "c", "y"))
    assert [len(one.causes) for one in report.tensors] == [0, 0, 0, 1]


# --- formats -----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [BFLOAT16, FLOAT16], ids=lambda form: form.name)
def test_half_precision_is_named(form: Format) -> None:
    """Operands and sums in a shorter format, rounded at each step; and float32 sums, rounded once."""
    x, w = (form.round(one) for one in (run(ONE)["x"], ONE.constants["w0"]))
    y = np.zeros((len(x), w.shape[1]), x.dtype)
    for k in range(w.shape[0]):
        y = (y + (x[:, k : k + 1] * w[k]).astype(x.dtype)).astype(x.dtype)
    assert causes_of(y) == [f"computed in {form.name}"]
    once = form.round(x.astype(np.float64) @ w.astype(np.float64))
    assert causes_of(once)[0] == f"products in {form.name}, added up in float32 (half precision, autocast)"


@pytest.mark.slow
def test_half_precision_is_not_named_for_another_mistake_in_it() -> None:
    x, w = (FLOAT16.round(one).astype(np.float64) for one in (run(ONE)["x"], ONE.constants["w0"]))
    assert causes_of(FLOAT16.round(1.5 * x @ w)) == []


def test_an_overflow_in_half_precision_is_named() -> None:
    x = 3e4 * run(ONE)["x"]
    y = FLOAT16.round(x.astype(np.float64) @ ONE.constants["w0"].astype(np.float64)).astype(np.float32)
    assert np.isinf(y).any()
    assert not np.isinf(y).all()
    report = judge(ONE, {"x": x, "y0": y}).tensors[0]
    assert report.causes[0].name == "result rounded to float16"


@pytest.mark.slow
def test_dropout_that_was_left_on_is_named() -> None:
    y = run(ONE)["y0"]
    kept = np.random.default_rng(3).random(y.shape) > 0.5
    assert causes_of(2 * y * kept) == ["dropout left on: p=0.5"]
    assert causes_of(3 * y * kept) == []


def test_all_wrong_tensors_together_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parity.judging.causes.search.explaining.ALTOGETHER", -1.0)
    report = judge(GRAPH, only(computed(before=0, after=2), "x", "y"))
    assert report.tensors[0].clues == ("its cause was not searched: -1 s were spent on others",)


# --- mistakes of two nodes, of parameters, of inputs -------------------------------------------------


def named(graph: Graph, values: dict[str, Array]) -> list[str]:
    return [cause.name for one in judge(graph, values).tensors for cause in one.causes]


def test_two_nodes_in_the_opposite_order_are_named() -> None:
    x, w, b = drawn(4, 6), drawn(6, 5, seed=1), drawn(5, seed=2)
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["g"]),
        helper.make_node("Sigmoid", ["g"], ["s"]),
        helper.make_node("Relu", ["s"], ["y"]),
    ]
    graph = graph_of_x(nodes, {"w": w, "b": b}, x, "y")
    wide = x.astype(np.float64) @ w
    assert named(graph, {"x": x, "y": (1 / (1 + np.exp(-np.maximum(wide + b, 0)))).astype(np.float32)}) == [
        "Relu before Sigmoid"
    ]
    behind = 1 / (1 + np.exp(-wide)) + b
    assert named(graph, {"x": x, "s": behind.astype(np.float32)}) == ["bias added behind Sigmoid"]


def test_parameters_of_another_layer_are_named() -> None:
    x, w, v = drawn(4, 6), drawn(6, 6, seed=1), drawn(6, 6, seed=2)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("MatMul", ["h", "v"], ["y"])]
    graph = graph_of_x(nodes, {"w": w, "v": v}, x, "y")
    assert named(graph, {"x": x, "h": (x.astype(np.float64) @ v).astype(np.float32)}) == [
        "parameters of y for those of h"
    ]


def test_a_mask_is_no_parameter() -> None:
    """Zeros in place of it are a mask left out, and no weights that were not loaded."""
    x, mask = drawn(3, 4), np.where(np.arange(4) > 2, -np.inf, 0).astype(np.float32)
    nodes = [
        helper.make_node("Unsqueeze", ["mask", "zeroth"], ["m"]),
        helper.make_node("Add", ["x", "m"], ["a"]),
        helper.make_node("Softmax", ["a"], ["y"]),
    ]
    axes = numpy_helper.from_array(np.array([0]), "zeroth")
    graph = graph_of_x(nodes, {"mask": mask}, x, "y", [axes])
    assert list(others(between(graph, {"x"}, "y"), graph)) == []


def test_another_scale_of_the_input_is_named() -> None:
    x = (255 * np.random.default_rng(0).random((2, 3, 8, 8))).astype(np.float32)
    a = conv(x.astype(np.float64) / 255, GRAPH.constants["w1"], 1, 1, 2)
    assert named(GRAPH, {"x": x, "a": a}) == ["input divided by 255"]


def test_the_order_of_a_bias_is_read_off() -> None:
    x, w, b = drawn(4, 6), drawn(6, 5, seed=1), drawn(5, seed=2)
    graph = graph_of_x([helper.make_node("Gemm", ["x", "w", "b"], ["y"])], {"w": w, "b": b}, x, "y")
    y = (x.astype(np.float64) @ w + b[[2, 0, 1, 4, 3]]).astype(np.float32)
    assert named(graph, {"x": x, "y": y}) == ["bias in another order: 2, 0, 1, 4, 3"]


@pytest.mark.parametrize("m", [4, 6])
def test_winograd_is_named_by_its_errors_and_not_by_their_size(m: int) -> None:
    x, w = drawn(1, 16, 16, 16), drawn(8, 16, 3, 3, seed=1)
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    graph = graph_of_x([node], {"w": w}, x, "y")
    right = Conv(pads=(1, 1, 1, 1))
    y = Winograd(right, m).evaluate(Looped(x), Looped(w))
    assert isinstance(y, Looped)
    assert named(graph, {"x": x, "y": y.value}) == [f"Winograd's algorithm F({m}×{m}, 3×3)"]
    exact = right.evaluate(Bounded(x), Bounded(w))
    assert isinstance(exact, Bounded)
    errors = np.random.default_rng(2).permutation((y.value - exact.value).ravel()).reshape(y.shape)
    assert named(graph, {"x": x, "y": (exact.value + errors).astype(np.float32)}) == []


@pytest.mark.parametrize("m", [2, 4, 6])
def test_winograd_is_the_same_convolution(m: int) -> None:
    x, w = drawn(2, 3, 9, 7), drawn(4, 3, 3, 3, seed=1)
    right = Conv(pads=(1, 0, 1, 2))
    one, other = right.evaluate(Bounded(x), Bounded(w)), Winograd(right, m).evaluate(Bounded(x), Bounded(w))
    assert isinstance(one, Bounded)
    assert isinstance(other, Bounded)
    assert np.abs(one.value - other.value).max() < 1e-12 * np.abs(one.value).max()
    assert (other.bound > 0).all()


def test_three_layers_in_tf32_are_named_from_the_end() -> None:
    """Which way an operand is rounded is not known behind the first: the bound is wide, the loop is not."""
    weights = {f"w{k}": 0.15 * drawn(64, 64, seed=k) for k in range(3)}
    nodes, x = [], drawn(16, 64, seed=9)
    y = x
    for k, (name, w) in enumerate(weights.items()):
        nodes += [
            helper.make_node("MatMul", [f"h{k}" if k else "x", name], [f"m{k}"]),
            helper.make_node("Relu", [f"m{k}"], [f"h{k + 1}"]),
        ]
        y = np.maximum(TF32.round(y).astype(np.float64) @ TF32.round(w), 0).astype(np.float32)
    said = "operands with 10 bits of fraction: TF32 or float16, at 3 nodes"
    assert named(graph_of_x(nodes, weights, x, "h3"), {"x": x, "h3": y}) == [said]
