"""Names of a framework become names of a graph."""

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import parity.record
from parity import UserError
from parity.record import read_npz, renamed, write_npz
from parity.record.own_names import backward, own_name, split, turned
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


@pytest.mark.parametrize(
    ("told", "own", "parts"),
    [
        (("a.b",), "a.b", ("a.b", 0)),
        (("a.b", 2), "a.b@2", ("a.b", 2)),
        (("a", 0, 0, 1), "a", ("a", 0)),
        (("a", 0, 1, 2), "a:1", ("a", 0)),
        (("a", 3, 0, 2), "a@3:0", ("a", 3)),
    ],
)
def test_own_names_are_taken_apart_as_they_are_put_together(told: Any, own: str, parts: Any) -> None:
    assert own_name(*told) == own
    assert split(own) == parts


@pytest.mark.parametrize("path", ["scope:conv", "user@host", "a@b:c", "0", "conv0"])
def test_other_names_keep_their_signs(path: str) -> None:
    assert split(path) == (path, 0)


def test_a_renamed_mapping_tells_what_it_holds() -> None:
    found = renamed(VALUES, {"b": "y"}, keep=["x", "y", "b"])
    assert ("y" in found, "b" in found, "x" in found, len(found)) == (True, False, True, 2)
    with pytest.raises(KeyError):
        found["b"]


def test_axes_go_there_and_back() -> None:
    assert backward("NHWC->NCHW") == "NCHW->NHWC"
    assert backward("") == ""
    np.testing.assert_array_equal(
        turned(VALUES["a"], " NHWC -> NCHW ", "a"), VALUES["a"].transpose(0, 3, 1, 2)
    )
    assert turned(VALUES["a"], "", "a").shape == VALUES["a"].shape


def test_names_of_the_package_are_imported_when_they_are_used() -> None:
    assert set(parity.record.__all__) <= set(dir(parity.record))
    for name in ("record_onnx", "renamed", "module_names"):
        assert callable(getattr(parity.record, name))
    assert parity.record.__getattr__("renamed") is renamed
    with pytest.raises(AttributeError, match=r"^module 'parity\.record' has no attribute 'nothing'$"):
        parity.record.__getattr__("nothing")


def test_a_file_is_written_completely_or_not_at_all(tmp_path: Path) -> None:
    write_npz(tmp_path / "v.npz", VALUES)
    with pytest.raises(UserError, match="bad holds Python objects"):
        write_npz(tmp_path / "v.npz", {"good": normal(2), "bad": np.array([{}], object)})
    assert set(read_npz(tmp_path / "v.npz")) == set(VALUES)
    assert [path.name for path in tmp_path.iterdir()] == ["v.npz"]
