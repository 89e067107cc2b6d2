"""`parity probe`: every operator of a model by itself, on inputs that settle what it computes."""

import json
from collections.abc import Iterator, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parity.command.copies import within_limits
from parity.command.sources import DIM, FILE, JSON, RUNTIMES, TIMEOUT, is_one_of, read_graph
from parity.command.terminal import output, progress_bar, shortened, shown

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from parity.judging.probes import Finding, ProbeReport

ROWS = 12  # rows of the table, without --all
EXPLAINED = 5  # wrong operators whose causes are printed
STYLES = {"right": "green", "coarse": "red", "wrong": "red", "not probed": "yellow", "": "dim"}
HEADLINES = {
    "right": "Every operator that was probed computes the right function in full precision.",
    "coarse": "The right function in coarser arithmetic.",
    "wrong": "Not the same function.",
    "not probed": "Nothing was probed.",
}
ORDER = ("wrong", "coarse", "right")


@click.command("probe")
@click.argument("model", metavar="MODEL.onnx", type=FILE)
@click.option(
    "--runtime",
    type=click.Choice(RUNTIMES),
    metavar="NAME",
    default=RUNTIMES[0],
    help=f"What to probe: {', '.join(RUNTIMES)}. Default: {RUNTIMES[0]}.",
)
@DIM
@click.option("--all", "every", is_flag=True, help="Show all operators, not the worst alone.")
@JSON
@TIMEOUT
@click.pass_context
def probe(
    ctx: click.Context,
    model: Path,
    runtime: str,
    sizes: tuple[tuple[str, int], ...],
    every: bool,
    json_file: Path | None,
    timeout: float,
) -> None:
    """Probe every operator of MODEL.onnx in a runtime, one node at a time.

    Each node is run on small integers, for which nothing rounds: other bits are another function. Then on
    single products with all digits: lost digits are coarser arithmetic. Both hold whatever the number of
    products is. The weights of the model are not used.

    The exit code is 0 if every probed operator is right; 1 if one is wrong or coarse; 2 if nothing could
    be probed.
    """
    within_limits(str(model), timeout)
    from parity.files import check_writable, write_atomically

    to_stdout = json_file == Path("-")
    check_writable(None if to_stdout else json_file)
    if is_one_of(json_file, (model,)):
        raise click.UsageError(f"--json {shown(str(json_file))} would overwrite the model.")
    report = _probed(model, runtime, dict(sizes))
    text = json.dumps(report.to_json(), indent=2, allow_nan=False) + "\n"
    if to_stdout:
        click.echo(text, nl=False)
    else:
        console = output()
        console.print(rendered(report, runtime, console.width, every))
        if json_file is not None:
            write_atomically(json_file, text)
    ctx.exit(2 if not report.probed else 0 if report.right else 1)


def _probed(model: Path, runtime: str, sizes: dict[str, int]) -> "ProbeReport":
    with progress_bar() as bar:
        task = bar.add_task("reading", total=None)
        from parity.judging import probes
        from parity.record import record_onnx

        graph = read_graph(model, {}, sizes)
        bar.update(task, description=f"probing {runtime}", total=len(graph.nodes))
        return probes.probe(
            graph,
            lambda one, inputs: record_onnx(one, inputs, runtime),
            progress=lambda node: bar.advance(task),
        )


# --- what is printed ---------------------------------------------------------------------------


def rendered(report: "ProbeReport", runtime: str, width: int, every: bool = False) -> "RenderableType":
    """The output of `parity probe`: the table, then its explanation."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    probed = sorted((one for one in report.findings if one.probed), key=lambda one: ORDER.index(one.verdict))
    rows = probed if every else probed[:ROWS]
    parts: list[Any] = [Text(f"{runtime}, one node at a time"), Text("")]
    if rows:
        parts.append(_table(rows, width))
    if len(rows) < len(probed):
        parts.append(Text(f"and {len(probed) - len(rows)} more, none of them worse: --all shows them"))
    parts += [Text(""), Text(HEADLINES[report.verdict], style=f"bold {STYLES[report.verdict]}")]
    for line in explained(report):
        text = line.lstrip(" ")
        parts.append(Padding(Text(text), (0, 0, 0, len(line) - len(text)), expand=False))
    return Group(*parts)


def _table(rows: Sequence["Finding"], width: int) -> "Table":
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    made.add_column("node", no_wrap=True)
    for title in ("op", "semantics", "precision"):
        made.add_column(title, no_wrap=True)
    made.add_column("digits", justify="right", no_wrap=True)
    longest = max(width - 52, 10)
    for one in rows:
        more = f" +{len(one.nodes) - 1}" if len(one.nodes) > 1 else ""
        made.add_row(
            shortened(shown(one.nodes[0]), longest - len(more)) + more,
            shortened(shown(one.op), 18),
            *(Text(word or "-", style=STYLES[word]) for word in (one.semantics, one.precision)),
            digits(one),
        )
    return made


def digits(one: "Finding") -> str:
    """How many binary digits of a product are right, where some are lost."""
    return str(max(int(one.digits), 0)) if isfinite(one.digits) else ""


def explained(report: "ProbeReport") -> Iterator[str]:
    """Lines about what was found, and what was not looked at."""
    from parity.command.report import counted
    from parity.judging.probes.finding import LIMITS

    kinds = counted(sum(one.probed for one in report.findings), "kind")
    yield f"{counted(report.probed, 'node')} probed, of {kinds} (operator, attributes, shapes)."
    bad = [one for one in report.findings if one.verdict in ("wrong", "coarse")]
    for one in sorted(bad, key=lambda one: ORDER.index(one.verdict))[:EXPLAINED]:
        yield from _about(one)
    if len(bad) > EXPLAINED:
        yield f"and {len(bad) - EXPLAINED} more: the JSON has them"
    if report.not_probed:
        listed = ", ".join(f"{shown(op)} {count}×" for op, count in report.not_probed.items())
        yield f"Not probed: {listed}."
        reasons = {one.note: one for one in report.findings if not one.probed and one.note != "no probe"}
        for reason, one in list(reasons.items())[:3]:
            yield f"  {shown(one.nodes[0])} ({shown(one.op)}): {shown(reason)}"
    yield LIMITS


def _about(one: "Finding") -> Iterator[str]:
    """Lines about a wrong or a coarse operator."""
    from parity.command.report import causes
    from parity.judging.verdict import TensorReport

    what = "computes another function" if one.verdict == "wrong" else "is coarse"
    yield f"{shown(one.nodes[0])} ({shown(one.op)}) {what}."
    if one.worst is not None:
        yield f"  {one.worst}"
    if one.note:
        yield f"  {shown(one.note[0].upper() + one.note[1:])}."
    if one.worst is not None:
        name = one.nodes[0]
        blank = TensorReport(name, "node", one.op, verdict="different", causes=one.causes, clues=one.clues)
        yield from causes(blank)
