"""The table and the headline."""

import io
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from parity.command.report import HEADLINES, STYLES, rendered, short, worst_first
from parity.command.terminal import shortened, shown
from parity.judging.verdict import ORDER, Cause, Report, TensorReport, Worst


def tensor(name: str, verdict: str, ratio: float = 0.1, loop: float = 0.5, **more: Any) -> TensorReport:
    known: dict[str, Any] = {"values": 1000, "equal": 999, "blind_below": 3e-7, "sources": ("x",)} | more
    return TensorReport(
        name, f"node of {name}", "Conv", verdict=verdict, ratio=ratio, loop_ratio=loop, **known
    )


def printed(report: Report, width: int = 80, every: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False, emoji=False)
    console.print(rendered(report, console, every))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_every_verdict_has_words_and_a_colour() -> None:
    assert set(HEADLINES) == set(ORDER)
    assert set(STYLES) == {*ORDER, "unjudged"}


def test_the_worst_come_first() -> None:
    tensors = (
        tensor("fine", "rounding", 0.1),
        tensor("near", "rounding", 0.4),
        tensor("none", "unjudged"),
        tensor("less", "coarse", 0.2, 100),
        tensor("more", "coarse", 0.1, 200),
        tensor("wrong", "different", np.inf),
        tensor("bits", "equal", 0.0),
    )
    order = [one.tensor for one in worst_first(Report(tensors))]
    assert order == ["wrong", "more", "less", "near", "fine", "bits", "none"]


@pytest.mark.parametrize("width", [60, 80, 140])
def test_the_table_fits_its_terminal(width: int) -> None:
    long = "encoder/layers.11/attention/self/query/MatMul_quant_output_0"
    tensors = tuple(tensor(f"{long}_{k}", "rounding", 1e-5, 1e9) for k in range(20))
    text = printed(Report(tensors, {"com.microsoft.DynamicQuantizeLSTM": 2}, sample=4096), width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "and 8 more, none of them worse: --all shows them" in " ".join(text.split())
    assert "com.microsoft.DynamicQuantizeLSTM 2×" in " ".join(text.split())


@pytest.mark.parametrize(("width", "left_out"), [(39, 4), (40, 3), (64, 1), (65, 0), (80, 0)])
def test_figures_are_whole_or_left_out(width: int, left_out: int) -> None:
    one = tensor("a", "different", 12345.0, 1.25, equal=999, blind_below=3.4e-7)
    text = printed(Report((one,)), width).partition("1 tensor judged")[0]
    whole = [figure in text for figure in ("1.2e4", "1.25", "99.9%", "3.4e-7")]
    assert whole == sorted(whole, reverse=True)
    assert whole.count(False) == left_out
    assert (f"no room in {width} columns for: " in text) == bool(left_out)
    if left_out == 4:
        names = "error/worst case, error/loop, equal, blind below"
        assert f"no room in {width} columns for: {names}" in " ".join(text.split())
    assert "…" not in text


def test_all_shows_all() -> None:
    text = printed(Report(tuple(tensor(f"t{k:02}", "rounding") for k in range(20))), every=True)
    assert all(f"t{k:02}" in text for k in range(20))


def test_what_is_measured_and_not_proven_is_marked() -> None:
    text = printed(Report((tensor("deep", "rounding", proven=False),)))
    assert "rounding*" in text
    assert "not proven" in text


def test_the_first_wrong_tensor_is_explained() -> None:
    wrong = tensor("b", "different", 37.0, worst=Worst((0, 3), 0.5, 0.25), sources=("a", "x"))
    text = " ".join(printed(Report((tensor("a", "rounding"), wrong), outputs=("b",))).split())
    assert "First in order of execution: b (Conv), different." in text
    assert "At [0, 3] it is 0.5, expected 0.25. That is 37.0 times the worst case of rounding." in text
    assert "Judged from the recorded a, x." in text


def test_an_output_that_was_not_judged_is_named() -> None:
    text = printed(Report((tensor("a", "rounding"),), {"If": 1}, outputs=("y",)))
    assert "Of the outputs, y not judged." in text
    assert "Same function, as far as it was judged:" in text


def test_nothing_judged_is_undecided() -> None:
    report = Report((tensor("a", "unjudged", note="Strange"),), {"Strange": 1})
    assert "Undecided" in printed(report)


def test_a_share_below_all_is_never_shown_as_all() -> None:
    one = tensor("a", "rounding", values=10**6, equal=10**6 - 1)
    assert "99.9%" in printed(Report((one,)))
    assert "100%" not in printed(Report((one,)))


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (0, "0"),
        (0.004, "4.0e-3"),
        (0.29, "0.29"),
        (12.34, "12.3"),
        (675.2, "675"),
        (99999, "1.0e5"),
        (np.inf, "∞"),
        (np.nan, "-"),
    ],
)
def test_numbers_are_short(x: float, text: str) -> None:
    assert short(x) == text


def test_names_are_safe_and_keep_both_ends() -> None:
    assert shown("a\x1b[31m\tb é") == "a\\x1b[31m\\tb é"
    assert shortened("encoder/layer/output", 11) == "enco…output"
    assert len(shortened("x" * 100, 20)) == 20


def test_causes_that_quote_a_name_from_the_file_are_safe() -> None:
    hostile = "\x1b]0;title\x07b2"
    causes = tuple(Cause("y", hostile, f"{hostile} in place of b{k}", hostile, hostile) for k in (1, 2))
    first, later = (tensor(name, "different", causes=causes) for name in ("y", "z"))
    text = printed(Report((first, later)))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert text.count("\\x1b]0;title\\x07b2 in place of b") == 3


def test_outputs_that_are_not_judged_are_named() -> None:
    tensors = (tensor("y", "equal"), tensor("z", "unjudged"))
    text = printed(Report(tensors, outputs=("y", "z", "absent")), 140)
    assert "Of the outputs, z, absent not judged." in text
