"""`.caffemodel` files there and back, what is refused of them, and `python -m lenet_caffe`."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.testing import assert_array_equal

from lenet import ports
from lenet.network import weights
from lenet.network.architecture import PARAM_SHAPES
from lenet_caffe.schema import NetParameter
from lenet_caffe.train import SOLVER
from parity.errors import UserError, install_line
from tests.helpers import one_line

FOLDER = SOLVER.parent


@pytest.fixture
def port(open_port, params):
    """The port, with the trained weights."""
    port = open_port("caffe")
    port.load(params)
    return port


@pytest.fixture
def files(port) -> ModuleType:
    """What writes and reads Caffe's files; it needs OpenCV, as the port does."""
    from lenet_caffe import caffemodel

    return caffemodel


def numbered() -> dict[str, np.ndarray]:
    """Every element another number; zeros of both signs, the smallest float32 and the largest."""
    params = {}
    for name, shape in PARAM_SHAPES.items():
        params[name] = (np.arange(np.prod(shape), dtype=np.float32) / 3 - 7).reshape(shape)
        params[name].flat[:4] = [0.0, -0.0, np.finfo(np.float32).smallest_subnormal, np.finfo(np.float32).max]
    return params


def test_weights_come_back_bit_for_bit_from_the_file_and_from_the_port(files, port, tmp_path):
    params = numbered()
    files.write(tmp_path / "x.caffemodel", params)
    port.load(params)
    for found in (files.read(tmp_path / "x.caffemodel"), port.params()):
        assert list(found) == list(PARAM_SHAPES)
        for name, array in params.items():
            assert (found[name].dtype, found[name].shape) == (np.float32, array.shape)
            assert found[name].tobytes() == array.tobytes(), name


def test_the_order_in_which_weights_are_given_does_not_matter(files, params, tmp_path):
    files.write(tmp_path / "a", params)
    files.write(tmp_path / "b", dict(reversed(params.items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_files_of_2014_are_taken(files, params, tmp_path):
    """Layers of the first kind, and blobs of four axes: a bias 1, 1, 1, N, a dense weight 1, 1, out, in."""
    net = NetParameter()
    for layer in ("conv1", "conv2", "fc1", "fc2", "logits"):
        old = net.layers.add(name=layer)
        for part in ("weight", "bias"):
            array = params[f"{layer}.{part}"]
            num, channels, height, width = (1,) * (4 - array.ndim) + array.shape
            blob = old.blobs.add(num=num, channels=channels, height=height, width=width)
            blob.data.extend(array.ravel().tolist())
    (tmp_path / "old.caffemodel").write_bytes(net.SerializeToString())
    for name, array in files.read(tmp_path / "old.caffemodel").items():
        assert_array_equal(array, params[name], strict=True)
    net.layers[2].blobs[0].num, net.layers[2].blobs[0].height = 120, 1
    (tmp_path / "old.caffemodel").write_bytes(net.SerializeToString())
    with pytest.raises(
        UserError, match=r"fc1\.weight has shape \(120, 1, 1, 400\), expected \(1, 1, 120, 400\)"
    ):
        files.read(tmp_path / "old.caffemodel")


def spoiled(net: Any, how: str) -> bytes:
    fc1 = next(layer for layer in net.layer if layer.name == "fc1")
    match how:
        case "no layer":
            net.layer.remove(fc1)
        case "no bias":
            del fc1.blobs[1:]
        case "third blob":
            fc1.blobs.add(data=[1.0])
        case "another network":
            fc1.name = "ip1"
        case "transposed":
            fc1.blobs[0].shape.CopyFrom(type(fc1.blobs[0].shape)(dim=[400, 120]))
        case "no shape":
            fc1.blobs[0].ClearField("shape")
        case "too few values":
            del fc1.blobs[0].data[-1]
        case "NaN":
            fc1.blobs[0].data[7] = float("nan")
    return net.SerializeToString()


SPOILED = {
    "no layer": "no 'fc1.bias'; expected exactly conv1.weight, ",
    "no bias": "no 'fc1.bias'; expected exactly conv1.weight, ",
    "third blob": "unknown 'fc1.2'; expected exactly conv1.weight, ",
    "another network": "unknown 'ip1.bias'; expected exactly conv1.weight, ",
    "transposed": "fc1.weight has shape (400, 120), expected (120, 400)",
    "no shape": "fc1.weight has shape (), expected (120, 400)",
    "too few values": "fc1.weight holds 47999 values, expected 48000",
    "NaN": "fc1.weight holds a NaN or an infinity",
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_caffemodel_of_anything_else_is_refused(how, files, params, tmp_path):
    path = tmp_path / "x.caffemodel"
    files.write(path, params)
    path.write_bytes(spoiled(NetParameter.FromString(path.read_bytes()), how))
    with pytest.raises(UserError) as refusal:
        files.read(path)
    assert one_line(refusal).startswith(f"{path}: {SPOILED[how]}")


def test_a_caffemodel_cut_off_anywhere_is_refused(files, params, tmp_path):
    path = tmp_path / "x.caffemodel"
    files.write(path, params)
    content = path.read_bytes()
    starts = {0, *(content.index(name.encode()) - 5 for name in ("conv2", "fc1", "logits"))}  # around layers
    for end in sorted({n + i for n in starts for i in range(12)} | set(range(0, len(content) - 40, 9973))):
        path.write_bytes(content[:end])
        with pytest.raises(UserError, match=r"cut off; get the file anew|expected exactly") as refusal:
            files.read(path)
        one_line(refusal)
    with pytest.raises(UserError, match="cannot be read"):
        files.read(tmp_path / "absent")


# --- the command -------------------------------------------------------------------------------


def run(*arguments: str, code: int = 0) -> str:
    from lenet_caffe.__main__ import cli

    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.usefixtures("port")
def test_the_command_writes_the_four_files_and_reads_weights_back(params, tmp_path):
    folder, out = tmp_path / "new" / "caffe", tmp_path / "back.safetensors"
    written = run("write", str(folder)).splitlines()
    assert sorted(map(Path, written)) == sorted(folder.iterdir())
    for text in ("deploy.prototxt", "train_val.prototxt", "solver.prototxt"):
        assert (folder / text).read_bytes() == (FOLDER / text).read_bytes()
    run("read", str(folder / "lenet.caffemodel"), str(out))
    found, metadata = weights.read_with_metadata(out)
    assert metadata == {"source": "lenet.caffemodel"}
    for name, array in params.items():
        assert found[name].tobytes() == array.tobytes(), name


@pytest.mark.slow
@pytest.mark.usefixtures("port")
def test_the_command_ends_in_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    bad, out = tmp_path / "bad", tmp_path / "out.safetensors"
    bad.write_bytes(b"\x08")
    assert run("read", str(bad), str(out), code=1).startswith(f"error: {bad}: no NetParameter, or cut off")
    assert run("write", str(bad), code=1).startswith(f"error: {bad}: cannot be written")
    assert list(tmp_path.iterdir()) == [bad]
    monkeypatch.setattr(ports, "missing", lambda name: ["cv2"])
    assert run("write", str(out), code=1) == f"error: port 'caffe' needs cv2: {install_line('cv2')}\n"


@pytest.mark.slow
def test_the_command_is_python_m_and_says_what_it_does():
    command = [sys.executable, "-m", "lenet_caffe", "--help"]
    shown = subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True, check=True).stdout
    assert "Usage: python -m lenet_caffe" in shown
    assert "write" in shown
    assert "read" in shown
