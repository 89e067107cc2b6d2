"""What the commands read: options, npz files, models, inputs."""

from pathlib import Path

import click
import numpy as np
import pytest

from parity import UserError
from parity.command.page.document import _issue
from parity.command.sources import (
    LARGEST,
    NotNegative,
    Size,
    inputs_of,
    is_one_of,
    read_files,
    read_graph,
    run_runtime,
)
from parity.record import write_npz
from tests.parity.small import convolutions, normal, saved

X = normal(2, 3, 9, 9)


@pytest.mark.parametrize(
    ("text", "found"),
    [("n=1", ("n", 1)), ("a=b=7", ("a=b", 7)), (f"n={LARGEST}", ("n", LARGEST)), ("n=007", ("n", 7))],
)
def test_a_size_has_a_name_and_a_number(text: str, found: tuple[str, int]) -> None:
    assert Size().convert(text, None, None) == found


@pytest.mark.parametrize("text", ["n", "=3", "n=", "n=0", "n=-1", "n=1.5", "n=²", f"n={LARGEST + 1}"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter) as caught:
        Size().convert(text, None, None)
    assert caught.value.message == f"{text!r} is not NAME=N with a whole number N from 1 to {LARGEST}."


def test_numbers_below_zero_and_beyond_the_limit_are_refused() -> None:
    assert NotNegative().convert("0", None, None) == 0
    assert NotNegative().convert("1e300", None, None) == 1e300
    assert NotNegative(most=3).convert("3", None, None) == 3
    for kind, text in (
        (NotNegative(), "-1e-9"),
        (NotNegative(open=True), "0"),
        (NotNegative(most=3), "3.01"),
    ):
        with pytest.raises(click.BadParameter, match="is not in the range"):
            kind.convert(text, None, None)
    for text in ("nan", "inf"):
        with pytest.raises(click.BadParameter) as caught:
            NotNegative().convert(text, None, None)
        assert caught.value.message == f"{text} is not finite."


def test_files_are_read_together_and_hold_no_name_twice(tmp_path: Path) -> None:
    for name, arrays in {"a": {"x": X}, "b": {"y": X + 1, "z": X[0]}, "c": {"z": X}}.items():
        write_npz(tmp_path / f"{name}.npz", arrays)
    a, b, c = (tmp_path / f"{name}.npz" for name in "abc")
    found = read_files(a, None, b)
    assert set(found) == {"x", "y", "z"}
    assert found.shapes == {"x": (2, 3, 9, 9), "y": (2, 3, 9, 9), "z": (3, 9, 9)}
    np.testing.assert_array_equal(found["y"], X + 1)
    with pytest.raises(UserError) as caught:
        read_files(c, b)
    assert str(caught.value) == f"z is given twice: in {c} and in {b}"
    assert dict(read_files(None)) == {}


def test_a_graph_has_the_sizes_of_the_arrays_that_are_given(tmp_path: Path) -> None:
    path = saved(convolutions(), tmp_path)
    write_npz(tmp_path / "x.npz", {"x": X})
    assert read_graph(path, read_files(tmp_path / "x.npz"), {}).inputs["x"].shape == (2, 3, 9, 9)
    assert read_graph(path, {"x": X}, {}).inputs["x"].shape == ("batch", 3, 9, 9)
    assert read_graph(path, {}, {"batch": 5}).inputs["x"].shape == (5, 3, 9, 9)


def test_inputs_are_given_or_drawn(tmp_path: Path) -> None:
    graph = read_graph(saved(convolutions(2), tmp_path), {}, {})
    given, said = inputs_of(graph, {"x": X}, 0)
    assert (list(given), said) == (["x"], "on given inputs")
    with pytest.raises(UserError, match="no input 'z'"):
        inputs_of(graph, {"z": X}, 0)
    drawn, said = inputs_of(graph, None, 3)
    words = "floats standard normal, integers 0 or 1, bytes of any value"
    assert said == f"on random inputs (seed 3; {words}): x [2, 3, 9, 9]"
    assert (drawn["x"] != inputs_of(graph, None, 4)[0]["x"]).any()


def test_of_a_runtime_the_tensors_of_the_graph_are_kept(tmp_path: Path) -> None:
    path = saved(convolutions(2), tmp_path)
    found = run_runtime(path, read_graph(path, {}, {}), {"x": X}, "reference")
    assert set(found) == {"x", "conv1", "conv2", "y"}


def test_files_are_the_same_under_any_name(tmp_path: Path) -> None:
    a, b, absent = (tmp_path / name for name in ("a", "b", "absent"))
    a.touch()
    b.touch()
    (tmp_path / "link").symlink_to(a)
    assert is_one_of(a, (None, absent, tmp_path / "link"))
    assert not is_one_of(a, (None, absent, b))
    assert not is_one_of(None, (a,))
    assert not is_one_of(absent, (absent,))


def test_a_report_has_its_address() -> None:
    assert _issue("own-er/re.po_1#12") == "https://github.com/own-er/re.po_1/issues/12"
    for other in ("a forum", "owner/repo", "owner/repo#12a", "a/b/c#1", "x owner/repo#12"):
        assert _issue(other) is None
