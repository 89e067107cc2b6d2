"""Renders the page as HTML from the collected data."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from lenet.compare.speed import Bench
from lenet.network.architecture import ACTIVATION_SHAPES, FLOPS, LAYERS, PARAM_COUNT, PARAM_SHAPES, Layer
from lenet.ports import FRAMEWORKS
from lenet.ports.lockstep import Lockstep
from lenet.show import plots
from lenet.show.migrations import ROOT, Layouts, folders, history
from lenet.show.originals import RECORDED, Originals, timeline_events
from lenet.show.page import arrays, code, drawing
from lenet.show.page.collect import Report, Training
from lenet.show.page.web import HOW, Runtime
from lenet.show.side_by_side import templates
from lenet.show.tables import ratio, strict_json
from parity.operators.affine import Conv, Gemm
from parity.operators.shape import Flatten

ASSETS = Path(__file__).parent / "assets"
# In this order: a script uses what those before it define.
SCRIPTS = ("values", "loop", "paint", "stations", "sums", "numbers", "bug", "choose", "draw", "hints")
USUAL = ("numpy", "jax")  # the pair shown first, if it differs


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
            script="\n".join(script(name) for name in SCRIPTS),
            data=script_json(data(report)),
            arrays=arrays.pack(report.values),
            weights=arrays.pack_weights(report.params),
            stations=drawing.stations(),
            layers=[(layer, drawing.describe(layer)) for layer in LAYERS],
            ports=names,
            color=plots.color,
            axes=lambda name, layer: axes(report.layouts.get(name), layer),
            written=folders(),
            history=history(),
            called=code.called,
            file_of=lambda name: code.network(name).relative_to(ROOT).as_posix(),
            pairs=code.pairs([name for name in shown if name in folders()]),
            parameters=PARAM_COUNT,
            flops=FLOPS,
            ratio=ratio,
            plots=pictures(report.training, bench),
            originals=originals,
            events=timeline_events(history(), originals),
            recorded=RECORDED,
            apart=apart(report.training),
            untrained={name: why for name in shown if (why := FRAMEWORKS[name].forward_only)},
            bench=bench,
            onnx=base64.b64encode(onnx).decode(),
            web=web,
            how=HOW,
            links=links or {},
        )
    )


def data(report: Report) -> dict[str, Any]:
    """The data for the script; `comparison` is the JSON of `lenet compare`."""
    names = [one.name for one in report.comparison.ports]
    a, b, layer = first_pair(names, report.values.ports)
    return {
        "layers": [
            {"name": layer.name, "shape": ACTIVATION_SHAPES[layer.name], **drawing.to_compute(layer)}
            for layer in LAYERS
        ],
        "parameters": PARAM_SHAPES,
        "ports": names,
        "colors": {name: plots.color(name) for name in names},
        "first": {"layer": layer, "a": a, "b": b},
        "digits": [one.to_json() for one in report.shown],
        "comparison": report.comparison.to_json(),
    }


def script(name: str) -> str:
    """The text of a script of the page."""
    return (ASSETS / "scripts" / f"{name}.js").read_text(encoding="utf-8")


def first_pair(names: Sequence[str], values: np.ndarray) -> tuple[str, str, str]:
    """The pair of ports shown first, and the first layer in which it differs.

    It is `USUAL`, or else the first pair whose values differ; the first and the last port if none does.

    Args:
        names: the ports.
        values: (ports, digits, VALUES), as in `arrays.Values`.
    """
    pairs = sorted(combinations(names, 2), key=lambda pair: pair != USUAL)
    for a, b in pairs:
        differs = (values[names.index(a)] != values[names.index(b)]).any(axis=0)
        if differs.any():
            return a, b, arrays.layer_at(int(differs.argmax()))
    return names[0], names[-1], LAYERS[0].name


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


def pictures(training: Training | None, bench: Bench | None) -> dict[str, str]:
    """{name: plot as a data: URL of an SVG}."""
    found = {}
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
