"""An ONNX file that asks for the impossible ends `lenet export --check` in one line, in a limited time."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from onnx import ModelProto, NodeProto, TensorProto, TensorShapeProto, helper, numpy_helper

from export.command import MEMORY
from export.onnx_file import interface
from export.read import read_params
from lenet.commands.cli import cli
from parity.errors import UserError
from tests.export.exported import model_of
from tests.helpers import one_line
from tests.parity.small import loop

MANY = 2**62


def judged(model: ModelProto, folder: Path, *options: str) -> str:
    """What the command prints of a file that it does not accept."""
    file = folder / "hostile.onnx"
    file.write_bytes(model.SerializeToString())
    result = CliRunner().invoke(cli, ["export", "--check", str(file), "--digits", "1", *options])
    assert result.exit_code == 1, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return " ".join(result.output.split())


def test_a_number_of_threads_that_is_none_is_no_fault_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    said = judged(model_of("numpy"), tmp_path)
    assert said == "error: OMP_NUM_THREADS='many': expected a number of threads"


def dense(*before: NodeProto, **constants: np.ndarray) -> ModelProto:
    """A dense layer from the images to the logits, to which the result of other nodes, `more`, is added."""
    image, logits = interface()
    nodes = [
        *before,
        helper.make_node("Flatten", ["image"], ["row"]),
        helper.make_node("MatMul", ["row", "kernel"], ["product"]),
        helper.make_node("Add", ["product", "more"], ["logits"]),
    ]
    constants = {"kernel": np.zeros((784, 10), np.float32), **constants}
    stored = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "hostile", [image], [logits], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def endless() -> ModelProto:
    """A loop of 2⁶² rounds."""
    return dense(loop("rounds", "zero", "more"), rounds=np.array(MANY), zero=np.array(0, np.float32))


def catastrophic() -> ModelProto:
    """A regular expression that takes Python 2⁴⁰ steps."""
    match = helper.make_node("RegexFullMatch", ["text"], ["found"], pattern="(a|a)+$")
    cast = helper.make_node("Cast", ["found"], ["more"], to=TensorProto.FLOAT)
    return dense(match, cast, text=np.array(["a" * 40 + "!"], object))


def refused(model: ModelProto, folder: Path, *options: str, memory: int = MEMORY) -> str:
    """The error of the command in a process of its own, which has limits."""
    file = folder / "hostile.onnx"
    file.write_bytes(model.SerializeToString())
    code = f"from export import command; from lenet.__main__ import main; command.MEMORY = {memory}; main()"
    command = [sys.executable, "-c", code, "export", "--check", str(file), "--digits", "1", *options]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stdout) == (1, "")
    (line,) = run.stderr.splitlines()
    return line


@pytest.mark.slow
@pytest.mark.parametrize("hostile", [endless, catastrophic])
def test_what_takes_too_long_is_ended(hostile, tmp_path):
    text = refused(hostile(), tmp_path, "--timeout", "2")
    assert text.endswith("hostile.onnx took more than 2 seconds (--timeout), and was ended")


@pytest.mark.slow
def test_what_takes_too_much_memory_is_refused(tmp_path):
    fill = helper.make_node("ConstantOfShape", ["size"], ["large"])  # 8 GiB
    add = helper.make_node("ReduceSum", ["large"], ["more"], keepdims=0)
    text = refused(dense(fill, add, size=np.array([2**31])), tmp_path, "--timeout", "100", memory=2**30)
    assert text.endswith("hostile.onnx took more than 1.0 GiB of memory, and was ended")


def test_a_file_without_outputs_is_refused_in_one_line(tmp_path):
    model = model_of("numpy")
    del model.graph.output[:]
    assert judged(model, tmp_path).endswith("hostile.onnx: its graph has no output")


@pytest.mark.parametrize("long", [300, 5000])
def test_a_long_path_of_external_data_is_refused_in_one_line(long, tmp_path):
    model = model_of("numpy")
    stored = model.graph.initializer[0]
    stored.ClearField("raw_data")
    stored.data_location = TensorProto.EXTERNAL
    stored.external_data.add(key="location", value="x" * long)
    file = tmp_path / "hostile.onnx"
    file.write_bytes(model.SerializeToString())
    with pytest.raises(UserError) as refusal:
        read_params(file)
    assert "cannot be read" in one_line(refusal)
    assert len(one_line(refusal)) < 1000


def test_names_that_are_no_text_are_refused_in_one_line(tmp_path):
    file = tmp_path / "hostile.onnx"
    content = model_of("numpy").SerializeToString()
    file.write_bytes(content.replace(b"conv1", b"\xff\xfe\xfd\xfc\xfb"))
    with pytest.raises(UserError, match="names that are no text") as refusal:
        read_params(file)
    one_line(refusal)


def size(model: ModelProto, *sizes: int) -> None:
    """Give the input of the graph these sizes."""
    dims = [TensorShapeProto.Dimension(dim_value=one) for one in sizes]
    model.graph.input[0].type.tensor_type.shape.CopyFrom(TensorShapeProto(dim=dims))


@pytest.mark.parametrize(
    "sizes", [(), (-1, 1, 28, 28), (MANY, 1, 28, 28), (2**31, 1, 28, 28), (1, MANY, MANY, 28)], ids=str
)
def test_an_input_of_no_possible_shape_is_no_traceback(sizes, tmp_path):
    model = model_of("numpy")
    size(model, *sizes)
    text = judged(model, tmp_path)
    assert "different another graph, at image" in text or "not a valid ONNX model" in text


def test_codes_of_the_terminal_in_names_are_shown_escaped(tmp_path):
    model = model_of("numpy")
    for node in model.graph.node:
        node.name = "\x1b[31m"
        node.input[:] = [f"{name}\x1b]0;title\x07" for name in node.input]
        node.output[:] = [f"{name}\x1b]0;title\x07" for name in node.output]
    for named in (*model.graph.initializer, *model.graph.input, *model.graph.output):
        named.name += "\x1b]0;title\x07"
    model.graph.node[1].op_type = "Tanh"
    text = judged(model, tmp_path)
    assert "\\x1b" in text
    assert "\x1b" not in text
