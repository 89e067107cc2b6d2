"""Names of a framework become names of a graph."""

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from parity import UserError
from parity.record import read_npz, renamed, write_npz
from tests.parity.small import normal

VALUES = {"a": normal(2, 5, 4, 3), "b": normal(3), "x": normal(2)}


def test_arrays_get_the_names_and_the_layout_of_the_graph(tmp_path: Path) -> None:
    names = {"a": ["conv", "NHWC->NCHW"], "b": "y"}
    (tmp_path / "map.json").write_text(json.dumps(names))
    for given in (names, tmp_path / "map.json", str(tmp_path / "map.json")):
        found = renamed(VALUES, given, keep=["x", "z"])
        assert list(found) == ["x", "conv", "y"]
        np.testing.assert_array_equal(found["conv"], VALUES["a"].transpose(0, 3, 1, 2))
        np.testing.assert_array_equal(found["y"], VALUES["b"])


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    write_npz(tmp_path / "v.npz", VALUES)
    found = renamed(read_npz(tmp_path / "v.npz"), {"a": ("conv", "NHWC->NCHW")}, keep=["x"])
    (tmp_path / "v.npz").unlink()
    assert found.shapes == {"x": (2,), "conv": (2, 3, 5, 4)}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"c": "y"}, "'c' is to be y, but was not recorded"),
        ({"a": "y", "b": "y"}, "both 'a' and 'b' are to be y"),
        ({"a": 3}, "'a' needs a name in the graph"),
        ({"a": ["y"]}, "'a' needs a name in the graph"),
        ({"a": ["y", "NHWC"]}, "not written like NHWC->NCHW"),
        ({"a": ["y", "NHHC->NCHH"]}, "not written like NHWC->NCHW"),
    ],
)
def test_maps_that_make_no_sense_are_refused(tmp_path: Path, names: Any, said: str) -> None:
    (tmp_path / "map.json").write_text(json.dumps(names))
    for given in (names, tmp_path / "map.json"):
        with pytest.raises(UserError, match=said):
            renamed(VALUES, given)


@pytest.mark.parametrize("text", ["", "[]", '{"a": "y", "a": "z"}', "[" * 100_000, "\udcff"])
def test_files_that_are_no_map_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "map.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=r"map\.json: ") as caught:
        renamed(VALUES, tmp_path / "map.json")
    assert "\n" not in str(caught.value)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    values: dict[str, np.ndarray] = {
        **VALUES,
        "file": normal(2),
        "half": normal(3).astype(ml_dtypes.bfloat16),
        "n": np.array(1),
    }
    write_npz(tmp_path / "v.npz", values)
    found = read_npz(tmp_path / "v.npz")
    assert list(found) == list(values)
    for name, array in values.items():
        assert found[name].dtype == np.asarray(array).dtype
        np.testing.assert_array_equal(found[name], array)


def test_a_file_is_written_completely_or_not_at_all(tmp_path: Path) -> None:
    write_npz(tmp_path / "v.npz", VALUES)
    with pytest.raises(UserError, match="bad holds Python objects"):
        write_npz(tmp_path / "v.npz", {"good": normal(2), "bad": np.array([{}], object)})
    assert set(read_npz(tmp_path / "v.npz")) == set(VALUES)
    assert [path.name for path in tmp_path.iterdir()] == ["v.npz"]
