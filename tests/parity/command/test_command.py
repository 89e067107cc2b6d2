"""`parity`: what it prints, its exit codes, and what it refuses."""

import errno
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from onnx import helper

from parity.command.terminal import LONGEST, Failure
from tests.parity.command.running import parity, refused
from tests.parity.small import Arrays, computed, convolutions, model, normal, saved


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return saved(convolutions(), tmp_path)


@pytest.fixture
def values() -> Arrays:
    return computed(convolutions(), {"x": normal(2, 3, 9, 9)})


def judged(path: Path, values: Arrays, *options: object, code: int = 0) -> Result:
    np.savez(path.parent / "values.npz", **values)  # type: ignore[arg-type]
    return parity("judge", path, "--values", path.parent / "values.npz", *options, code=code)


def changed(values: Arrays, name: str, index: tuple[int, ...], value: float) -> Arrays:
    array = values[name].copy()
    array[index] = value
    return {**values, name: array}


# --- verdicts ----------------------------------------------------------------------------------


def test_a_right_runtime_is_the_same_function(path: Path) -> None:
    printed = parity("judge", path, "--dim", "batch=2").stdout
    assert "Same function: the differences are rounding." in printed
    assert "3 tensors judged" in printed
    assert "random inputs (seed 0; floats standard normal" in " ".join(printed.split())


@pytest.mark.parametrize("runtime", ["onnxruntime", "onnxruntime-all", "reference"])
def test_runtimes_are_judged_on_given_inputs(path: Path, tmp_path: Path, runtime: str) -> None:
    np.savez(tmp_path / "in.npz", x=normal(4, 3, 9, 9))
    printed = parity("judge", path, "--inputs", tmp_path / "in.npz", "--runtime", runtime).stdout
    assert printed.startswith(f"{runtime} on given inputs")


def test_inputs_and_values_may_lie_in_two_files(path: Path, tmp_path: Path, values: Arrays) -> None:
    np.savez(tmp_path / "in.npz", x=values.pop("x"))
    judged(path, values, "--inputs", tmp_path / "in.npz")
    np.savez(tmp_path / "in.npz", y=values["y"])
    refused(
        "judge",
        path,
        "--inputs",
        tmp_path / "in.npz",
        "--values",
        tmp_path / "values.npz",
        said="y is given twice",
    )


@pytest.mark.slow
def test_the_first_wrong_tensor_is_named_with_its_worst_value(
    path: Path, values: Arrays, tmp_path: Path
) -> None:
    right, written = float(values["conv2"][1, 2, 0, 1]), tmp_path / "said.json"
    result = judged(path, changed(values, "conv2", (1, 2, 0, 1), right * 1.01), "--json", written, code=1)
    said = json.loads(written.read_text())
    assert said["verdict"] == "different"
    assert said["first"] == "conv2"
    (one,) = [one for one in said["tensors"] if one["tensor"] == "conv2"]
    assert one["worst"]["index"] == [1, 2, 0, 1]
    assert one["worst"]["found"] == pytest.approx(right * 1.01, rel=1e-5)
    assert one["worst"]["expected"] == pytest.approx(right, rel=1e-5)
    assert one["from"] == ["conv1"]
    printed = " ".join(result.stdout.split())
    assert "Not the same function." in printed
    assert "First in order of execution: conv2 (Conv), different. At [1, 2, 0, 1] it is" in printed
    assert "Judged from the recorded conv1." in printed


@pytest.mark.slow
def test_coarse_arithmetic_ends_with_1(tmp_path: Path) -> None:
    proto = model(
        [helper.make_node("MatMul", ["x", "m"], ["y"])], {"x": [8, 4096]}, ["y"], {"m": normal(4096, 64)}
    )
    x = normal(8, 4096)
    rounded = (x.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)  # ten bits, as TF32 has
    y = (rounded.astype(np.float64) @ normal(4096, 64)).astype(np.float32)
    printed = judged(saved(proto, tmp_path), {"x": x, "y": y}, code=1).stdout
    assert "coarse" in printed
    assert "Coarser arithmetic" in printed


def test_json_has_the_keys_that_are_documented(path: Path, values: Arrays, tmp_path: Path) -> None:
    judged(path, values, "--json", tmp_path / "out.json", "--sample", 50)
    said = json.loads((tmp_path / "out.json").read_text())
    assert set(said) == {"verdict", "first", "judged", "unjudged", "sample", "tensors", "causes"}
    assert (said["verdict"], said["first"], said["judged"], said["unjudged"]) == ("rounding", None, 3, {})
    assert said["sample"] == 50
    assert [one["tensor"] for one in said["tensors"]] == ["conv1", "conv2", "y"]
    assert set(said["tensors"][0]) == {
        *("tensor", "node", "op", "from", "verdict", "ratio", "loop_ratio", "loop_limit", "values"),
        *("equal", "max_abs_error", "worst", "histogram", "blind_below", "strange", "proven"),
        *("note", "causes", "clues"),
    }


def test_a_sample_says_what_it_finds(path: Path, values: Arrays) -> None:
    printed = " ".join(judged(path, values, "--sample", 100).stdout.split())
    assert (
        "At most 100 values of each tensor judged: if 6.67% of a larger tensor's values are wrong" in printed
    )


def test_a_recorded_tensor_of_another_shape_is_a_finding(path: Path, values: Arrays) -> None:
    turned = values | {"conv1": values["conv1"].transpose(0, 2, 3, 1)}
    for options in ((), ("--sample", 50)):
        printed = judged(path, turned, *options, code=1).stdout
        assert "shape [2, 9, 9, 8], expected" in printed
        assert "Not judged: Conv" in printed  # the one that reads it


def test_an_unknown_operator_is_unjudged_and_named(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "m"], ["a"]),
        helper.make_node("Strange", ["a"], ["b"], domain="own"),
        helper.make_node("MatMul", ["b", "n"], ["y"]),
    ]
    proto = model(nodes, {"x": [2, 3]}, ["y"], {"m": normal(3, 4), "n": normal(4, 5)}, domains={"own": 1})
    x, b = normal(2, 3), normal(2, 4)
    recorded = {"x": x, "a": x @ normal(3, 4), "b": b, "y": b @ normal(4, 5)}
    printed = judged(saved(proto, tmp_path), recorded).stdout
    assert "Not judged: own.Strange 1×" in printed
    assert "2 tensors judged" in printed


# --- not finite --------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_on_one_side_is_different(
    path: Path, values: Arrays, value: float
) -> None:
    result = judged(path, changed(values, "y", (0, 0, 0, 0), value), "--json", "-", code=1)
    said = json.loads(result.stdout)
    assert said["first"] == "y"
    (one,) = [one for one in said["tensors"] if one["tensor"] == "y"]
    assert one["worst"]["index"] == [0, 0, 0, 0]
    assert one["worst"]["found"] is None
    assert ("NaN" if np.isnan(value) else "infinite") in one["note"]


def test_equal_nans_on_both_sides_are_equal(path: Path) -> None:
    x = normal(2, 3, 9, 9)
    x[0, 0, 0, 0] = np.nan
    printed = judged(path, computed(convolutions(), {"x": x})).stdout
    assert "NaN of" in printed
    assert "Same function" in printed


def test_an_overflow_that_is_due_is_named(tmp_path: Path) -> None:
    weights = {"m": np.array([[2.0, 1e-3]], np.float32)}
    proto = model([helper.make_node("MatMul", ["x", "m"], ["y"])], {"x": [3, 1]}, ["y"], weights)
    values = computed(proto, {"x": np.array([[3e38], [-3e38], [1.5]], np.float32)})
    printed = judged(saved(proto, tmp_path), values).stdout
    assert "y: 2 infinite of 6 values in float32; 2 of them are so in the reference" in printed


# --- refusals ----------------------------------------------------------------------------------


def test_models_that_cannot_be_read_are_refused(path: Path, tmp_path: Path) -> None:
    refused("judge", tmp_path / "none.onnx", said="no such file")
    refused("judge", tmp_path, said="is a folder")
    refused("judge", "x" * 300, said="File name too long")
    (tmp_path / "cut.onnx").write_bytes(path.read_bytes()[:-100])
    refused("judge", tmp_path / "cut.onnx", said="not an ONNX file, or a damaged one")


def test_sizes_that_are_missing_or_unknown_are_refused(path: Path) -> None:
    refused("judge", path, said="the input 'x' float32 [batch, 3, 9, 9] needs a size: --dim batch=N")
    refused("judge", path, "--dim", "bath=2", said="has no symbolic dimension 'bath': it has batch")


def test_values_that_do_not_fit_are_refused(path: Path, values: Arrays, tmp_path: Path) -> None:
    file = tmp_path / "values.npz"

    def given(said: str, **changes: np.ndarray | None) -> None:
        kept = {name: array for name, array in (values | changes).items() if array is not None}
        np.savez(file, **kept)  # type: ignore[arg-type]
        refused("judge", path, "--values", file, "--json", tmp_path / "out.json", said=said)
        assert not (tmp_path / "out.json").exists()

    given("needs the input 'x' (float32 [batch, 3, 9, 9]), which is not given", x=None)
    given("has no tensor 'conv_1'; the nearest: conv1, conv2", conv_1=values["conv1"])
    given("x has shape [2, 9, 9, 3], but the graph declares", x=values["x"].transpose(0, 2, 3, 1))
    given("x is int64, but the graph declares float32", x=values["x"].astype(np.int64))
    given("y is int32, but the graph declares float32", y=values["y"].astype(np.int32))
    given("conv1 holds Python objects", conv1=values["conv1"].astype(object))
    given("m is a weight of", m=normal(4, 5) * 2)
    given("nothing to judge", y=None, conv1=None, conv2=None)


def test_files_that_are_no_npz_or_cannot_be_written_are_refused(path: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 nothing")
    for option in ("--values", "--inputs"):
        refused("judge", path, option, tmp_path / "bad.npz", said="not an npz file")
        refused("judge", path, option, tmp_path / "none.npz", said="no such file")
    for option in ("--json", "--html"):
        refused("judge", path, option, tmp_path / "no" / "out", said="cannot be written")


@pytest.mark.parametrize(
    "options",
    [
        ("--values", "v.npz", "--runtime", "reference"),
        ("--inputs", "i.npz", "--seed", "1"),
        ("--runtime", "tensorrt"),
        ("--dim", "batch"),
        ("--dim", "batch=0"),
        ("--dim", "batch=-1"),
        ("--sample", "0"),
        ("--nothing",),
    ],
)
def test_usage_errors_end_with_2(path: Path, options: tuple[str, ...]) -> None:
    assert "Error: " in parity("judge", path, *options, code=2).stderr


def test_names_cannot_move_the_cursor(tmp_path: Path) -> None:
    name = "y\x1b[31m\nred"
    proto = model(
        [helper.make_node("MatMul", ["x", "m"], [name])], {"x": [2, 3]}, [name], {"m": normal(3, 4)}
    )
    path = saved(proto, tmp_path)
    for printed in (
        parity("judge", path).stdout,
        parity("judge", path, "--values", tmp_path / "none\x1b[2J", code=2).stderr,
    ):
        assert "\x1b" not in printed
        assert "\\x1b[" in printed


def test_help_is_there_on_every_level_and_loads_nothing() -> None:
    heavy = "('numpy', 'onnx', 'rich')"
    code = (
        f"import sys, parity, parity.command.main; print([name for name in {heavy} if name in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )
    assert "judge" in parity("--help").stdout
    assert "MODEL.onnx" in parity("judge", "-h").stdout
    assert parity("--version").stdout.startswith("parity ")


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_one_line(path: Path, tmp_path: Path) -> None:
    code = (
        "import parity.command.main, parity.onnx, signal, os\n"
        "def stop(*a, **k): os.kill(os.getpid(), signal.SIGINT)\n"
        "parity.onnx.read_onnx = stop\n"
        f"import sys; sys.argv = ['parity', 'judge', {str(path)!r}]\n"
        "parity.command.main.main()\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 130
    assert ended.stderr == "error: interrupted\n"


def test_a_full_disk_ends_with_one_line(path: Path, values: Arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("parity.command.main._show", full)
    result = judged(path, values, code=2)
    assert (result.stdout, result.stderr) == ("", "error: the output: No space left on device\n")


@pytest.mark.slow
def test_output_has_no_colours_where_it_is_no_terminal(path: Path) -> None:
    started = time.monotonic()
    command = [sys.executable, "-m", "parity", "judge", str(path), "--dim", "batch=2"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "\x1b" not in ended.stdout + ended.stderr
    assert ended.stderr == ""
    assert all(len(line) <= 80 for line in ended.stdout.splitlines())
    assert time.monotonic() - started < 60


def test_an_error_is_one_line_of_bounded_length_without_codes_of_the_terminal() -> None:
    message = Failure("a name of\nthe file: \x1b[31m" + "x" * 10**6 + ": no such layer").message
    assert len(message) == LONGEST
    assert message.startswith("a name of the file: \\x1b[31mxxx")
    assert message.endswith("xxx: no such layer")
