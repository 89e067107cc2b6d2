"""The chapter on speed: every step computes the network, and the page says what the code says."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lenet.compare import speed
from lenet.reference.distance import ratio
from lenet.reference.forward import reference
from parity.errors import UserError
from tests.helpers import one_line
from workshop.fast.__main__ import markdown
from workshop.fast.steps import STEPS, Measured, Step, measure

ROOT = Path(__file__).parents[2]
BY_TITLE = pytest.mark.parametrize("step", STEPS, ids=[step.title for step in STEPS])


@BY_TITLE
def test_every_step_is_the_network(step, params, digits):
    """Two digits, so that one taken for the other shows; from the loops down, to the rounding bound."""
    images = digits.images[:2]
    found = step.make(params)(images)
    assert found.shape == (2, 10)
    assert ratio(found, reference(params, images)["logits"]).max() <= 1


@BY_TITLE
def test_every_step_returns_an_array_of_its_own(step, params, digits):
    run = step.make(params)
    first = run(digits.images[:1])
    before = first.copy()
    run(digits.images[1:2])
    np.testing.assert_array_equal(first, before)


@BY_TITLE
def test_every_step_is_explained(step):
    assert len((step.make.__doc__ or "").splitlines()) >= 4


def test_steps_are_measured_in_order(params, digits, monkeypatch):
    monkeypatch.setattr(speed, "ROUND_SECONDS", 1e-4)
    monkeypatch.setattr(speed, "SETTLE_SECONDS", 0)
    doing: list[str] = []
    some = [replace(step, digits=2) for step in STEPS[3:]]
    found, limit = measure(params, digits, rounds=2, steps=some, progress=doing.append)
    assert [one.step for one in found] == some
    assert doing == [*(step.title for step in some), "round 1", "round 2"]
    assert limit > 0
    assert all(one.microseconds > 0 for one in found)


def test_a_step_that_computes_another_function_is_refused(params, digits):
    wrong = Step("wrong", 2, lambda params: lambda images: STEPS[3].make(params)(images) * np.float32(1.001))
    with pytest.raises(UserError, match="step 'wrong' computes another function") as refusal:
        measure(params, digits, rounds=1, steps=[wrong])
    one_line(refusal)


def without_figures(page: str) -> str:
    """The page with its measurements taken out: the line on the machine, and every number of a result."""
    page = re.sub(r"^Measured on .*?of matrices\.$", "", page, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"[\d,]*\d\.?\d*(?=×? \||× \||\s?µs$)", "#", page, flags=re.MULTILINE)


def test_the_page_of_the_docs_is_up_to_date_but_for_its_figures():
    page = (ROOT / "docs" / "fast.md").read_text(encoding="utf-8")
    found = [Measured(step, 10.0**number) for number, step in enumerate(STEPS)]
    new = markdown(found, limit=0.5, threads=1, rounds=5, plot="fast.svg")
    assert without_figures(page) == without_figures(new)


def test_the_table_divides_by_the_step_before_and_by_the_limit():
    found = [Measured(STEPS[0], 600.0), Measured(STEPS[1], 20.0)]
    page = markdown(found, limit=4.0, threads=2, rounds=5, plot="fast.svg")
    assert f"| 1. {STEPS[0].title} | {STEPS[0].digits} | 600 |  | 150× |" in page
    assert f"| 2. {STEPS[1].title} | {STEPS[1].digits} | 20.0 | 30.0× | 5.0× |" in page
    assert "2 threads" in page


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--markdown nowhere/fast.md", "cannot be written"),
        ("--plot nowhere/fast.svg", "cannot be written"),
        ("--plot fast.txt", "plots are written as png, svg, pdf"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_work(arguments, said):
    command = [sys.executable, "-m", "workshop.fast", *arguments.split()]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (1, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
