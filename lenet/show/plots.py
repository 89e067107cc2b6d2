"""Writes plots with matplotlib, in a size for a projector."""

import importlib.util
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lenet.compare.speed import Bench
from lenet.ports import FRAMEWORKS
from lenet.show.migrations import History
from lenet.show.originals import Originals, timeline_events
from parity.arithmetic import floats
from parity.errors import MissingFramework, UserError, install_line
from parity.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
# Matplotlib's ten colours, in the order of the registry. Brown is late: on a dark page it is near red.
TEN = [
    "#1f77b4",
    "#ff7f0e",
    "#2ca02c",
    "#d62728",
    "#9467bd",
    "#bcbd22",
    "#e377c2",
    "#7f7f7f",
    "#8c564b",
    "#17becf",
]
STYLES = ("-", "--", "-.", ":")  # of the modes of a framework


def color(port: str) -> str:
    """The colour of a port's framework, the same in every plot and on the page: "#1f77b4".

    A port that is not in the registry, as a file of timings may have, is black.
    """
    known, framework = list(FRAMEWORKS), port.partition(":")[0]
    return TEN[known.index(framework) % len(TEN)] if framework in known else "#000000"


def check_format(path: Path) -> None:
    """Refuse a plot that cannot be written, before any work is done.

    Raises:
        UserError: the suffix is not one of FORMATS; MissingFramework: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingFramework(f"a plot needs matplotlib: {install_line('matplotlib')}")
    if path.suffix.lstrip(".") not in FORMATS:
        raise UserError(f"{path}: plots are written as {', '.join(FORMATS)}; use one of these suffixes")


def drift(path: Path, names: list[str], distances: np.ndarray, drop: int | None) -> None:
    """Plot the distance from the reference run against the step, with a line for each port and dtype.

    Args:
        path: the file to write, in the format of its suffix.
        names: the names of the columns: "torch float32", …
        distances: (steps, len(names)), as in `lenet.ports.lockstep.Lockstep`.
        drop: the step before which the learning rate dropped; it is marked.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    steps = np.arange(1, len(distances) + 1)
    for name, column in zip(names, distances.T, strict=True):
        framework, dtype = name.split()
        axes.plot(
            steps,
            np.where(column > 0, column, np.nan),
            color=color(framework),
            linestyle="-" if dtype == "float32" else "--",
            linewidth=1 if ":" in framework else 2,
            label=name,
        )
    for dtype in sorted({name.split()[1] for name in names}):
        axes.axhline(floats.FORMATS[dtype].u, color="grey", linewidth=0.8)
        axes.annotate(
            f"u of {dtype}", (steps[-1], floats.FORMATS[dtype].u), ha="right", va="bottom", color="grey"
        )
    if drop is not None and drop < len(steps):
        axes.axvline(drop, color="grey", linewidth=0.8, linestyle=":")
        axes.annotate(
            "learning rate / 10",
            (drop, 1),
            (4, -4),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            va="top",
            color="grey",
        )
    axes.set(
        yscale="log",
        xlabel="SGD step",
        ylabel="largest relative distance of a weight",
        title="The same training run drifts apart by rounding alone",
    )
    axes.legend(loc="center right", frameon=False)
    _save(figure, path)


def losses(path: Path, names: list[str], found: np.ndarray) -> None:
    """Plot the loss against the step, with a line for each port, each thinner than the line below it.

    Args:
        path: the file to write, in the format of its suffix.
        names: the names of the columns.
        found: (steps, len(names)), as in `lenet.ports.lockstep.Lockstep`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    steps = np.arange(1, len(found) + 1)
    for i, (name, column) in enumerate(zip(names, found.T, strict=True)):
        framework, dtype = name.split()
        axes.plot(
            steps,
            column,
            color=color(framework) if dtype == "float32" else "black",
            linewidth=2 + 2 * (len(names) - 1 - i),
            label=name,
        )
    axes.set(
        xlabel="SGD step",
        ylabel="loss of the step's batch",
        title="The same run in every framework; the lines cover each other",
    )
    axes.legend(loc="upper right", frameon=False)
    _save(figure, path)


def timeline(path: Path, frameworks: Mapping[str, History], originals: Originals) -> None:
    """Plot the years in which frameworks appeared, starting with LeNet-5, each with its main idea.

    A diamond stands for an original that was recorded and has no port, in the year of the recorded version.

    Args:
        path: the file to write, in the format of its suffix.
        frameworks: {port: history of its framework}.
        originals: the frameworks that were recorded.
    """
    from matplotlib.figure import Figure

    events = timeline_events(frameworks, originals)
    figure = Figure(figsize=(9, 0.55 * len(events) + 0.6), layout="constrained")
    axes = figure.subplots()
    for row, event in enumerate(events):
        axes.plot([events[0].year, event.year], [row, row], color="0.85", linewidth=1, zorder=1)
        axes.scatter(
            event.year,
            row,
            s=60,
            color=color(event.port) if event.port else "black",
            marker="D" if event.recorded_alone else "o",
            zorder=2,
        )
        place = event.year, row
        axes.annotate(event.heading, place, (10, 2), textcoords="offset points", weight="bold")
        axes.annotate(event.told, place, (10, -10), textcoords="offset points", size=8, color="0.35")
    axes.set(xlim=(1997, 2029), ylim=(len(events) - 0.4, -0.6), yticks=[])
    axes.set_xticks(range(2000, 2021, 5))
    axes.spines[["left", "right", "top"]].set_visible(False)
    _save(figure, path)


def bench(path: Path, found: Bench) -> None:
    """Plot microseconds per digit against the batch size, a line for each port, a panel for each task.

    Args:
        path: the file to write, in the format of its suffix.
        found: the timings from `lenet.compare.speed.bench`.
    """
    from matplotlib.figure import Figure

    tasks = list(dict.fromkeys(row.task for row in found.timings))
    ports = list(dict.fromkeys(row.port for row in found.timings))
    figure = Figure(figsize=(11, 5.5), layout="constrained")
    panels = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    for axes, task in zip(panels, tasks, strict=True):
        for port in ports:
            modes = [one for one in ports if one.partition(":")[0] == port.partition(":")[0]]
            rows = [row for row in found.timings if (row.port, row.task) == (port, task)]
            axes.plot(
                [row.batch for row in rows],
                [np.nan if row.microseconds is None else row.microseconds for row in rows],
                color=color(port),
                linestyle=STYLES[modes.index(port) % len(STYLES)],
                linewidth=3 if port == "numpy:fast" else 1.5,
                marker="o",
                label=port,
            )
        axes.axhline(found.limit(task), color="grey", linestyle=":", label="limit: the arithmetic alone")
        sizes = sorted({row.batch for row in found.timings})
        axes.set(xscale="log", yscale="log", xlabel="digits in a batch", title=task)
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.minorticks_off()
    panels[0].set_ylabel("microseconds per digit")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    _save(figure, path)


def steps(path: Path, times: Mapping[str, float], limit: float) -> None:
    """Plot microseconds per digit for each step of the chapter on speed, as bars on a logarithmic axis.

    Args:
        path: the file to write, in the format of its suffix.
        times: {title of the step: microseconds}.
        limit: the time of the arithmetic alone.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.5 * len(times) + 1.2), layout="constrained")
    axes = figure.subplots()
    axes.barh(range(len(times)), list(times.values()), color="C0")
    for row, time in enumerate(times.values()):
        axes.annotate(f"{time:,.0f}", (time, row), (4, 0), textcoords="offset points", va="center")
    axes.axvline(limit, color="grey", linestyle=":", label="the arithmetic alone")
    axes.set(xscale="log", xlabel="microseconds per digit", xlim=(limit / 2, max(times.values()) * 5))
    axes.set_yticks(range(len(times)), list(times))
    axes.invert_yaxis()
    axes.spines[["right", "top"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
    _save(figure, path)


def _save(figure: "Figure", path: Path) -> None:
    content = io.BytesIO()
    kind = path.suffix.lstrip(".")
    figure.savefig(content, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    write_atomically(path, content.getvalue())
