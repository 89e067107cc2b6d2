"""The notebooks on somebody else's machine: links to Binder and Colab, and Colab's first cell."""

import re
import subprocess
from copy import deepcopy
from dataclasses import dataclass

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from lenet.show import notebooks

GITHUB = re.compile(r"^(?:https://github\.com/|git@github\.com:)([\w.-]+)/([\w.-]+?)(?:\.git)?/?$")
EXTRAS = "workshop,flax,history,export"


@dataclass(frozen=True)
class Repository:
    """A copy of this repository on GitHub.

    Attributes:
        owner, name: as in https://github.com/OWNER/NAME.
        branch: the branch on which the site is published, with Colab's notebooks in `workshop`.
    """

    owner: str
    name: str
    branch: str = "gh-pages"

    def links(self, stem: str) -> str:
        """Markdown with a link to each, for a notebook's name without its ending."""
        binder = f"https://mybinder.org/v2/gh/{self.owner}/{self.name}/HEAD"
        colab = f"https://colab.research.google.com/github/{self.owner}/{self.name}/blob/{self.branch}"
        return (
            f"[open on Binder]({binder}?urlpath=lab/tree/workshop/{stem}.ipynb) · "
            f"[open in Colab]({colab}/workshop/{stem}.ipynb)"
        )

    def for_colab(self, book: NotebookNode) -> NotebookNode:
        """The notebook with a first cell that installs the project."""
        place = f"https://github.com/{self.owner}/{self.name}"
        lines = [
            f"!git clone --quiet {place} project",
            f"!pip install --quiet --constraint project/constraints.txt --editable 'project[{EXTRAS}]'",
            "%cd project/workshop",
        ]
        made = deepcopy(book)
        made.cells.insert(0, new_code_cell("\n".join(lines), id="c00"))
        return made


def repository(address: str) -> Repository | None:
    """The repository at an address as git has it; None if it is not on GitHub."""
    found = GITHUB.match(address)
    return Repository(found[1], found[2]) if found else None


def origin() -> str:
    """The address from which this repository was cloned; "" if there is none."""
    command = ["git", "-C", str(notebooks.ROOT), "remote", "get-url", "origin"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # no git
        return ""
