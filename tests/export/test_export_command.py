"""`lenet export` through its entry point, and the README's commands and code as they stand there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from export.check import SAME
from export.onnx_file import OPSET, opset_in, read_file
from export.read import read_params
from lenet.commands.cli import cli
from lenet.network import weights
from parity.errors import UserError, pip
from tests.export.exported import EXPORTERS, model_of, needs
from tests.helpers import one_line

README = Path(__file__).parents[2] / "export" / "README.md"


def lenet(*arguments: str, code: int = 0) -> str:
    """What the command prints, on either stream; its exit code must be `code`."""
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def blocks(language: str) -> list[str]:
    """The README's blocks of that language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def files(tmp_path):
    """A folder with the three files."""
    for exporter in EXPORTERS:
        (tmp_path / f"lenet-{exporter}.onnx").write_bytes(model_of(exporter).SerializeToString())
    return tmp_path


@pytest.mark.slow
def test_export_writes_all_files_and_nothing_on_standard_error(tmp_path):
    needs("torch/opencv")
    needs("tf/opencv")
    command = [sys.executable, "-W", "error", "-m", "lenet", "export", "--digits", "1", "--out"]
    run = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert {path.name for path in tmp_path.iterdir()} == {f"lenet-{name}.onnx" for name in EXPORTERS}
    for word in ("opset 18", "IR version 8", "Transpose", "bit for bit", "opencv", "conv1"):
        assert word in run.stdout


@pytest.mark.slow
def test_another_opset_is_written_and_passes_the_check(tmp_path):
    text = lenet("export", "--digits", "1", "--from", "numpy", "--opset", "9", "--out", str(tmp_path))
    assert "ONNX opset 9, IR version 4" in text
    assert opset_in(read_file(tmp_path / "lenet-numpy.onnx")) == 9
    text = lenet("export", "--digits", "1", "--check", str(tmp_path / "lenet-numpy.onnx"))
    assert SAME in text


@pytest.mark.slow
def test_each_file_passes_the_check(files):
    for exporter in EXPORTERS:
        text = lenet("export", "--digits", "1", "--check", str(files / f"lenet-{exporter}.onnx"))
        assert SAME in text


@pytest.mark.slow
def test_file_of_other_weights_fails_the_check(files, tmp_path):
    others = {name: array + np.float32(0.5) for name, array in weights.read().items()}
    weights.write(tmp_path / "others.safetensors", others, {})
    file, reference = str(files / "lenet-numpy.onnx"), str(tmp_path / "others.safetensors")
    text = lenet("export", "--digits", "1", "--check", file, "--weights", reference, code=1)
    assert "different the same network with other weights, first conv1.weight" in text
    assert "conv1.weight: 150 of 150 values differ, by at most 0.5, first [0, 0, 0, 0]" in text


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--check", "none.onnx"], 1, "error: none.onnx: no such file"),
        (["--check", "a", "--from", "tf"], 2, "--check judges a file and writes none"),
        (["--check", "a", "--out", "b"], 2, "--check judges a file and writes none"),
        (["--check", "a", "--opset", "9"], 2, "--check judges a file and writes none"),
        (["--from", "numpy", "--opset", "8"], 1, "error: opset 8 cannot be written: expected 9 to"),
        (["--from", "numpy", "--opset", "nine"], 2, "'nine' is not a valid integer"),
        (["--from", "caffe"], 2, "'caffe' is not one of 'numpy', 'torch', 'tf', 'all'"),
        (["--from", "numpy", "--out", __file__], 1, "cannot be written (File exists); choose another folder"),
        (["--from", "numpy", "--weights", "none"], 1, "none: no such weights file"),
        (["--digits", "0"], 2, "0 is not in the range"),
    ],
)
def test_wrong_use_is_refused(arguments, code, text):
    assert text in lenet("export", *arguments, code=code)


def test_missing_exporter_is_left_out_and_said(tmp_path, monkeypatch):
    from lenet import ports

    there = ports.missing
    monkeypatch.setattr(ports, "missing", lambda name: ["tf2onnx"] if ":t" in name else there(name))
    text = lenet("export", "--digits", "1", "--out", str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["lenet-numpy.onnx"]
    for name in ("torch", "tf"):
        assert f"exporter '{name}' needs tf2onnx: {pip()} install 'lenet-migrations[export]'" in text
    text = lenet("export", "--from", "tf", "--out", str(tmp_path), code=1)
    assert f"error: exporter 'tf' needs tf2onnx: {pip()} install 'lenet-migrations[export]'" in text


@pytest.mark.slow
def test_readme_runs_as_it_stands(files, digits, params, monkeypatch, capsys):
    monkeypatch.chdir(files)
    Image.fromarray((digits.images[0, 0] * 255).round().astype(np.uint8)).save("digit.png")
    shared: dict[str, object] = {}
    five, header, back = (compile(block, "README.md", "exec") for block in blocks("python"))
    exec(five, shared)
    assert capsys.readouterr().out == f"[{digits.labels[0]}]\n"
    exec(header, shared)
    assert "preprocessing: pixels / 255 as float32" in capsys.readouterr().out
    exec(back, shared)
    for name, array in weights.read("lenet.safetensors").items():
        assert array.tobytes() == params[name].tobytes()


@pytest.mark.slow
def test_readme_counts_are_the_counts():
    text = README.read_text()
    assert f"Opset {OPSET} in IR version 8" in text
    for exporter in EXPORTERS:
        count = len(model_of(exporter).graph.node)
        assert f"- **{exporter}**: {count} nodes" in text


def test_readme_asks_onnxruntime_in_five_lines():
    lines = [line for line in blocks("python")[0].splitlines() if line and "import" not in line]
    assert len(lines) == 5


@pytest.mark.slow
def test_readme_commands_are_the_commands(files, monkeypatch):
    (files / "onnx").mkdir()
    for file in files.glob("*.onnx"):
        file.rename(files / "onnx" / file.name)
    monkeypatch.chdir(files)
    commands = [shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines()]
    ours = [words[1:] for words in commands if words[0] == "lenet"]
    assert [words[0] for words in ours] == ["export", "export", "compare"]
    lenet(*ours[0], "--from", "numpy", "--digits", "1")  # all three are written by another test
    lenet(*ours[1], "--digits", "1")
    lenet(*ours[2], "--digits", "1")


@pytest.mark.slow
@pytest.mark.parametrize("exporter", EXPORTERS)
def test_weights_are_read_back_from_the_file(exporter, files, params):
    for name, array in read_params(files / f"lenet-{exporter}.onnx").items():
        assert array.tobytes() == params[name].tobytes(), name


def test_weights_of_another_network_are_refused(tmp_path):
    model = model_of("numpy")
    model.graph.node[1].op_type = "Tanh"
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError) as refusal:
        read_params(tmp_path / "a.onnx")
    assert "a.onnx: not this network, at relu1: expected Relu, found Tanh 'relu1'" in one_line(refusal)
