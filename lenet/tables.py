"""What the commands print: tables and sentences, made with rich."""

import re
from math import inf, isfinite

import numpy as np
from rich import box
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lenet.bench import Timing
from lenet.compare import Comparison, LayerReport, PortReport

GOOD, BAD, FAINT = "green", "bold red", "dim"


def comparison(result: Comparison) -> RenderableType:
    """One row per port and mode, and beneath it what the verdict means."""
    table = _table(
        f"{count(result.digits, 'MNIST test digit')} in {result.ports[0].dtype}, judged against float64",
        "port",
        "version",
        ">accuracy",
        ">same answers\nas reference",
        ">error/bound\nworst layer",
        ">end to\nend",
        "verdict",
    )
    for report in result.ports:
        same = f"{report.same_predictions:,}/{report.digits:,}"
        table.add_row(
            report.name.replace("/", "/\n"),  # exporter and runtime
            re.sub(r"\+[\w.]+", "", report.version).replace("/", "/\n"),  # without "+cpu" and the like
            f"{report.accuracy:.2%}",
            Text(same, "" if report.same_predictions == report.digits else BAD),
            *_worst(report),
            verdict(report),
        )
    return Group(table, "", explanation(result), "")


def layers(report: PortReport) -> RenderableType:
    """One row per layer of one port."""
    table = _table(
        f"{report.name}, layer by layer",
        "layer",
        ">largest\nerror",
        ">error/bound\nlocal",
        ">end to\nend",
        ">bit-equal\nvalues",
        ">largest distance\nin ulps",
        "verdict",
    )
    for name, layer in report.layers.items():
        table.add_row(
            name,
            f"{layer.max_abs_error:.2e}",
            ratio(layer.local_ratio),
            ratio(layer.end_to_end_ratio),
            f"{layer.bit_equal:.1%}",
            f"{layer.max_ulps:,}" if layer.max_ulps < 10**9 else f"{layer.max_ulps:.1e}",
            Text("different", BAD) if layer.different else Text("rounding", GOOD),
        )
    return Group(table, "")


def explanation(result: Comparison) -> RenderableType:
    """The verdicts in sentences: of all ports within rounding at once, of each other one by itself."""
    dtype = result.ports[0].dtype
    different = [report for report in result.ports if report.verdict == "different"]
    same = [report.name for report in result.ports if report.verdict == "rounding"]
    sentences = Table.grid(padding=(0, 2))
    if same:
        sentences.add_row(
            Text("rounding", GOOD),
            f"{', '.join(same) if different else 'every port'}: no value of any layer is further from the "
            f"exact one than {dtype} rounding can put it (error/bound at most 1): the same mathematics, "
            "added up in another order.",
        )
    for report in different:
        sentences.add_row(Text("different", BAD), f"{report.name}: {_why(report)}")
    sentences.add_row(
        Text("certified", "bold"),
        f"{result.certified:,} of {count(result.digits, 'digit')}: the best class leads by more than "
        f"rounding can take away, so that every right {dtype} implementation gives the same answer.",
    )
    return sentences


def verdict(report: PortReport) -> Text:
    """ "rounding" in green, or where it is different, in red."""
    if report.verdict == "rounding":
        return Text("rounding", GOOD)
    place = "in its outputs" if report.problem else f"at {report.first_different}"
    return Text(f"different {place}", BAD)


def ratio(value: float) -> str:
    """An error over its bound in few characters."""
    if not isfinite(value):
        return "∞"
    return f"{value:.3f}" if value < 100 else f"{value:,.0f}" if value < 1e7 else f"{value:.1e}"


def count(number: int, thing: str) -> str:
    """ "1 digit", "10,000 digits"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def strict_json(value: object) -> object:
    """`value` with null for what JSON has no number for: a NaN or an infinity."""
    if isinstance(value, dict):
        return {key: strict_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [strict_json(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def missing(ports: dict[str, str]) -> RenderableType:
    """Ports that were left out, and the line that installs each."""
    lines = [Text.assemble(("not run  ", "yellow"), problem, overflow="fold") for problem in ports.values()]
    return Group(*lines, "")


def ports(rows: list[tuple[str, str | None, str]]) -> RenderableType:
    """Each port: its name, its framework's version if that is installed, how to install it."""
    table = _table(None, "port", "installed", "how to install it")
    for name, version, install in rows:
        table.add_row(
            name,
            Text(version, GOOD) if version else Text("no", BAD),
            Text(install, FAINT if version else "", no_wrap=True),
        )
    return table


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax of each row of (N, 10) logits, in float64: e^(z − max z) / Σ e^(z − max z)."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def prediction(title: str, picture: Text, chances: dict[str, np.ndarray], notes: list[str]) -> RenderableType:
    """A digit's picture beside the probability (10,) that each port gives to each class."""
    table = _table(None, "class", *(f">{name}" for name in chances), "")
    guesses = {name: int(p.argmax()) for name, p in chances.items()}
    every = np.array(list(chances.values()))
    for digit, column in enumerate(every.T):
        table.add_row(
            str(digit),
            *(f"{p:.4%}" for p in column),
            "━" * round(10 * column.mean()),
            style=GOOD if digit in guesses.values() else FAINT,
        )
    answers = Table.grid(padding=(0, 2))
    answers.add_row("predicted", _guessed(guesses))
    if len(every) > 1:
        spread = (every.max(axis=0) - every.min(axis=0)).max()
        notes = [*notes, f"the ports' probabilities differ by at most {spread:.1e}"]
    for note in notes:
        answers.add_row("", note, style=FAINT)
    heading = Text(title, "bold", overflow="fold")
    return Group(heading, "", Columns([picture, table], padding=(0, 3)), "", answers, "")


def _guessed(guesses: dict[str, int]) -> Text:
    """What the ports answer, in one word if they agree."""
    agreed = set(guesses.values())
    if len(agreed) > 1:
        return Text(", ".join(f"{digit} by {name}" for name, digit in guesses.items()), BAD)
    by = "by every port" if len(guesses) > 1 else f"by {next(iter(guesses))}"
    return Text.assemble((str(agreed.pop()), f"bold {GOOD}"), f" {by}")


def _why(report: PortReport) -> str:
    if report.problem:
        return report.problem
    name = report.first_different
    layer = report.layers[name] if name else LayerReport()
    if layer.local_ratio <= 1 or layer.worst is None:
        return (
            f"the error that {name} ends with is {ratio(layer.end_to_end_ratio)} times its bound, although "
            "no layer by itself exceeds its own: its forward pass is not the one that shows the layers."
        )
    digit, index, found, expected = layer.worst
    return (
        f"{name} is another function. Digit {digit}, value {list(index)}: found {found:.7g}, "
        f"expected {expected:.7g}; that is {ratio(layer.local_ratio)} times what rounding can explain."
    )


def _worst(report: PortReport) -> tuple[str, str]:
    if not report.layers:
        return "—", "—"
    name, layer = max(report.layers.items(), key=lambda item: item[1].local_ratio)
    whole = max(layer.end_to_end_ratio for layer in report.layers.values())
    return f"{name} {ratio(layer.local_ratio)}", ratio(whole)


def _table(title: str | None, *columns: str) -> Table:
    """A table of these columns; ">" before a heading aligns it right; only the first and last may wrap."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for heading in columns:
        table.add_column(
            heading.removeprefix(">"),
            justify="right" if heading.startswith(">") else "left",
            no_wrap=heading not in (columns[0], columns[-1]),
            overflow="fold",
        )
    return table


def drift(names: list[str], distances: np.ndarray) -> RenderableType:
    """Distance from the reference run after a few of the steps, one column per port and dtype."""
    last = len(distances)
    shown = sorted({step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if step < last} | {last})
    columns = [">" + "\n".join(name.split()) for name in names]
    table = _table("largest distance of a weight from NumPy in float64, relative", ">step", *columns)
    for step in shown:
        table.add_row(str(step), *(f"{distance:.1e}" for distance in distances[step - 1]))
    return table


def timings(rows: list[Timing], threads: int) -> RenderableType:
    """One row per port, one column per task and batch size; the fastest of a column in green."""
    columns = list(dict.fromkeys((row.task, row.batch) for row in rows))
    names = [f">{task}\nbatch {batch}" for task, batch in columns]
    table = _table(f"microseconds per digit, {count(threads, 'thread')}", "port", *names)
    found = {(row.port, row.task, row.batch): row.microseconds for row in rows}
    fastest = {
        column: min(row.microseconds or inf for row in rows if (row.task, row.batch) == column)
        for column in columns
    }
    for port in dict.fromkeys(row.port for row in rows):
        cells = []
        for column in columns:
            time = found[port, *column]
            text = "-" if time is None else f"{time:,.0f}" if time >= 100 else f"{time:.1f}"
            cells.append(Text(text, GOOD if time == fastest[column] else ""))
        table.add_row(port, *cells)
    return table
