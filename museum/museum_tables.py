"""The tables of the museum: for the terminal, and as the lines of docs/museum.md."""

from collections.abc import Iterable, Sequence
from dataclasses import fields

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lenet.diagnose import Verdict
from lenet.show.check_report import together
from lenet.show.originals import Originals
from lenet.show.tables import BAD, FAINT, GOOD, layers, new_table, ratio
from museum import recorded
from museum.caffe_training import Step
from museum.recorded import EXACT_DIGITS, LAYER_DIGITS, LOGIT_DIGITS
from museum.replay import Replay
from parity.command.terminal import shown as escaped

COLUMNS = ("recording", "original", ">year", ">error/\nbound", ">right", ">same\nbits", "verdict")
STEP_COLUMNS = (">step", ">rate", ">velocity\nerror/bound", ">weights\nerror/bound")


def rows(replays: Iterable[Replay]) -> list[list[str]]:
    """A row of strings for each recording, under COLUMNS."""
    return [
        [
            one.recording.name,
            f"{one.recording.origin.framework} {one.recording.origin.version}",
            str(one.recording.origin.released),
            ratio(one.report.worst_layer[1]),
            f"{one.report.accuracy:.1%}",
            f"{one.report.bits_equal:,}",
            one.verdict,
        ]
        for one in replays
    ]


def found_rows(replays: Iterable[Replay]) -> list[list[str]]:
    """A row for each recording in which something was found: its name, the mistakes and their layers."""
    return [[one.recording.name, causes(one)] for one in replays if one.causes]


def step_rows(steps: Iterable[Step]) -> list[list[str]]:
    """A row of strings for each of Caffe's training steps, under STEP_COLUMNS."""
    return [[str(one.number), f"{one.rate:.3g}", ratio(one.velocity), ratio(one.weights)] for one in steps]


def originals(replays: Iterable[Replay]) -> Originals:
    """What a page or a plot shows; the table has the recordings in `replays`."""
    replays = list(replays)
    every = [recorded.read_origin(name) for name in recorded.names()]
    found = dict(found_rows(replays))
    return Originals(
        ported=frozenset(one.port for one in every if one.port),
        others={f"{one.framework} {one.version}": one.released for one in every if not one.port},
        columns=[*plain(COLUMNS), "found"],
        rows=[[*row, found.get(row[0], "")] for row in rows(replays)],
    )


def plain(columns: Sequence[str]) -> list[str]:
    """Headings without what only the terminal needs."""
    return [name.removeprefix(">").replace("/\n", "/").replace("\n", " ") for name in columns]


def markdown(columns: Sequence[str], content: Iterable[list[str]]) -> str:
    """A table as lines of Markdown."""
    align = ["---:" if name.startswith(">") else "---" for name in columns]
    return "\n".join(f"| {' | '.join(row)} |" for row in [plain(columns), align, *content])


def overview(replays: list[Replay], steps: Iterable[Step], rule: Verdict) -> RenderableType:
    """All recordings, what was found in them, and Caffe's training steps."""
    table = new_table("the originals, recorded, judged as ports are", *COLUMNS)
    table.columns[0].no_wrap = True
    for name, original, *numbers, verdict in rows(replays):
        table.add_row(name, original.replace(" over", "\nover"), *numbers, coloured(verdict))
    found = Table.grid(padding=(0, 2))
    for name, said in found_rows(replays):
        found.add_row(Text(name, "bold"), said)
    trained = new_table("six training steps of Caffe, by its own rule", *STEP_COLUMNS)
    for row in step_rows(steps):
        trained.add_row(*row)
    seen = (
        f"Layers are of {LAYER_DIGITS} test digits, logits and accuracy of {LOGIT_DIGITS:,}; bits are of the "
        f"{EXACT_DIGITS * 10:,} logits of {EXACT_DIGITS} digits with exact weights."
    )
    told = f"By the rule of the other ports: {rule}."
    return Group(table, "", Text(seen, FAINT), "", found, "", trained, "", told, "")


def coloured(verdict: str) -> Text:
    """A verdict in its colour."""
    return Text(verdict, {"rounding": GOOD, "different": BAD}.get(verdict, "yellow"))


def causes(one: Replay) -> str:
    """What was found, in a line: "kernel flipped (conv1, conv2)"."""
    return "; ".join(f"{name} ({', '.join(where)})" for name, where in one.causes.items())


def detail(one: Replay) -> RenderableType:
    """A recording: where it comes from, every layer, and what was found."""
    origin = Table.grid(padding=(0, 2))
    for field in fields(one.recording.origin):
        value = getattr(one.recording.origin, field.name)
        shown = ", ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
        if value is not None and shown:
            origin.add_row(Text(field.name, FAINT), Text(escaped(shown), overflow="fold"))
    found = Table.grid(padding=(0, 2))
    for alike in together(one.found.findings):
        for finding in alike:
            found.add_row(Text(finding.where, "bold"), finding.evidence)
        for cause in alike[0].causes:
            found.add_row("", Text(cause.name, "bold"))
            found.add_row("", f"{cause.explanation} {cause.remedy}")
    heading = Text.assemble((f"{one.recording.name}: ", "bold"), coloured(one.verdict))
    return Group(heading, "", origin, "", layers(one.report), found, "")
