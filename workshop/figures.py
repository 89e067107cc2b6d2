"""Figures of the notebooks, readable on a projector and without colour vision.

from workshop import figures

figures.style()
figures.pictures({"the image": x, "the kernel": w})
"""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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
) -> Figure:
    """Show arrays (H, W) as pictures side by side, each with its name as title.

    Args:
        columns: the number of pictures in a row; by default all.
        signed: blue below zero, white at zero, red above, scaled for each picture; otherwise dark ink on
            white paper.
        height: the height of a row, in inches.
    """
    columns = columns or len(named)
    rows = -(-len(named) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(height * 0.9 * columns, height * rows), squeeze=False)
    for axes in grid.flat[len(named) :]:
        axes.axis("off")
    for axes, (name, array) in zip(grid.flat, named.items(), strict=False):
        picture(axes, array, name, signed=signed)
    return figure


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
