"""Figures that a single notebook needs, in the style of `workshop.figures`."""

from collections.abc import Callable, Iterable, Mapping

import matplotlib.pyplot as plt
import numpy as np

from workshop.figures import BLACK, BLUE, COLOURS, RED, curves, picture


def answer(image: np.ndarray, title: str, probabilities: np.ndarray) -> None:
    """Show an image (H, W) beside the probabilities (10,) of the classes."""
    _, axes = plt.subplots(1, 2, width_ratios=(1, 2))
    picture(axes[0], image, title)
    axes[1].bar(range(10), probabilities, color=BLUE)
    axes[1].set(xlabel="class k", ylabel="p", xticks=range(10), title="the network's answer")
    plt.show()


def calibration(
    temperatures: np.ndarray, losses: np.ndarray, groups: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> None:
    """Show the loss against the temperature, and how often answers are right against how sure they are.

    Args:
        groups: {name: (confidence of each answer, whether it is right)}.
    """
    best = temperatures[losses.argmin()]
    edges = np.array([0.0, 0.6, 0.8, 0.9, 0.95, 0.99, 1.0])
    _, axes = plt.subplots(1, 2)
    curves(axes[0], temperatures, {"L": losses}, labels=("temperature T", "L (nats)"))
    axes[0].axvline(best, color=BLACK, linestyle=":", label=f"best: {best:.2f}")
    axes[0].legend()
    for (name, (sure, right)), colour, mark in zip(groups.items(), (RED, BLUE), "os", strict=True):
        group = np.digitize(sure, edges[1:-1])
        members = [group == g for g in range(len(edges) - 1) if (group == g).any()]
        axes[1].plot(
            [sure[g].mean() for g in members],
            [right[g].mean() for g in members],
            mark,
            label=name,
            color=colour,
        )
    axes[1].plot([0.4, 1], [0.4, 1], ":", color=BLACK)
    axes[1].set(xlabel="how sure it is", ylabel="how often it is right")
    axes[1].legend()
    plt.show()


def reliability(groups: Mapping[str, tuple[np.ndarray, np.ndarray]], bins: int = 15) -> None:
    """Show how often answers are right against how sure they are, in bins of equal width; below, how many.

    Args:
        groups: {name: (confidence of each answer, whether it is right)}.
        bins: the number of bins between 0 and 1; those with fewer than 10 answers are left out.
    """
    _, grid = plt.subplots(1, len(groups), figsize=(5 * len(groups), 5), sharey=True, squeeze=False)
    for axes, colour, (name, (sure, right)) in zip(grid.flat, COLOURS, groups.items(), strict=False):
        of = np.minimum((sure * bins).astype(int), bins - 1)
        kept = [of == b for b in range(bins) if (of == b).sum() >= 10]
        axes.plot([0, 1], [0, 1], ":", color=BLACK)
        axes.plot([sure[b].mean() for b in kept], [right[b].mean() for b in kept], "o-", color=colour)
        axes.bar([sure[b].mean() for b in kept], [b.mean() for b in kept], 1 / bins, color=colour, alpha=0.25)
        axes.set(title=name, xlabel="how sure it is", xlim=(0, 1.03), ylim=(0, 1.03))
    grid[0, 0].set_ylabel("how often it is right;\nbars: share of the answers")
    plt.show()


def beside_truth(
    x: np.ndarray, truth: np.ndarray, named: Mapping[str, np.ndarray], labels: tuple[str, str]
) -> None:
    """Show each curve of `named` in its own panel, over the true curve in grey."""
    figure, grid = plt.subplots(-(-len(named) // 2), 2, figsize=(11, 8), sharex=True, sharey=True)
    for axes, (name, values) in zip(grid.flat, named.items(), strict=True):
        axes.plot(x, truth, color="#BBBBBB", linewidth=7)
        axes.plot(x, values, color=RED)
        axes.set_title(name)
    figure.supxlabel(f"{labels[0]}; the grey line is the truth")
    figure.supylabel(labels[1])
    plt.show()


def bowl(height: Callable[[np.ndarray, np.ndarray], np.ndarray], paths: Mapping[str, np.ndarray]) -> None:
    """Show paths (steps, 2) over the contours of a function of two arguments, each in its own panel."""
    a, b = np.meshgrid(np.linspace(-11, 11, 101), np.linspace(-4, 4, 101))
    _, grid = plt.subplots(-(-len(paths) // 2), 2, figsize=(12, 7), sharex=True, sharey=True)
    for axes, (name, path) in zip(grid.flat, paths.items(), strict=True):
        axes.contour(a, b, height(a, b), levels=np.array([1, 4, 10, 20, 35, 55, 80]), colors="#BBBBBB")
        axes.plot(*path.T, "o-", color=BLUE, markersize=5, linewidth=1.5)
        axes.set(xlim=(-11, 11), ylim=(-4, 4), title=f"{name}; |w| = {np.linalg.norm(path[-1]):.0e}")
    plt.show()


def landscape(
    x: np.ndarray, y: np.ndarray, heights: np.ndarray, path: np.ndarray, labels: tuple[str, str]
) -> None:
    """Show losses (len(y), len(x)) as log10 in colour, and a path (steps, 2) over them."""
    figure, axes = plt.subplots(figsize=(11, 6))
    drawn = axes.contourf(x, y, np.log10(heights), levels=14, cmap="cividis")
    figure.colorbar(drawn, label="log₁₀ loss")
    axes.plot(*path.T, "o-", color="white", markersize=4, linewidth=2)
    axes.set(xlabel=labels[0], ylabel=labels[1])
    plt.show()


def posteriors(
    x: np.ndarray,
    y: np.ndarray,
    panels: Mapping[str, tuple[np.ndarray, np.ndarray]],
    labels: tuple[str, str],
) -> None:
    """Show densities over a grid in panels, each with its maximum, and the maximum of the likelihood.

    Args:
        x, y: (rows, columns), the places of the grid.
        panels: {title: (density, logarithm of the likelihood)}; a constant likelihood has no maximum.
    """
    _, grid = plt.subplots(1, len(panels), figsize=(3.2 * len(panels), 4.5), sharex=True, sharey=True)
    for axes, (title, (density, likelihood)) in zip(grid, panels.items(), strict=True):
        axes.contourf(x, y, density / density.max(), levels=8, cmap="Blues")
        axes.plot(x.flat[density.argmax()], y.flat[density.argmax()], "o", color=BLACK)
        if np.ptp(likelihood) > 0:
            at = likelihood.argmax()
            axes.plot(x.flat[at], y.flat[at], "x", color=RED, markersize=12, clip_on=False, zorder=9)
        axes.set(xlabel=labels[0], title=title)
        axes.locator_params(axis="x", nbins=4)
    grid[0].set_ylabel(labels[1])
    last = grid[-1]  # where most room is left
    last.plot([], [], "o", color=BLACK, label="posterior")
    last.plot([], [], "x", color=RED, markersize=12, label="likelihood")
    last.legend(loc="lower left", title="maximum of")
    plt.show()


def ratios(rows: Mapping[str, Mapping[str, float]], title: str) -> None:
    """Show a table of errors over bounds, {row: {column: ratio}}; red where they exceed 1."""
    values = np.array([list(row.values()) for row in rows.values()])
    _, axes = plt.subplots(figsize=(13, 4))
    axes.imshow(values > 1, cmap="Reds", vmax=1.6, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        text = "∞" if np.isinf(value) else f"{value:.0f}" if value > 10 else f"{value:.2g}"
        axes.text(j, i, text, ha="center", va="center")
    axes.set_xticks(range(values.shape[1]), list(next(iter(rows.values()))))
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_title(title)
    axes.grid(False)
    plt.show()


def years(frameworks: Iterable[tuple[int, str, str | None]]) -> None:
    """Show frameworks on a line of years, marked by the place of their channels.

    Args:
        frameworks: (year of release, text, layout of the images), the layout None if it was not measured.
    """
    marks: dict[str | None, tuple[str, str, str]] = {
        "NCHW": ("o", COLOURS[0], "channels first"),
        "NHWC": ("s", COLOURS[1], "channels last"),
        None: ("o", BLACK, "not measured here"),
    }
    rows = list(frameworks)
    _, axes = plt.subplots(figsize=(13, 4.5))
    for k, (year, text, layout) in enumerate(rows):
        marker, colour, _ = marks[layout]
        axes.plot(year, -k, marker=marker, markersize=16, color=colour)
        axes.annotate(text, (year, -k), (14, 0), textcoords="offset points", va="center")
    for marker, colour, label in marks.values():
        axes.plot([], [], marker, color=colour, label=label)
    axes.set(xlim=(2005, 2038), xlabel="year of the first public release", yticks=[], ylim=(-len(rows), 0.8))
    axes.set_xticks(range(2005, 2021, 5))
    axes.grid(False)  # lines through the text
    axes.legend(loc="lower left")
    plt.show()
