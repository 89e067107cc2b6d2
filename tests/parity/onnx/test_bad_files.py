"""Files and external data that are damaged, missing or outside of the folder: refused in one line."""

import os
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import SparseTensorProto, TensorProto, helper, numpy_helper

from parity import UserError, judge, read_onnx
from parity.judging import judge as located
from parity.onnx.constants import Constants, _bytes
from tests.parity.onnx.read_models import a_function, an_if, product, refused, sparse
from tests.parity.small import convolutions, model, normal, saved

# --- external data -----------------------------------------------------------------------------


def external(folder: Path, **entries: object) -> Path:
    """A model whose weight m (3, 4) lies in a file, at byte 5."""
    proto = product()
    tensor = proto.graph.initializer[0]
    (folder / "weights.bin").write_bytes(b"12345" + tensor.raw_data)
    said = {"location": "weights.bin", "offset": 5, "length": 48} | entries
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in said.items():
        tensor.external_data.add(key=key, value=str(value))
    return saved(proto, folder)


def test_external_data_that_are_removed_before_they_are_read_are_named(tmp_path: Path) -> None:
    graph = read_onnx(external(tmp_path))
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises(UserError, match="cannot be read any more"):
        graph.constants["m"]


@pytest.mark.parametrize(("kind", "length"), [("INT2", 11), ("UINT4", 21), ("INT8", 41)])
def test_values_that_share_bytes_take_fewer(kind: str, length: int) -> None:
    tensor = TensorProto(dims=[41], data_type=TensorProto.DataType.Value(kind))
    assert _bytes(tensor, np.dtype(np.int8)) == length


def test_external_data_are_mapped_and_let_go(tmp_path: Path) -> None:
    graph = read_onnx(external(tmp_path))
    np.testing.assert_array_equal(graph.constants["m"], normal(3, 4))
    maps = Path("/proc/self/maps")
    if maps.exists():
        kept = graph.constants["m"]
        assert "weights.bin" in maps.read_text()
        del kept
        assert "weights.bin" not in maps.read_text()


@pytest.mark.parametrize("said", [{}, {"offset": "0", "length": "6"}, {"offset": "", "length": ""}])
def test_external_data_of_which_two_values_share_a_byte_are_read(tmp_path: Path, said: dict) -> None:
    """From the first byte to the last, unless the model says otherwise."""
    wanted = np.arange(-6, 6).reshape(3, 4)
    tensor = helper.make_tensor("m", TensorProto.INT4, [3, 4], wanted.ravel().tolist())
    (tmp_path / "weights.bin").write_bytes(
        numpy_helper.from_array(numpy_helper.to_array(tensor)).raw_data + b"more"
    )
    tensor.ClearField("int32_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "weights.bin", **said}.items():
        tensor.external_data.add(key=key, value=value)
    proto = product({})
    proto.graph.initializer.append(tensor)
    found = read_onnx(saved(proto, tmp_path)).constants["m"]
    assert found.dtype.name == "int4"
    np.testing.assert_array_equal(found.astype(int), wanted)


def test_a_large_weight_costs_no_memory_before_it_is_used(tmp_path: Path) -> None:
    proto = product({})
    proto.graph.initializer.add(name="m", data_type=TensorProto.FLOAT, dims=[3, 2**32])
    proto.graph.initializer[0].data_location = TensorProto.EXTERNAL
    proto.graph.initializer[0].external_data.add(key="location", value="holes.bin")
    with (tmp_path / "holes.bin").open("wb") as file:
        file.truncate(3 * 2**34)  # 48 GiB without contents
    assert read_onnx(saved(proto, tmp_path)).constants["m"][2, 2**31] == 0


@pytest.mark.parametrize(
    "location", ["../weights.bin", "/etc/passwd", "", "a/../../weights.bin", "a/../weights.bin", "a\\b"]
)
def test_external_data_outside_of_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "in").mkdir()
    said = f"^m is stored in {re.escape(repr(location))}, outside of the model's folder$"
    refused(external(tmp_path / "in", location=location), said)


def test_external_data_without_a_place_are_refused(tmp_path: Path) -> None:
    path = external(tmp_path)
    proto = onnx.load(path, load_external_data=False)
    del proto.graph.initializer[0].external_data[0]
    refused(saved(proto, tmp_path), "^m is stored in '', outside of the model's folder$")


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = external(tmp_path / "in")
    (tmp_path / "in" / "weights.bin").rename(tmp_path / "out.bin")
    (tmp_path / "in" / "weights.bin").symlink_to(tmp_path / "out.bin")
    refused(path, "outside of the model's folder")


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"location": "gone.bin"}, "no such file"),
        ({"location": "x" * 300}, "cannot be read"),
        ({"location": "."}, "is a folder"),
        ({"offset": 6}, r"too short \(53 bytes\) for m, which ends at byte 54$"),
        ({"offset": -5}, "too short"),
        ({"length": 40}, "has 40 bytes"),
        ({"offset": "five"}, "no numbers"),
    ],
)
def test_damaged_external_data_are_refused(tmp_path: Path, entries: dict[str, object], said: str) -> None:
    refused(external(tmp_path, **entries), said)


def test_a_pipe_of_external_data_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    path = external(tmp_path, location="pipe")
    os.mkfifo(tmp_path / "pipe")
    refused(path, "no ordinary file")


# --- bad files ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\x08\x07", "without a graph"),
        (b"not a protobuf", "not an ONNX file"),
        (b"\xff" * 99, "not an ONNX file"),
    ],
)
def test_files_that_are_no_models_are_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    refused(tmp_path / "model.onnx", said)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "is a folder")
    refused(tmp_path / "none.onnx", "no such file")
    refused(tmp_path / ("x" * 300), "File name too long")
    refused(Path("a\0b"), "null")
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "no ordinary file")


def test_a_file_above_2_gb_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "huge.onnx").open("wb") as file:
        file.truncate(2**31)
    refused(tmp_path / "huge.onnx", "2 GB")


def test_graphs_that_make_no_sense_are_refused() -> None:
    twice = product()
    twice.graph.node.append(twice.graph.node[0])
    refused(twice, "^small: the tensor 'y' is made twice$")
    missing = product({})
    refused(missing, "^small: MatMul '' needs 'm', which nothing makes$")
    circle = convolutions()
    circle.graph.node[0].input[0] = "y"
    refused(circle, "^small: .* in a circle")
    output = product()
    output.graph.output[0].name = "other"
    refused(output, "nothing makes the output 'other'")


def test_damaged_weights_are_refused() -> None:
    short = product()
    short.graph.initializer[0].raw_data = b"123"
    refused(short, "m has 3 bytes, but its shape")
    huge = product()
    huge.graph.initializer[0].dims[:] = [2**60, 2**60]
    refused(huge, "impossible shape")
    negative = product()
    negative.graph.initializer[0].dims[:] = [-3, -4]
    refused(negative, "impossible shape")
    kind = product()
    kind.graph.initializer[0].data_type = 77
    refused(kind, "^m has an element type that is not known: 77$")


def test_a_sparse_weight_of_an_unknown_type_is_refused() -> None:
    proto = product({})
    proto.graph.sparse_initializer.append(sparse("m", [1], [1], [3, 4]))
    proto.graph.sparse_initializer[0].values.data_type = 77
    refused(proto, "^m has an element type that is not known: 77$")


def test_a_constant_may_have_2_to_the_40_bytes_and_no_more() -> None:
    def weight(*dims: int) -> TensorProto:
        return TensorProto(dims=dims, data_type=TensorProto.DOUBLE)

    def sparse(*dims: int) -> SparseTensorProto:
        return SparseTensorProto(values=weight(0), indices=weight(0), dims=dims)

    for make in (weight, sparse):
        assert "m" in Constants({"m": make(2**19, 2**18)}, None)
        for dims in ((2**19, 2**18 + 1), (-1,)):
            with pytest.raises(UserError, match=r"^m has an impossible shape: "):
                Constants({"m": make(*dims)}, None)
    with pytest.raises(UserError, match=r"^m has an impossible shape: \[-1\]$"):
        Constants({"m": SparseTensorProto(values=weight(0), indices=weight(-1), dims=[1])}, None)


def test_a_weight_without_values_takes_no_bytes_of_its_file(tmp_path: Path) -> None:
    proto = product({"m": np.zeros((3, 0), np.float32)})
    tensor = proto.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    (tmp_path / "weights.bin").touch()
    found = read_onnx(saved(proto, tmp_path)).constants["m"]
    assert found.shape == (3, 0)
    assert found.dtype == np.float32


@pytest.mark.parametrize("indices", [[1, 12], [[0, 1], [3, 0]]], ids=["flat", "rows"])
def test_a_sparse_weight_with_a_place_outside_of_its_shape_is_refused(indices: list) -> None:
    values = numpy_helper.from_array(np.array([5, 6], np.float32), "m")
    proto = product({})
    sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(np.array(indices)), [3, 4])
    proto.graph.sparse_initializer.append(sparse)
    with pytest.raises(UserError, match=r"^m is a sparse tensor whose indices do not fit \[3, 4\]$"):
        read_onnx(proto).constants["m"]


@pytest.mark.slow
def test_150_damaged_files_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "model.onnx"
    call = helper.make_node("Outer", ["x", "m"], ["y"], domain="own")
    functions = [a_function("Outer", "Inner"), a_function("Inner", "MatMul")]
    with_functions = model(
        [call], {"x": [2, 3]}, ["y"], {"m": normal(3, 4)}, functions=functions, domains={"own": 1}
    )
    sources = [
        (convolutions(2), {"x": normal(2, 3, 9, 9)}),
        (an_if(np.array(True)), {"x": normal(2, 3)}),
        (with_functions, {"x": normal(2, 3)}),
    ]
    outcomes = []
    for case in range(150):
        proto, inputs = sources[case % len(sources)]
        data = bytearray(proto.SerializeToString())
        if case % 4 == 0:
            del data[rng.integers(len(data)) :]
        else:
            for place in rng.integers(len(data), size=rng.integers(1, 6)):
                data[place] = rng.integers(256)
        path.write_bytes(data)
        try:
            graph = read_onnx(path)
            assert all(graph.constants[name] is not None for name in graph.constants)
            ask = judge if case % 5 == 0 else located  # the search for causes takes a second
            ask(graph, {**inputs, **{name: normal(2, 4) for name in graph.tensors}})
            outcomes.append("judged")
        except UserError as error:
            outcomes.append("refused" if "\n" not in str(error) else str(error))
    assert set(outcomes) == {"refused", "judged"}
    assert 25 < outcomes.count("refused") < 125
