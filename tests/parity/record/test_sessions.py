"""Opening a model in a runtime: its settings, and what the environment says of threads."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from parity import UserError, judge, read_onnx
from parity.record.onnx_runtimes import record
from parity.record.sessions import OPENED, in_onnxruntime, open_model, refusing, told_threads
from tests.conftest import unavailable
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


@pytest.mark.parametrize("runtime", OPENED)
def test_an_open_model_runs_many_times_and_returns_its_outputs_alone(runtime: str) -> None:
    try:
        run = open_model(runtime, convolutions(), threads=1)
    except ModuleNotFoundError as missing:
        unavailable(str(missing))
        raise
    for batch in (2, 3):
        x = {"x": normal(batch, 3, 9, 9)}
        found = run(x)
        assert list(found) == ["y"]
        assert judge(read_onnx(convolutions()), {**x, **found}).same


def test_a_runtime_that_refuses_or_loses_an_output_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(model: Any, threads: Any) -> Any:
        raise ValueError(f"{threads} threads\nare too many")

    monkeypatch.setitem(OPENED, "broken", refuse)
    with pytest.raises(UserError, match=r"^broken cannot load the model: 3 threads are too many$"):
        open_model("broken", convolutions(), 3)
    monkeypatch.setitem(OPENED, "broken", lambda model, threads: lambda inputs: 1 / 0)
    with pytest.raises(UserError, match=r"^broken cannot run the model: division by zero$"):
        open_model("broken", convolutions())({})
    monkeypatch.setitem(OPENED, "broken", lambda model, threads: lambda inputs: {"z": 1})
    with pytest.raises(UserError, match=r"^broken cannot run the model: it returns no y$"):
        open_model("broken", convolutions())({})


class Opened:
    """What onnxruntime was asked for."""

    def __init__(self, model: Any, options: Any, providers: list[str]) -> None:
        self.model, self.options, self.providers = model, options, providers

    def get_outputs(self) -> list[Any]:
        kinds = {
            "y": "tensor(float)",
            "s": "seq(tensor(float))",
            "b": "tensor(bfloat16)",
            "n": "tensor(uint8)",
        }
        return [SimpleNamespace(name=name, type=kind) for name, kind in kinds.items()]

    def run(self, names: list[str], inputs: Any) -> list[Any]:
        assert inputs == {"x": 1}
        return [(self, name) for name in names]


def test_onnxruntime_is_opened_as_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Opened)
    level = onnxruntime.GraphOptimizationLevel
    given: Any = {"x": 1}
    found: Any = in_onnxruntime(b"bytes", tmp_path, threads=3)(given)
    assert list(found) == ["y", "n"]  # what comes as an array
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
    plain, name = found["y"]
    assert (plain.model, plain.providers, name) == (b"bytes", ["CPUExecutionProvider"], "y")
    assert plain.options.graph_optimization_level == level.ORT_DISABLE_ALL
    assert plain.options.intra_op_num_threads == 3
    folder = "session.model_external_initializers_file_folder_path"
    assert plain.options.get_session_config_entry(folder) == str(tmp_path)
    file = str(tmp_path / "seen.onnx")
    found = in_onnxruntime("path", tmp_path, optimise=True, save=file)(given)
    saving, _ = found["y"]
    assert saving.options.graph_optimization_level == level.ORT_ENABLE_ALL
    assert saving.options.intra_op_num_threads == 0
    assert saving.options.optimized_model_filepath == file
    weights = "session.optimized_model_external_initializers_"
    assert saving.options.get_session_config_entry(weights + "file_name") == "seen.onnx.weights"
    assert saving.options.get_session_config_entry(weights + "min_size_in_bytes") == "1024"
    with pytest.raises(RuntimeError):  # it finds the folder by the path
        saving.options.get_session_config_entry(folder)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    found = in_onnxruntime(b"bytes", threads=3)(given)
    limited, _ = found["y"]
    assert limited.options.intra_op_num_threads == 2


@pytest.mark.parametrize("error", [ImportError("x"), UserError("x"), KeyboardInterrupt(), MemoryError()])
def test_what_others_report_is_left_as_it_is(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, refusing("it cannot"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize("error", [SystemExit("a" * 400), ValueError("a" * 400)])
def test_everything_else_is_one_line_that_is_not_too_long(error: BaseException) -> None:
    with pytest.raises(UserError) as caught, refusing("it cannot"):
        raise error
    assert str(caught.value) == "it cannot: " + "a" * 300


def test_a_refusal_of_onnxruntime_is_the_exception_alone(tmp_path, capfd):
    node = helper.make_node("Resize", ["x", "", "sizes"], ["y"])
    large = model([node], {"x": [6, 1]}, ["y"], {"sizes": np.array([1e9, 1e9], np.float32)})
    with pytest.raises(UserError, match="Resize") as refusal:
        record(saved(large, tmp_path), {"x": np.ones((6, 1), np.float32)})
    assert len(str(refusal.value).splitlines()) == 1
    assert capfd.readouterr() == ("", "")
