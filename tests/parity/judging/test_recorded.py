"""What was recorded: shapes, dtypes and names that do not fit, other formats, nothing at all."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

import parity
from parity.arithmetic import Bounded
from parity.arithmetic.floats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format
from parity.errors import UserError
from parity.graph import Declared, Graph, Node
from parity.judging import judge
from parity.judging.question import sampled
from parity.judging.walk import nearest
from parity.operators.affine import MatMul
from parity.operators.elementwise import Identity
from tests.parity.judging.chains import ONE, Array, chain, run


def test_wrong_shape_is_different() -> None:
    values = run(ONE)
    values["y0"] = values["y0"].T
    (one,) = judge(ONE, values).tensors
    assert (one.verdict, one.note) == ("different", "shape [64, 16], expected [16, 64]")


def test_a_declared_shape_counts_only_where_a_sample_is_judged() -> None:
    """Of all values the operator itself tells the shape."""
    graph, values = replace(ONE, declared={"y0": Declared("float32", (16, 63))}), run(ONE)
    assert judge(graph, values).same
    assert judge(graph, values, sample=1024).same
    (one,) = judge(graph, values, sample=1023).tensors
    assert (one.verdict, one.note) == ("different", "shape [16, 64], expected float32 [16, 63]")


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("x", np.zeros((2, 64), np.int32), r"x is int32, but the graph declares float32 \[N, 64\]"),
        ("x", np.zeros((2, 64), object), "x holds Python objects, not numbers"),
        (
            "x",
            np.zeros((2, 63), np.float32),
            r"x has shape \[2, 63\], but the graph declares float32 \[N, 64\]",
        ),
        ("x", np.zeros(64, np.float32), r"x has shape \[64\]"),
        ("y0", np.zeros((16, 64), np.int64), "y0 is int64, but the graph declares float32"),
        ("y9", np.zeros(3, np.float32), "chain.onnx has no tensor 'y9'; the nearest: y0"),
    ],
)
def test_refused(name: str, array: Array, message: str) -> None:
    graph = replace(ONE, declared={"y0": Declared("float32")})
    with pytest.raises(UserError, match=message):
        judge(graph, {**run(ONE), name: array})


@pytest.mark.parametrize("reference", [ModelProto(), "model.onnx"], ids=["model", "path"])
def test_what_is_no_graph_is_refused(reference: Any) -> None:
    message = (
        f"the reference is of type {type(reference).__name__}, not a graph: read it with parity.read_onnx"
    )
    with pytest.raises(UserError, match=f"^{message}$"):
        parity.judge(reference, {})
    with pytest.raises(UserError, match=f"^{message}$"):
        parity.probe(reference, lambda model, inputs: {})


def test_at_most_three_names_like_an_unknown_one_are_offered() -> None:
    known = ["x", "conv1", "conv12", "conv123", "conv1234"]
    assert nearest("conv", known) == "; the nearest: conv1, conv12, conv123"
    assert nearest("bias", known) == ""


def test_missing_input_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"chain.onnx needs the input 'x' \(float32 \[N, 64\]\), which is not given"
    ):
        judge(ONE, {"y0": run(ONE)["y0"]})


@pytest.mark.parametrize("form", [FLOAT64, FLOAT16, BFLOAT16], ids=lambda form: form.name)
def test_other_formats_are_judged_in_their_own(form: Format) -> None:
    """Within their own bound; the same rounding in a finer format is a fault."""
    graph = replace(ONE, constants={"w0": form.round(ONE.constants["w0"])})
    values = run(graph, form=form)
    (one,) = judge(graph, values).tensors
    assert one.verdict in ("equal", "rounding"), one
    if form is not FLOAT64:
        pretended = {name: array.astype(np.float32) for name, array in values.items()}
        assert judge(graph, pretended).verdict == "different"
    else:
        values["y0"] = values["y0"].astype(np.float32).astype(np.float64)
        assert judge(graph, values).verdict == "different"


def test_scalar_output() -> None:
    node = Node("dot", "MatMul", MatMul(), ("a", "b"), ("y",))
    graph = Graph((node,), {"a": Declared(), "b": Declared()}, ("y",))
    a, b = np.random.default_rng(0).standard_normal((2, 50)).astype(np.float32)
    assert judge(graph, {"a": a, "b": b, "y": np.asarray(a @ b)}).same
    (one,) = judge(graph, {"a": a, "b": b, "y": np.asarray(a @ b * np.float32(1.001))}).tensors
    assert one.verdict == "different"
    assert one.worst is not None
    assert one.worst.index == ()


def test_empty_output() -> None:
    values = {"x": np.zeros((0, 64), np.float32), "y0": np.zeros((0, 64), np.float32)}
    report = judge(ONE, values)
    (one,) = report.tensors
    assert (one.verdict, one.values) == ("equal", 0)
    assert report.nothing  # no values are no proof
    assert not report.same
    (one,) = judge(ONE, {**values, "y0": np.zeros((0, 63), np.float32)}).tensors
    assert one.verdict == "different"


def test_subnormal_numbers_that_are_taken_for_zero_are_not_coarse() -> None:
    """PyTorch with set_flush_denormal, TensorFlow and XLA return zeros here."""
    weights = ONE.constants["w0"] * np.float32(2.0**-70)
    graph = replace(ONE, constants={"w0": weights})
    x = (run(ONE)["x"] * np.float32(2.0**-62)).astype(np.float32)
    y = x.astype(np.float64) @ weights.astype(np.float64)
    y = np.where(np.abs(y) < 2.0**-126, 0.0, y).astype(np.float32)
    (one,) = judge(graph, {"x": x, "y0": y}).tensors
    assert (y == 0).any()
    assert one.verdict in ("equal", "rounding", "undecided")


@pytest.mark.parametrize("form", [FLOAT16, BFLOAT16, FLOAT32, FLOAT64], ids=lambda form: form.name)
def test_nan_infinity_and_overflow_are_judged_in_silence(form: Format) -> None:
    x = run(ONE)["x"].astype(form.dtype)
    x[0, :2], x[1] = (np.nan, np.inf), form.dtype.type(form.largest)
    with np.errstate(all="ignore"):
        y = (x.astype(np.float64) @ ONE.constants["w0"].astype(np.float64)).astype(form.dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert judge(ONE, {"x": x, "y0": y}).judged == 1


def test_a_weight_may_be_recorded_if_it_is_the_same() -> None:
    values = {**run(ONE), **ONE.constants}
    assert judge(ONE, values).verdict == "rounding"
    values["w0"] = values["w0"] + 1
    with pytest.raises(UserError, match=r"w0 is a weight of .*, but was recorded with other values"):
        judge(ONE, values)


def test_inputs_alone_are_nothing_to_judge() -> None:
    with pytest.raises(UserError, match="nothing to judge"):
        judge(ONE, {"x": run(ONE)["x"]})


def test_inputs_recorded_finer_than_the_output_are_judged_in_the_format_of_the_output() -> None:
    values = run(ONE)
    values["x"] = values["x"].astype(np.float64)
    assert judge(ONE, values).verdict == "rounding"


def test_behind_a_wrong_shape_nothing_is_judged() -> None:
    graph = chain(2, 64)
    values = run(graph)
    values["y0"] = values["y0"][:, :-1]
    first, second = judge(graph, values).tensors
    assert (first.verdict, first.misshapen) == ("different", True)
    assert (second.verdict, second.note) == ("unjudged", "y0 was recorded in another shape")


def test_few_wrong_values_of_a_sample_are_counted_within_the_sample() -> None:
    declared, copy = Declared("float32"), Node("copy", "Identity", Identity(), ("x",), ("y",))
    graph = Graph((copy,), {"x": declared}, ("y",), declared={"y": declared})
    x = np.ones(40_000, np.float32)
    y = np.where(np.arange(40_000) % 400, x, 2)
    (one,) = judge(graph, {"x": x, "y": y}, sample=20_000).tensors
    assert one.verdict == "different"
    assert sum(one.histogram) == one.values == 20_000


def test_a_sample_is_put_together_of_all_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parity.judging.question.GATHERED", 3)
    x = np.random.default_rng(0).standard_normal(11).astype(np.float32)
    points = (np.array([9, 2, 2, 0, 10, 5, 1]),)
    found = sampled(Identity(), points, [Bounded(x)])
    assert isinstance(found, Bounded)
    np.testing.assert_array_equal(found.value, x[points])
