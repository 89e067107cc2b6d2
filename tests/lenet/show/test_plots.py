"""What the plots show: the lines and their colours, the marks, the axes and the legend."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib import colors
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lenet.show import plots
from lenet.show.migrations import History
from lenet.show.originals import Originals
from parity.errors import MissingFramework, UserError, install_line
from tests.lenet.compare.timed import timed

DRIFT = np.array([[1e-8, 0, 1e-16], [2e-8, 2e-8, 2e-16], [4e-8, 3e-8, 4e-16]])


@pytest.fixture
def drawn(monkeypatch) -> Callable[..., Figure]:
    """Draws a plot, and returns the figure that would be written to out.svg."""
    found: list[tuple[Figure, Path]] = []
    monkeypatch.setattr(plots, "_save", lambda figure, path: found.append((figure, path)))

    def draw(plot: Callable, *arguments: object) -> Figure:
        plot(Path("out.svg"), *arguments)
        ((figure, path),) = found
        assert path == Path("out.svg")
        assert figure.get_layout_engine().__class__.__name__ == "ConstrainedLayoutEngine"
        return figure

    return draw


def look(line: Line2D) -> tuple:
    """A line as a reader sees it: label, colour, dashes, width, marker."""
    color = colors.to_hex(line.get_color())
    return line.get_label(), color, line.get_linestyle(), line.get_linewidth(), line.get_marker()


def words(axes: Axes) -> dict[str, str]:
    return {"x": axes.get_xlabel(), "y": axes.get_ylabel(), "title": axes.get_title()}


def texts(axes: Axes) -> list[tuple]:
    """The text of each note, with the place that it stands at."""
    return [(note.get_text(), *note.xy) for note in axes.texts]  # type: ignore[attr-defined]


GREY, BLACK = "#808080", "#000000"
NAMES = ["torch float32", "torch:compile float32", "torch float64"]


def test_the_drift_has_a_line_for_each_port_and_one_for_the_rounding_of_each_dtype(drawn):
    figure = drawn(plots.drift, NAMES, DRIFT, 2)
    (axes,) = figure.axes
    torch = plots.color("torch")
    assert [look(line) for line in axes.lines[:3]] == [
        ("torch float32", torch, "-", 2, "None"),
        ("torch:compile float32", torch, "-", 1, "None"),
        ("torch float64", torch, "--", 2, "None"),
    ]
    for line, column in zip(axes.lines, DRIFT.T, strict=False):
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
        np.testing.assert_array_equal(line.get_ydata(), np.where(column == 0, np.nan, column))
    units, drop = axes.lines[3:5], axes.lines[5]
    assert [set(line.get_ydata()) for line in units] == [{2.0**-24}, {2.0**-53}]
    assert set(drop.get_xdata()) == {2}
    assert [look(line)[1:4] for line in (*units, drop)] == [(GREY, "-", 0.8)] * 2 + [(GREY, ":", 0.8)]
    assert texts(axes) == [
        ("u of float32", 3, 2.0**-24),
        ("u of float64", 3, 2.0**-53),
        ("learning rate / 10", 2, 1),
    ]
    assert axes.texts[2].xycoords == ("data", "axes fraction")  # at the top
    assert [(note.get_ha(), note.get_va(), note.get_color()) for note in axes.texts] == [
        *[("right", "bottom", "grey")] * 2,
        ("left", "top", "grey"),
    ]
    assert (axes.get_yscale(), axes.get_xscale()) == ("log", "linear")
    assert words(axes) == {
        "x": "SGD step",
        "y": "largest relative distance of a weight",
        "title": "The same training run drifts apart by rounding alone",
    }
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == NAMES
    assert (legend.get_frame_on(), legend._loc) == (False, 7)  # center right
    assert tuple(figure.get_size_inches()) == (9, 5)


@pytest.mark.parametrize("drop", [None, 3, 4])
def test_a_drop_of_the_learning_rate_that_the_run_does_not_reach_is_not_marked(drop, drawn):
    (axes,) = drawn(plots.drift, NAMES, DRIFT, drop).axes
    assert (len(axes.lines), len(axes.texts)) == (5, 2)


def test_the_losses_lie_on_each_other_the_thinner_above(drawn):
    names, found = ["torch float32", "numpy float64"], np.array([[2.5, 2.5], [1.5, 1.25]])
    figure = drawn(plots.losses, names, found)
    (axes,) = figure.axes
    assert [look(line)[:4] for line in axes.lines] == [
        ("torch float32", plots.color("torch"), "-", 4),
        ("numpy float64", BLACK, "-", 2),
    ]
    assert [line.get_xydata().tolist() for line in axes.lines] == [
        [[1, 2.5], [2, 1.5]],
        [[1, 2.5], [2, 1.25]],
    ]
    assert words(axes) == {
        "x": "SGD step",
        "y": "loss of the step's batch",
        "title": "The same run in every framework; the lines cover each other",
    }
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == names
    assert (legend.get_frame_on(), legend._loc) == (False, 1)  # upper right
    assert tuple(figure.get_size_inches()) == (9, 5)


TIMED = timed(
    "numpy",
    "numpy:fast",
    ("forward", 1, 4.0, 2.0),
    ("forward", 1000, 3.0, 1.5),
    ("train", 1, 5.0, None),
    ("train", 1000, 7.0, None),
)


def test_timings_have_a_panel_for_each_task_with_a_line_for_each_port_and_the_limit(drawn):
    figure = drawn(plots.bench, TIMED)
    forward, train = figure.axes
    numpy, limit = plots.color("numpy"), ("limit: the arithmetic alone", GREY, ":", 1.5, "None")
    looks = [("numpy", numpy, "-", 1.5, "o"), ("numpy:fast", numpy, "--", 3, "o"), limit]
    assert [look(line) for line in forward.lines] == [look(line) for line in train.lines] == looks
    assert [line.get_xydata().tolist() for line in forward.lines[:2]] == [
        [[1, 4.0], [1000, 3.0]],
        [[1, 2.0], [1000, 1.5]],
    ]
    assert np.isnan(train.lines[1].get_ydata()).all()
    for axes, task in ((forward, "forward"), (train, "train")):
        np.testing.assert_array_equal(axes.lines[2].get_ydata(), TIMED.limit(task))
        assert words(axes) == {
            "x": "digits in a batch",
            "y": "microseconds per digit" if axes is forward else "",
            "title": task,
        }
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        assert axes.get_xticks().tolist() == [1, 1000]
        assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "1,000"]
        assert len(axes.xaxis.get_minor_locator()()) == 0
    assert forward.get_ylim() == train.get_ylim()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [name for name, *_ in looks]
    assert (legend.get_frame_on(), legend._outside_loc) == (False, "right")
    assert tuple(figure.get_size_inches()) == (11, 5.5)


def test_steps_are_bars_with_their_time_the_first_above(drawn):
    figure = drawn(plots.steps, {"a loop": 12345.6, "a product": 99.96}, 1.5)
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == [12345.6, 99.96]
    assert {colors.to_hex(bar.get_facecolor()) for bar in axes.patches} == {"#1f77b4"}
    assert texts(axes) == [("12,346", 12345.6, 0), ("100", 99.96, 1)]
    assert {(note.xyann, note.anncoords, note.get_va()) for note in axes.texts} == {
        ((4, 0), "offset points", "center")
    }
    assert look(axes.lines[0])[:4] == ("the arithmetic alone", GREY, ":", 1.5)
    assert set(axes.lines[0].get_xdata()) == {1.5}
    assert words(axes) == {"x": "microseconds per digit", "y": "", "title": ""}
    assert axes.get_xscale() == "log"
    assert axes.get_xlim() == (0.75, 5 * 12345.6)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a loop", "a product"]
    assert axes.get_yticks().tolist() == [0, 1]
    assert axes.yaxis_inverted()
    assert {side for side, spine in axes.spines.items() if spine.get_visible()} == {"left", "bottom"}
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["the arithmetic alone"]
    assert (legend.get_frame_on(), legend._loc) == (False, 4)  # lower right
    assert tuple(figure.get_size_inches()) == (9, 2.2)


def history(framework: str, released: int) -> History:
    return History(framework, released, "", f"idea of {framework}", "", "", "", "", "", "", "")


def test_the_timeline_has_a_row_for_each_framework_and_each_original_without_a_port(drawn):
    frameworks = {"torch": history("PyTorch", 2016), "theano": history("Theano", 2008)}
    originals = Originals(frozenset(["theano"]), {"Lush 1.0": 2002}, (), ())
    figure = drawn(plots.timeline, frameworks, originals)
    (axes,) = figure.axes
    rows = ["LeNet-5, 1998", "Lush 1.0, 2002", "Theano, 2008  (port theano; the original, recorded)"]
    rows += ["PyTorch, 2016  (port torch)"]
    told = ["gradient-based learning, applied to documents"]
    told += ["the original, recorded; the year is that of this version", "idea of Theano", "idea of PyTorch"]
    years = [1998, 2002, 2008, 2016]
    assert texts(axes) == [
        (text, year, row)
        for row, (heading, idea, year) in enumerate(zip(rows, told, years, strict=True))
        for text in (heading, idea)
    ]
    assert [(note.xyann, note.anncoords, note.get_weight()) for note in axes.texts[:2]] == [
        ((10, 2), "offset points", "bold"),
        ((10, -10), "offset points", "normal"),
    ]
    assert (axes.texts[1].get_size(), axes.texts[1].get_color()) == (8, "0.35")
    assert [line.get_xydata().tolist() for line in axes.lines] == [
        [[1998, row], [year, row]] for row, year in enumerate(years)
    ]
    assert {look(line)[1:4] for line in axes.lines} == {("#d9d9d9", "-", 1)}
    marks = axes.collections
    assert [mark.get_offsets().tolist() for mark in marks] == [
        [[year, row]] for row, year in enumerate(years)
    ]
    assert [colors.to_hex(mark.get_facecolor()[0]) for mark in marks] == [
        *(BLACK, BLACK, plots.color("theano"), plots.color("torch"))
    ]
    corners = [len(mark.get_paths()[0].vertices) for mark in marks]
    assert corners[0] == corners[2] == corners[3] > corners[1] == 5  # a diamond
    assert {mark.get_sizes()[0] for mark in marks} == {60}
    assert {line.zorder for line in axes.lines} == {1}
    assert {mark.zorder for mark in marks} == {2}
    assert (axes.get_xlim(), axes.get_ylim()) == ((1997, 2029), (3.6, -0.6))
    assert (axes.get_xticks().tolist(), len(axes.get_yticks())) == ([2000, 2005, 2010, 2015, 2020], 0)
    assert {side for side, spine in axes.spines.items() if spine.get_visible()} == {"bottom"}
    assert figure.get_size_inches().tolist() == pytest.approx([9, 2.8])


# --- colours, files and refusals ---------------------------------------------------------------


def test_modes_have_the_colour_of_their_framework_and_an_unknown_port_is_black():
    assert plots.color("numpy") == plots.color("numpy:fast") == "#1f77b4"
    assert plots.color("torch") == "#ff7f0e"
    assert plots.color("nope") == BLACK


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_a_plot_is_written_in_the_format_of_its_suffix(suffix, start, tmp_path):
    path = tmp_path / f"out.{suffix}"
    figure = Figure(figsize=(1, 1))
    plots.check_format(path)
    plots._save(figure, path)
    written = path.read_bytes()
    assert written.startswith(start)
    if suffix == "png":
        assert int.from_bytes(written[16:20], "big") == 150  # pixels in an inch
    if suffix == "svg":
        assert b"dc:date" not in written  # the same plot is the same file


def test_a_plot_that_cannot_be_written_is_refused(monkeypatch):
    with pytest.raises(UserError, match=r"^b.txt: plots are written as png, svg, pdf; use one of these suf"):
        plots.check_format(Path("b.txt"))
    monkeypatch.setattr(plots.importlib.util, "find_spec", lambda name: None if name == "matplotlib" else 1)
    with pytest.raises(MissingFramework) as refusal:
        plots.check_format(Path("b.png"))
    assert str(refusal.value) == f"a plot needs matplotlib: {install_line('matplotlib')}"
