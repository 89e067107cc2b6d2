"""`python -m workshop.strip [FILE...]`: bring notebooks into the form in which they are kept.

Without outputs, counts and the traces of an editor, with cell ids c01, c02, …: what git shows of a change
is then the change. Without files: every notebook of the workshop.
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
    """Every notebook of the workshop, in order."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))


def stripped(text: str) -> str:
    """A notebook's text in the form in which it is kept."""
    book = nbformat.reads(text, as_version=4)
    book.metadata, book.nbformat_minor = nbformat.from_dict(METADATA), 5
    for number, cell in enumerate(book.cells, 1):
        cell.id, cell.metadata = f"c{number:02}", nbformat.from_dict({})
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.validate(book)
    return nbformat.writes(book) + "\n"


def main(paths: list[Path]) -> None:
    """Rewrite those that are not in that form; the exit code is 1 if there were any, as hooks have it."""
    changed = [path for path in paths if path.read_text("utf-8") != stripped(path.read_text("utf-8"))]
    for path in changed:
        write_atomically(path, stripped(path.read_text("utf-8")))
        print(f"stripped {path}")
    sys.exit(1 if changed else 0)


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]] or notebooks())
