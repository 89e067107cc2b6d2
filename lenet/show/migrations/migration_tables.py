"""The tables of `lenet migrations`: made once, then shown in the terminal, as Markdown, and on a page."""

from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.text import Text

from lenet.network.architecture import FLOPS, PARAM_COUNT
from lenet.show.migrations import FILES, History, Migration
from lenet.show.tables import BAD, FAINT, GOOD, new_table

MISSING = "not installed"
COUNTED = (*FILES, "beside")  # NumPy's layers, Caffe's text files
CHANGED, UNCHANGED = "What changed", "What did not"

# {heading: {column: field of Migration, Layouts or History}}
FACTS: dict[str, dict[str, str]] = {
    "Frameworks": {"framework": "framework", "since": "released", "by": "by", "main idea": "stood_for"},
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


@dataclass(frozen=True)
class Section:
    """A table: a row for each port, its name first.

    Attributes:
        part: CHANGED or UNCHANGED.
        numbers: whether all columns but the first are numbers.
    """

    part: str
    heading: str
    columns: list[str]
    rows: list[list[str]]
    numbers: bool = False


def sections(found: list[Migration]) -> list[Section]:
    """All tables, in order."""
    facts = [
        Section(
            CHANGED,
            heading,
            ["port", *columns],
            [[one.name, *(_value(one, field) for field in columns.values())] for one in found],
        )
        for heading, columns in FACTS.items()
    ]
    sizes = [
        [one.name, *(str(one.lines[file]) for file in COUNTED), str(sum(one.lines.values()))] for one in found
    ]
    invariant = [
        [one.name, f"{one.parameters:,}", f"{FLOPS:,}", one.fingerprint[:16]]
        if one.parameters and one.fingerprint
        else [one.name, MISSING, "", ""]
        for one in found
    ]
    counted, columns = ["port", *COUNTED, "total"], ["port", "parameters", "operations per digit"]
    return [
        *facts,
        Section(CHANGED, "Lines of code, without comments and docstrings", counted, sizes, numbers=True),
        Section(
            UNCHANGED,
            "With the same exact weights, on 100 digits",
            [*columns, "SHA-256 of 1,000 logits"],
            invariant,
        ),
    ]


def _value(one: Migration, field: str) -> str:
    if field in History.__dataclass_fields__:
        return str(getattr(one.history, field))
    return getattr(one.layouts, field) if one.layouts else MISSING


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
    parts: list[RenderableType] = []
    for part, tables in _in_parts(found):
        parts += [Text(part, "bold underline"), ""]
        for one in tables:
            parts += [_rich(one), ""]
    return Group(*parts, Text(verdict(found), GOOD if same(found) else BAD))


def _in_parts(found: list[Migration]) -> list[tuple[str, list[Section]]]:
    tables = sections(found)
    return [(part, [one for one in tables if one.part == part]) for part in (CHANGED, UNCHANGED)]


def _rich(one: Section) -> RenderableType:
    first, *others = one.columns
    made = new_table(one.heading, first, *(f">{name}" if one.numbers else name for name in others))
    for row in one.rows:
        made.add_row(*(Text(cell.replace("`", ""), FAINT if cell == MISSING else "") for cell in row))
    return made


def markdown(found: list[Migration]) -> str:
    """The page `docs/migrations.md`."""
    lines = [
        "# The migration, measured",
        "",
        "Written by `lenet migrations --markdown docs/migrations.md`. Layouts are measured by sending",
        "numbered arrays through each port's `weights.py`, lines are counted in the sources, logits are",
        "hashed. Other facts are in each port's `about.toml`, which tests check where possible.",
        "",
        "![a timeline from 1998 to today](timeline.svg)",
        "",
    ]
    for part, tables in _in_parts(found):
        lines += [f"## {part}", ""]
        for one in tables:
            rows = (one.columns, ["---"] * len(one.columns), *one.rows)
            lines += [f"### {one.heading}", "", *(f"| {' | '.join(row)} |" for row in rows), ""]
    return "\n".join([*lines, verdict(found).capitalize(), ""])
