"""Figures of the notebooks, readable on a projector and without colour vision.

from workshop import figures

figures.style()
figures.pictures({"the image": x, "the kernel": w})
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

# M. Okabe and K. Ito, "Color Universal Design", 2008, without yellow, which is hard to see on white.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, RED, PINK = "#0072B2", "#D55E00", "#CC79A7"
COLOURS = (BLUE, RED, GREEN, ORANGE, PINK, SKY, BLACK)
DASHES = ("-", "--", "-.", ":")  # a different dash for each curve, visible without colours

STYLE = {
    "figure.figsize": (11, 5),
    "figure.dpi": 80,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "font.size": 16,
    "axes.titlesize": 16,
    "axes.labelsize": 16,
    "xtick.labelsize": 14,
    "ytick.labelsize": 14,
    "legend.fontsize": 14,
    "legend.frameon": False,
    "axes.prop_cycle": plt.cycler(color=COLOURS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "lines.linewidth": 2.5,
    "lines.markersize": 8,
    "image.cmap": "gray_r",  # ink on paper
    "image.interpolation": "nearest",
}


def style() -> None:
    """Use this style for all later figures."""
    plt.style.use(STYLE)


def pictures(
    named: Mapping[str, np.ndarray], *, columns: int | None = None, signed: bool = False, height: float = 3.2
) -> None:
    """Show arrays (H, W) as pictures side by side, each with its name as title.

    Args:
        columns: the number of pictures in a row; by default all.
        signed: blue below zero, white at zero, red above, scaled for each picture; otherwise dark ink on
            white paper.
        height: the height of a row, in inches.
    """
    columns = columns or len(named)
    rows = -(-len(named) // columns)
    _, grid = plt.subplots(rows, columns, figsize=(height * 0.9 * columns, height * rows), squeeze=False)
    for axes in grid.flat[len(named) :]:
        axes.axis("off")
    for axes, (name, array) in zip(grid.flat, named.items(), strict=False):
        picture(axes, array, name, signed=signed)
    plt.show()


def picture(axes: Axes, array: np.ndarray, title: str = "", *, signed: bool = False) -> None:
    """Show an array (H, W) as a picture without ticks."""
    if signed:
        limit = float(np.abs(array).max()) or 1.0
        axes.imshow(array, cmap="RdBu_r", vmin=-limit, vmax=limit)
    else:
        axes.imshow(array, vmin=min(0.0, float(array.min())))  # white is zero
    axes.set_title(title)
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set(visible=True, color="#999999")


def curves(
    axes: Axes,
    x: np.ndarray,
    named: Mapping[str, np.ndarray],
    *,
    labels: tuple[str, str],
    log: str = "",
    title: str = "",
) -> None:
    """Draw curves over a common x, with different colours and dashes, and a legend.

    Args:
        labels: the labels of the two axes, with units.
        log: the logarithmic axes: "", "x", "y" or "xy".
    """
    for k, (name, y) in enumerate(named.items()):
        axes.plot(x, y, label=name, color=COLOURS[k % len(COLOURS)], linestyle=DASHES[k % len(DASHES)])
    for axis in log:
        getattr(axes, f"set_{axis}scale")("log")
    axes.set(xlabel=labels[0], ylabel=labels[1], title=title)
    axes.legend()


def graph(
    x: np.ndarray,
    named: Mapping[str, np.ndarray],
    *,
    labels: tuple[str, str],
    log: str = "",
    title: str = "",
    ticks: bool = False,
) -> None:
    """Show curves over a common x in a figure of their own; the arguments are those of `curves`.

    Args:
        ticks: whether to mark the values of x themselves on its axis.
    """
    _, axes = plt.subplots()
    curves(axes, x, named, labels=labels, log=log, title=title)
    if ticks:
        axes.set_xticks(x, x)
    plt.show()


def graphs(
    panels: Mapping[str, tuple[np.ndarray, Mapping[str, np.ndarray]]],
    *,
    labels: tuple[str, str],
    log: str = "",
    limits: tuple[float, float] | None = None,
    level: float | None = None,
) -> None:
    """Show curves in panels side by side, with one scale for all.

    Args:
        panels: {title: (x, curves)}.
        labels, log: as for `curves`.
        limits: the limits of the vertical axis.
        level: where a thin horizontal line is drawn.
    """
    _, grid = plt.subplots(1, len(panels), figsize=(6.5 * len(panels), 5.5), sharey=True, squeeze=False)
    for axes, (title, (x, named)) in zip(grid.flat, panels.items(), strict=True):
        curves(axes, x, named, labels=labels, log=log, title=title)
        if limits:
            axes.set_ylim(*limits)
        if level is not None:
            axes.axhline(level, color=BLACK, linewidth=1)
    plt.show()


def scans(panels: Mapping[str, tuple[np.ndarray, np.ndarray]], *, label: str, level: float) -> None:
    """Show shares between 0 and 1 in panels side by side: {label of x: (x, shares)}.

    Args:
        label: the label of the shares.
        level: where a dotted line is drawn, the share that chance gives.
    """
    _, grid = plt.subplots(1, len(panels), figsize=(14, 5), sharey=True, squeeze=False)
    for k, (axes, (name, (x, y))) in enumerate(zip(grid.flat, panels.items(), strict=True)):
        axes.plot(x, y, "os"[k % 2] + DASHES[k % len(DASHES)], color=COLOURS[k])
        axes.axhline(level, color=BLACK, linewidth=1.5, linestyle=":")
        axes.text(x[0], level + 0.02, "chance", fontsize=14)
        axes.set(xlabel=name, ylim=(0, 1.05), xticks=x[:: len(x) // 4])
    grid[0, 0].set_ylabel(label)
    plt.show()


def bars(
    groups: Sequence[str],
    named: Mapping[str, Sequence[float]],
    *,
    label: str,
    title: str = "",
    log: bool = False,
    limits: tuple[float, float] | None = None,
    mark: tuple[float, str] | None = None,
) -> None:
    """Show bars: a group for each name of `groups`, in it a bar for each of `named`.

    Args:
        label: the label of the bars' height.
        limits: the limits of the height.
        mark: a height with a dashed line, and the text above it.
    """
    _, axes = plt.subplots(figsize=(13, 5))
    for k, (name, heights) in enumerate(named.items()):
        places = np.arange(len(groups)) + 0.8 / len(named) * (k - (len(named) - 1) / 2)
        axes.bar(places, heights, 0.75 / len(named), label=name)
    if mark:
        axes.axhline(mark[0], color=BLACK, linewidth=3, linestyle="--")
        axes.text(-0.4, mark[0] * 1.2, mark[1], va="bottom")
    many = len(groups) > 6
    axes.set_xticks(range(len(groups)), groups, rotation=35 if many else 0, ha="right" if many else "center")
    axes.set(yscale="log" if log else "linear", ylim=limits, ylabel=label, title=title)
    above = {} if title else {"bbox_to_anchor": (1, 1)}  # beside no title, it can leave the bars free
    axes.legend(loc="upper right" if title else "lower right", ncols=len(named), **above)
    plt.show()


def histogram(
    named: Mapping[str, np.ndarray],
    *,
    bins: int | Sequence[float],
    labels: tuple[str, str],
    title: str = "",
    marks: Mapping[str, float] | None = None,
) -> None:
    """Show how often values occur, in a colour for each name; `marks` are vertical lines."""
    _, axes = plt.subplots()
    for colour, (name, values) in zip(COLOURS, named.items(), strict=False):
        axes.hist(values, bins=bins, color=colour, label=name)
    for colour, (name, place) in zip((RED, BLACK), (marks or {}).items(), strict=False):
        axes.axvline(place, color=colour, linewidth=3, label=name)
    axes.set(xlabel=labels[0], ylabel=labels[1], title=title)
    axes.legend()
    plt.show()
