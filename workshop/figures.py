"""Figures of the notebooks: large, dark on light, told apart without colour vision. Readable on a projector.

from workshop import figures

figures.style()
figures.pictures({"the image": x, "the kernel": w})
"""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# M. Okabe and K. Ito, "Color Universal Design", 2008, without its yellow, which is lost on white.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, RED, PINK = "#0072B2", "#D55E00", "#CC79A7"
COLOURS = (BLUE, RED, GREEN, ORANGE, PINK, SKY, BLACK)
DASHES = ("-", "--", "-.", ":")  # of the second curve, the third: who sees no colours sees these

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
    """Take this style for every figure from now on."""
    plt.rcParams.update(STYLE)


def pictures(
    named: Mapping[str, np.ndarray], *, columns: int | None = None, signed: bool = False, height: float = 3.2
) -> Figure:
    """Arrays (H, W) as pictures side by side, each under its name.

    Args:
        columns: in a row; all in one row without it.
        signed: blue below zero, white at zero, red above, the scale of each picture its own; else ink
            on paper.
        height: of a row, in inches.
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
    """One array (H, W) as a picture, without ticks."""
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
    """Curves over a common x, told apart by colour and dash, with a legend.

    Args:
        labels: of the two axes, with units.
        log: the axes that are logarithmic: "", "x", "y" or "xy".
    """
    for k, (name, y) in enumerate(named.items()):
        axes.plot(x, y, label=name, color=COLOURS[k % len(COLOURS)], linestyle=DASHES[k % len(DASHES)])
    for axis in log:
        getattr(axes, f"set_{axis}scale")("log")
    axes.set(xlabel=labels[0], ylabel=labels[1], title=title)
    axes.legend()
