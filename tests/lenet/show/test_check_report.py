"""`lenet check` shows each wrong place with its cause, and what was judged: reports of made-up verdicts."""

from textwrap import dedent
from typing import Any

import numpy as np
import pytest

from lenet.diagnose import Diagnosis, Finding, Verdict
from lenet.diagnose.own_file.process import Checked
from lenet.diagnose.own_file.running import Failure
from lenet.diagnose.probe_inputs import Observed
from lenet.network.architecture import ACTIVATION_SHAPES, PARAM_SHAPES
from lenet.show import check_report
from tests.lenet.show.printed import bold, coloured

FLIP = Diagnosis(
    "kernel flipped", "The kernel is flipped.", "Flip it back.", "https://example.org/1", ("conv2",)
)
BIAS = Diagnosis("bias forgotten", "No bias is added.", "Add it.", "", ("conv1", "conv2"))
HALF = Diagnosis("half sums", "Sums are in half precision.", "Sum in single.", "", ("conv2",))
VALUE = np.zeros(1)
LAYERS, GRADIENTS = dict.fromkeys(ACTIVATION_SHAPES, VALUE), dict.fromkeys(PARAM_SHAPES, VALUE)
WHOLE = Observed("float64", {"random": LAYERS}, {"random": (0.5, GRADIENTS)}, [GRADIENTS] * 3)


def checked(*findings: Finding, observed: Observed = WHOLE, **others: Any) -> Checked:
    verdict = Verdict(findings, others.pop("remarks", ()), others.pop("unjudged", ()))
    offered = others.pop("offered", ("activations", "gradients", "train"))
    return Checked("p.py", offered, observed, verdict, **others)


def same(found: Checked, expected: str) -> bool:
    return check_report.text(found) == dedent(expected).lstrip("\n")


def test_a_right_port_is_ok_and_what_was_judged_is_counted():
    found = checked(remarks=("denormals are zero",), notes=("prints\x1b",))
    assert same(
        found,
        r"""
        p.py: ok, the same network up to float64 rounding

        judged      12 layers, loss, 10 gradients, 3 training steps
        note        denormals are zero
        note        prints\x1b
        """,
    )
    shown = check_report.report(found)
    assert coloured(shown) == ["bold green: ok", "dim: judged", "yellow: note", "yellow: note"]
    assert bold(shown) == ["p.py:", ", the same network up to float64 rounding"]


def test_a_wrong_place_has_evidence_clues_causes_and_what_else_it_may_be():
    finding = Finding(
        "conv2",
        "5 of 9 values lie outside",
        (FLIP, BIAS),
        ((HALF,), (BIAS, HALF)),
        "an image",
        clues=("a clue", "another"),
    )
    found = checked(finding, unjudged=("gradients", "training"))
    assert same(
        found,
        """
        p.py: different at conv2

        conv2       5 of 9 values lie outside
                    a clue
                    another
        mistake     kernel flipped
                    The kernel is flipped.
        remedy      Flip it back.
        reported    https://example.org/1
        and         bias forgotten (conv1, conv2)
                    No bias is added.
        remedy      Add it.
        or          half sums
                    Sums are in half precision.
        remedy      Sum in single.
        or          bias forgotten (conv1, conv2)
                    No bias is added.
        remedy      Add it.
        and         half sums
                    Sums are in half precision.
        remedy      Sum in single.
        told apart  by an image

        judged      12 layers
        not judged  gradients, train: an earlier part must be right first
        """,
    )
    shown = check_report.report(found)
    assert coloured(shown) == [
        "bold red: different at conv2",
        "bold red: conv2",
        "dim: judged",
        "dim: not judged",
    ]
    bias = "bias forgotten (conv1, conv2)"
    assert bold(shown) == ["p.py:", FLIP.name, bias, HALF.name, bias, HALF.name]


@pytest.mark.parametrize(
    ("where", "given"),
    [
        ("conv1", "the images that it was given"),
        ("relu1", "the conv1 that it returned"),
        ("logits", "the relu4 that it returned"),
    ],
)
def test_an_unknown_mistake_is_wrong_from_what_the_port_itself_had(where, given):
    found = checked(Finding(where, "off"))
    unknown = "unknown: no mistake of the catalogue gives these values"
    told = f"{where} off mistake {unknown} {where} is wrong even from the port's own input: {given}. judged"
    assert told in " ".join(check_report.text(found).split())
    assert unknown in bold(check_report.report(found))


def test_an_unknown_mistake_that_is_in_no_layer_has_no_such_sentence():
    found = checked(Finding("loss", "off"))
    assert " ".join(check_report.text(found).split()) == (
        "p.py: different at loss loss off mistake unknown: no mistake of the catalogue gives these values "
        "judged 12 layers, loss, 10 gradients, 3 training steps"
    )


def test_places_with_one_explanation_stand_together_and_a_cause_is_no_mistake():
    less = Finding("fc1", "low", (HALF,), verdict="less accurate")
    found = checked(Finding("conv1", "off 1", (BIAS,)), less, Finding("conv2", "off 2", (BIAS,)))
    assert same(
        found,
        """
        p.py: different at conv1

        conv1       off 1
        conv2       off 2
        mistake     bias forgotten
                    No bias is added.
        remedy      Add it.

        fc1         low
        cause       half sums (conv2)
                    Sums are in half precision.
        remedy      Sum in single.

        judged      12 layers, loss, 10 gradients, 3 training steps
        """,
    )
    assert coloured(check_report.report(found)) == [
        "bold red: different at conv1",
        "bold red: conv1",
        "bold red: conv2",
        "yellow: fc1",
        "dim: judged",
    ]


def test_the_same_cause_with_another_alternative_or_verdict_stands_apart():
    one, other = Finding("conv1", "", (BIAS,)), Finding("conv2", "", (BIAS,), ((HALF,),))
    less = Finding("fc1", "", (BIAS,), verdict="less accurate")
    again = Finding("fc2", "", (BIAS,), ((HALF,),))
    assert check_report.together([one, other, less, again]) == [[one], [other, again], [less]]


def test_what_looks_like_markup_is_printed_as_it_is():
    found = checked(Finding("conv1", "[bold]off[/bold] :smile: 12", (BIAS,)))
    assert "conv1       [bold]off[/bold] :smile: 12\n" in check_report.text(found)


def test_a_valid_choice_is_ok():
    found = checked(Finding("conv2", "other", (HALF,), verdict="a valid choice"))
    assert same(
        found,
        """
        p.py: ok, the same network up to float64 rounding

        conv2       other
        choice      half sums
                    Sums are in half precision.
        remedy      Sum in single.
                    This is a valid choice, no mistake; the remedy makes it the one made
                    here.

        judged      12 layers, loss, 10 gradients, 3 training steps
        """,
    )


def test_a_file_that_cannot_be_imported_shows_its_own_lines():
    found = Checked("p\n.py", (), Observed(), None, (), Failure("import", ("a\tb", "  c")))
    assert same(
        found,
        r"""
        p\n.py: failed at import

          a\tb
            c

        judged      nothing
        not judged  activations, gradients, train: the run ended before it
        """,
    )
    assert coloured(check_report.report(found)) == [
        "bold red: failed at import",
        "dim: judged",
        "dim: not judged",
    ]


def test_what_came_before_a_failure_is_judged():
    some = Observed("float32", {"random": LAYERS}, {"random": (None, {"conv1.weight": VALUE})})
    finding = Finding("conv2", "low", (HALF,), verdict="less accurate")
    found = checked(finding, observed=some, offered=("activations",), failure=Failure("train", ("x",)))
    assert same(
        found,
        """
        p.py: less accurate at conv2, and failed in train

        conv2       low
        cause       half sums
                    Sums are in half precision.
        remedy      Sum in single.

          x

        judged      12 layers, 1 gradient (conv1.weight)
        not judged  train: not offered; `lenet check --template` has an example
        """,
    )
    assert coloured(check_report.report(found))[:2] == [
        "bold yellow: less accurate at conv2",
        "bold red: , and failed in train",
    ]


def test_a_long_name_is_folded_and_whole():
    name = "".join(map(str, range(60)))
    told = check_report.text(Checked(name, (), Observed(), None)).partition("\n\n")[0]
    assert told.replace("\n", "") == f"{name}: ok, the same network up to float32 rounding"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["conv1"], "1 layer (conv1)"),
        (["conv1", "relu1", "pool1"], "3 layers (conv1, relu1, pool1)"),
        (["conv1", "relu1", "pool1", "fc1"], "4 layers of 12"),
    ],
)
def test_few_layers_are_named_and_many_counted(names, said):
    found = checked(observed=Observed("float32", {"random": dict.fromkeys(names, VALUE)}))
    assert f"\njudged      {said}\n" in check_report.text(found)
