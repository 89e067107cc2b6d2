"""The search: stretches, several causes, unknown ones with clues, and what is not named."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from parity.arithmetic import Number
from parity.arithmetic.floats import BFLOAT16, TF32, Format
from parity.judging.causes import Mistake, catalogue, judge
from parity.judging.causes.mistake import Changed, Inputs
from parity.onnx import read_onnx
from parity.operators.affine import MatMul
from tests.parity.judging.causes.searched import GRAPH, causes_of, computed, conv, convolutions, only
from tests.parity.judging.chains import ONE, Array, run


@pytest.mark.parametrize("names", [("x", "a", "b", "c", "d", "y"), ("x", "y"), ("x", "c")])
def test_nothing_is_named_in_a_right_port(names: tuple[str, ...]) -> None:
    report = judge(GRAPH, only(computed(), *names))
    assert report.same
    assert report.to_json()["causes"] == []


@pytest.mark.parametrize("names", [("x", "a", "b", "c", "d", "y"), ("x", "c"), ("x", "b", "y")])
def test_padding_on_the_other_side_is_named_at_its_node(names: tuple[str, ...]) -> None:
    """SAME at stride 2, with all tensors recorded, or with only some behind it; one mistake, not two."""
    report = judge(GRAPH, only(computed(before=0, after=2), *names))
    assert report.first is not None
    assert report.first.tensor == next(name for name in names if name != "x")
    (cause,) = report.first.causes
    assert cause.node == "a"
    assert cause.name.startswith("padding on the other side: pads (0, 0, 1, 1)")
    assert ", and " not in cause.name
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
    long = form is TF32
    assert (
        f"operands {'with 10 bits of fraction: TF32 or float16' if long else 'rounded to bfloat16'}" in names
    )


def clues_of(y: Array) -> tuple[str, ...]:
    report = judge(ONE, {"x": run(ONE)["x"], "y0": y.astype(np.float32)})
    assert report.tensors[0].causes == ()
    return report.tensors[0].clues


@pytest.mark.slow
def test_what_is_unknown_has_clues() -> None:
    y = run(ONE)["y0"].astype(np.float64)
    assert clues_of(3.5 * y) == ("every value is 3.5 times what is expected",)
    assert clues_of(y + 2) == ("every value is 2 more than expected",)
    assert clues_of(0 * y + 3) == ("every value is 3",)
    wrong = y.copy()
    wrong[3] += 1
    assert clues_of(wrong) == ("wrong only in items 3 of 16",)
    limit = np.sort(y, axis=None)[-9]  # one of the values itself: eight others lie above
    assert clues_of(np.minimum(y, limit))[0] == f"values above {limit:.6g} are cut off"
    assert clues_of(np.maximum(y, -limit))[0] == f"values below {-limit:.6g} are cut off"
    assert clues_of(np.random.default_rng(5).standard_normal(y.shape)) == ()


def test_right_values_in_another_order_are_named() -> None:
    y = run(ONE)["y0"]
    assert causes_of(y[:, [1, 0, *range(2, y.shape[1])]])[0].startswith("channels in another order: 1, 0, 2")
    assert causes_of(np.roll(y, 1, 0)) == ["items of the batch shifted by -1"]


def test_weights_that_were_not_loaded_are_named() -> None:
    assert causes_of(0 * run(ONE)["y0"]) == ["weights not loaded: input 1 of MatMul is zero"]


@pytest.mark.slow
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
    monkeypatch.setattr("parity.judging.causes.search.explaining.SECONDS", 0.0)
    report = judge(GRAPH, only(computed(before=0, after=2), "x", "y"))
    assert report.tensors[0].causes == ()
    assert report.tensors[0].clues[0] == "not every known mistake was tried in 0 s: record tensors in between"


@pytest.mark.parametrize("told", [0, 1], ids=["all of it", "most of it"])
def test_a_mistake_whose_bound_explains_anything_is_not_named(
    told: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def anything(y: Number, inputs: Inputs) -> Number:
        some, other = np.zeros((2, *y.shape), np.float32)
        some[0, :2] = 0.5
        other[0, 2 : 2 + told] = 0.25
        y = y + y.like(other)
        return y.either(y.move(lambda a: a + some.astype(a.dtype)))

    vague = Mistake("vague", "Two values may be anything.", "None.", Changed(MatMul(), after=anything))
    monkeypatch.setitem(catalogue(), "MatMul", [lambda operator, seen: [vague]])
    values = run(ONE)
    values["y0"] = values["y0"].copy()
    values["y0"][0, : 2 + told] += 0.25
    (one,) = judge(ONE, values).tensors
    assert one.verdict == "different"
    assert one.causes == ()


# --- two mistakes ------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_mistakes_in_one_stretch_are_named() -> None:
    """Neither explains the values alone: padding at the first node, flattening near the last."""
    values = computed(before=0, after=2, channels_last=True)
    report = judge(GRAPH, only(values, "x", "y"))
    (cause,) = report.tensors[0].causes
    assert cause.name.startswith("padding on the other side: pads (0, 0, 1, 1)")
    assert cause.name.endswith(", and in d: flattened in H, W, C order")


@pytest.mark.slow
def test_two_mistakes_of_one_node_are_named() -> None:
    x = computed()["x"]
    flipped = GRAPH.constants["w1"][..., ::-1, ::-1]
    report = judge(GRAPH, {"x": x, "a": conv(x, flipped, 0, 2, 2)})
    (cause,) = report.tensors[0].causes
    assert cause.name == "kernel flipped, and padding on the other side: pads (0, 0, 1, 1) for (1, 1, 1, 1)"


@pytest.mark.slow
def test_two_mistakes_are_not_named_where_none_are_made() -> None:
    """All pairs are tried: of one node, and of two."""
    values = computed()
    values["y"] = values["y"] + np.random.default_rng(4).standard_normal(values["y"].shape).astype(np.float32)
    assert judge(GRAPH, only(values, "x", "c", "y")).tensors[-1].causes == ()


# --- equals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("recorded", [False, True])
def test_a_stride_in_the_convolution_before_is_named_with_the_gaps_that_are_the_same(recorded: bool) -> None:
    rng = np.random.default_rng(5)
    x, w1, w2 = (
        rng.standard_normal(n).astype(np.float32) for n in ((1, 4, 9, 9), (3, 4, 1, 1), (2, 3, 3, 3))
    )
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["y"], pads=[1] * 4, strides=[2, 2], name="last"),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    given = [numpy_helper.from_array(a, name) for name, a in (("w1", w1), ("w2", w2))]
    graph = read_onnx(helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], given)))
    b = np.maximum(conv(x, w1, 0, 0, 1), 0)
    values = {"x": x, "y": conv(b[:, :, ::2, ::2], w2, 1, 1, 1)} | ({"b": b} if recorded else {})
    (cause,) = judge(graph, values).tensors[-1].causes
    said = "dilation 2 for (1, 1)"
    if not recorded:
        said = f"stride in the 1×1 convolution a, not in last; or, which is the same, {said}"
    assert cause.name.replace(graph.nodes[0].name, "a", 1) == said


# --- another shape -----------------------------------------------------------------------------


@pytest.mark.slow
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
