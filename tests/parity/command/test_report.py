"""The table and the headline."""

import io
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from parity.command.report import (
    HEADLINES,
    STYLES,
    causes,
    explained,
    figures,
    first_wrong,
    headline,
    rendered,
    short,
    worst_first,
)
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
        (0.01, "0.01"),
        (0.29, "0.29"),
        (9.994, "9.99"),
        (10, "10.0"),
        (99.96, "100"),
        (999.4, "999"),
        (999.5, "1.0e3"),
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


# --- whole texts -------------------------------------------------------------------------------

LONG = "a/long/name/of/a/tensor/that/is/cut/in/its/middle"
EVERYTHING = Report(
    (
        tensor(LONG, "rounding", 0.123, 0.9, proven=False),
        tensor("b", "different", 37.0, 55.0, worst=Worst((0, 3), 0.5, 0.25), sources=("a", "x")),
        tensor("c", "coarse", 0.5, 12.0),
        tensor("d", "unjudged", note="no bound"),
        tensor("e", "equal", 0.0, float("nan"), equal=1000),
    ),
    {"If": 1},
)


def lines(text: str) -> list[str]:
    """Without spaces at the ends of lines, with which rich pads a column."""
    return [line.rstrip() for line in text.splitlines()]


def test_the_whole_output_in_80_columns() -> None:
    assert (
        "\n".join(lines(printed(EVERYTHING)))
        == """\
                                                error/  error/          blind
tensor                     op    verdict    worst case    loop  equal   below
b                          Conv  different        37.0    55.0  99.9%  3.0e-7
c                          Conv  coarse           0.50    12.0  99.9%  3.0e-7
a/long/n…ut/in/its/middle  Conv  rounding*        0.12    0.90  99.9%  3.0e-7
e                          Conv  equal               0       -   100%  3.0e-7
d                          Conv  unjudged
* measured against the plain loop, not proven: the worst case is wider than the
values

Not the same function.
4 tensors judged: 1 equal, 1 rounding, 1 coarse, 1 different, 1 unjudged.
First in order of execution: b (Conv), different.
  At [0, 3] it is 0.5, expected 0.25. That is 37.0 times the worst case of
  rounding.
  Judged from the recorded a, x.
  Cause: unknown.
Not judged: If 1×.
  d: no bound"""
    )


def test_the_table_where_one_figure_has_no_room_and_where_all_have() -> None:
    assert (
        "\n".join(lines(printed(EVERYTHING, 60))[:8])
        == """\
                                     error/  error/
tensor          op    verdict    worst case    loop  equal
b               Conv  different        37.0    55.0  99.9%
c               Conv  coarse           0.50    12.0  99.9%
a/lon…s/middle  Conv  rounding*        0.12    0.90  99.9%
e               Conv  equal               0       -   100%
d               Conv  unjudged
no room in 60 columns for: blind below"""
    )
    assert lines(printed(EVERYTHING, 140))[4] == f"{LONG}  Conv  rounding*        0.12    0.90  99.9%  3.0e-7"
    short = [line.split()[0] for line in lines(printed(Report((tensor("b", "equal"),)), 140))[:3]]
    assert short == ["error/", "tensor", "b"]


def wrong(name: str, *causes: Cause, clues: tuple[str, ...] = (), **more: Any) -> TensorReport:
    return tensor(name, "different", causes=causes, clues=clues, **more)


def test_a_cause_is_told_with_its_node_its_report_and_what_would_tell_it_apart() -> None:
    first = Cause("y", "inner", "the first", "It is common.", "Do it.", "owner/repo#1")
    second = Cause("y", "y", "the second", "", "", apart="zeros")
    third = Cause("y", "y", "the third", "", "")
    told = ["  Cause: the first (in inner).", "    It is common.", "    Do it. (Reported: owner/repo#1)"]
    told += ["  Or: the second. These values do not tell it from the first: zeros would."]
    told += ["  Or: the third. These values do not tell it from the first."]
    assert list(causes(wrong("y", first, second, third))) == told
    plain = list(causes(wrong("y", third)))
    assert plain == ["  Cause: the third.", "    ", "    "]
    own = Cause("z", "node of z", "it", "e", "r")
    assert list(causes(wrong("z", own))) == ["  Cause: it.", "    e", "    r"]
    clues = ("wrong in the first row", "all of them are NaN")
    told = ["  Cause: unknown.", "  It is wrong in the first row.", "  All of them are nan."]
    assert list(causes(wrong("y", clues=clues))) == told
    assert list(causes(tensor("y", "equal"))) == []


@pytest.mark.parametrize(
    ("verdict", "ratio", "loop", "end"),
    [
        ("different", 37.0, 55.0, " That is 37.0 times the worst case of rounding."),
        ("different", np.inf, 55.0, " No rounding explains it."),
        ("different", np.nan, 55.0, " No rounding explains it."),
        ("coarse", 0.5, 12.0, " The error of the whole tensor is 12.0 times that of a plain loop."),
        ("coarse", 0.5, np.nan, ""),
    ],
)
def test_the_size_of_the_error_is_told_in_words(verdict: str, ratio: float, loop: float, end: str) -> None:
    one = tensor("y", verdict, ratio, loop, worst=Worst((1,), 2.0, 1.0), note="It is noted.", sources=())
    told = [f"First in order of execution: y (Conv), {verdict}.", f"  At [1] it is 2, expected 1.{end}"]
    assert list(first_wrong(one)) == [*told, "  It is noted.", "  Cause: unknown."]
    several = tensor("y", verdict, sources=tuple("abcdefgh"))
    assert list(first_wrong(several))[1] == "  Judged from the recorded a, b, c, d, e, f."


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ([tensor("a", "coarse", 2.0), tensor("b", "coarse", 3.0)], "An overflow on the way: what comes"),
        ([tensor("a", "coarse", 2.0), tensor("b", "coarse", 0.5)], "Coarser arithmetic, or a small mistake"),
        ([tensor("a", "coarse", 1.0)], "Coarser arithmetic, or a small mistake"),
        ([tensor("a", "coarse", np.nan)], "The same function by another formula"),
        ([tensor("a", "coarse", np.nan), tensor("b", "coarse")], "Coarser arithmetic, or a small mistake"),
        ([tensor("a", "coarse", 2.0), tensor("b", "different")], "Not the same function."),
    ],
)
def test_the_headline_of_what_is_coarse(tensors: list[TensorReport], words: str) -> None:
    assert headline(Report(tuple(tensors))).startswith(words)


REASONS = ("r1", "r1", "Conv", "r2", "r3", "r4")


def test_what_was_not_judged_and_why_is_told_in_order() -> None:
    tensors = (
        tensor("a", "undecided", note="too little"),
        tensor("b", "undecided", note="of no result"),
        tensor("c", "rounding", note="by another form"),
        tensor("d", "equal", note="told no more"),
        *(tensor(name, "unjudged", note=note) for name, note in zip("efghij", REASONS, strict=True)),
    )
    report = Report(tensors, {"If": 1200, "Loop": 2}, outputs=("a", "e", "none"), sample=1000)
    assert list(explained(report)) == [
        "4 tensors judged: 1 equal, 1 rounding, 2 undecided, 6 unjudged.",
        "a (Conv) is undecided: too little",
        "c: by another form",
        "Not judged: If 1200×, Loop 2×.",
        "  e: r1",
        "  h: r2",
        "Of the outputs, e, none not judged.",
        "At most 1,000 values of each tensor judged: if 0.69% of a larger tensor's values are wrong, this is "
        "found with 99.9% certainty.",
    ]
    empty = Report((tensor("a", "equal", values=0),))
    assert list(explained(empty))[1:] == ["No tensor has a value, so that nothing was compared."]
    many = Report((), outputs=tuple("abcdefg"))
    assert list(explained(many)) == ["0 tensors judged.", "Of the outputs, a, b, c, d, e not judged."]


def test_later_causes_are_named_up_to_five() -> None:
    caused = [wrong(name, Cause(name, name, f"cause of {name}", "", "")) for name in "abcdefgh"]
    told = list(explained(Report((caused[0], wrong("unknown"), *caused[1:6]))))
    assert told[6:] == [f"{name}: cause of {name}." for name in "bcdef"]
    told = list(explained(Report(tuple(caused))))
    assert told[-1] == "and 2 more tensors with a cause: the JSON has them"
    assert told[-2] == "f: cause of f."


def test_figures_are_empty_where_nothing_was_compared() -> None:
    assert figures(tensor("a", "unjudged")) == figures(tensor("a", "different", values=0)) == ("", "", "", "")
    assert figures(tensor("a", "equal", 0.0, 0.25, equal=500)) == ("0", "0.25", "50.0%", "3.0e-7")
    assert figures(tensor("a", "different", equal=0))[2] == "0.0%"
