"""Prints the verdict on a port, for `lenet check` and `lenet.testing`."""

from collections.abc import Iterable

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lenet.diagnose import Diagnosis, Finding
from lenet.diagnose.findings import DIFFERENT, LESS, VALID
from lenet.diagnose.own_file.process import Checked
from lenet.network.architecture import ACTIVATION_SHAPES, PARAM_SHAPES
from lenet.show.tables import BAD, FAINT, GOOD, count
from parity.command.terminal import shown

HEADINGS = {VALID: "choice", LESS: "cause"}  # of what is no mistake
COLUMNS = 80  # width of a report that is not for a terminal


def report(checked: Checked) -> RenderableType:
    """The verdict, each wrong place with its cause, and lists of what was judged and what was not."""
    parts: list[RenderableType] = [heading(checked), ""]
    if checked.verdict is not None:
        for alike in together(checked.verdict.findings):
            parts += [finding(alike, checked), ""]
    if checked.failure is not None:
        parts += [Padding(Text(shown(line)), (0, 0, 0, 2)) for line in checked.failure.lines] + [""]
    return Group(*parts, scope(checked), "")


def together(findings: Iterable[Finding]) -> list[list[Finding]]:
    """The findings, those with the same explanation together: it is printed once."""
    groups: dict[tuple, list[Finding]] = {}
    for one in findings:
        words = tuple(tuple(cause.name for cause in some) for some in (one.causes, *one.alternatives))
        groups.setdefault((one.verdict, words), []).append(one)
    return list(groups.values())


def text(checked: Checked) -> str:
    """`report` without colours, 80 columns wide."""
    console = Console(width=COLUMNS, color_system=None, markup=False, highlight=False, emoji=False)
    with console.capture() as captured:
        console.print(report(checked))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def heading(checked: Checked) -> Text:
    """The verdict in one line."""
    first = checked.verdict.first if checked.verdict and not checked.verdict.ok else None
    said = Text(f"{shown(checked.source)}: ", "bold", overflow="fold")
    if first:
        verdict = checked.verdict.summary if checked.verdict else ""
        said.append(f"{verdict} at {first}", BAD if verdict == DIFFERENT else "yellow")
    if checked.failure is not None:
        during = checked.failure.during
        said.append(f"{', and ' if first else ''}failed {'at' if during == 'import' else 'in'} {during}", BAD)
    if checked.summary == "ok":
        said.append("ok", f"bold {GOOD}")
        said.append(f", the same network up to {checked.observed.dtype} rounding")
    return said


def finding(alike: list[Finding], checked: Checked) -> RenderableType:
    """Wrong places with one explanation: the evidence, the mistake and its remedy."""
    rows, first = _rows(), alike[0]
    for one in alike:
        rows.add_row(Text(one.where, BAD if one.verdict == DIFFERENT else "yellow"), one.evidence)
        for clue in one.clues:
            rows.add_row("", clue)
    if first.verdict == DIFFERENT and not first.known:
        rows.add_row("mistake", Text("unknown: no mistake of the catalogue gives these values", "bold"))
        rows.add_row("", _from_own_input(first.where, checked))
    for index, causes in enumerate((first.causes, *first.alternatives)):
        for number, cause in enumerate(causes):
            heading = "and" if number else "or" if index else HEADINGS.get(first.verdict, "mistake")
            _explain(rows, heading, cause, "" if len(alike) > 1 else first.where)
    if first.verdict == VALID:
        rows.add_row("", "This is a valid choice, no mistake; the remedy makes it the one made here.")
    if first.apart:
        rows.add_row("told apart", f"by {first.apart}")
    return rows


def _from_own_input(where: str, checked: Checked) -> str:
    """A sentence about the place of an unknown mistake."""
    layers = ["the images", *checked.judged["layers"]]
    if where not in layers:
        return ""
    before = layers[layers.index(where) - 1]
    own = "the images that it was given" if before == "the images" else f"the {before} that it returned"
    return f"{where} is wrong even from the port's own input: {own}."


def _explain(rows: Table, heading: str, cause: Diagnosis, where: str) -> None:
    places = "" if not where or cause.where == (where,) else f" ({', '.join(cause.where)})"
    rows.add_row(heading, Text(f"{cause.name}{places}", "bold"))
    rows.add_row("", cause.explanation)
    rows.add_row("remedy", cause.remedy)
    if cause.case:
        rows.add_row("reported", Text(cause.case, overflow="fold"))


def scope(checked: Checked) -> RenderableType:
    """Lists of what was judged, and of what was not with the reason, and notes."""
    rows = _rows()
    rows.add_row(Text("judged", FAINT), ", ".join(_judged(checked)) or "nothing")
    for why, names in checked.unjudged.items():
        rows.add_row(Text("not judged", FAINT), f"{', '.join(names)}: {why}")
    for note in (*(checked.verdict.notes if checked.verdict else ()), *checked.notes):
        rows.add_row(Text("note", "yellow"), shown(note))
    return rows


def _judged(checked: Checked) -> Iterable[str]:
    judged = checked.judged
    for what, thing in (("layers", "layer"), ("gradients", "gradient")):
        names, every = judged[what], ACTIVATION_SHAPES if what == "layers" else PARAM_SHAPES
        if names:
            few = f" ({', '.join(names)})" if len(names) <= 3 else f" of {len(every)}"
            yield count(len(names), thing) + ("" if len(names) == len(every) else few)
        if what == "layers" and judged["loss"]:
            yield "loss"
    if judged["steps"]:
        yield f"{judged['steps']} training steps"


def _rows() -> Table:
    rows = Table.grid(padding=(0, 2))
    rows.add_column(min_width=10, no_wrap=True)
    rows.add_column(overflow="fold")
    return rows
