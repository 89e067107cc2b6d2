"""Colour and progress for a terminal alone; no traceback where a pipe is closed or shows few letters."""

import os
import re

import pytest

from tests.lenet.commands.running import ESCAPE, patched, terminal
from tests.prepared import COMMANDS, LENET, prepared

pytestmark = pytest.mark.slow

COLOURED = re.compile(r"\x1b\[[\d;]*(3[0-7]|38;[25];[\d;]*)m")


@pytest.mark.parametrize(
    "arguments",
    [
        "compare numpy --digits 60",
        "compare numpy --weights none",
        "diff torch tf --no-pager",
        "predict --digit 0 --port numpy",
    ],
)
def test_terminal_gets_colour_unless_told_otherwise(arguments):
    assert COLOURED.search(terminal(LENET, *arguments.split(), NO_COLOR=""))
    assert not COLOURED.search(terminal(LENET, *arguments.split(), NO_COLOR="1"))


def test_progress_is_shown_in_a_terminal_and_gone_at_the_end():
    seen = terminal(LENET, "compare", "numpy", "--digits", "300")
    assert "judging digits" in seen
    assert "judging digits" not in seen[seen.rindex("\x1b[2K") :]  # the line was erased after it


def test_diff_is_paged_in_a_terminal_and_plain_in_a_pipe(lenet):
    pager = "sed s/^/paged:/"
    assert "paged:" in terminal(LENET, "diff", "torch", "tf", PAGER=pager)
    assert "paged:" not in terminal(LENET, "diff", "torch", "tf", "--no-pager", PAGER=pager)
    plain = lenet("diff", "torch", "tf")
    assert (plain.returncode, plain.stderr) == (0, "")
    assert ESCAPE not in plain.stdout
    both = re.findall(r"^ *def (\w+)\(.*[ |] +def (\w+)\(", plain.stdout, re.MULTILINE)
    assert len(both) > 10
    assert all(left == right for left, right in both)


def test_diff_writes_a_page(lenet, tmp_path):
    result = lenet("diff", "numpy", "tf", "--html", "page.html")
    said = "page.html: numpy and tf; open it in a browser\n"
    assert (result.returncode, result.stdout, result.stderr) == (0, said, "")
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


def test_compare_draws_the_table_as_svg(lenet, tmp_path):
    result = lenet("compare", "numpy", "--digits", 60, "--svg", "table.svg")
    picture = (tmp_path / "table.svg").read_text()
    assert picture.startswith("<svg")
    assert "lenet&#160;compare" in picture or "lenet compare" in picture
    assert "of&#160;60" in picture
    assert "every digit, every bit" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    "arguments",
    ["compare numpy --digits 60", "compare numpy --digits 60 --json -", "diff torch tf", "ports", "--help"],
)
def test_closed_pipe_is_no_traceback(arguments, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        result = prepared(*COMMANDS).run(LENET, *arguments.split(), folder=tmp_path, output=closed)
    assert result.stderr == ""


@pytest.mark.parametrize("arguments", ["predict --digit 0 --port numpy", "diff torch tf"])
def test_output_that_cannot_show_a_letter_is_no_traceback(arguments, lenet):
    result = lenet(*arguments.split(), PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stderr) == (0, "")


def test_warnings_of_frameworks_do_not_reach_the_output(tmp_path):
    patch = (
        "import warnings, lenet.ports as p, lenet_numpy.port as n; real = n.Port._setup; "
        "n.Port._setup = lambda self: (warnings.warn('old', FutureWarning), real(self))"
    )
    arguments = ["compare", "numpy", "--digits", "60"]
    result = prepared(*COMMANDS).run(patched(patch), *arguments, folder=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
