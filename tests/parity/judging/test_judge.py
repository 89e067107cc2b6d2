"""For every verdict a planted candidate; stretches, and numbers that are none."""

from dataclasses import replace

import numpy as np
import pytest

from parity.arithmetic.floats import BFLOAT16, FLOAT16, TF32, Format
from parity.graph import Declared, Graph, Node
from parity.judging import judge
from parity.judging.verdict import Report
from parity.operators.activation import Tanh
from parity.operators.affine import MatMul
from parity.operators.elementwise import Identity
from parity.operators.normalization import LayerNormalization
from tests.parity.judging.chains import ONE, chain, cut, run

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


def test_zeros_whose_bound_is_of_subnormal_numbers_are_proven() -> None:
    """A tanh behind a ReLU: most values are zero, within what may be flushed to it."""
    x = np.maximum(np.random.default_rng(0).standard_normal((64, 8)), 1).astype(np.float32) - 1
    node = Node("tanh", "Tanh", Tanh(), ("x",), ("y",))
    graph = Graph((node,), {"x": Declared()}, ("y",), {})
    (one,) = judge(graph, {"x": x, "y": np.tanh(x)}).tensors
    assert 2 * np.count_nonzero(x == 0) > x.size
    assert one.proven


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
