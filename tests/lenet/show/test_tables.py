"""The tables and sentences that commands print, whole, of made-up results."""

import re
from textwrap import dedent

import numpy as np
import pytest
from rich.console import RenderableType

from lenet.compare import Comparison, LayerReport, PortReport
from lenet.compare.finer_grids import Forced, Level
from lenet.reference.certificate import BatchCertificate, RangeCertificate, Sum
from lenet.reference.exact import Difference
from lenet.show import tables
from tests.lenet.compare.timed import timed
from tests.lenet.show.printed import bold, coloured, plain


def same(found: RenderableType, expected: str) -> bool:
    return plain(found).strip("\n") == dedent(expected).strip("\n")


# --- lenet compare -----------------------------------------------------------------------------


def layer(
    error: float, local: float, whole: float, equal: int, formula: str = "", wrong: bool = False
) -> LayerReport:
    worst = (7, (3, 0), 1.25, -0.5) if wrong else None
    return LayerReport(error, local, whole, 8, equal, worst, formula)


def port(name: str, version: str, right: int, bits: int | None, **layers: LayerReport) -> PortReport:
    return PortReport(name, version, "float32", 1000, right, right, None, bits, layers)


RIGHT = layer(1e-7, 0.5, 0.25, 8)
GOOD = port("a", "2.1+cpu", 1000, 10000, conv1=RIGHT, fc1=layer(2e-6, 0.25, 0.75, 5))
COARSE = port("onnx:tf/ort", "1.0/2.0 x", 999, 9990, conv1=RIGHT)
WRONG = port("wrong", "3", 100, None, conv1=RIGHT, fc1=layer(2.0, 1234.5, 2e4, 0, wrong=True))
HIDDEN = port("two", "3", 100, None, conv1=layer(1e-7, 0.5, 3.0, 8, wrong=True))
BROKEN = PortReport("bad", "3", "float32", 1000, 0, 0, "logits missing\x1b")
LESS = port("less", "3", 1000, None, conv1=layer(1e-7, 0.5, 0.25, 8, "half"), fc1=RIGHT)


def test_the_comparison_has_a_row_and_a_sentence_for_every_verdict():
    shown = tables.comparison(Comparison(1000, 990, [GOOD, COARSE, WRONG, HIDDEN, BROKEN, LESS]))
    assert same(
        shown,
        r"""
        1,000 MNIST test digits in float32, judged against float64
                                         same
                                      answers  error/bound  same bits
        port      version  accuracy  of 1,000  worst layer  of 10,000  verdict
        ────────────────────────────────────────────────────────────────────────────────
        a         2.1       100.00%     1,000    fc1 0.750     10,000  rounding
        onnx:tf/  1.0/       99.90%       999  conv1 0.500      9,990  rounding
        ort       2.0
                  x
        wrong     3          10.00%       100   fc1 20,000          —  different at fc1
        two       3          10.00%       100  conv1 3.000          —  different at
                                                                       conv1
        bad       3           0.00%         0            —          —  different in its
                                                                       outputs
        less      3         100.00%     1,000  conv1 0.500          —  less accurate

        rounding       a, onnx:tf/ort: every value of every layer is as near to the
                       exact value as float32 rounding allows (error/bound at most 1).
                       The ports compute the same function and differ only in the order
                       of their sums.
        different      wrong: fc1 is another function. Digit 7, value [3, 0]: found
                       1.25, expected -0.5; the error is 1,234 times the rounding bound.
        different      two: the error of conv1 is 3.000 times its bound from the image,
                       but no layer exceeds its own bound: logits and layers come from
                       different forward passes.
        different      bad: logits missing\x1b
        less accurate  less: half, at conv1. It is the same function, and every value is
                       within the bound of this formula.
        certified      990 of 1,000 digits: the best class leads by more than rounding
                       can change, so every right float32 implementation gives the same
                       answer.
        other bits     onnx:tf/ort (9,990 of 10,000): with exact weights, which make
                       every float32 sum exact, every right implementation of these sums
                       returns the same bits. Here the arithmetic is another: operands
                       with fewer bits, Winograd, or an FFT.
        """,
    )
    assert coloured(shown) == [
        *("green: rounding", "bold red: 999", "green: rounding"),
        *("bold red: 100", "bold red: different at fc1"),
        *("bold red: 100", "bold red: different at", "bold red: conv1"),
        *("bold red: 0", "bold red: different in its", "bold red: outputs", "yellow: less accurate"),
        *("green: rounding", *["bold red: different"] * 3, "yellow: less accurate"),
    ]
    assert bold(shown)[:3] == [
        "1,000 MNIST test digits in float32, judged against float64",
        "same",
        "answers",
    ]
    assert bold(shown)[-2:] == ["certified", "other bits"]


def test_of_ports_that_all_are_right_one_sentence_is_enough():
    one = PortReport("a", "1", "float64", 1, 1, 1, None, 10, {"conv1": RIGHT})
    other = PortReport("b", "1", "float64", 1, 0, 1, None, 10, {"conv1": RIGHT})
    said = " ".join(plain(tables.explanation(Comparison(1, 1, [one, other]))).split())
    assert said.startswith("rounding every port: every value of every layer is as near")
    assert "certified 1 of 1 digit: the best class" in said
    assert said.endswith(
        "same bits every port, every digit, every bit: with exact weights, which make every float64 sum "
        "exact, all logits are equal to the last bit."
    )


def test_only_ports_within_rounding_are_said_to_have_the_same_bits():
    said = " ".join(plain(tables.explanation(Comparison(1000, 990, [GOOD, GOOD, WRONG]))).split())
    assert "same bits a, a, every digit, every bit" in said
    assert said.count("every port") == 0
    assert "bits" not in " ".join(plain(tables.explanation(Comparison(1000, 990, [WRONG]))).split())


def test_each_layer_has_a_row():
    shown = tables.layers(WRONG)
    assert same(
        shown,
        """
        wrong, layer by layer
                largest  error/bound  end to  bit-equal
        layer     error        local     end     values  verdict
        ──────────────────────────────────────────────────────────
        conv1  1.00e-07        0.500   0.250     100.0%  rounding
        fc1    2.00e+00        1,234  20,000       0.0%  different
        """,
    )
    assert coloured(shown) == ["green: rounding", "bold red: different"]
    assert coloured(tables.layers(LESS)) == ["yellow: less accurate", "green: rounding"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        *((0.0, "0.000"), (0.99951, "1.000"), (99.9994, "99.999"), (100.0, "100"), (1234.5, "1,234")),
        *((9.9994e6, "9,999,400"), (1e7, "1.0e+07"), (np.inf, "∞"), (np.nan, "∞")),
    ],
)
def test_a_ratio_takes_few_characters(value, shown):
    assert tables.ratio(value) == shown


def test_json_has_null_for_what_is_not_finite():
    assert tables.strict_json({"a": [1.5, np.inf, {"b": np.nan}], "c": 2, "d": "inf"}) == {
        "a": [1.5, None, {"b": None}],
        "c": 2,
        "d": "inf",
    }


def test_a_picture_is_what_a_terminal_of_100_columns_shows():
    drawn = tables.to_svg(tables.layers(WRONG), "a title")
    assert drawn.startswith("<svg ")
    assert ">a&#160;title<" in drawn
    assert ">wrong,&#160;layer&#160;by&#160;layer&#160;" in drawn
    assert len(set(re.findall(r"fill: (#\w+)", drawn))) == 3  # the text's colour, green and red
    wide, wider = tables.to_svg("x" * 100, ""), tables.to_svg("x" * 101, "")
    assert "x" * 100 in wide
    assert "x" * 101 not in wider


# --- lenet ports -------------------------------------------------------------------------------


def test_ports_that_lack_something_say_so():
    shown = tables.ports([("a", "A", "1.0", "x, y"), ("b", "B", None, "z"), ("c", "C", None, "")])
    assert same(
        shown,
        """
        port  runs in  installed  extras
        ────────────────────────────────
        a     A        1.0        x, y
        b     B        no         z
        c     C        no         —
        """,
    )
    assert coloured(shown) == ["green: 1.0", "dim: x, y", "bold red: no", "bold red: no", "dim: —"]


def test_the_name_of_a_port_is_not_folded():
    name = "onnx:" + "long" * 6
    assert name in plain(tables.ports([(name, "runtime", "1", "extras " * 9)]), 60)


def test_ports_that_were_not_run_are_listed_with_the_reason():
    shown = tables.missing({"a": "a needs b: pip install b\x1b", "c": "d"})
    assert same(shown, "not run  a needs b: pip install b\\x1b\nnot run  d")
    assert coloured(shown) == ["yellow: not run", "yellow: not run"]


# --- lenet predict -----------------------------------------------------------------------------


def test_a_prediction_has_a_bar_for_each_class_and_the_largest_difference():
    chances = {"a": np.eye(10)[2] * 0.5 + 0.05, "b": np.eye(10)[2] * 0.7 + 0.03}
    shown = tables.prediction("a digit", tables.Text("x"), chances, ["its label is 2"])
    assert same(
        shown,
        """
        a digit

        x   class         a         b
            ───────────────────────────────
            0       5.0000%   3.0000%
            1       5.0000%   3.0000%
            2      55.0000%  73.0000%  ━━━━
            3       5.0000%   3.0000%
            4       5.0000%   3.0000%
            5       5.0000%   3.0000%
            6       5.0000%   3.0000%
            7       5.0000%   3.0000%
            8       5.0000%   3.0000%
            9       5.0000%   3.0000%

        predicted  2 by every port
                   its label is 2
                   the ports' probabilities differ by at most 1.8e-01
        """,
    )
    others, chosen = ["5.0000%", "3.0000%"], ["green: 2", "green: 55.0000%", "green: 73.0000%", "green: ━━━━"]
    faint = [[f"dim: {word}" for word in (str(digit), *others)] for digit in range(10) if digit != 2]
    assert coloured(shown) == [
        *(word for row in [*faint[:2], chosen, *faint[2:]] for word in row),
        *("bold green: 2", "dim: its label is 2"),
        "dim: the ports' probabilities differ by at most 1.8e-01",
    ]


# --- lenet train --compare ---------------------------------------------------------------------


def test_the_drift_is_shown_after_few_steps_in_a_table_for_each_dtype():
    steps = np.arange(1, 61)[:, None]
    shown = tables.drift(["tf float32", "torch float32", "tf float64"], steps * [[1e-8, 2e-8, 1e-16]])
    lines = [line.split() for line in plain(shown).splitlines()]
    title = "largest distance of a weight from NumPy in float64, relative"
    assert lines[0] == ["float32:", *title.split()]
    assert lines[1] == ["step", "tf", "torch"]
    assert lines[3:11] == [
        *(["1", "1.0e-08", "2.0e-08"], ["2", "2.0e-08", "4.0e-08"], ["5", "5.0e-08", "1.0e-07"]),
        *(["10", "1.0e-07", "2.0e-07"], ["20", "2.0e-07", "4.0e-07"], ["50", "5.0e-07", "1.0e-06"]),
        *(["60", "6.0e-07", "1.2e-06"], []),
    ]
    assert lines[11:15] == [["float64:", *title.split()], ["step", "tf"], lines[2], ["1", "1.0e-16"]]
    assert lines[-1] == ["60", "6.0e-15"]


def test_the_drift_of_a_long_run_is_shown_after_1000_steps_too():
    shown = plain(tables.drift(["tf float32"], np.ones((1000, 1))))
    steps = [line.split()[0] for line in shown.splitlines()[3:]]
    assert steps == ["1", "2", "5", "10", "20", "50", "100", "200", "500", "1000"]
    longer = plain(tables.drift(["tf float32"], np.ones((1001, 1))))
    assert [line.split()[0] for line in longer.splitlines()[3:]] == [*steps, "1001"]


# --- lenet bench -------------------------------------------------------------------------------

TIMED = timed(
    "numpy",
    "onnx:tf/ort",
    ("forward", 1, 4.0, 2.0),
    ("forward", 1000, 151.25, 302.5),
    ("train", 1, 5.0, None),
    ("train", 1000, 7.0, None),
)


def test_timings_have_a_table_for_each_task_and_the_fastest_is_green():
    shown = tables.bench(TIMED)
    assert same(
        shown,
        """
        forward: microseconds per digit, 2 threads
        × fastest port, × limit
                               batch         batch
        port                       1         1,000
        ──────────────────────────────────────────
        numpy                    4.0           151
                           2.0× 4.0×     1.0× 151×
        onnx:tf/                 2.0           302
        ort                1.0× 2.0×     2.0× 302×
        limit                    1.0           1.0

        train: microseconds per digit, 2 threads
        × fastest port, × limit
                              batch        batch
        port                      1        1,000
        ────────────────────────────────────────
        numpy                   5.0          7.0
                          1.0× 1.8×    1.0× 2.6×
        onnx:tf/                  -            -
        ort
        limit                   2.7          2.7

        limit: the time of the arithmetic alone, as a large float32 product in NumPy's
        BLAS, 833 GFLOP/s in this run.
        """,
    )
    assert coloured(shown) == [
        *("green: 151", "green: 1.0× 151×", "green: 2.0", "green: 1.0× 2.0×"),
        *("green: 5.0", "green: 7.0", "green: 1.0× 1.8×", "green: 1.0× 2.6×"),
    ]


def test_steps_of_the_chapter_on_speed_are_compared_with_the_one_before_and_the_limit():
    shown = tables.steps({"a loop": 12345.6, "a product": 99.96, "threads": 12.34}, 1.5, 1)
    assert same(
        shown,
        """
        microseconds per digit, 1 thread
        step                      µs  × faster  × limit
        ───────────────────────────────────────────────
        a loop                12,346             8,230×
        a product              100.0      124×    66.6×
        threads                 12.3      8.1×     8.2×
        the arithmetic alone     1.5
        """,
    )


# --- lenet exact -------------------------------------------------------------------------------

SMALL, LARGE = Sum("conv1", -9, 1000, (0,), 24), Sum("fc1", -12, 2**24, (3, 4), 24)


def test_a_certificate_shows_the_bits_that_are_left():
    shown = tables.certificate(RangeCertificate((SMALL, LARGE), 0.0, 1.0, -4))
    assert same(
        shown,
        """
        exact weights: the largest possible partial sums, over all images
                                largest sum of
                                magnitudes, in
        layer    multiples of  these multiples   bits  float32 has   left
        ─────────────────────────────────────────────────────────────────
        conv1            2^-9            1,000   9.97           24  14.03
        fc1             2^-12       16,777,216  24.00           24   0.00

        not exact: fc1 [3, 4]: 24.00 bits, more than 24
        """,
    )
    assert coloured(shown) == ["green: 14.03", "bold red: 0.00"]
    proven = plain(tables.certificate(RangeCertificate((SMALL,), 0.0, 1.0, -4)))
    assert proven.endswith(
        "\n\nproven: no sum rounds, in any order, so every right implementation returns the\nsame bits.\n"
    )


def test_levels_show_what_is_proven_forced_and_different():
    first, second = Difference("fc1", (3, 4), 1, 2, 5), Difference("conv1", (2, 4), 1, 2, 5)
    exact, rounded = BatchCertificate((SMALL,), 50), BatchCertificate((SMALL, LARGE), 50)
    levels = [
        Level(0, exact, None, {"torch": None, "tf": first}, 5000, 0, {"tf": first}),
        Level(1, exact, None, {"torch": None, "tf": None}, 5000, 3, {"tf": second, "torch": second}),
        Level(4, rounded, Forced("conv1", (9, 1)), {"torch": second, "tf": first}, 5000, 1200, {}),
    ]
    shown = tables.finer(levels, ["numpy", "torch", "tf"])
    assert same(
        shown,
        """
        the same weights with more bits, on 50 digits
         bits  bits that  proven  first forced          logits of 5,000  first
        added  sums need  exact   rounding        on which ports differ  difference
        ────────────────────────────────────────────────────────────────────────────────
           +0       9.97  yes     none                                0  tf at fc1,
                                                                         digit 3
           +1       9.97  yes     none                                3  none
           +4      24.00  no      conv1, digit 9                  1,200  torch at conv1,
                                                                         digit 2

        ports: numpy, torch, tf. Each bit added to the weights adds a bit to the sums of
        each of five layers. Even where no rounding is forced, ports can differ by the
        order of their sums.
        tf is another function: at +0 nothing can round, and fc1 of digit 3 is not what
        the integers give.
        torch is another function: at +1 nothing can round, and conv1 of digit 2 is not
        what the integers give.
        """,
    )
    assert coloured(shown)[:3] == ["green: yes", "green: yes", "bold red: no"]
    assert {line.split(":")[0] for line in coloured(shown)[3:]} == {"bold red"}
