"""Makes the tables and sentences that the commands print, with rich."""

import io
import re
from collections.abc import Mapping
from math import isfinite

import numpy as np
from rich import box
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from lenet.compare import Comparison, LayerReport, PortReport
from lenet.compare.finer_grids import Level
from lenet.compare.speed import Bench
from lenet.reference.certificate import RangeCertificate
from parity.command.terminal import shown as escaped

GOOD, FAIR, BAD, FAINT = "green", "yellow", "bold red", "dim"


def to_svg(content: RenderableType, title: str) -> str:
    """What a terminal of 100 columns shows, as a picture."""
    console = Console(
        record=True, width=100, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(content)
    return console.export_svg(title=title)


def comparison(result: Comparison) -> RenderableType:
    """A table with a row for each port and mode, and an explanation of the verdicts below it."""
    table = new_table(
        f"{count(result.digits, 'MNIST test digit')} in {result.ports[0].dtype}, judged against float64",
        "port",
        "version",
        ">accuracy",
        f">same\nanswers\nof {result.digits:,}",
        ">error/bound\nworst layer",
        f">same bits\nof {result.logits:,}",
        "verdict",
    )
    for report in result.ports:
        table.add_row(
            report.name.replace("/", "/\n"),  # exporter and runtime
            _version(report),
            f"{report.accuracy:.2%}",
            Text(f"{report.same_predictions:,}", "" if report.same_predictions == report.digits else BAD),
            _worst(report),
            "—" if report.bits_equal is None else f"{report.bits_equal:,}",
            verdict(report),
        )
    return Group(table, "", explanation(result), "")


def _version(report: PortReport) -> str:
    """The version without suffixes such as "+cpu"; several versions are on separate lines."""
    return re.sub(r"\+[\w.]+", "", report.version).replace("/", "/\n").replace(" ", "\n")


def layers(report: PortReport) -> RenderableType:
    """A table with a row for each layer of a port."""
    table = new_table(
        f"{report.name}, layer by layer",
        "layer",
        ">largest\nerror",
        ">error/bound\nlocal",
        ">end to\nend",
        ">bit-equal\nvalues",
        "verdict",
    )
    for name, layer in report.layers.items():
        table.add_row(
            name,
            f"{layer.max_abs_error:.2e}",
            ratio(layer.local_ratio),
            ratio(layer.end_to_end_ratio),
            f"{layer.bit_equal:.1%}",
            _layer_verdict(layer),
        )
    return Group(table, "")


def _layer_verdict(layer: LayerReport) -> Text:
    if layer.different:
        return Text("different", BAD)
    return Text("less accurate", FAIR) if layer.formula else Text("rounding", GOOD)


def explanation(result: Comparison) -> RenderableType:
    """The verdicts in sentences: one for all ports within rounding, and one for each other port."""
    dtype = result.ports[0].dtype
    same = [report.name for report in result.ports if report.verdict == "rounding"]
    sentences = Table.grid(padding=(0, 2))
    if same:
        who = ", ".join(same) if len(same) < len(result.ports) else "every port"
        sentences.add_row(
            Text("rounding", GOOD),
            f"{who}: every value of every layer is as near to the exact value as {dtype} rounding allows "
            "(error/bound at most 1). The ports compute the same function and differ only in the order "
            "of their sums.",
        )
    for report in result.ports:
        if report.verdict == "different":
            sentences.add_row(Text("different", BAD), f"{report.name}: {escaped(_why(report))}")
        if report.verdict == "less accurate":
            formulas = ", ".join(dict.fromkeys(report.formulas.values()))
            sentences.add_row(
                Text("less accurate", FAIR),
                f"{report.name}: {formulas}, at {', '.join(report.formulas)}. It is the same function, "
                "and every value is within the bound of this formula.",
            )
    sentences.add_row(
        Text("certified", "bold"),
        f"{result.certified:,} of {count(result.digits, 'digit')}: the best class leads by more than "
        f"rounding can change, so every right {dtype} implementation gives the same answer.",
    )
    for name, sentence in _bits(result).items():
        sentences.add_row(Text(name, "bold"), sentence)
    return sentences


def _bits(result: Comparison) -> dict[str, str]:
    """A sentence on the bits that the ports within rounding return with exact weights, if these were run."""
    asked = [r for r in result.ports if r.verdict == "rounding" and r.bits_equal is not None]
    others = [r for r in asked if r.bits_equal != result.logits]
    where = f"with exact weights, which make every {result.ports[0].dtype} sum exact,"
    if not asked:
        return {}
    if not others:
        every = "every port" if len(asked) == len(result.ports) else ", ".join(r.name for r in asked)
        return {
            "same bits": f"{every}, every digit, every bit: {where} all logits are equal to the last bit."
        }
    found = ", ".join(f"{r.name} ({r.bits_equal:,} of {result.logits:,})" for r in others)
    return {
        "other bits": f"{found}: {where} every right implementation of these sums returns the same bits. "
        "Here the arithmetic is another: operands with fewer bits, Winograd, or an FFT."
    }


def verdict(report: PortReport) -> Text:
    """ "rounding" in green, "less accurate" in yellow, or "different" with the place in red."""
    if report.verdict != "different":
        return Text(report.verdict, GOOD if report.verdict == "rounding" else FAIR)
    place = "in its outputs" if report.problem else f"at {report.first_different}"
    return Text(f"different {place}", BAD)


def ratio(value: float) -> str:
    """A ratio of error to bound, in a few characters."""
    if not isfinite(value):
        return "∞"
    return f"{value:.3f}" if value < 100 else f"{value:,.0f}" if value < 1e7 else f"{value:.1e}"


def count(number: int, thing: str) -> str:
    """ "1 digit", "10,000 digits"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def strict_json(value: object) -> object:
    """`value` with null in place of NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: strict_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [strict_json(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def missing(ports: dict[str, str]) -> RenderableType:
    """The ports that were not run, each with the command that installs it."""
    lines = [
        Text.assemble(("not run  ", "yellow"), escaped(problem), overflow="fold")
        for problem in ports.values()
    ]
    return Group(*lines, "")


def ports(rows: list[tuple[str, str, str | None, str]]) -> Table:
    """What there is of the ports.

    Args:
        rows: of each port its name, the package it runs in, the version if all that it needs is installed,
            and the extras that bring this.
    """
    table = new_table(None, "port", "runs in", "installed", "extras")
    table.columns[0].no_wrap = True  # a name is typed as it stands
    for name, package, version, extras in rows:
        table.add_row(
            name,
            package,
            Text(version, GOOD) if version else Text("no", BAD),
            Text(extras or "—", FAINT if version or not extras else ""),
        )
    return table


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax of each row of (N, 10) logits, in float64: e^(z − max z) / Σ e^(z − max z)."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def prediction(title: str, picture: Text, chances: dict[str, np.ndarray], notes: list[str]) -> RenderableType:
    """A digit's picture, and beside it the probabilities (10,) of the classes from each port."""
    table = new_table(None, "class", *(f">{name}" for name in chances), "")
    guesses = {name: int(p.argmax()) for name, p in chances.items()}
    every = np.array(list(chances.values()))
    for digit, column in enumerate(every.T):
        table.add_row(
            str(digit),
            *(f"{p:.4%}" for p in column),
            Text("━" * round(7 * column.mean()), no_wrap=True),
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
    """The ports' answers; a single answer if they agree."""
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
            f"the error of {name} is {ratio(layer.end_to_end_ratio)} times its bound from the image, but no "
            "layer exceeds its own bound: logits and layers come from different forward passes."
        )
    digit, index, found, expected = layer.worst
    return (
        f"{name} is another function. Digit {digit}, value {list(index)}: found {found:.7g}, "
        f"expected {expected:.7g}; the error is {ratio(layer.local_ratio)} times the rounding bound."
    )


def _worst(report: PortReport) -> str:
    if not report.layers:
        return "—"
    name, most = report.worst_layer
    return f"{name} {ratio(most)}"


def new_table(title: str | None, *columns: str) -> Table:
    """A table with these columns. ">" before a heading aligns it right; only the first and last may wrap."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        min_width=max(map(len, (title or "").splitlines()), default=None),  # or the title would fold
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
    """Tables of the distance from the reference run after some of the steps, for each dtype and its ports.

    Args:
        names: of each run, the port and its dtype: "tf float32".
        distances: (steps, runs).
    """
    last = len(distances)
    shown = sorted({step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if step < last} | {last})
    parts: list[RenderableType] = []
    for dtype in dict.fromkeys(name.split()[1] for name in names):
        runs = [i for i, name in enumerate(names) if name.split()[1] == dtype]
        title = f"{dtype}: largest distance of a weight from NumPy in float64, relative"
        table = new_table(title, ">step", *(">" + names[i].split()[0] for i in runs))
        for step in shown:
            table.add_row(str(step), *(f"{distances[step - 1, i]:.1e}" for i in runs))
        parts += [table, ""]
    return Group(*parts[:-1])


def bench(found: Bench) -> RenderableType:
    """A table for each task: a row for each port, a column for each batch size, the fastest port in green."""
    threads = count(found.threads, "thread")
    sizes = list(dict.fromkeys(row.batch for row in found.timings))
    parts: list[RenderableType] = []
    for task in dict.fromkeys(row.task for row in found.timings):
        times = {(row.port, row.batch): row.microseconds for row in found.timings if row.task == task}
        table = new_table(
            f"{task}: microseconds per digit, {threads}\n× fastest port, × limit",
            "port",
            *(f">batch\n{size:,}" for size in sizes),
        )
        for port in dict.fromkeys(row.port for row in found.timings):
            cells = [_timing(found, task, size, times[port, size]) for size in sizes]
            table.add_row(port.replace("/", "/\n"), *cells)
        table.add_row("limit", *[f"{found.limit(task):.1f}"] * len(sizes))
        parts += [table, ""]
    told = (
        "limit: the time of the arithmetic alone, as a large float32 product in NumPy's BLAS, "
        f"{found.gflops:.0f} GFLOP/s in this run."
    )
    return Group(*parts, told, "")


def steps(times: Mapping[str, float], limit: float, threads: int) -> RenderableType:
    """A table of the steps of the chapter on speed: microseconds per digit, and the ratio to the limit."""
    table = new_table(
        f"microseconds per digit, {count(threads, 'thread')}", "step", ">µs", ">× faster", ">× limit"
    )
    before = None
    for title, time in times.items():
        gain = "" if before is None else f"{_short(before / time)}×"
        table.add_row(title, _short(time), gain, f"{_short(time / limit)}×")
        before = time
    table.add_row("the arithmetic alone", _short(limit), "", "")
    return Group(table, "")


def _timing(found: Bench, task: str, batch: int, time: float | None) -> Text:
    if time is None:
        return Text("-")
    fastest, limit = found.fastest(task, batch), found.limit(task)
    text = f"{_short(time)}\n{_short(time / fastest)}× {_short(time / limit)}×"
    return Text(text, GOOD if time == fastest else "")


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}"


def certificate(found: RangeCertificate) -> RenderableType:
    """A table of the layers with sums: the bits that their sums can need, and the bits that are left."""
    table = new_table(
        "exact weights: the largest possible partial sums, over all images",
        "layer",
        ">multiples of",
        ">largest sum of\nmagnitudes, in\nthese multiples",
        ">bits",
        ">float32 has",
        ">left",
    )
    for entry in found.sums:
        table.add_row(
            entry.name,
            f"2^{entry.exponent}",
            f"{entry.bound:,}",
            f"{entry.bits:.2f}",
            str(entry.limit),
            Text(f"{entry.limit - entry.bits:.2f}", GOOD if entry.holds else BAD),
        )
    told = (
        "proven: no sum rounds, in any order, so every right implementation returns the same bits."
        if found.holds
        else f"not exact: {found.broken and found.broken.problem}"
    )
    return Group(table, "", told, "")


def finer(levels: list[Level], ports: list[str]) -> RenderableType:
    """A table of levels, each with more bits in the weights: the bits of the sums, and the differences."""
    table = new_table(
        f"the same weights with more bits, on {count(levels[0].certificate.digits, 'digit')}",
        ">bits\nadded",
        ">bits that\nsums need",
        "proven\nexact",
        "first forced\nrounding",
        f">logits of {levels[0].logits:,}\non which ports differ",
        "first difference",
    )
    for level in levels:
        apart = {name: found for name, found in level.apart.items() if found}
        name, first = next(iter(apart.items()), ("", None))
        table.add_row(
            f"+{level.bits}",
            f"{level.certificate.bits:.2f}",
            Text("yes", GOOD) if level.certificate.holds else Text("no", BAD),
            f"{level.forced.layer}, digit {level.forced.where[0]}" if level.forced else "none",
            f"{level.unequal:,}",
            f"{name} at {first.name}, digit {first.where[0]}" if first else "none",
        )
    told = (
        f"ports: {', '.join(ports)}. Each bit added to the weights adds a bit to the sums of each of five "
        "layers. Even where no rounding is forced, ports can differ by the order of their sums."
    )
    wrong = {name: (level, found) for level in reversed(levels) for name, found in level.wrong.items()}
    lines = [
        Text(
            f"{name} is another function: at +{level.bits} nothing can round, and {found.name} of digit "
            f"{found.where[0]} is not what the integers give.",
            BAD,
        )
        for name, (level, found) in wrong.items()
    ]
    return Group(table, "", told, *lines)
