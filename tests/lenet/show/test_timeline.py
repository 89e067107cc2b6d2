"""The labels of both timelines can be read: none overlaps another, a mark, or the figure's edge."""

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from lenet.show import migrations, plots
from museum import museum_tables
from workshop import drawings, figures


def colliding(figure: Any) -> list[tuple[str, str]]:
    """The texts of a matplotlib figure that overlap another, a mark, or the figure's edge."""
    FigureCanvasAgg(figure).draw()
    edge = figure.bbox
    boxes, found = [], []
    for axes in figure.axes:
        texts = [(one.get_text(), one.get_window_extent()) for one in axes.texts]
        marks = [
            (f"mark at {x:g}", _mark(axes, x, y))
            for line in axes.lines
            for x, y in zip(*line.get_data(), strict=True)
        ]
        marks += [
            (f"mark at {x:g}", _mark(axes, x, y))
            for points in axes.collections
            for x, y in points.get_offsets()
        ]
        legend = axes.get_legend()
        boxes += [*texts, *([("legend", legend.get_window_extent())] if legend else [])]
        found += [(text, mark) for text, box in texts for mark, other in marks if box.overlaps(other)]
    found += [(a, b) for (a, one), (b, other) in combinations(boxes, 2) if one.overlaps(other)]
    inside = [box.x0 >= 0 and box.y0 >= 0 and box.x1 <= edge.x1 and box.y1 <= edge.y1 for _, box in boxes]
    return found + [(name, "edge") for (name, _), is_in in zip(boxes, inside, strict=True) if not is_in]


def _mark(axes: Axes, x: float, y: float) -> Bbox:
    """Six pixels around a point of the data."""
    left, bottom = (float(one) for one in axes.transData.transform((x, y)) - 3)
    return Bbox.from_bounds(left, bottom, 6, 6)


@pytest.fixture
def drawn(monkeypatch) -> Iterator[list[Figure]]:
    """The figures that would be written or shown, in the notebooks' style."""
    found: list[Figure] = []
    monkeypatch.setattr(plots, "_save", lambda figure, path: found.append(figure))
    monkeypatch.setattr(plt, "show", lambda: found.append(plt.gcf()))
    with plt.rc_context():
        yield found
    plt.close("all")


@pytest.mark.slow
@pytest.mark.parametrize("inches", [9, 8])
def test_labels_of_the_timeline_do_not_overlap(drawn, inches):
    plots.timeline(Path("timeline.svg"), migrations.history(), museum_tables.originals([]))
    drawn[0].set_figwidth(inches)
    assert len(drawn[0].axes[0].texts) >= 2 * len(migrations.history())
    assert colliding(drawn[0]) == []


def test_labels_of_the_notebooks_timeline_do_not_overlap(drawn):
    figures.style()
    drawings.years(
        (one.released, f"{one.framework}: {one.stood_for.partition(':')[0]}", layout)
        for one, layout in zip(migrations.history().values(), ["NCHW", "NHWC", None] * 3, strict=False)
    )
    assert len(drawn[0].axes[0].texts) == len(migrations.history())
    assert colliding(drawn[0]) == []


def test_labels_that_overlap_are_seen():
    figure = Figure()
    axes = figure.subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.text(0.3, 0.5, "one label")
    axes.text(0.35, 0.5, "another")
    axes.plot([0.8], [0.8], "o")
    axes.text(0.79, 0.79, "on the mark")
    axes.text(0.9, 0.2, "over the edge, by far")
    assert colliding(figure) == [
        ("on the mark", "mark at 0.8"),
        ("one label", "another"),
        ("over the edge, by far", "edge"),
    ]
