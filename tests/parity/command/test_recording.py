"""`parity record`, and `parity judge --map`."""

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from parity.record import read_npz
from tests.parity.command.running import parity, refused
from tests.parity.record.frameworks import framework
from tests.parity.small import Arrays, computed, convolutions, model, normal, saved

PORT = """
import numpy as np

m = np.arange(6, dtype=np.float32).reshape(3, 2)

def product(x):
    return {"y": x @ m}

def made():
    return product

arrays = {}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return saved(convolutions(), tmp_path)


@pytest.fixture
def port(tmp_path: Path) -> Path:
    """A Python file, beside the graph that it computes."""
    weights = {"m": np.arange(6, dtype=np.float32).reshape(3, 2)}
    product = model([helper.make_node("MatMul", ["x", "m"], ["y"])], {"x": [4, 3]}, ["y"], weights)
    saved(product, tmp_path, "product.onnx")
    (tmp_path / "port.py").write_text(PORT)
    return tmp_path / "port.py"


def test_what_a_runtime_computes_is_written_and_judged(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    printed = parity("record", path, out, "--dim", "batch=2", "--runtime", "reference").stdout
    assert printed == f"{out}: 4 tensors\n"
    assert set(read_npz(out)) == {"x", "conv1", "conv2", "y"}
    assert "Same function" in parity("judge", path, "--values", out).stdout
    np.savez(tmp_path / "in.npz", x=normal(3, 3, 9, 9))
    parity("record", path, out, "--inputs", tmp_path / "in.npz")
    np.testing.assert_array_equal(read_npz(out)["x"], normal(3, 3, 9, 9))


def test_what_a_python_file_computes_is_written_and_judged(port: Path, tmp_path: Path) -> None:
    out, graph = tmp_path / "out.npz", tmp_path / "product.onnx"
    for name in ("product", "made"):
        parity("record", f"{port}:{name}", out, "--graph", graph, "--seed", 3)
        assert "Same function" in parity("judge", graph, "--values", out).stdout


@pytest.mark.slow
def test_a_pytorch_module_is_recorded_and_exported(tmp_path: Path) -> None:
    framework("torch", "onnxscript")
    net = "torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())"
    (tmp_path / "net.py").write_text(f"import torch\ntorch.manual_seed(0)\nnet = {net}")
    np.savez(tmp_path / "in.npz", input=normal(2, 4))
    graph, out = tmp_path / "net.onnx", tmp_path / "out.npz"
    parity("record", f"{tmp_path}/net.py:net", out, "--inputs", tmp_path / "in.npz", "--export", graph)
    assert "2 tensors judged" in parity("judge", graph, "--values", out).stdout
    (tmp_path / "map.json").write_text('{"0": "linear"}')
    options = ("--inputs", tmp_path / "in.npz", "--map", tmp_path / "map.json")
    parity("record", f"{tmp_path}/net.py:net", out, *options)
    assert set(read_npz(out)) == {"input", "linear"}


def test_a_map_names_what_was_recorded_elsewhere(path: Path, tmp_path: Path) -> None:
    values: Arrays = computed(convolutions(), {"x": normal(2, 3, 9, 9)})
    own = {"x": values["x"], "layer/1": values["conv1"].transpose(0, 2, 3, 1), "rest": normal(3)}
    np.savez(tmp_path / "own.npz", **own, out=values["y"])  # type: ignore[arg-type]
    (tmp_path / "map.json").write_text(json.dumps({"layer/1": ["conv1", "NHWC->NCHW"], "out": "y"}))
    given = ("judge", path, "--values", tmp_path / "own.npz")
    printed = parity(*given, "--map", tmp_path / "map.json").stdout
    assert "2 tensors judged" in printed
    assert "Same function" in printed
    (tmp_path / "map.json").write_text(json.dumps({"layer/1": "conv1", "out": "y"}))
    assert "Not the same function" in parity(*given, "--map", tmp_path / "map.json", code=1).stdout
    (tmp_path / "map.json").write_text(json.dumps({"layer/2": "conv1"}))
    refused(*given, "--map", tmp_path / "map.json", said="the nearest: layer/1")
    (tmp_path / "map.json").write_text("{")
    refused(*given, "--map", tmp_path / "map.json", said="no JSON of names")


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        (None, "f", "no such file"),
        ("f = 1 /", "f", "cannot be run: SyntaxError"),
        ("\n1 / 0", "f", "cannot be run: line 2: ZeroDivisionError"),
        ("import sys; sys.exit(3)", "f", "cannot be run: line 1: SystemExit: 3"),
        ("function = print", "functoin", "has no 'functoin'; the nearest: function"),
        ("f = {}", "f", "f of port.py is a dict: a module, a model or a function is needed"),
        ("f = 3", "f", "int can be neither run nor judged"),
        ("def f(): raise ValueError('bad\\nday')", "f", "line 1: ValueError: bad day"),
        ("def f(x): raise ValueError('bad\\nday')", "f", "f of port.py cannot be run: bad day"),
        ("def f(a, b): pass", "f", "missing a required argument: 'b'"),
        ("import onnxscript_that_is_not_there", "f", "cannot be run: line 1: ModuleNotFoundError"),
    ],
)
def test_files_that_cannot_be_run_are_refused(
    port: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, name: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    port.unlink() if text is None else port.write_text(text)
    if "a, b" in (text or ""):
        np.savez("in.npz", a=normal(2))
        refused("record", f"port.py:{name}", "out.npz", "--inputs", "in.npz", said=said)
    else:
        refused("record", f"port.py:{name}", "out.npz", "--graph", "product.onnx", said=said)
    assert not Path("out.npz").exists()


def test_files_in_the_way_are_refused(path: Path, port: Path, tmp_path: Path) -> None:
    before = path.read_bytes()
    assert "would be overwritten" in parity("record", path, path, code=2).stderr
    assert path.read_bytes() == before
    refused("record", path, tmp_path / "no" / "out.npz", said="cannot be written")
    refused("record", tmp_path / "none.onnx", tmp_path / "out.npz", said="no such file")
    options = ("--graph", tmp_path / "product.onnx", "--export", tmp_path / "e.onnx")
    refused("record", f"{port}:product", tmp_path / "out.npz", *options, said="is no PyTorch module")


@pytest.mark.parametrize(
    "arguments",
    [
        ("record", "model.onnx", "out.npz", "--graph", "g.onnx"),
        ("record", "model.onnx", "out.npz", "--export", "g.onnx"),
        ("record", "model.onnx", "out.npz", "--inputs", "i.npz", "--seed", "1"),
        ("record", "port.py:f", "out.npz"),
        ("record", "port.py:f", "out.npz", "--graph", "g.onnx", "--runtime", "reference"),
        ("record", "model.onnx"),
        ("judge", "model.onnx", "--map", "map.json"),
    ],
)
def test_usage_errors_end_with_2(arguments: tuple[str, ...]) -> None:
    assert "Error: " in parity(*arguments, code=2).stderr
