"""`python -m workshop.strip [FILE...]`: bring notebooks into the form for git.

Removes outputs, execution counts and editor metadata, and sets cell ids c01, c02, …, so that a diff shows
only real changes. Without files, it does so for all notebooks of the workshop.
"""

import sys
from pathlib import Path

import nbformat

from parity.files import write_atomically

FOLDER = Path(__file__).parent
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def notebooks() -> list[Path]:
    """All notebooks of the workshop, in order."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))


def stripped(text: str) -> str:
    """A notebook's text in the form for git."""
    book = nbformat.reads(text, as_version=4)
    book.metadata, book.nbformat_minor = nbformat.from_dict(METADATA), 5
    for number, cell in enumerate(book.cells, 1):
        cell.id, cell.metadata = f"c{number:02}", nbformat.from_dict({})
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.validate(book)
    return nbformat.writes(book) + "\n"


def main(paths: list[Path]) -> None:
    """Rewrite notebooks that are not in this form. As for a hook, the exit code is 1 if there were any."""
    changed = [path for path in paths if path.read_text("utf-8") != stripped(path.read_text("utf-8"))]
    for path in changed:
        write_atomically(path, stripped(path.read_text("utf-8")))
        print(f"stripped {path}")
    sys.exit(1 if changed else 0)


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]] or notebooks())
