"""Opening a model in a runtime: what the environment says of threads."""

import numpy as np
import pytest
from onnx import helper

from parity import UserError
from parity.record.onnx_runtimes import record
from parity.record.sessions import open_model, told_threads
from tests.parity.small import convolutions, model, normal, saved


@pytest.mark.parametrize("told", ["x", "-1", "10000", "99999999999", "2;4", "²"])
def test_threads_that_are_no_number_are_refused_in_one_line(
    told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    with pytest.raises(UserError) as refusal:
        open_model("onnxruntime", convolutions())
    assert str(refusal.value) == f"OMP_NUM_THREADS={told!r}: expected a number of threads"


@pytest.mark.parametrize("told", ["", "1", "1,2", " 1 "])
def test_the_first_number_of_threads_counts(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert open_model("onnxruntime", convolutions())({"x": normal(2, 3, 9, 9)})


def test_nothing_is_told_of_threads_where_no_variable_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert told_threads() is None


def test_a_refusal_of_onnxruntime_is_the_exception_alone(tmp_path, capfd):
    node = helper.make_node("Resize", ["x", "", "sizes"], ["y"])
    large = model([node], {"x": [6, 1]}, ["y"], {"sizes": np.array([1e9, 1e9], np.float32)})
    with pytest.raises(UserError, match="Resize") as refusal:
        record(saved(large, tmp_path), {"x": np.ones((6, 1), np.float32)})
    assert len(str(refusal.value).splitlines()) == 1
    assert capfd.readouterr() == ("", "")
