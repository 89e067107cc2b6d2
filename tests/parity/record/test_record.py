"""Recorded tensors: npz files without pickle, random inputs, and runtimes."""

import io
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper

from parity import UserError, judge, read_onnx
from parity.errors import MissingFramework
from parity.record import read_npz, write_npz
from parity.record.onnx_runtimes import RUNTIMES, _alike, record, visible
from parity.record.random_inputs import check_inputs, random_inputs
from tests.conftest import unavailable
from tests.parity.small import convolutions, loop, model, normal, saved


def npz(path: Path, entries: dict[str, bytes], times: int = 1) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            for _ in range(times):
                archive.writestr(name, content)
    return path


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def header(said: str) -> bytes:
    """An array file whose header says this."""
    text = said.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def refused(path: Path, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        dict(read_npz(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_read_one_at_a_time(tmp_path: Path, save: object) -> None:
    arrays = {
        "a/b:0": normal(2, 3),
        "scalar": np.array(3),
        "big": np.arange(3, dtype=">f4"),
        "turned": normal(4, 5).T,
        "half": normal(3).astype(ml_dtypes.bfloat16),
        "text": np.array(["a", "é"]),
        "none": np.zeros((0, 3), np.float32),
    }
    save(tmp_path / "x.npz", **arrays)  # type: ignore[operator]
    found = read_npz(tmp_path / "x.npz")
    assert list(found) == list(arrays)
    assert found.shapes == {name: array.shape for name, array in arrays.items()}
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype.name == array.dtype.name
        assert found[name].dtype.isnative


def test_objects_and_pickles_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.array([{"a": 1}], object))
    refused(tmp_path / "x.npz", "x holds Python objects")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000000,), }"), "damaged"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }"), "damaged"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': 'x', }"), "no array"),
        (header("{'descr': '|O', 'fortran_order': False, 'shape': (), }"), "Python objects"),
        (header("{'descr': '<M8[s]', 'fortran_order': False, 'shape': (), }"), "no array of numbers"),
        (header("[" * 90), "no array"),
        (b"\x93NUMPY\x07\x00", "no array"),
        (b"", "no array"),
        (npy(np.zeros(3))[:-1], "damaged"),
        (npy(np.zeros(3)) + b"more", "damaged"),
    ],
)
def test_damaged_arrays_are_refused_before_any_memory_is_taken(
    tmp_path: Path, content: bytes, said: str
) -> None:
    refused(npz(tmp_path / "x.npz", {"x.npy": content}), said)


def test_files_that_are_no_npz_are_refused(tmp_path: Path) -> None:
    whole = npz(tmp_path / "whole.npz", {"x.npy": npy(normal(9000))}).read_bytes()
    (tmp_path / "short.npz").write_bytes(whole[:-40])
    refused(tmp_path / "short.npz", "not an npz file")
    (tmp_path / "flipped.npz").write_bytes(whole[:-9000] + bytes([whole[-9000] ^ 1]) + whole[-8999:])
    refused(tmp_path / "flipped.npz", "x cannot be read: Bad CRC")
    (tmp_path / "one.npy").write_bytes(npy(normal(3)))
    refused(tmp_path / "one.npy", "not an npz file")
    refused(tmp_path / "none.npz", "no such file")
    refused(tmp_path, "is a folder")
    refused(npz(tmp_path / "other.npz", {"readme.txt": b"hello"}), "which is no array")
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = npz(tmp_path / "twice.npz", {"x.npy": npy(normal(3))}, times=2)
    refused(twice, "holds 'x' twice")


# --- random inputs -----------------------------------------------------------------------------


def declaring(kind: int, shape: list[int | str] | None) -> object:
    proto = model([helper.make_node("Identity", ["x"], ["y"])], {"x": []}, ["y"])
    proto.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", kind, shape))
    return proto


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [
        (TensorProto.INT64, {0, 1}),
        (TensorProto.UINT8, set(range(256))),
        (TensorProto.INT8, set(range(-128, 128))),
        (TensorProto.BOOL, {False, True}),
    ],
)
def test_random_integers_are_valid_indices_and_bytes_of_any_value(kind: int, allowed: set[int]) -> None:
    graph = read_onnx(declaring(kind, [100, 100]))  # type: ignore[arg-type]
    assert set(random_inputs(graph)["x"].ravel().tolist()) == allowed


@pytest.mark.parametrize(
    "kind", [TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16]
)
def test_random_floats_are_standard_normal_and_follow_the_seed(kind: int) -> None:
    graph = read_onnx(declaring(kind, [100, 100]))  # type: ignore[arg-type]
    x = random_inputs(graph, 1)["x"]
    assert x.dtype == helper.tensor_dtype_to_np_dtype(kind)
    assert abs(float(x.astype(np.float64).std()) - 1) < 0.03
    np.testing.assert_array_equal(x, random_inputs(graph, 1)["x"])
    assert (x != random_inputs(graph, 2)["x"]).any()


@pytest.mark.parametrize(
    ("kind", "shape", "said"),
    [
        (TensorProto.FLOAT, ["n", 3], "--dim n=N"),
        (TensorProto.FLOAT, None, "declares no shape"),
        (TensorProto.STRING, [3], "cannot be drawn at random"),
        (TensorProto.FLOAT, [2**40, 2**40], "too large"),
    ],
)
def test_inputs_that_cannot_be_drawn_are_named(kind: int, shape: list[int | str] | None, said: str) -> None:
    with pytest.raises(UserError, match=said):
        random_inputs(read_onnx(declaring(kind, shape)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "needs the input 'x'"),
        ({"x": np.zeros((2, 3, 9, 9))}, "is float64"),
        ({"x": np.zeros((2, 9, 9, 3), np.float32)}, r"has shape \[2, 9, 9, 3\]"),
        ({"x1": np.zeros(3)}, "no input 'x1'; the nearest: x"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_inputs(read_onnx(convolutions()), inputs)


# --- runtimes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_runtime_records_the_same_function(runtime: str) -> None:
    proto, x = convolutions(), normal(2, 3, 9, 9)
    try:
        found = record(proto, {"x": x}, runtime)
    except MissingFramework as missing:
        unavailable(str(missing))
        raise
    assert {"x", "y"} <= set(found)
    report = judge(read_onnx(proto), found)
    if runtime == "openvino":  # whose default is bfloat16 on some processors
        assert report.verdict in ("rounding", "coarse", "different")
        return
    assert report.same
    assert report.verdict == "rounding"


def test_openvino_computes_in_the_format_that_it_is_told() -> None:
    proto, inputs = convolutions(), {"x": normal(2, 3, 9, 9)}
    try:
        values, by_default = record(proto, inputs, "openvino-f32"), record(proto, inputs, "openvino")
        import openvino
    except MissingFramework as missing:
        unavailable(str(missing))
        raise
    assert judge(read_onnx(proto), values).same
    hint = openvino.Core().get_property("CPU", "INFERENCE_PRECISION_HINT").get_type_name()
    assert judge(read_onnx(proto), by_default).same == (hint == "f32")


def test_without_optimisation_every_tensor_is_seen() -> None:
    found = record(convolutions(), {"x": normal(2, 3, 9, 9)})
    assert list(found) == ["x", "y", "conv1", "conv2"]


def test_what_is_fused_is_not_seen_and_the_rest_means_the_same() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Softmax", ["r"], ["y"]),
    ]
    proto = model(nodes, {"x": [1, 3, 9, 9]}, ["y"], {"w": normal(8, 3, 3, 3)})
    inputs = {"x": normal(1, 3, 9, 9)}
    plain, fused = record(proto, inputs), record(proto, inputs, "onnxruntime-all")
    assert set(fused) == {"x", "r", "y"}  # c is within the convolution
    for name, array in fused.items():
        np.testing.assert_allclose(array, plain[name], rtol=1e-4, atol=1e-4)


def test_constants_are_not_seen_and_no_tensor_twice() -> None:
    nodes = [
        helper.make_node("Constant", [], ["k"], value_float=1.0),
        helper.make_node("Constant", [], ["l"], value_float=1.0, domain="ai.onnx"),
        helper.make_node("Constant", ["x"], ["own"], domain="mine"),
        helper.make_node("Split", ["own"], ["a", "", "b"]),
        helper.make_node("Add", ["a", "k"], ["y"]),
    ]
    assert visible(model(nodes, {"x": [2]}, ["y"])) == ["own", "a", "b", "y"]


@pytest.mark.parametrize(
    ("other", "alike"),
    [
        (np.array([1, np.nan], np.float32), True),
        (np.array([1, 2], np.float32), False),
        (np.array([1, np.nan]), False),
        (np.array([[1, np.nan]], np.float32), False),
        (np.array([1], np.float32), False),
    ],
)
def test_two_runs_are_alike_in_type_shape_and_bits(other: np.ndarray, alike: bool) -> None:
    assert _alike(np.array([1, np.nan], np.float32), other) is alike


@pytest.mark.parametrize("runtime", ["onnxruntime", "onnxruntime-all", "reference"])
def test_models_with_external_data_are_run(tmp_path: Path, runtime: str) -> None:
    proto = convolutions(2)
    whole = saved(proto, tmp_path, "whole.onnx")
    tensor = proto.graph.initializer[0]
    (tmp_path / "weights.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    apart = saved(proto, tmp_path)
    x = {"x": normal(2, 3, 9, 9)}
    for name, array in record(apart, x, runtime).items():
        np.testing.assert_array_equal(array, record(whole, x, runtime)[name])
    assert judge(read_onnx(apart), record(apart, x, runtime)).same
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "weights.bin", "whole.onnx"]


def test_a_runtime_that_refuses_says_so_in_one_line() -> None:
    proto = model(
        [helper.make_node("Nothing", ["x"], ["y"], domain="evil")], {"x": [2]}, ["y"], domains={"evil": 1}
    )
    for runtime in ("onnxruntime", "onnxruntime-all", "reference"):
        with pytest.raises(UserError, match=f"{runtime} cannot run the model: ") as caught:
            record(proto, {"x": normal(2)}, runtime)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no runtime 'tensorrt': there are onnxruntime, "):
        record(proto, {}, "tensorrt")


def test_a_runtime_that_does_not_import_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise ImportError("libGL.so.1: cannot open shared object file")

    monkeypatch.setitem(RUNTIMES, "opencv", (broken, "cv2"))
    with pytest.raises(MissingFramework, match=r"opencv does not import \(libGL.*: .*pip install .*opencv"):
        record(convolutions(), {"x": normal(2, 3, 9, 9)}, "opencv")


def test_a_missing_runtime_is_reported_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(MissingFramework, match=r"openvino is not installed: .*pip install .*openvino"):
        record(convolutions(), {"x": normal(2, 3, 9, 9)}, "openvino")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x" * 2**16, "a name of 65,540 bytes is too long"),
        ("\ud800", r"'\\ud800' is no Unicode text"),
        ("a\0b", "has a null character"),
    ],
)
def test_a_name_that_the_format_cannot_hold_is_refused_and_nothing_is_written(
    name: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        write_npz(tmp_path / "out.npz", {"a": np.zeros(2), name: np.zeros(2)})
    assert list(tmp_path.iterdir()) == []


def test_opencv_says_why_it_refuses_once(capfd: pytest.CaptureFixture[str]) -> None:
    """It prints its errors to standard error, beside the exception."""
    nodes = [loop("rounds", "zero", "more"), helper.make_node("Add", ["x", "more"], ["y"])]
    weights = {"rounds": np.array(2), "zero": np.array(0, np.float32)}
    with pytest.raises(UserError, match="opencv cannot run the model"):
        record(model(nodes, {"x": [1]}, ["y"], weights), {"x": np.zeros(1, np.float32)}, "opencv")
    assert capfd.readouterr().err == ""
