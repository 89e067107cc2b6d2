"""A file that cannot be judged is refused in one line; a node whose meaning lies elsewhere is named."""

from io import StringIO
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, helper, numpy_helper
from rich.console import Console

from export import export_tables
from export.check import check_file
from export.read import read_params
from lenet.network.architecture import PARAM_SHAPES
from parity.errors import UserError
from tests.export.changed import change, nodes, renamed, with_first
from tests.export.exported import model_of
from tests.helpers import one_line


def written(folder: Path, model: ModelProto) -> Path:
    path = folder / "a.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def truncated(folder: Path) -> Path:
    path = written(folder, model_of("numpy"))
    path.write_bytes(path.read_bytes()[:-1000])
    return path


def of_text(folder: Path) -> Path:
    path = folder / "a.onnx"
    path.write_text("Not a model, but a sentence.\n")
    return path


def empty(folder: Path) -> Path:
    path = folder / "a.onnx"
    path.touch()
    return path


def without_its_data(folder: Path) -> Path:
    path = folder / "a.onnx"
    onnx.save(model_of("numpy"), path, save_as_external_data=True, location="a.data", size_threshold=0)
    (folder / "a.data").unlink()
    return path


def of_a_coming_opset(folder: Path) -> Path:
    model = model_of("numpy")
    model.opset_import[0].version = 999
    return written(folder, model)


def with_a_nan(folder: Path) -> Path:
    model = model_of("numpy")
    change(model, (84, 120), (3, 4), np.nan)
    return written(folder, model)


def of_an_unknown_operator(folder: Path) -> Path:
    model = model_of("numpy")
    nodes(model, "Relu")[1].op_type = "Swoosh"
    return written(folder, model)


def with_too_much_data(folder: Path) -> Path:
    model = model_of("numpy")
    next(t for t in model.graph.initializer if t.name == "fc1.bias").dims[0] = 60
    return written(folder, model)


def that_is_a_folder(folder: Path) -> Path:
    return folder


def that_is_missing(folder: Path) -> Path:
    return folder / "none.onnx"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (truncated, "a.onnx: not an ONNX file, or a damaged one"),
        (of_text, "a.onnx: not an ONNX file, or a damaged one"),
        (empty, "a.onnx: is empty"),
        (without_its_data, "a.onnx: cannot be read: "),
        (of_a_coming_opset, "a.onnx: keeps to opset 999, but the onnx package here knows "),
        (with_a_nan, "a.onnx: fc2.weight holds a NaN or an infinity"),
        (of_an_unknown_operator, "a.onnx: not a valid ONNX model: "),
        (with_too_much_data, "a.onnx: not a valid ONNX model: "),
        (that_is_a_folder, ": is a folder, not a file"),
        (that_is_missing, "none.onnx: no such file"),
    ],
)
def test_file_that_cannot_be_judged_is_one_line(make, text, tmp_path, params, digits):
    path = make(tmp_path)
    with pytest.raises(UserError) as refusal:
        check_file(path, params, digits.images[:1])
    assert text in one_line(refusal)


def test_operator_of_another_domain_is_named_and_the_runtime_says_why(judge):
    model = model_of("numpy")
    relu = nodes(model, "Relu")[1]
    relu.op_type, relu.domain = "Swoosh", "org.example"
    model.opset_import.append(helper.make_opsetid("org.example", 1))
    found = judge(model)
    domain = "the domain 'org.example', not to ONNX"
    assert found.summary == f"another graph, at relu2: Swoosh 'relu2' belongs to {domain}"
    assert all("cannot load the model" in (ran.problem or "") for ran in found.ran.values())


def with_its_own(kind: str, domain: str) -> ModelProto:
    """A function in the file takes the name of an operator: a ReLU that lets a little pass."""
    model, versions = model_of("numpy"), [helper.make_opsetid("", 18)]
    leaky = helper.make_node("LeakyRelu", ["x"], ["y"], alpha=1e-4)
    model.functions.append(helper.make_function(domain, kind, ["x"], ["y"], [leaky], versions))
    if domain:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    nodes(model, "Relu")[0].domain = domain
    return model


def with_a_reference() -> ModelProto:
    model = model_of("numpy")
    attribute = next(one for one in nodes(model, "Conv")[0].attribute if one.name == "pads")
    del attribute.ints[:]
    attribute.ref_attr_name = "q"
    return model


def of_an_inner_graph() -> ModelProto:
    """A ReLU that is the branch of an If whose condition is a constant."""
    model = model_of("numpy")
    relu = nodes(model, "Relu")[0]
    out = helper.make_tensor_value_info("inner", onnx.TensorProto.FLOAT, None)
    branch = helper.make_graph([helper.make_node("Relu", list(relu.input), ["inner"])], "branch", [], [out])
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    chosen = helper.make_node(
        "If", ["yes"], list(relu.output), "chosen", then_branch=branch, else_branch=branch
    )
    relu.CopyFrom(chosen)
    return model


def by_the_number_of_images() -> ModelProto:
    """Other weights for one image than for more."""
    model = model_of("numpy")
    gemm = nodes(model, "Gemm")[-1]
    weights_ = gemm.input[1]
    one = numpy_helper.from_array(np.array([1], np.int64), "one")
    model.graph.initializer.append(one)
    made = [
        helper.make_node("Shape", ["image"], ["size"], start=0, end=1),
        helper.make_node("Equal", ["size", "one"], ["alone"]),
        helper.make_node("Neg", [weights_], ["negated"]),
        helper.make_node("Where", ["alone", "negated", weights_], ["chosen"], "choice"),
    ]
    gemm.input[1] = "chosen"
    return with_first(model, made)


def of_random_weights() -> ModelProto:
    """The right weights times a random number that is one here."""
    model = model_of("numpy")
    gemm = nodes(model, "Gemm")[-1]
    made = [
        helper.make_node("RandomUniform", [], ["number"], "dice", low=1.0, high=1.0, shape=[1]),
        helper.make_node("Mul", [gemm.input[1], "number"], ["product"]),
    ]
    gemm.input[1] = "product"
    return with_first(model, made)


def with_another_first_output() -> ModelProto:
    """The logits are its second output."""
    model = model_of("numpy")
    model.graph.node.append(helper.make_node("Neg", ["logits"], ["answer"]))
    logits = model.graph.output[0]
    answer = helper.make_tensor_value_info("answer", onnx.TensorProto.FLOAT, ["batch", 10])
    del model.graph.output[:]
    model.graph.output.extend([answer, logits])
    return model


def of_unknown_padding() -> ModelProto:
    model = model_of("numpy")
    conv = nodes(model, "Conv")[0]
    kept = [one for one in conv.attribute if one.name not in ("pads", "auto_pad")]
    del conv.attribute[:]
    conv.attribute.extend([*kept, helper.make_attribute("auto_pad", b"\xff")])
    return model


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (
            lambda: with_its_own("Relu", "evil"),
            "relu1: Relu 'relu1' belongs to the domain 'evil', not to ONNX",
        ),
        (lambda: with_its_own("Relu", ""), "relu1: Relu 'relu1' is defined anew by a function in the file"),
        (with_a_reference, "conv1: Conv 'conv1' refers to an attribute of a function, but is in none"),
        (of_an_inner_graph, "relu1: If 'chosen' has a graph of its own, which is not followed"),
        (
            by_the_number_of_images,
            "logits: Gemm 'logits' reads 'chosen', which depends on the number of images",
        ),
        (of_random_weights, "conv1: RandomUniform 'dice' gives random values"),
        (
            with_another_first_output,
            "logits: they are not the first output of the graph, which is 'answer'",
        ),
        (of_unknown_padding, "conv1: Conv 'conv1' has an unknown auto_pad, '\ufffd'"),
    ],
    ids=["domain", "function", "reference", "subgraph", "sizes", "random", "output", "padding"],
)
def test_what_a_node_does_must_stand_in_it(make, problem, judge):
    found = judge(make())
    assert found.different
    assert str(found.reading.problem) == problem


def test_a_runtime_refuses_what_it_cannot_be_given_or_does_not_return(judge):
    summed = model_of("numpy")
    summed.graph.node.append(helper.make_node("ReduceSum", ["logits"], ["total"], keepdims=0))
    summed.graph.output[0].CopyFrom(helper.make_tensor_value_info("total", onnx.TensorProto.FLOAT, []))
    given_nothing = model_of("numpy")
    image = numpy_helper.from_array(np.zeros((1, 1, 28, 28), np.float32), "image")
    given_nothing.graph.initializer.append(image)
    del given_nothing.graph.input[:]
    huge = model_of("numpy")
    for value in (*huge.graph.input, *huge.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 2**31
    for model, said in (
        (summed, "its output 'total' has shape (), not a row for each image"),
        (given_nothing, "it cannot be given images: it has no inputs"),
        (huge, "it cannot be given images: its batch is 2,147,483,648"),
    ):
        found = judge(model)
        assert found.different
        assert {ran.problem for ran in found.ran.values()} == {said}


def test_names_from_a_file_do_not_reach_the_terminal_as_they_are(judge):
    model = renamed("output")
    for node in model.graph.node:
        node.output[:] = ["\x1b[31mred" if name == "conv1" else name for name in node.output]
        node.input[:] = ["\x1b[31mred" if name == "conv1" else name for name in node.input]
    printed = StringIO()
    console = Console(file=printed, force_terminal=False, width=100)
    console.print(export_tables.verdict(judge(model)))
    assert "\x1b" not in printed.getvalue()
    assert "\\x1b[31mred" in printed.getvalue()


def offsets_of_structure() -> np.ndarray:
    """Places in the hand-written file's bytes that are not the numbers of a large tensor."""
    content = model_of("numpy").SerializeToString()
    structure = np.ones(len(content), bool)
    for tensor in model_of("numpy").graph.initializer:
        if len(tensor.raw_data) > 100:
            start = content.index(tensor.raw_data)
            structure[start : start + len(tensor.raw_data)] = False
    return np.flatnonzero(structure)


OFFSETS = offsets_of_structure()


@pytest.mark.slow
@given(st.lists(st.tuples(st.sampled_from(OFFSETS.tolist()), st.integers(0, 255)), min_size=1, max_size=3))
@settings(max_examples=200)
def test_damaged_file_is_read_or_refused_in_one_line(tmp_path_factory, changes):
    content = bytearray(model_of("numpy").SerializeToString())
    for offset, byte in changes:
        content[offset] = byte
    path = tmp_path_factory.mktemp("damaged") / "a.onnx"
    path.write_bytes(content)
    refusal = "nothing to refuse"
    try:
        assert list(read_params(path)) == list(PARAM_SHAPES)
    except UserError as error:
        refusal = str(error)
    finally:
        path.unlink()
    assert len(refusal.splitlines()) == 1
