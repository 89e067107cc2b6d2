"""Renders the page as HTML from the collected data."""

import base64
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lenet.compare.speed import Bench
from lenet.network.architecture import ACTIVATION_SHAPES, FLOPS, LAYERS, PARAM_COUNT, Layer
from lenet.ports.lockstep import Lockstep
from lenet.show import plots
from lenet.show.migrations import Layouts, folders, history
from lenet.show.originals import RECORDED, Originals
from lenet.show.page import arrays, code, drawing
from lenet.show.page.collect import Report, Training
from lenet.show.page.web import HOW, Runtime
from lenet.show.side_by_side import templates
from lenet.show.tables import ratio, strict_json
from parity.operators.affine import Conv, Gemm
from parity.operators.shape import Flatten

ASSETS = Path(__file__).parent / "assets"


def page(
    report: Report,
    bench: Bench | None,
    onnx: bytes,
    web: Runtime | None,
    originals: Originals,
    links: Mapping[str, str] | None = None,
) -> str:
    """The complete HTML.

    Args:
        report: the collected data.
        bench: timings from a file of `lenet bench --json`; without these, the page shows how to make them.
        onnx: the network as an ONNX file, for drawn digits.
        web: onnxruntime-web; without it, the page shows how to get it.
        originals: the recorded originals.
        links: {address: title} of pages published with this page.
    """
    names = [one.name for one in report.comparison.ports]
    shown = list(dict.fromkeys(name.partition(":")[0] for name in names))
    return (
        templates()
        .get_template("report.html.jinja")
        .render(
            report=report,
            style=(ASSETS / "report.css").read_text(encoding="utf-8"),
            script=(ASSETS / "report.js").read_text(encoding="utf-8"),
            data=script_json(data(report)),
            arrays=arrays.pack(report.values),
            stations=drawing.stations(),
            layers=[(layer, drawing.describe(layer)) for layer in LAYERS],
            drawing=(ASSETS / "draw.js").read_text(encoding="utf-8"),
            ports=names,
            beside=("torch", "tf") if {"torch", "tf"} <= set(names) else (names[0], names[-1]),
            axes=lambda name, layer: axes(report.layouts.get(name), layer),
            written=folders(),
            history=history(),
            called=code.called,
            pairs=code.pairs([name for name in shown if name in folders()]),
            parameters=PARAM_COUNT,
            flops=FLOPS,
            ratio=ratio,
            plots=pictures(report.training, bench, originals),
            originals=originals,
            recorded=RECORDED,
            apart=apart(report.training),
            bench=bench,
            onnx=base64.b64encode(onnx).decode(),
            web=web,
            how=HOW,
            links=links or {},
        )
    )


def data(report: Report) -> dict[str, Any]:
    """The data for the script; `comparison` is the JSON of `lenet compare`."""
    return {
        "layers": [
            {"name": layer.name, "shape": ACTIVATION_SHAPES[layer.name], "sums": layer.affine}
            for layer in LAYERS
        ],
        "ports": [one.name for one in report.comparison.ports],
        "digits": [one.to_json() for one in report.shown],
        "comparison": report.comparison.to_json(),
    }


def script_json(value: object) -> str:
    """JSON that is safe inside a <script>: it contains no "<"."""
    return json.dumps(strict_json(value), allow_nan=False).replace("<", "\\u003c")


def axes(layouts: Layouts | None, layer: Layer) -> str:
    """The order of axes that the framework uses for a layer; "" if it was not run."""
    if layouts is None:
        return ""
    match layer.operator:
        case Conv():
            return f"{layouts.images}, kernels {layouts.kernels}"
        case Gemm():
            return layouts.dense
        case Flatten():
            return layouts.flatten
    return layouts.images if len(ACTIVATION_SHAPES[layer.name]) == 3 else "as they are"


def apart(training: Training | None) -> tuple[float, float, float] | None:
    """The first and last loss of the training run, and the largest difference between two ports' losses."""
    if training is None:
        return None
    losses = training.run.losses
    return float(losses[0, 0]), float(losses[-1, 0]), float((losses.max(axis=1) - losses.min(axis=1)).max())


def pictures(training: Training | None, bench: Bench | None, originals: Originals) -> dict[str, str]:
    """{name: plot as a data: URL of an SVG}."""
    found = {"timeline": _svg(lambda path: plots.timeline(path, history(), originals))}
    if training is not None:
        run: Lockstep = training.run
        everybody = ["numpy float64", *training.names]
        found["losses"] = _svg(lambda path: plots.losses(path, everybody, run.losses))
        found["drift"] = _svg(lambda path: plots.drift(path, training.names, run.distances, None))
    if bench is not None:
        found["bench"] = _svg(lambda path: plots.bench(path, bench))
    return found


def _svg(draw: Callable[[Path], None]) -> str:
    with TemporaryDirectory() as folder:
        draw(path := Path(folder, "plot.svg"))
        return "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode()
