"""`--html`: a page that would overwrite another file is refused, and so is one without Jinja."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from parity.errors import install_line, pip
from tests.parity.command.pages import parity
from tests.parity.small import convolutions, normal, saved


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return saved(convolutions(2), tmp_path)


def test_a_page_beside_the_json_on_standard_output(path: Path, tmp_path: Path) -> None:
    result = parity(path, "--html", tmp_path / "page.html", "--json", "-")
    assert json.loads(result.stdout)["verdict"] == "rounding"
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_page_that_would_overwrite_what_is_read_is_refused(path: Path, tmp_path: Path) -> None:
    before = path.read_bytes()
    np.savez(tmp_path / "in.npz", x=normal(2, 3, 9, 9))
    (tmp_path / "link.html").symlink_to(path)
    for html in (path, tmp_path / "link.html", tmp_path / "in.npz"):
        result = parity(path, "--inputs", tmp_path / "in.npz", "--html", html)
        assert result.exit_code == 2
        assert f"{html.name} would overwrite what is judged" in result.stderr
    assert path.read_bytes() == before


def test_a_page_needs_a_file_of_its_own(path: Path, tmp_path: Path) -> None:
    same = tmp_path / "out", tmp_path / "no" / ".." / "out"
    (tmp_path / "no").mkdir()
    assert "into the same file" in parity(path, "--json", same[0], "--html", same[1]).stderr
    assert "needs the name of a file" in parity(path, "--html", "-").stderr
    assert not same[0].exists()


def test_without_jinja_the_line_that_installs_it_is_told(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("parity.command.page")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    result = parity(path, "--html", tmp_path / "page.html")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: jinja2 is not installed: {install_line('jinja2')}\n"
    assert install_line("jinja2") == f"{pip()} install 'lenet-migrations[page]'"
