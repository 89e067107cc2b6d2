"""For every verdict a planted candidate; stretches, numbers that are none, and what is refused."""

import warnings
from dataclasses import asdict, replace

import numpy as np
import pytest

from parity.arithmetic.floats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, TF32, Format
from parity.errors import UserError
from parity.graph import Declared, Graph, Node
from parity.judging import judge
from parity.judging.verdict import BINS, Cause, Report, TensorReport, Worst
from parity.judging.walk import nearest
from parity.operators.affine import MatMul
from parity.operators.elementwise import Identity
from parity.operators.normalization import LayerNormalization
from tests.parity.judging.chains import ONE, Array, chain, cut, run

WIDE = chain(1, 2304)


def verdicts(report: Report) -> list[str]:
    return [one.verdict for one in report.tensors]


# --- a planted candidate for every verdict -----------------------------------------------------


def test_equal() -> None:
    values = run(ONE)
    values["y0"] = (values["x"].astype(np.float64) @ ONE.constants["w0"].astype(np.float64)).astype(
        np.float32
    )
    report = judge(ONE, values)
    (one,) = report.tensors
    assert (one.verdict, one.equal, one.values) == ("equal", 1024, 1024)
    assert one.sources == ("x",)
    assert report.same
    assert report.first is None


def test_equal_where_nothing_rounds() -> None:
    """Small integers: every right implementation returns these bits."""
    graph = replace(ONE, constants={"w0": np.arange(64 * 64, dtype=np.float32).reshape(64, 64) % 7 - 3})
    values = {"x": np.arange(128, dtype=np.float32).reshape(2, 64) % 5}
    values["y0"] = values["x"] @ graph.constants["w0"]
    assert judge(graph, values).verdict == "equal"


def test_rounding() -> None:
    (one,) = judge(ONE, run(ONE)).tensors
    assert one.verdict == "rounding"
    assert 0 < one.ratio < 0.5
    assert 0.2 < one.loop_ratio < 1.25
    assert one.proven
    assert one.worst is not None
    assert one.max_abs_error < 1e-5
    assert one.blind_below < 1e-4


@pytest.mark.parametrize("form", [TF32, FLOAT16], ids=lambda form: form.name)
def test_coarse(form: Format) -> None:
    report = judge(WIDE, cut(WIDE, run(WIDE), form))
    (one,) = report.tensors
    assert one.verdict == "coarse"
    assert one.ratio < 1
    assert one.loop_ratio > 100
    assert report.first is one
    assert not report.same


def test_worst_value_of_a_coarse_tensor_is_none_that_is_right() -> None:
    """A NaN that is due, and an infinity, are no errors."""
    values = run(WIDE)
    values["x"][0, 0], values["x"][1, 0] = np.nan, np.inf
    with np.errstate(all="ignore"):
        values = cut(WIDE, values, TF32)
        expected = values["x"].astype(np.float64) @ WIDE.constants["w0"].astype(np.float64)
        error = np.abs(values["y0"] - expected)[2:]
    (one,) = judge(WIDE, values).tensors
    assert one.verdict == "coarse"
    assert one.worst is not None
    row, column = one.worst.index
    assert row >= 2
    assert error[row - 2, column] > error.max() / 10  # the largest of some thousand values


def test_different() -> None:
    values = run(ONE)
    values["y0"] = values["y0"].copy()
    values["y0"][3, 7] *= 1.001
    (one,) = judge(ONE, values).tensors
    assert one.verdict == "different"
    assert one.ratio > 1
    assert one.worst is not None
    assert one.worst.index == (3, 7)
    assert one.worst.found == float(values["y0"][3, 7])
    assert one.worst.expected == pytest.approx(one.worst.found / 1.001, rel=1e-5)


def test_no_form_is_named_of_what_is_wrong_in_every_form() -> None:
    norm = Node("norm", "LayerNormalization", LayerNormalization(), ("x", "s"), ("y",))
    graph = Graph((norm,), {"x": Declared()}, ("y",), {"s": np.ones(8, np.float32)})
    x = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)
    (one,) = judge(graph, {"x": x, "y": 2 * x}).tensors
    assert (one.verdict, one.note) == ("different", "")


def test_text_is_equal_or_different() -> None:
    text, copy = Declared("object"), Node("copy", "Identity", Identity(), ("x",), ("y",))
    graph = Graph((copy,), {"x": text}, ("y",), declared={"y": text})
    x = np.array(["a", "b"], object)
    (same,) = judge(graph, {"x": x, "y": x.copy()}).tensors
    (other,) = judge(graph, {"x": x, "y": x[::-1]}).tensors
    assert (same.verdict, same.equal) == ("equal", 2)
    assert (other.verdict, other.equal, other.ratio) == ("different", 0, np.inf)


def test_undecided() -> None:
    """A sum that cancels: of its value neither yardstick leaves anything."""
    graph = replace(ONE, constants={"w0": np.ones((64, 1), np.float32)})
    x = np.random.default_rng(0).standard_normal((1, 64)).astype(np.float32) * 100
    x[0, -1] = -np.sum(x[0, :-1], dtype=np.float64)  # Σx is what this rounds
    report = judge(graph, {"x": x, "y0": x @ graph.constants["w0"]})
    (one,) = report.tensors
    assert one.verdict == "undecided", one
    assert report.verdict == "undecided"
    assert "record more" in one.note
    assert not report.same


def test_unjudged() -> None:
    """An unknown operator is named and counted; what follows is judged from what was recorded."""
    unknown = Node("odd", "com.example.Odd", None, ("y0",), ("y1",), "nobody knows Odd")
    last = Node("last", "MatMul", MatMul(), ("y1", "w0"), ("y2",))
    graph = Graph((*ONE.nodes, unknown, last), ONE.inputs, ("y2",), ONE.constants)
    values = run(ONE)
    values["y1"] = np.abs(values["y0"])
    values["y2"] = values["y1"] @ graph.constants["w0"]
    report = judge(graph, values)
    assert verdicts(report) == ["rounding", "unjudged", "rounding"]
    assert report.unjudged == {"com.example.Odd": 1}
    assert report.judged == 2
    assert report.tensors[1].note == "nobody knows Odd"
    del values["y1"]
    report = judge(graph, values)
    assert verdicts(report) == ["rounding", "unjudged"]
    assert "y1 is not known: nobody knows Odd" in report.tensors[1].note


def test_an_output_that_the_operator_does_not_have_is_named() -> None:
    node = replace(ONE.nodes[0], outputs=("y0", "y1"))
    values = run(ONE)
    report = judge(replace(ONE, nodes=(node,)), {**values, "y1": values["y0"]})
    assert {one.note for one in report.tensors} == {"output 1 of MatMul"}


# --- stretches ---------------------------------------------------------------------------------


def test_only_the_end_was_recorded() -> None:
    graph = chain(4)
    values = run(graph)
    report = judge(graph, {"x": values["x"], "y3": values["y3"]})
    (one,) = report.tensors
    assert one.tensor == "y3"
    assert one.sources == ("x",)
    assert one.verdict == "rounding"
    (one,) = judge(graph, {"x": values["x"], "y3": cut(graph, values, TF32)["y3"]}).tensors
    assert one.verdict in ("coarse", "different")
    assert one.loop_ratio > 100


def test_some_were_recorded() -> None:
    graph = chain(6)
    values = run(graph)
    report = judge(graph, {name: values[name] for name in ("x", "y1", "y5")})
    assert [one.tensor for one in report.tensors] == ["y1", "y5"]
    assert [one.sources for one in report.tensors] == [("x",), ("y1",)]
    assert verdicts(report) == ["rounding", "rounding"]


def test_the_end_of_a_deep_network_is_measured_not_proven() -> None:
    """Twelve layers: the worst case is wider than the values, the loop still tells TF32 from float32."""
    graph = chain(12)
    values = run(graph)
    (one,) = judge(graph, {"x": values["x"], "y11": values["y11"]}).tensors
    assert one.verdict == "rounding"
    assert not one.proven
    (one,) = judge(graph, {"x": values["x"], "y11": cut(graph, values, TF32, 3)["y11"]}).tensors
    assert (one.verdict, one.proven) == ("coarse", False)


@pytest.mark.parametrize("layer", [0, 2, 4])
def test_only_the_first_wrong_tensor_is_accused(layer: int) -> None:
    """Later tensors are judged from the candidate's own values."""
    graph = chain(5)
    values = cut(graph, run(graph), BFLOAT16, layer)
    report = judge(graph, values)
    assert report.first is not None
    assert report.first.tensor == f"y{layer}"
    assert [k for k, one in enumerate(verdicts(report)) if one not in ("equal", "rounding")] == [layer]


# --- what is not a number ----------------------------------------------------------------------


def test_nan_on_both_sides_is_equal() -> None:
    values = run(ONE)
    values["x"][2, 3] = np.nan
    values["y0"] = values["x"] @ ONE.constants["w0"]
    (one,) = judge(ONE, values).tensors
    assert one.verdict == "rounding"
    assert one.note == "64 NaN of 1024 values in float32; 64 of them are so in the reference"


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_on_one_side_is_different(odd: float) -> None:
    values = run(ONE)
    values["y0"][1, 2] = odd
    (one,) = judge(ONE, values).tensors
    assert one.verdict == "different"
    assert one.worst is not None
    assert one.worst.index == (1, 2)
    assert "0 of them are so in the reference" in one.note


def test_nan_in_the_reference_alone_is_different() -> None:
    values = run(ONE)
    values["x"][0, 0] = np.nan
    assert judge(ONE, values).verdict == "different"


def test_overflow_that_is_due_is_admitted_and_named() -> None:
    values = run(ONE)
    values["x"][4] = np.abs(values["x"][4]) * np.float32(1e38)
    graph = replace(
        ONE, constants={"w0": 1 + np.abs(ONE.constants["w0"])}
    )  # no partial sum overflows before its end
    with np.errstate(over="ignore"):
        values["y0"] = values["x"] @ graph.constants["w0"]
    infinite = int(np.isinf(values["y0"]).sum())
    assert infinite == 64
    (one,) = judge(graph, values).tensors
    assert one.verdict == "rounding", one
    assert f"{infinite} infinite of 1024 values in float32" in one.note
    values["y0"] = np.where(np.isinf(values["y0"]), -values["y0"], values["y0"])
    assert judge(graph, values).verdict == "different"


def test_float16_overflows_earlier() -> None:
    values = {"x": np.full((1, 64), 300, np.float16)}
    graph = replace(ONE, constants={"w0": np.full((64, 3), 16, np.float32)})
    values["y0"] = np.full((1, 3), np.inf, np.float16)
    report = judge(graph, values)
    assert report.same, report.tensors
    assert "3 infinite of 3 values in float16" in report.tensors[0].note
    values = {name: array.astype(np.float32) for name, array in values.items()}
    assert judge(graph, values).verdict == "different"


# --- shapes, dtypes, names ---------------------------------------------------------------------


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


# --- as text and as JSON -----------------------------------------------------------------------


def test_json_holds_the_whole_report() -> None:
    """What JSON does not have, NaN and infinity, is null; bins without values are left out."""
    cause = Cause("y", "n", "name", "explanation", "remedy", "owner/repository#1", "apart")
    counts = [0] * len(BINS)
    counts[0], counts[-1] = 3, 2
    wrong = TensorReport(
        tensor="y",
        node="n",
        op="MatMul",
        sources=("x",),
        verdict="different",
        ratio=2.0,
        loop_ratio=3.0,
        loop_limit=4.0,
        values=5,
        equal=6,
        max_abs_error=7.0,
        worst=Worst((0, 1), 0.5, np.nan),
        histogram=tuple(counts),
        blind_below=8.0,
        strange=9,
        note="note",
        causes=(cause,),
        clues=("clue",),
    )
    fields = {
        **{"tensor": "y", "node": "n", "op": "MatMul", "from": ["x"], "verdict": "different", "ratio": 2.0},
        **{"loop_ratio": 3.0, "loop_limit": 4.0, "values": 5, "equal": 6, "max_abs_error": 7.0},
        "worst": {"index": [0, 1], "found": 0.5, "expected": None},
        **{
            "histogram": {"0": 3, "2^40": 2},
            "blind_below": 8.0,
            "strange": 9,
            "proven": True,
            "note": "note",
        },
        **{"causes": [asdict(cause)], "clues": ["clue"]},
    }
    assert wrong.to_json() == fields
    blank = TensorReport("z", "m", "Odd", ratio=np.inf).to_json()
    assert (blank["ratio"], blank["loop_ratio"], blank["worst"], blank["histogram"]) == (None, None, None, {})
    report = Report((TensorReport("x", "o", "Odd"), wrong), {"Odd": 1}, ("y",), 100)
    assert report.to_json() == {
        **{"verdict": "different", "first": "y", "judged": 1, "unjudged": {"Odd": 1}, "sample": 100},
        **{"tensors": [one.to_json() for one in report.tensors], "causes": [asdict(cause)]},
    }
    assert Report(()).to_json()["first"] is None


def test_the_worst_value_is_told_in_one_line() -> None:
    assert str(Worst((1, 20), 0.1, -2.0)) == "At [1, 20] it is 0.1, expected -2."
