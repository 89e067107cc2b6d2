"""Lists the workshop's notebooks, and opens one in JupyterLab."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import webbrowser
from dataclasses import dataclass
from pathlib import Path

from parity.errors import UserError, install_line

ROOT = Path(__file__).parents[2]
TITLE = re.compile(r"^# (\d+)\W+(\w.*)$", re.MULTILINE)
QUESTION = re.compile(r"^\*\*Question\.?\*\*\W*(\w.*(?:\n.+)*)", re.MULTILINE)
MINUTES = re.compile(r"^\*\*Time\.?\*\*\D*(\d+)\D*minutes", re.MULTILINE)


@dataclass(frozen=True)
class Notebook:
    """A notebook with the facts in its first cell.

    Attributes:
        path: the file.
        number: the number, from 1.
        title, question: one line each.
        minutes: the time that a participant needs.
    """

    path: Path
    number: int
    title: str
    question: str
    minutes: int


def find(root: Path = ROOT) -> list[Notebook]:
    """All notebooks of the workshop, sorted by number.

    Raises:
        UserError: there is no workshop beside the package, or a notebook cannot be read.
    """
    paths = sorted((root / "workshop").glob("[0-9][0-9]_*.ipynb"))
    if not paths:
        raise UserError(
            "the workshop is not part of the installed package: run this in a clone of the repository, "
            "installed by pip install -e '.[workshop]'"
        )
    return [read(path) for path in paths]


def read(path: Path) -> Notebook:
    """Read the first cell of a notebook: `# N · Title`, `**Question.** …`, `**Time.** N minutes`.

    Raises:
        UserError: the file is no notebook, or its first cell lacks one of these.
    """
    try:
        source = json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"]
        text = source if isinstance(source, str) else "".join(source)
        found = [pattern.search(text) for pattern in (TITLE, QUESTION, MINUTES)]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{path}: no readable notebook ({error}); `git checkout` brings it back") from error
    title, question, minutes = found
    if not (title and question and minutes):
        raise UserError(f"{path}: its first cell must have a title, a question and a time in minutes")
    return Notebook(path, int(title[1]), title[2], " ".join(question[1].split()), int(minutes[1]))


def open_in_jupyter(notebook: Notebook, *, browser: bool = True) -> None:
    """Open the notebook in JupyterLab, and wait until the user ends it.

    Raises:
        UserError: JupyterLab or the kernel is not installed, or JupyterLab fails.
    """
    if lacking := [name for name in ("jupyterlab", "ipykernel") if importlib.util.find_spec(name) is None]:
        raise UserError(f"{' and '.join(lacking)} not installed: {install_line(*lacking)}")
    command = [sys.executable, "-m", "jupyterlab", str(notebook.path)]
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # in a container; JupyterLab refuses root otherwise
        command.append("--allow-root")
    if not (browser and browser_found()):
        command.append("--no-browser")
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    try:
        ended = subprocess.run(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)}, check=False)
    except KeyboardInterrupt:  # Ctrl-C, the usual way to end JupyterLab
        return
    if ended.returncode:
        raise UserError(f"JupyterLab ended with exit code {ended.returncode}; its messages are above")


def browser_found() -> bool:
    """Whether a browser can be opened. JupyterLab prints its address in any case."""
    try:
        webbrowser.get()
    except webbrowser.Error:
        print("no browser found: open the address that JupyterLab prints", file=sys.stderr)
        return False
    return True
