"""Prints the tables of `lenet migrations`, and writes them as a page of Markdown."""

from rich.console import Group, RenderableType
from rich.text import Text

from lenet.network.architecture import FLOPS, PARAM_COUNT
from lenet.show.migrations import FILES, History, Migration
from lenet.show.tables import BAD, FAINT, GOOD, new_table

MISSING = "not installed"
COUNTED = (*FILES, "beside")  # NumPy's layers, Caffe's text files
Rows = list[list[str]]

# {heading: {column: field of Migration, Layouts or History}}
SECTIONS: dict[str, dict[str, str]] = {
    "Layout of the arrays": {
        "images": "images",
        "kernels": "kernels",
        "dense": "dense",
        "flatten": "flatten",
        "padding": "padding",
    },
    "Who computes gradients": {"gradients": "gradients"},
    "When the network exists as a graph": {"when": "graph"},
    "How parameters are held and updated": {"parameters": "parameters"},
    "The framework's own SGD": {"momentum": "momentum", "weight decay": "weight_decay"},
    "Default initialization": {"initialization": "initialization"},
}


def rows(found: list[Migration], columns: dict[str, str]) -> Rows:
    """A row for each port: its name, then the values of the columns."""
    return [[one.name, *(_value(one, field) for field in columns.values())] for one in found]


def _value(one: Migration, field: str) -> str:
    if field in History.__dataclass_fields__:
        return str(getattr(one.history, field))
    return getattr(one.layouts, field) if one.layouts else MISSING


def size_rows(found: list[Migration]) -> Rows:
    """Lines of code in each file, and in total."""
    return [
        [one.name, *(str(one.lines[file]) for file in COUNTED), str(sum(one.lines.values()))] for one in found
    ]


def invariant_rows(found: list[Migration]) -> Rows:
    """Values that must be the same in all ports: parameters, operations, logits."""
    return [
        [one.name, f"{one.parameters:,}", f"{FLOPS:,}", one.fingerprint[:16]]
        if one.parameters and one.fingerprint
        else [one.name, MISSING, "", ""]
        for one in found
    ]


SIZES = ["port", *COUNTED, "total"]
INVARIANT = ["port", "parameters", "operations per digit", "SHA-256 of 1,000 logits"]


def same(found: list[Migration]) -> bool:
    """Whether all ports that ran have the parameters of the table and the same fingerprint."""
    ran = [one for one in found if one.fingerprint]
    return len({one.fingerprint for one in ran}) <= 1 and all(one.parameters == PARAM_COUNT for one in ran)


def verdict(found: list[Migration]) -> str:
    """The result in a sentence."""
    if not same(found):
        return "NOT the same: `lenet compare` shows where."
    return "frameworks change, principles persist: one network, the same bits."


def render(found: list[Migration]) -> RenderableType:
    """The tables, for the terminal."""
    parts: list[RenderableType] = [Text("What changed", "bold underline"), ""]
    for heading, columns in SECTIONS.items():
        parts += [_rich(heading, ["port", *columns], rows(found, columns)), ""]
    parts += [_rich("Lines of code", SIZES, size_rows(found), numbers=True), ""]
    parts += [Text("What did not", "bold underline"), ""]
    parts += [_rich("With the same exact weights, on 100 digits", INVARIANT, invariant_rows(found)), ""]
    return Group(*parts, Text(verdict(found), GOOD if same(found) else BAD))


def _rich(title: str, headings: list[str], body: Rows, *, numbers: bool = False) -> RenderableType:
    made = new_table(title, headings[0], *(f">{name}" if numbers else name for name in headings[1:]))
    for row in body:
        made.add_row(*(Text(cell.replace("`", ""), FAINT if cell == MISSING else "") for cell in row))
    return made


def markdown(found: list[Migration]) -> str:
    """The page `docs/migrations.md`."""
    parts = [
        "# The migration, measured",
        "",
        "Written by `lenet migrations --markdown docs/migrations.md`. Layouts are measured by sending",
        "numbered arrays through each port's `weights.py`, lines are counted in the sources, logits are",
        "hashed. Other facts are in [history.toml](../lenet/show/migrations/history.toml), which tests check",
        "where possible.",
        "",
        "![a timeline from 1998 to today](timeline.svg)",
        "",
        "## What changed",
        "",
        *_md("Frameworks", ["port", "framework", "since", "by", "main idea"], _who(found)),
    ]
    for heading, columns in SECTIONS.items():
        parts += _md(heading, ["port", *columns], rows(found, columns))
    parts += _md("Lines of code, without comments and docstrings", SIZES, size_rows(found))
    parts += ["## What did not", ""]
    parts += _md("With the same exact weights, on 100 digits", INVARIANT, invariant_rows(found))
    return "\n".join([*parts, verdict(found).capitalize(), ""])


def _who(found: list[Migration]) -> Rows:
    return rows(found, {name: name for name in ("framework", "released", "by", "stood_for")})


def _md(title: str, headings: list[str], body: Rows) -> list[str]:
    lines = [f"| {' | '.join(cells)} |" for cells in (headings, ["---"] * len(headings), *body)]
    return [f"### {title}", "", *lines, ""]
