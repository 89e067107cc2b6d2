"""The notebooks as web pages and slides: complete, and without anything from elsewhere."""

import ast
import os
import re
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lenet.show import notebooks
from tests.house.installed import PROJECT
from tests.workshop.notebooks import BOOKS, calls, cells, solution
from workshop import static
from workshop.elsewhere import Repository, repository

CODE = """
import base64
from IPython.display import Image, Markdown, display
print("so many")
display(Image(base64.b64decode("{png}")))
Markdown("**count: 3**, right: $\\kappa$.")
"""
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
ELSEWHERE = re.compile(r"""(?:src|href|import .* from )\s*=?\s*["'](?:https?:)?//[^"']*""")


@pytest.fixture(scope="module")
def book(tmp_path_factory) -> nbformat.NotebookNode:
    """A small notebook, executed."""
    made = new_notebook()
    made.metadata["title"] = "1 · Title"
    made.cells = [
        new_markdown_cell("# 1 · Title"),
        new_markdown_cell("## Loops\n\nThe sum is $\\sum_i x_i$.\n\n**Predict.** `$HOME` is $no$ code."),
        new_code_cell(CODE.replace("{png}", PNG)),
        new_code_cell("print('no figure')"),
        new_markdown_cell("## What stays when the framework goes"),
    ]
    folder = tmp_path_factory.mktemp("kernel")
    return static.executed(made, folder, {**os.environ, "IPYTHONDIR": str(folder)})


@pytest.mark.slow
def test_a_page_has_all_cells_outputs_and_formulas_and_needs_no_network(book):
    html = static.page(book)
    for part in ("so many", PNG[:60], "count: 3", "no figure", "<math", "<code>$HOME</code>"):
        assert part in html
    assert "<title>1 · Title</title>" in html
    assert ELSEWHERE.findall(html) == []
    assert "\\sum" not in html
    assert "\\kappa$" not in html.split("count: 3")[-1]


def test_slides_have_the_figures_and_results_alone(book):
    html = static.slides(book, "place/of/reveal")
    for part in ("<h1", "Loops", PNG[:60], "count: 3", "What stays", 'src="place/of/reveal/dist/reveal.js"'):
        assert part in html
    for part in ("so many", "no figure", "base64.b64decode"):
        assert part not in html
    assert html.count("<section >") + html.count("<section>") == 2 * 4  # a column of one slide each
    assert html.index("<strong>Predict.</strong>") < html.index("count: 3")
    assert ELSEWHERE.findall(html) == []


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_every_guess_is_filled_in(path):
    book = static.answered(nbformat.read(path, 4), solution(path).ANSWERS)
    kept, filled = (
        [call for text in texts for call in calls(text, "guess")]
        for texts in (cells(path), [cell.source for cell in book.cells if cell.cell_type == "code"])
    )
    assert len(kept) == len(filled)
    for call in filled:
        name, guess = map(ast.literal_eval, call.args[:2])
        assert guess == solution(path).ANSWERS[name][0]


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_every_formula_is_shown(path):
    for text in cells(path, "markdown"):
        shown = static.with_formulas(text)
        rest = re.sub(r"```.*?```|`[^`]*`", "", shown, flags=re.DOTALL)
        assert "$" not in rest
        assert "\\" not in rest


def test_what_is_code_is_no_formula():
    text = "`a$b` and `c$d`, $x$\n```\n$y$ $z$\n```"
    assert static.with_formulas(text).count("<math") == 1


@pytest.mark.parametrize(
    ("arguments", "said"), [(["{}", "99"], "there is no notebook 99"), (["{}/file/below"], "cannot be made")]
)
def test_what_cannot_be_written_is_refused_in_one_line(arguments, said, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(static, "pages", lambda *_: {})
    given = [argument.format(tmp_path) for argument in arguments]
    result = CliRunner().invoke(static.main, given)
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("https://github.com/me/my.project.git", Repository("me", "my.project")),
        ("git@github.com:me/project.git", Repository("me", "project")),
        ("https://github.com/me/project/", Repository("me", "project")),
        ("https://example.com/me/project", None),
        ("https://github.com/me/project/tree/main", None),
        ("", None),
    ],
)
def test_only_a_repository_on_github_is_linked(address, found):
    assert repository(address) == found


@pytest.mark.slow
def test_pages_link_to_binder_and_colab_and_colabs_notebook_installs_first(monkeypatch):
    monkeypatch.setattr(static, "executed", lambda made, folder: made)
    made = static.pages([notebooks.read(BOOKS[0])], "", lambda one: None, Repository("me", "project"))
    stem = BOOKS[0].stem
    assert set(made) == {f"{stem}.html", f"{stem}.slides.html", f"{stem}.ipynb"}
    assert (
        f"mybinder.org/v2/gh/me/project/HEAD?urlpath=lab/tree/workshop/{stem}.ipynb" in made[f"{stem}.html"]
    )
    assert (
        f"research.google.com/github/me/project/blob/gh-pages/workshop/{stem}.ipynb" in made[f"{stem}.html"]
    )
    first, *others = nbformat.reads(made[f"{stem}.ipynb"], 4).cells
    assert "git clone --quiet https://github.com/me/project project" in first.source
    (extras,) = re.findall(r"'project\[(.*?)\]'", first.source)
    assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()
    assert [cell.source for cell in others] == [cell.source for cell in nbformat.read(BOOKS[0], 4).cells]


@pytest.mark.slow
def test_the_command_writes_a_page_and_slides_for_each(tmp_path, monkeypatch, book):
    monkeypatch.setattr(static, "executed", lambda made, folder: made.update(cells=book.cells))
    result = CliRunner().invoke(static.main, [str(tmp_path / "made"), "1", "3"])
    assert result.exit_code == 0, result.output
    stems = [path.stem for path in (BOOKS[0], BOOKS[2])]
    assert {path.name for path in Path(tmp_path, "made").iterdir()} == {
        f"{stem}{end}" for stem in stems for end in (".html", ".slides.html")
    }
