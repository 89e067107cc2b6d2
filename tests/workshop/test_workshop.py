"""The notebooks run as they are kept; solutions pass the self-checks, stubs wait, wrong answers fail.

Every test takes each notebook that is in the folder. A check cell holds `checks.NAME(ANSWER)`, the solution
`workshop/solutions/NN_name.py` defines ANSWER, and its WRONG gives answers that are not right:
{NAME: [(wrong answer, words of the explanation), ...]}.
"""

import ast
import importlib
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from lenet.show import notebooks
from tests.workshop.kernels import forked_kernels
from tests.workshop.notebooks import BOOKS, calls, cells, solution
from workshop import static, strip
from workshop.checks.marking import NotRight
from workshop.static import executed

ALONE = "12_geometry"  # imports every framework, in a kernel of its own, as a reader's notebooks do


def exercises(path: Path) -> Iterator[tuple[str, str]]:
    """(check, answer) of each `checks.NAME(ANSWER)` of a notebook."""
    for source in cells(path):
        for node in ast.walk(ast.parse(source)):
            match node:
                case ast.Expr(ast.Call(ast.Attribute(ast.Name("checks"), check), [ast.Name(answer)])):
                    yield check, answer


def judges(path: Path) -> Any:
    """The module that the notebook calls `checks`."""
    for source in cells(path):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if "checks" in (alias.name, alias.asname):
                        return importlib.import_module(f"{node.module}.{alias.name}")
    raise AssertionError(f"{path.name} imports no checks")


EXERCISES = [(path, *exercise) for path in BOOKS for exercise in exercises(path)]
WRONG = [
    (getattr(judges(path), check), wrong, words)
    for path in BOOKS
    for check, answers in solution(path).WRONG.items()
    for wrong, words in answers
]


def with_guesses(sources: list[str], answers: dict[str, tuple[Any, str]]) -> list[str]:
    """These cells, and after each with a reveal a cell that guesses right and prints the same reveal."""
    guesses, found = {}, []
    for source in sources:
        found.append(source)
        for call in calls(source, "guess"):
            name = ast.literal_eval(call.args[0])
            call.args[1] = ast.Constant(answers[name][0])
            guesses[name] = ast.unparse(call)
        for call in calls(source, "reveal"):
            lines = [guesses[str(keyword.arg)] for keyword in call.keywords]
            found.append("\n".join([*lines, f"print({ast.unparse(call)})"]))
    return found


def run(path: Path, folder: Path, cells: list[str]) -> str:
    """Execute cells in the notebook's folder, offline; all that they printed.

    Raises:
        CellExecutionError: a cell fails.
    """
    book = nbformat.v4.new_notebook()
    book.cells += [nbformat.v4.new_code_cell(source) for source in cells]
    environment = {**os.environ, "IPYTHONDIR": str(folder)}
    environment |= {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}  # nobody listens
    environment.pop("LENET_DATA", None)
    executed(book, path.parent, environment)
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    errors = [o.text for o in outputs if o.output_type == "stream" and o.name == "stderr"]
    assert not errors, f"{path.name} warns: {errors}"
    return "".join(o.text for o in outputs if o.output_type == "stream")


@pytest.fixture(scope="module")
def forked() -> Iterator[Callable[..., NotebookClient]]:
    """A client whose kernels share their imports."""
    with forked_kernels() as kernels:
        yield partial(NotebookClient, kernel_manager_class=kernels)


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_notebook_runs_as_it_is_kept_and_with_guesses(path, tmp_path, forked, monkeypatch):
    """Runs it as it is kept, with one more cell after each reveal: the right guesses, and the same reveal."""
    if path.stem != ALONE:
        monkeypatch.setattr(static, "NotebookClient", forked)
    answers = solution(path).ANSWERS
    printed = run(path, tmp_path, with_guesses(cells(path), answers))
    waiting = re.findall(r"^not yet: ", printed, re.MULTILINE)
    assert len(waiting) == len(list(exercises(path))) >= 1, printed
    for name in answers:
        assert f"{name}: write your guess in place of None" in printed
        (result,) = re.findall(rf"^\*\*{name}: .*", printed, re.MULTILINE)
        assert "**, right. " in f"{result} ", result


def test_a_reveal_without_its_guess_is_seen():
    with pytest.raises(KeyError, match="entries"):
        with_guesses(["predict.reveal(entries=3)"], {"entries": (3, "")})


@pytest.mark.slow
def test_a_notebook_that_fails_is_seen(tmp_path):
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        run(tmp_path / "broken.ipynb", tmp_path, ["1 / 0"])
    with pytest.raises(AssertionError, match="warns"):
        run(tmp_path / "loud.ipynb", tmp_path, ["import warnings", "warnings.warn('loud', stacklevel=1)"])


@pytest.mark.slow
@pytest.mark.parametrize(("path", "check", "answer"), EXERCISES, ids=lambda one: getattr(one, "stem", one))
def test_solution_passes_its_check(path, check, answer, capsys):
    getattr(judges(path), check)(getattr(solution(path), answer))
    assert capsys.readouterr().out.startswith("right: ")


@pytest.mark.parametrize(("path", "check", "answer"), EXERCISES, ids=lambda one: getattr(one, "stem", one))
def test_wrong_answers_of_every_check_are_known(path, check, answer):
    assert solution(path).WRONG[check]


@pytest.mark.parametrize(("check", "wrong", "words"), WRONG, ids=lambda one: getattr(one, "__name__", None))
def test_wrong_answer_is_explained_in_one_line(check, wrong, words):
    with pytest.raises(NotRight) as refusal, np.errstate(all="ignore"):
        check(wrong)
    assert words in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1
    assert refusal.value._render_traceback_() == [f"not right: {refusal.value}"]


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_notebook_is_kept_without_outputs(path):
    assert path.read_text(encoding="utf-8") == strip.stripped(path.read_text(encoding="utf-8")), (
        "python -m workshop.strip"
    )


def test_what_an_editor_leaves_is_stripped(tmp_path):
    book = nbformat.v4.new_notebook(metadata={"editor": "mine"})
    output = nbformat.v4.new_output("stream", text="42")
    book.cells = [nbformat.v4.new_code_cell("6 * 7", outputs=[output], execution_count=3, id="x1y2")]
    path = tmp_path / "01_mine.ipynb"
    nbformat.write(book, path)
    with pytest.raises(SystemExit, match="1"):
        strip.main([path])
    kept = nbformat.read(path, 4)
    assert (kept.cells[0].id, kept.cells[0].outputs, kept.cells[0].execution_count) == ("c01", [], None)
    assert "editor" not in kept.metadata
    with pytest.raises(SystemExit, match="0"):
        strip.main([path])


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_notebook_has_the_shape_of_all(path):
    book = notebooks.read(path)
    assert book.number == int(path.stem[:2])
    assert 20 <= book.minutes <= 40
    assert "# What stays when the framework goes" in cells(path, "markdown")[-1]
    assert sum(not any(calls(source, "guess")) for source in cells(path)) <= 16
