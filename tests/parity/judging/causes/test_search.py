"""The search: stretches, several causes, unknown ones with clues, and what is not named."""

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper

from parity.arithmetic import Bounded, Looped, Number
from parity.arithmetic.floats import BFLOAT16, FLOAT16, TF32, Format
from parity.graph import Graph
from parity.judging.causes import CATALOGUE, Mistake, judge
from parity.judging.causes.mistake import Changed, Inputs
from parity.judging.causes.of_rounding.of_winograd import Winograd
from parity.onnx import read_onnx
from parity.operators.affine import Conv, MatMul
from tests.parity.judging.chains import ONE, Array, run


def convolutions(batch: int = 2) -> Graph:
    """x → Conv (stride 2) → a → Relu → b → Conv → c → Flatten → d → Gemm → y, with random weights."""
    rng = np.random.default_rng(0)
    shapes = {"w1": (4, 3, 3, 3), "w2": (5, 4, 3, 3), "w3": (80, 7)}
    weights = [
        helper.make_tensor(name, TensorProto.FLOAT, shape, rng.standard_normal(shape).ravel())
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("MatMul", ["d", "w3"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 7])
    return read_onnx(helper.make_model(helper.make_graph(nodes, "convolutions", [x], [y], weights)))


GRAPH = convolutions()


def conv(x: Array, w: Array, before: int, after: int, stride: int) -> Array:
    padded = np.pad(x, ((0, 0), (0, 0), (before, after), (before, after)))
    seen = np.lib.stride_tricks.sliding_window_view(padded, w.shape[2:], (2, 3))[:, :, ::stride, ::stride]
    return np.einsum("ncpqij,ocij->nopq", seen, w, optimize=True).astype(np.float32)


def computed(before: int = 1, after: int = 1, channels_last: bool = False) -> dict[str, Array]:
    """All tensors, as a port computes them."""
    x = np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(np.float32)
    w1, w2, w3 = (GRAPH.constants[name] for name in ("w1", "w2", "w3"))
    a = conv(x, w1, before, after, 2)
    b = np.maximum(a, 0)
    c = conv(b, w2, 1, 1, 1)
    d = (c.transpose(0, 2, 3, 1) if channels_last else c).reshape(2, -1)
    return {"x": x, "a": a, "b": b, "c": c, "d": d, "y": d @ w3}


def only(values: dict[str, Array], *names: str) -> dict[str, Array]:
    return {name: values[name] for name in names}


@pytest.mark.parametrize("names", [("x", "a", "b", "c", "d", "y"), ("x", "y"), ("x", "c")])
def test_nothing_is_named_in_a_right_port(names: tuple[str, ...]) -> None:
    report = judge(GRAPH, only(computed(), *names))
    assert report.same
    assert report.to_json()["causes"] == []


@pytest.mark.parametrize("names", [("x", "a", "b", "c", "d", "y"), ("x", "c"), ("x", "b", "y")])
def test_padding_on_the_other_side_is_named_at_its_node(names: tuple[str, ...]) -> None:
    """SAME at stride 2, with all tensors recorded, or with only some behind it."""
    report = judge(GRAPH, only(computed(before=0, after=2), *names))
    assert report.first is not None
    assert report.first.tensor == next(name for name in names if name != "x")
    (cause,) = report.first.causes
    assert cause.node == "a"
    assert cause.name.startswith("padding on the other side: pads (0, 0, 1, 1)")
    assert not any(one.causes for one in report.tensors if one is not report.first)


def test_order_of_flattening_is_named_though_it_was_not_recorded() -> None:
    report = judge(GRAPH, only(computed(channels_last=True), "x", "a", "b", "c", "y"))
    assert [cause.name for one in report.tensors for cause in one.causes] == ["flattened in H, W, C order"]


@pytest.mark.parametrize("form", [TF32, BFLOAT16], ids=lambda form: form.name)
def test_shorter_operands_are_named(form: Format) -> None:
    values = run(ONE)
    short = [form.round(one).astype(np.float64) for one in (values["x"], ONE.constants["w0"])]
    report = judge(ONE, {"x": values["x"], "y0": (short[0] @ short[1]).astype(np.float32)})
    names = [cause.name for cause in report.tensors[0].causes]
    assert f"operands rounded to {'TF32' if form is TF32 else 'bfloat16'}" in names


def clues_of(y: Array) -> tuple[str, ...]:
    report = judge(ONE, {"x": run(ONE)["x"], "y0": y.astype(np.float32)})
    assert report.tensors[0].causes == ()
    return report.tensors[0].clues


def test_what_is_unknown_has_clues() -> None:
    y = run(ONE)["y0"].astype(np.float64)
    assert clues_of(3.5 * y) == ("every value is 3.5 times what is expected",)
    assert clues_of(y + 2) == ("every value is 2 more than expected",)
    assert clues_of(0 * y + 3) == ("every value is 3",)
    wrong = y.copy()
    wrong[3] += 1
    assert clues_of(wrong) == ("wrong only in items 3 of 16",)
    assert clues_of(np.random.default_rng(5).standard_normal(y.shape)) == ()


def causes_of(y: Array) -> list[str]:
    (report,) = judge(ONE, {"x": run(ONE)["x"], "y0": y.astype(np.float32)}).tensors
    return [cause.name for cause in report.causes]


def test_right_values_in_another_order_are_named() -> None:
    y = run(ONE)["y0"]
    assert causes_of(y[:, [1, 0, *range(2, y.shape[1])]])[0].startswith("channels in another order: 1, 0, 2")
    assert causes_of(np.roll(y, 1, 0)) == ["items of the batch shifted by -1"]


def test_weights_that_were_not_loaded_are_named() -> None:
    assert causes_of(0 * run(ONE)["y0"]) == ["weights not loaded: input 1 of MatMul is zero"]


def test_the_same_mistake_at_several_nodes_is_named() -> None:
    """Both kernels are flipped, and nothing between is recorded."""
    x = computed()["x"]
    w1, w2, w3 = (GRAPH.constants[name] for name in ("w1", "w2", "w3"))
    a = np.maximum(conv(x, w1[..., ::-1, ::-1], 1, 1, 2), 0)
    y = conv(a, w2[..., ::-1, ::-1], 1, 1, 1).reshape(2, -1) @ w3
    (report,) = judge(GRAPH, {"x": x, "y": y}).tensors
    assert [cause.name for cause in report.causes] == ["kernel flipped, at 2 nodes"]


def test_a_sample_names_it_too() -> None:
    report = judge(GRAPH, computed(before=0, after=2), sample=30)
    assert [cause.node for cause in report.tensors[0].causes] == ["a"]


def test_the_search_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parity.judging.causes.search.finding.SECONDS", 0.0)
    report = judge(GRAPH, only(computed(before=0, after=2), "x", "y"))
    assert report.tensors[0].causes == ()
    assert report.tensors[0].clues[0] == "not every known mistake was tried in 0 s: record tensors in between"


def test_a_mistake_whose_bound_explains_anything_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def anything(y: Number, inputs: Inputs) -> Number:
        first = np.zeros(y.shape, np.float32)
        first[0, 0] = 0.5
        return y.either(y.move(lambda a: a + first.astype(a.dtype)))

    vague = Mistake("vague", "The first value may be anything.", "None.", Changed(MatMul(), after=anything))
    monkeypatch.setitem(CATALOGUE, "MatMul", [lambda operator, seen: [vague]])
    values = run(ONE)
    values["y0"] = values["y0"].copy()
    values["y0"][0, 0] += 0.25
    (one,) = judge(ONE, values).tensors
    assert one.verdict == "different"
    assert one.causes == ()


# --- two mistakes ------------------------------------------------------------------------------


def test_two_mistakes_in_one_stretch_are_named() -> None:
    """Neither explains the values alone: padding at the first node, flattening near the last."""
    values = computed(before=0, after=2, channels_last=True)
    report = judge(GRAPH, only(values, "x", "y"))
    (cause,) = report.tensors[0].causes
    assert cause.name.startswith("padding on the other side: pads (0, 0, 1, 1)")
    assert cause.name.endswith(", and in d: flattened in H, W, C order")


def test_two_mistakes_of_one_node_are_named() -> None:
    x = computed()["x"]
    flipped = GRAPH.constants["w1"][..., ::-1, ::-1]
    report = judge(GRAPH, {"x": x, "a": conv(x, flipped, 0, 2, 2)})
    (cause,) = report.tensors[0].causes
    assert cause.name == "kernel flipped, and padding on the other side: pads (0, 0, 1, 1) for (1, 1, 1, 1)"


def test_two_mistakes_are_not_named_where_one_suffices_or_none_do() -> None:
    one = judge(GRAPH, only(computed(before=0, after=2), "x", "y")).tensors[0]
    assert [", and " in cause.name for cause in one.causes] == [False]
    values = computed()
    values["y"] = values["y"] + np.random.default_rng(4).standard_normal(values["y"].shape).astype(np.float32)
    assert judge(GRAPH, only(values, "x", "y")).tensors[0].causes == ()


# --- another shape -----------------------------------------------------------------------------


def test_a_mistake_that_changes_the_shape_is_named() -> None:
    values = computed()
    values["a"] = conv(values["x"], GRAPH.constants["w1"], 0, 0, 2)
    report = judge(GRAPH, only(values, "x", "a")).tensors[0]
    assert report.misshapen
    assert [cause.name for cause in report.causes] == ["no padding (VALID)"]
    values["a"] = values["a"] + np.float32(0.01)
    assert judge(GRAPH, only(values, "x", "a")).tensors[0].causes == ()


def test_another_layout_is_named() -> None:
    values = computed()
    values["c"] = values["c"].transpose(0, 2, 3, 1)
    report = judge(GRAPH, only(values, "x", "b", "c")).tensors[1]
    assert [cause.name for cause in report.causes] == [
        "channels last (NHWC) for channels first: axes (0, 2, 3, 1)"
    ]


def test_a_missing_batch_dimension_is_named() -> None:
    x = computed()["x"][:1]
    a = conv(x, GRAPH.constants["w1"], 1, 1, 2)[0]
    report = judge(convolutions(1), {"x": x, "a": a}).tensors[0]
    assert [cause.name for cause in report.causes] == [
        "batch dimension missing: shape [4, 4, 4] for [1, 4, 4, 4]"
    ]


# --- several that explain the same values --------------------------------------------------------


def test_what_explains_the_same_values_is_told_apart_by_an_input() -> None:
    """Images of small integers: operands in TF32 and in float16 are the weights in float16."""
    x = np.random.default_rng(0).integers(0, 9, run(ONE)["x"].shape).astype(np.float32)
    w = FLOAT16.round(ONE.constants["w0"]).astype(np.float64)
    report = judge(ONE, {"x": x, "y0": (x @ w).astype(np.float32)}).tensors[0]
    apart = {cause.name: cause.apart for cause in report.causes}
    assert apart["operands rounded to TF32"] == ""
    assert apart["weights rounded to float16"] == "random normal values of x"
    assert apart["operands rounded to float16"] == "random normal values times 1e-6 of x"
    assert report.to_json()["causes"][1]["apart"] == "random normal values times 1e-6 of x"


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


def test_dropout_that_was_left_on_is_named() -> None:
    y = run(ONE)["y0"]
    kept = np.random.default_rng(3).random(y.shape) > 0.5
    assert causes_of(2 * y * kept) == ["dropout left on: p=0.5"]
    assert causes_of(3 * y * kept) == []


def test_all_wrong_tensors_together_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parity.judging.causes.search.finding.ALTOGETHER", -1.0)
    report = judge(GRAPH, only(computed(before=0, after=2), "x", "y"))
    assert report.tensors[0].clues == ("its cause was not searched: -1 s were spent on others",)


# --- mistakes of two nodes, of parameters, of inputs -------------------------------------------------


def graph_of(nodes: list[NodeProto], constants: dict[str, Array], x: Array, result: str) -> Graph:
    given = [helper.make_tensor(k, TensorProto.FLOAT, a.shape, a.ravel()) for k, a in constants.items()]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)]
    outputs = [helper.make_tensor_value_info(result, TensorProto.FLOAT, None)]
    return read_onnx(helper.make_model(helper.make_graph(nodes, "graph", inputs, outputs, given)))


def drawn(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def named(graph: Graph, values: dict[str, Array]) -> list[str]:
    return [cause.name for one in judge(graph, values).tensors for cause in one.causes]


def test_two_nodes_in_the_opposite_order_are_named() -> None:
    x, w, b = drawn(4, 6), drawn(6, 5, seed=1), drawn(5, seed=2)
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["g"]),
        helper.make_node("Sigmoid", ["g"], ["s"]),
        helper.make_node("Relu", ["s"], ["y"]),
    ]
    graph = graph_of(nodes, {"w": w, "b": b}, x, "y")
    wide = x.astype(np.float64) @ w
    assert named(graph, {"x": x, "y": (1 / (1 + np.exp(-np.maximum(wide + b, 0)))).astype(np.float32)}) == [
        "Relu before Sigmoid"
    ]
    behind = 1 / (1 + np.exp(-wide)) + b
    assert named(graph, {"x": x, "s": behind.astype(np.float32)}) == ["bias added behind Sigmoid"]


def test_parameters_of_another_layer_are_named() -> None:
    x, w, v = drawn(4, 6), drawn(6, 6, seed=1), drawn(6, 6, seed=2)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("MatMul", ["h", "v"], ["y"])]
    graph = graph_of(nodes, {"w": w, "v": v}, x, "y")
    assert named(graph, {"x": x, "h": (x.astype(np.float64) @ v).astype(np.float32)}) == [
        "parameters of y for those of h"
    ]


def test_another_scale_of_the_input_is_named() -> None:
    x = (255 * np.random.default_rng(0).random((2, 3, 8, 8))).astype(np.float32)
    a = conv(x.astype(np.float64) / 255, GRAPH.constants["w1"], 1, 1, 2)
    assert named(GRAPH, {"x": x, "a": a}) == ["input divided by 255"]


def test_the_order_of_a_bias_is_read_off() -> None:
    x, w, b = drawn(4, 6), drawn(6, 5, seed=1), drawn(5, seed=2)
    graph = graph_of([helper.make_node("Gemm", ["x", "w", "b"], ["y"])], {"w": w, "b": b}, x, "y")
    y = (x.astype(np.float64) @ w + b[[2, 0, 1, 4, 3]]).astype(np.float32)
    assert named(graph, {"x": x, "y": y}) == ["bias in another order: 2, 0, 1, 4, 3"]


@pytest.mark.parametrize("m", [4, 6])
def test_winograd_is_named_by_its_errors_and_not_by_their_size(m: int) -> None:
    x, w = drawn(1, 16, 16, 16), drawn(8, 16, 3, 3, seed=1)
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    graph = graph_of([node], {"w": w}, x, "y")
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
