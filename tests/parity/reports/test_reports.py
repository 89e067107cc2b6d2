"""What `parity` says of 25 public reports, and the page that lists them."""

from pathlib import Path

import numpy as np
import pytest

from parity import judge, read_onnx
from parity.record.onnx_runtimes import record
from tests.conftest import unavailable
from tests.parity.reports import CASES, Case
from tests.parity.reports.__main__ import table

PAGE = Path(__file__).parents[3] / "docs" / "reports.md"


def available(number: int) -> Case:
    one = CASES[number]
    if one.missing:
        unavailable(f"{one.where} needs {one.missing}")
    return one


def right(one: Case) -> dict[str, np.ndarray]:
    """The same tensors by onnxruntime without optimisation."""
    model, values = one.rebuilt()
    inputs = {given.name: values[given.name] for given in model.graph.input}
    return record(model, inputs)


def test_no_report_is_left_out() -> None:
    assert sorted(CASES) == list(range(1, 26))


@pytest.mark.parametrize("number", sorted(CASES))
def test_a_report_is_answered(number: int) -> None:
    """The verdict, the first wrong tensor, and the cause are those that are known."""
    one = available(number)
    report, first = one.judged(), one.judged().first
    assert report.verdict == one.verdict, report
    assert (first.tensor if first else None) == one.tensor
    assert one.answered != bool(one.mended), first


@pytest.mark.parametrize("number", [n for n, one in CASES.items() if one.tensor is not None])
def test_a_right_port_of_the_same_graph_is_not_accused(number: int) -> None:
    one = available(number)
    report = judge(read_onnx(one.rebuilt()[0]), right(one))
    assert report.same, report
    assert not any(tensor.causes for tensor in report.tensors)


@pytest.mark.parametrize("number", [n for n, one in CASES.items() if one.tolerance])
def test_two_right_implementations_break_the_tolerance(number: int) -> None:
    one = available(number)
    assert one.tolerance is not None
    absolute, relative = one.tolerance
    model, values = one.rebuilt()
    (output,) = (result.name for result in model.graph.output)
    assert not np.allclose(values[output], right(one)[output], atol=absolute, rtol=relative)


@pytest.mark.slow
def test_the_page_is_what_the_command_prints() -> None:
    for number in CASES:
        available(number)
    assert PAGE.read_text(encoding="utf-8") == table() + "\n"


@pytest.mark.slow
def test_at_least_22_are_answered() -> None:
    assert sum(available(number).answered for number in CASES) >= 22
