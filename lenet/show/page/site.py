"""The pages published with the report: sources side by side, migrations, the workshop."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from lenet.show import side_by_side
from lenet.show.migrations import ROOT, Migration, folders, migrate
from lenet.show.migrations import migration_tables as tables
from parity.errors import UserError

ASSETS = Path(__file__).parent / "assets"
WORKSHOP = ROOT / "workshop"


def pairs() -> list[tuple[str, str]]:
    """Pairs of frameworks: each with its successor in history, and the pair most people move between."""
    return [*pairwise(folders()), ("torch", "tf")]


@dataclass(frozen=True)
class Link:
    """A cell of a table that leads to another page of the site."""

    text: str
    href: str


def pages(folder: Path, progress: Callable[[str], None] = lambda doing: None) -> dict[str, tuple[str, str]]:
    """{file name: (title, HTML)}. Runs the installed frameworks.

    Args:
        folder: of the site; pages of notebooks that `workshop.static` wrote into its `workshop` are linked.
        progress: called with a line before each part of the work.
    """
    found = {}
    for a, b in pairs():
        progress(f"comparing {a} and {b}")
        found[f"{a}-{b}.html"] = f"{a} → {b}", side_by_side.to_html(side_by_side.compare_folders(a, b), a, b)
    migrations = []
    for name in folders():
        progress(f"running {name}")
        migrations.append(migrate(name))
    found["migrations.html"] = "migrations, measured", _migrations(migrations)
    if lessons := workshop(folder):
        parts = [("", *filled(["file", "title", "with outputs", "figures"], lessons))]
        found["workshop.html"] = "the workshop", _page("The workshop", "", parts)
    return found


def count() -> int:
    """The number of calls of `progress` by `pages`."""
    return len(pairs()) + len(folders())


def workshop(folder: Path) -> list[list[str | Link]]:
    """The notebooks and READMEs of the workshop, with their titles; empty in an installed package.

    Args:
        folder: of the site, in which pages and slides of notebooks may be.
    """
    files = sorted([*WORKSHOP.glob("*.ipynb"), *WORKSHOP.rglob("*.md")])

    def link(text: str, file: str) -> Link | str:
        return Link(text, file) if (folder / file).is_file() else ""

    return [
        [
            str(path.relative_to(ROOT)),
            heading(path),
            link("page", f"workshop/{path.stem}.html"),
            link("slides", f"workshop/{path.stem}.slides.html"),
        ]
        for path in files
    ]


def filled(columns: list[str], rows: list[list[str | Link]]) -> tuple[list[str], list[list[str | Link]]]:
    """The columns, and the cells of each row, without the columns that are empty in every row."""
    kept = [i for i in range(len(columns)) if any(row[i] for row in rows)]
    return [columns[i] for i in kept], [[row[i] for i in kept] for row in rows]


def heading(path: Path) -> str:
    """The first Markdown heading of a text or a notebook; "" if there is none."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        try:
            cells = json.loads(text)["cells"]
            text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: not a notebook; restore it") from error
    return next((line.lstrip("# ") for line in text.splitlines() if line.startswith("#")), "")


def make_folder(path: Path) -> None:
    """Create the folder of the site.

    Raises:
        UserError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be made ({error.strerror}); choose another place") from error


def _migrations(found: list[Migration]) -> str:
    parts = [(one.heading, one.columns, one.rows) for one in tables.sections(found)]
    return _page("The migration, measured", tables.verdict(found).capitalize(), parts)


def _page(
    title: str, told: str, parts: Sequence[tuple[str, list[str], Sequence[Sequence[str | Link]]]]
) -> str:
    style, script = (
        (ASSETS / name).read_text(encoding="utf-8") for name in ("report.css", "scripts/hints.js")
    )
    template = side_by_side.templates().get_template("tables.html.jinja")
    return template.render(title=title, told=told, parts=parts, style=style, script=script)
