"""A file that is not the network is caught and the layer named; one that cannot be read is one line."""

import dataclasses
from io import StringIO
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, helper, numpy_helper
from rich.console import Console

from export import export_tables, runtimes
from export.check import SAME, check_file, check_model
from export.port import Opened
from export.read import read_params
from export.write import write_files
from lenet import ports
from lenet.compare import compare
from lenet.network.architecture import PARAM_SHAPES
from parity.errors import UserError
from tests.export.exported import EXPORTERS, model_of, needs
from tests.helpers import one_line


@pytest.fixture(params=EXPORTERS)
def exporter(request):
    needs(f"{request.param}/reference")
    return request.param


@pytest.fixture
def judge(params, digits):
    """The verdict on a model, held against the trained weights on 10 digits."""
    return lambda model: check_model(model, params, digits.images[:10], "a file")


def nodes(model: ModelProto, operator: str) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == operator]


def drop(model: ModelProto, node: onnx.NodeProto) -> None:
    """Take a node out: its readers read its input."""
    for reader in model.graph.node:
        reader.input[:] = [node.input[0] if name == node.output[0] else name for name in reader.input]
    model.graph.node.remove(node)
    del model.graph.value_info[:]


def change(model: ModelProto, shape: tuple[int, ...], index: tuple[int, ...], by: float) -> None:
    """Add `by` to one value of the one tensor of that shape, given the other way round or not."""
    tensor = next(t for t in model.graph.initializer if tuple(t.dims) in (shape, shape[::-1]))
    array = numpy_helper.to_array(tensor).copy()
    array[index if array.shape == shape else index[::-1]] += np.float32(by)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


class Mutated(ports.ForwardPort):
    """The port of a changed file, judged with the weights that it should have."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        super().__init__("onnx:numpy/onnxruntime")

    def _setup(self) -> None: ...

    def _load(self, params):
        self.opened = Opened(self.model, "onnxruntime")

    def _inputs(self, images):
        return images

    def _forward(self, inputs):
        return self.opened.logits(inputs)

    def _activations(self, images):
        return self.opened.activations(images)

    _outputs = _activations

    def _params(self):
        return self.opened.reading.params


def test_each_exporters_file_is_the_network(exporter, judge):
    found = judge(model_of(exporter))
    assert (found.summary, found.different, found.layer) == (SAME, False, None)
    assert found.header == []
    assert found.weights == {}
    assert all(len(ran.local) == 12 and ran.end_to_end is not None for ran in found.ran.values())


def test_one_weight_changed_is_named(exporter, judge, params, digits):
    model = model_of(exporter)
    change(model, (84, 120), (3, 4), 1e-3)
    found = judge(model)
    assert (found.different, found.layer) == (True, "fc2")
    assert found.weights == {"fc2.weight": "1 of 10,080 values differ, by at most 0.001, first [3, 4]"}
    assert found.summary == "the same network with other weights, first fc2.weight"
    assert "changed after export" in found.header[0]
    report = compare([Mutated(model)], params, digits[:100]).ports[0]  # and by its values alone
    assert (report.verdict, report.first_different) == ("different", "fc2")


def test_pads_changed_are_named(exporter, judge):
    model = model_of(exporter)
    (pads,) = (attribute for attribute in nodes(model, "Conv")[0].attribute if attribute.name == "pads")
    pads.ints[:] = [1, 1, 3, 3]  # the image shifted by a pixel: every shape is as before
    found = judge(model)
    assert (found.different, found.layer) == (True, "conv1")
    assert "has pads [1, 1, 3, 3], expected [2, 2, 2, 2]" in found.summary
    assert all(ran.end_to_end > 1 for ran in found.ran.values())  # and by its values


@pytest.mark.parametrize("which", [1, 2, 3, 4])
def test_relu_removed_is_named(exporter, judge, which):
    model = model_of(exporter)
    drop(model, nodes(model, "Relu")[which - 1])
    found = judge(model)
    assert (found.different, found.layer) == (True, f"relu{which}")
    assert f"relu{which}: expected Relu, found " in found.summary
    assert all(ran.end_to_end > 1 for ran in found.ran.values())


def test_transpose_dropped_is_named(judge, params, digits):
    model = model_of("tf")
    drop(model, *nodes(model, "Transpose"))
    found = judge(model)
    assert (found.different, found.layer) == (True, "fc1")
    assert "they are the same values in another order" in found.weights["fc1.weight"]
    report = compare([Mutated(model)], params, digits[:100]).ports[0]
    assert (report.verdict, report.first_different) == ("different", "fc1")


def test_network_of_other_weights_is_said_to_be_that(judge, params):
    from export import from_numpy

    found = judge(from_numpy.export({name: array * np.float32(1.5) for name, array in params.items()}))
    assert found.summary == "the same network with other weights, first conv1.weight"
    assert list(found.weights) == list(params)
    assert all(ran.first_different is None for ran in found.ran.values())  # judged with its own weights


def test_same_function_by_another_graph_is_said_to_be_that(judge):
    model = model_of("numpy")  # max pooling and ReLU commute, exactly
    relu, pool = nodes(model, "Relu")[0], nodes(model, "MaxPool")[0]
    relu.op_type, pool.op_type = "MaxPool", "Relu"
    relu.attribute.extend(pool.attribute)
    del pool.attribute[:]
    found = judge(model)
    assert (found.different, found.layer) == (True, "relu1")
    assert found.summary.endswith("but its logits are within rounding of the network's")
    assert all(list(ran.local) == ["conv1"] for ran in found.ran.values())


def renamed(what: str) -> ModelProto:
    model = model_of("numpy")
    old, new = (model.graph.input if what == "input" else model.graph.output)[0], "renamed"
    for node in model.graph.node:
        node.input[:] = [new if name == old.name else name for name in node.input]
        node.output[:] = [new if name == old.name else name for name in node.output]
    old.name = new
    return model


def of_fixed_batch() -> ModelProto:
    model = model_of("numpy")
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 3
    return model


def of_rank_two() -> ModelProto:
    model = model_of("numpy")
    shape = numpy_helper.from_array(np.array([-1, 1, 28, 28]), "shape")
    model.graph.initializer.append(shape)
    model.graph.node.insert(0, helper.make_node("Reshape", ["pixels", "shape"], ["image"], "in"))
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("pixels", onnx.TensorProto.FLOAT, ["n", 784]))
    return model


def of_other_metadata() -> ModelProto:
    model = model_of("numpy")
    next(prop for prop in model.metadata_props if prop.key == "weights_sha256").value = "0" * 64
    return model


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: renamed("input"), "the input is renamed float32 [batch, 1, 28, 28], expected image float32"),
        (lambda: renamed("output"), "the output is renamed float32 [batch, 10], expected logits float32"),
        (
            of_fixed_batch,
            "the input is image float32 [3, 1, 28, 28], expected image float32 [batch",
        ),
        (of_rank_two, "the input is pixels float32 [n, 784], expected image float32 [batch, 1, 28, 28]"),
        (of_other_metadata, "the checksum in its metadata is of other weights"),
    ],
    ids=["input-name", "output-name", "batch", "rank", "checksum"],
)
def test_another_header_is_said_and_all_else_judged(make, text, judge):
    found = judge(make())
    assert text in found.header[0]
    assert found.summary.startswith(f"{SAME}, but {text[:12]}")
    assert all(len(ran.local) == 12 and ran.first_different is None for ran in found.ran.values())


def test_input_that_no_digit_fits_is_said(judge):
    model = model_of("numpy")
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 32
    del model.graph.output[0].type.tensor_type.shape.dim[1]
    found = judge(model)
    assert found.layer == "image"
    assert "image float32 [batch, 1, 32, 28]" in found.summary


def test_runtime_that_computes_one_layer_wrongly_is_named(judge, monkeypatch):
    reference = runtimes.RUNTIMES["reference"].start

    def planted(model):
        run = reference(model)

        def wrong(images):
            values = run(images)
            return values | {"conv2": values["conv2"] * np.float32(1.001)} if "conv2" in values else values

        return wrong

    line = dataclasses.replace(runtimes.RUNTIMES["reference"], start=planted)
    monkeypatch.setitem(runtimes.RUNTIMES, "reference", line)
    found = judge(model_of("numpy"))
    assert (found.different, found.layer) == (True, "conv2")
    assert "reference computes something else: conv2 is outside its rounding bound" in found.summary


def test_runtime_that_is_wrong_only_where_no_layer_is_shown_is_caught(judge, monkeypatch):
    reference = runtimes.RUNTIMES["reference"].start

    def planted(model):
        run, fused = reference(model), len(model.graph.output) == 1
        return lambda images: {name: value + fused * np.float32(0.1) for name, value in run(images).items()}

    line = dataclasses.replace(runtimes.RUNTIMES["reference"], start=planted)
    monkeypatch.setitem(runtimes.RUNTIMES, "reference", line)
    found = judge(model_of("numpy"))
    assert (found.different, found.layer) == (True, "logits")


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


def with_first(model: ModelProto, made: list[NodeProto]) -> ModelProto:
    """The model with these nodes before its own."""
    kept = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*made, *kept])
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


def test_external_data_is_read(tmp_path, params, digits):
    path = tmp_path / "a.onnx"
    onnx.save(model_of("numpy"), path, save_as_external_data=True, location="a.data", size_threshold=0)
    assert (tmp_path / "a.data").stat().st_size > 240_000
    assert check_file(path, params, digits.images[:1]).summary == SAME


def test_files_are_written_whole_and_are_the_network(tmp_path, params, digits):
    folder = tmp_path / "new" / "folder"
    (file,) = write_files(["numpy"], params, folder, digits.images[:2])
    assert [path.name for path in folder.iterdir()] == ["lenet-numpy.onnx"]
    assert check_file(file.path, params, digits.images[:2]).summary == SAME
    assert set(file.verdict.ran) == set(runtimes.RUNTIMES)
    assert file.added.total() == 0
    assert file.operators == {"Conv": 2, "Relu": 4, "MaxPool": 2, "Flatten": 1, "Gemm": 3}


def test_what_is_no_layers_is_counted(tmp_path, params, digits):
    needs("tf/reference")
    (file,) = write_files(["tf"], params, tmp_path, digits.images[:2])
    assert file.operators.total() - file.added.total() == 12 + 3  # the layers; three biases added apart
    assert file.added == {"Transpose": 1, "Reshape": 1}


def test_wrong_export_is_not_written(tmp_path, params, digits, monkeypatch):
    def wrong(params, opset):
        model = model_of("numpy")
        drop(model, nodes(model, "Relu")[0])
        return model

    monkeypatch.setattr("export.from_numpy.export", wrong)
    with pytest.raises(UserError) as refusal:
        write_files(["numpy"], params, tmp_path, digits.images[:2])
    assert "lenet-numpy.onnx: not written, as it is another graph, at relu1" in one_line(refusal)
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_written_is_refused_before_any_work(params, digits, tmp_path):
    blocked = tmp_path / "file"
    blocked.touch()
    begun: list[str] = []
    with pytest.raises(UserError) as refusal:
        write_files(["numpy"], params, blocked, digits.images[:2], begun.append)
    assert "file: cannot be written (File exists); choose another folder" in one_line(refusal)
    assert begun == []


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
