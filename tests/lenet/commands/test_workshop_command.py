"""`lenet workshop` lists the notebooks and opens one in JupyterLab."""

import json
import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from lenet.commands.cli import cli
from lenet.show import notebooks
from parity.errors import UserError, install_line, pip
from tests.helpers import one_line
from tests.workshop.notebooks import BOOKS


def test_command_lists_every_notebook():
    text = " ".join(CliRunner().invoke(cli, ["workshop", "--list"], terminal_width=200).output.split())
    for path in BOOKS:
        assert f"{notebooks.read(path).minutes}" in text
    assert len(notebooks.find()) == len(BOOKS)


@pytest.fixture
def started(monkeypatch) -> list[list[str]]:
    """Command lines, instead of processes."""
    lines: list[list[str]] = []

    def run(command: list[str], **options: Any) -> SimpleNamespace:
        assert options["env"] == os.environ | {"PYTHONPATH": f"{notebooks.ROOT}{os.pathsep}theirs"}
        assert options.keys() == {"env", "check"}
        assert not options["check"]
        lines.append(command)
        return SimpleNamespace(returncode=0)

    monkeypatch.setenv("PYTHONPATH", "theirs")
    monkeypatch.setattr(notebooks.subprocess, "run", run)
    monkeypatch.setattr(notebooks.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(notebooks.webbrowser, "get", lambda: None)
    monkeypatch.setattr(notebooks.os, "geteuid", lambda: 1000)
    return lines


def test_command_opens_the_notebook(started):
    assert CliRunner().invoke(cli, ["workshop", "1"]).exit_code == 0
    assert started == [[sys.executable, "-m", "jupyterlab", str(BOOKS[0])]]
    assert CliRunner().invoke(cli, ["workshop", "1", "--no-browser"]).exit_code == 0
    assert started[1][-1] == "--no-browser"


def test_in_a_container_jupyter_is_told_that_root_is_meant(started, monkeypatch):
    monkeypatch.setattr(notebooks.os, "geteuid", lambda: 0)
    assert CliRunner().invoke(cli, ["workshop", "1"]).exit_code == 0
    assert started[0][-1] == "--allow-root"


def test_without_a_browser_the_address_is_asked_for(started, monkeypatch):
    def nothing() -> None:
        raise notebooks.webbrowser.Error("none")

    monkeypatch.setattr(notebooks.webbrowser, "get", nothing)
    found = CliRunner().invoke(cli, ["workshop", "1"])
    assert found.stderr == "no browser found: open the address that JupyterLab prints\n"
    assert started[0][-1] == "--no-browser"


def test_without_jupyter_the_command_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(notebooks.importlib.util, "find_spec", lambda name: None)
    found = CliRunner().invoke(cli, ["workshop", "1"])
    assert (found.exit_code, found.stdout) == (1, "")
    assert found.stderr.splitlines() == [
        f"error: jupyterlab and ipykernel not installed: {pip()} install 'lenet-migrations[workshop]'"
    ]


def test_what_is_missing_is_told_alone(monkeypatch):
    monkeypatch.setattr(notebooks.importlib.util, "find_spec", {"jupyterlab": 1}.get)
    with pytest.raises(UserError) as refusal:
        notebooks.open_in_jupyter(notebooks.read(BOOKS[0]))
    assert str(refusal.value) == f"ipykernel not installed: {install_line('ipykernel')}"


def test_without_a_path_of_their_own_there_is_ours_alone(started, monkeypatch):
    paths = []

    def run(command: list[str], env: dict[str, str], check: bool) -> SimpleNamespace:
        paths.append(env["PYTHONPATH"])
        return SimpleNamespace(returncode=0)

    monkeypatch.delenv("PYTHONPATH")
    monkeypatch.setattr(notebooks.subprocess, "run", run)
    notebooks.open_in_jupyter(notebooks.read(BOOKS[0]))
    assert paths == [str(notebooks.ROOT)]


def test_ctrl_c_is_how_jupyter_is_ended(started, monkeypatch):
    def run(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(notebooks.subprocess, "run", run)
    assert CliRunner().invoke(cli, ["workshop", "1"]).exit_code == 0


def test_jupyter_that_fails_is_told(started, monkeypatch):
    monkeypatch.setattr(notebooks.subprocess, "run", lambda *args, **options: SimpleNamespace(returncode=3))
    said = "error: JupyterLab ended with exit code 3; its messages are above\n"
    assert CliRunner().invoke(cli, ["workshop", "1"]).stderr == said


def test_unknown_number_is_refused():
    found = CliRunner().invoke(cli, ["workshop", "99"])
    assert found.exit_code == 2
    assert "no notebook 99" in found.stderr


def test_wheel_without_the_folder_is_told(tmp_path):
    with pytest.raises(UserError) as refusal:
        notebooks.find(tmp_path)
    assert one_line(refusal) == (
        "the workshop is not part of the installed package: run this in a clone of the repository, "
        "installed by pip install -e '.[workshop]'"
    )


FIRST = ["# 3 · A title\n", "\n", "**Question.** Why\n", "so?\n", "\n", "**Time.** About 25 minutes\n"]


@pytest.mark.parametrize("source", [FIRST, "".join(FIRST)], ids=["lines", "text"])
def test_the_first_cell_of_a_notebook_says_what_it_is(source, tmp_path):
    (tmp_path / "workshop").mkdir()
    other = ["# 1 · Another\n", "**Question** Which?\n\n", "**Time** 5 minutes"]
    for name, first in (("03_b", source), ("01_a", other), ("no_number", "")):
        cells = [{"source": first}, {"source": "# 9 · No\n**Question.** Not\n\n**Time.** 9 minutes"}]
        (tmp_path / "workshop" / f"{name}.ipynb").write_text(json.dumps({"cells": cells}), encoding="utf-8")
    first, third = notebooks.find(tmp_path)
    assert (first.number, first.title, first.question, first.minutes) == (1, "Another", "Which?", 5)
    path = tmp_path / "workshop" / "03_b.ipynb"
    assert third == notebooks.Notebook(path, 3, "A title", "Why so?", 25)


LACKING = "its first cell must have a title, a question and a time in minutes"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "",
            "no readable notebook (Expecting value: line 1 column 1 (char 0)); `git checkout` brings it back",
        ),
        ("{}", "no readable notebook ('cells'); `git checkout` brings it back"),
        ("[]", "no readable notebook (list indices must be integers or slices, not str); `git checkout` bri"),
        ('{"cells": [{"source": "# 1 · no question\\n**Time.** 1 minutes"}]}', LACKING),
        ('{"cells": [{"source": "# 1 · no time\\n**Question.** what"}]}', LACKING),
        ('{"cells": [{"source": "**Question.** what\\n\\n**Time.** 1 minutes"}]}', LACKING),
    ],
)
def test_damaged_notebook_is_refused(text, said, tmp_path):
    path = tmp_path / "01_damaged.ipynb"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as refusal:
        notebooks.read(path)
    assert one_line(refusal).startswith(f"{path}: {said}")
