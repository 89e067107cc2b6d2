"""Makes the tables that `lenet export` prints."""

from collections import Counter

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from export.check import Ran, Verdict
from export.onnx_file import metadata, opset_in
from export.runtimes import RUNTIMES
from export.write import Written
from lenet.network.architecture import ACTIVATION_SHAPES
from lenet.show.tables import BAD, FAINT, GOOD, ratio
from parity.command.terminal import shown


def exports(files: list[Written]) -> RenderableType:
    """A table of the exporters' files for the same network, side by side."""
    table = _table("", *(file.path.name for file in files))
    one = files[0].model
    versions = f"ONNX opset {opset_in(one)}, IR version {one.ir_version}"
    table.title = f"One network, {versions}, in {files[0].path.parent}"
    rows = {
        "made by": [metadata(file.model)["exporter"].replace(", ", "\n") for file in files],
        "export took": [f"{file.seconds:.1f} s" for file in files],
        "size": [f"{file.model.ByteSize():,} bytes" for file in files],
        "nodes": [str(file.operators.total()) for file in files],
    }
    for operator in dict.fromkeys(name for file in files for name in file.operators):
        rows[f"  {operator}"] = [str(file.operators[operator] or "—") for file in files]
    rows["no layer's"] = [_counted(file.added) for file in files]
    rows["weights read back"] = ["bit for bit" for _ in files]  # otherwise there would be no file
    for runtime in RUNTIMES:
        rows[f"error/bound, {runtime}"] = [_worst(file.verdict.ran.get(runtime)) for file in files]
    for name, values in rows.items():
        table.add_row(name, *values)
    notes = Table.grid(padding=(0, 2))
    for runtime, line in RUNTIMES.items():
        if line.note:
            notes.add_row(runtime, line.note, style=FAINT)
    return Group(table, "", notes, "")


def verdict(found: Verdict) -> RenderableType:
    """The findings on a file, with a row for each matched layer, and the verdict."""
    table = _table("layer", "tensor in the file", *found.ran)
    table.title = shown(found.source)
    for layer in ACTIVATION_SHAPES:
        place = found.reading.places.get(layer)
        ratios = [_judged(ran.local.get(layer)) for ran in found.ran.values()]
        table.add_row(layer, shown(place.tensor) if place else Text("not matched", FAINT), *ratios)
    ends = [_judged(ran.end_to_end) for ran in found.ran.values()]
    table.add_row("logits, end to end", "", *ends)
    lines = Table.grid(padding=(0, 2))
    for text in found.header:
        lines.add_row(Text("header", BAD), shown(text))
    if found.reading.problem:
        lines.add_row(Text("graph", BAD), shown(str(found.reading.problem)))
    for name, text in found.weights.items():
        lines.add_row(Text("weights", BAD), f"{name}: {text}")
    for runtime, ran in found.ran.items():
        if ran.problem:
            lines.add_row(Text("run", BAD), shown(f"{runtime}: {ran.problem}"))
    answer = Text("different" if found.different else "same", BAD if found.different else GOOD)
    lines.add_row(answer, shown(found.summary))
    note = "error over the rounding bound, given the weights in the file; at most 1 is rounding"
    return Group(table, Text(note, FAINT), "", lines)


def _judged(value: float | None) -> Text:
    if value is None:
        return Text("—", FAINT)
    return Text(ratio(value), GOOD if value <= 1 else BAD)


def _worst(ran: Ran | None) -> str:
    if ran is None:
        return "not installed"
    layer = max(ran.local, key=lambda name: ran.local[name])
    return f"{ratio(ran.local[layer])} at {layer}"


def _counted(nodes: Counter[str]) -> str:
    return "\n".join(f"{operator} {count}" for operator, count in nodes.items()) or "nothing"


def _table(*columns: str) -> Table:
    table = Table(
        title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False
    )
    for heading in columns:
        table.add_column(heading, overflow="fold")
    return table
