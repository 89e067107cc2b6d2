"""Renders the page: one HTML file that asks for nothing else."""

import base64
import hashlib
import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from parity.command.page.charts import DECADES, HEIGHT
from parity.command.page.lanes import RADIUS, gutter
from parity.command.page.rows import ABSENT, INPUT, KINDS, counts, entries, stripes
from parity.command.report import explained, headline, short
from parity.command.terminal import shown
from parity.graph import Graph
from parity.judging.verdict import Report

HERE = Path(__file__).parent


def page(graph: Graph, report: Report, what: str) -> str:
    """The HTML of the page.

    Args:
        graph: the reference.
        report: the verdict on a candidate.
        what: a line on what was judged.
    """
    found = entries(graph, report)
    script = (HERE / "page.js").read_text(encoding="utf-8")
    first = next((one for one in found if report.first and report.first.tensor in one.outputs), None)
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            title=shown(graph.name),
            what=what,
            report=report,
            headline=headline(report),
            explained=[(line.strip(), (len(line) - len(line.lstrip())) // 2) for line in explained(report)],
            entries=found,
            first=first,
            counts=counts(found),
            places={one.node or one.name: one.number for one in found},
            wrong=sum(one.wrong for one in found),
            stripes=list(stripes(found)),
            gutter=gutter(one.row for one in found),
            kinds=KINDS,
            absent=ABSENT,
            input=INPUT,
            radius=RADIUS,
            decades=DECADES,
            bins_height=HEIGHT,
            style=(HERE / "page.css").read_text(encoding="utf-8"),
            script=script,
            digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )


def _environment() -> Environment:
    """Everything that a template writes is escaped: names come from files."""
    made = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"shown": shown, "short": short, "number": _number, "css": _css, "issue": _issue}
    return made


def _number(x: float) -> str:
    """Nine digits, which tell float32 values apart."""
    return f"{x:.9g}"


def _css(kind: str) -> str:
    """The name of a kind as a class."""
    return kind.replace(" ", "-")


def _issue(case: str) -> str | None:
    """The address of a report "owner/repository#number"; None if it is none."""
    found = re.fullmatch(r"([\w.-]+/[\w.-]+)#(\d+)", case)
    return f"https://github.com/{found[1]}/issues/{found[2]}" if found else None
