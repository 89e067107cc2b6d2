"""Plots, as files: made with matplotlib, readable on a projector."""

import io
from pathlib import Path

import numpy as np

from lenet.errors import LenetError
from lenet.files import write_atomically
from lenet.rounding import unit_roundoff

FORMATS = ("png", "svg", "pdf")


def check_format(path: Path) -> None:
    """Refuse, before any work is done, a file name that says no format that can be written.

    Raises:
        LenetError: the suffix is not one of FORMATS.
    """
    if path.suffix.lstrip(".") not in FORMATS:
        raise LenetError(f"{path}: a plot is written as {', '.join(FORMATS)}; end the name in one of them")


def drift(path: Path, names: list[str], distances: np.ndarray, drop: int | None) -> None:
    """Distance from the reference run against the step, one line per port and dtype.

    Args:
        path: to write, in the format of its suffix.
        names: "torch float32", …, one per column.
        distances: (steps, len(names)), as `lenet.drift.drift` returns them.
        drop: the step before which the learning rate fell; marked.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    frameworks = list(dict.fromkeys(name.split()[0] for name in names))
    steps = np.arange(1, len(distances) + 1)
    for name, column in zip(names, distances.T, strict=True):
        framework, dtype = name.split()
        axes.plot(
            steps,
            np.where(column > 0, column, np.nan),
            color=f"C{frameworks.index(framework)}",
            linestyle="-" if dtype == "float32" else "--",
            linewidth=2,
            label=name,
        )
    for dtype in ("float32", "float64"):
        axes.axhline(unit_roundoff(dtype), color="grey", linewidth=0.8)
        axes.annotate(
            f"u of {dtype}", (steps[-1], unit_roundoff(dtype)), ha="right", va="bottom", color="grey"
        )
    if drop is not None and drop < len(steps):
        axes.axvline(drop, color="grey", linewidth=0.8, linestyle=":")
        axes.annotate("learning rate / 10", (drop, axes.get_ylim()[1]), ha="left", va="top", color="grey")
    axes.set(
        yscale="log",
        xlabel="SGD step",
        ylabel="largest distance of a weight, relative",
        title="The same training run, drifting apart by rounding alone",
    )
    axes.legend(loc="center right", frameon=False)
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix.lstrip("."), dpi=150)
    write_atomically(path, content.getvalue())
