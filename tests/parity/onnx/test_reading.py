"""Reading ONNX files: what a graph becomes, and what is refused in one line."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, ModelProto, TensorProto, helper, numpy_helper

from parity import Graph, UserError, judge, read_onnx
from tests.parity.small import computed, convolutions, model, normal, saved


def refused(source: Path | ModelProto, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        read_onnx(source)
    assert "\n" not in str(caught.value)


def product(weights: dict[str, np.ndarray] | None = None, **options: object) -> ModelProto:
    node = helper.make_node("MatMul", ["x", "m"], ["y"])
    return model([node], {"x": [2, 3]}, ["y"], {"m": normal(3, 4)} if weights is None else weights, **options)  # type: ignore[arg-type]


def floats(values: list) -> np.ndarray:
    return np.array(values, np.float32)


def kinds(graph: Graph) -> list[str]:
    return [node.type for node in graph.nodes]


# --- what a graph becomes ----------------------------------------------------------------------


def test_nodes_inputs_weights_and_shapes_are_read() -> None:
    graph = read_onnx(convolutions())
    assert kinds(graph) == ["Conv", "Conv", "MatMul"]
    assert str(graph.inputs["x"]) == "float32 [batch, 3, 9, 9]"
    assert graph.outputs == ("y",)
    assert set(graph.constants) == {"w1", "b1", "w2", "m"}
    assert str(graph.declared["conv2"]) == "float32 [batch, 4, 4, 4]"


def test_shapes_follow_from_sizes_and_from_recorded_inputs() -> None:
    assert read_onnx(convolutions(), sizes={"batch": 5}).declared["y"].shape == (5, 4, 4, 5)
    assert read_onnx(convolutions(), shapes={"x": (6, 3, 9, 9)}).declared["y"].shape == (6, 4, 4, 5)
    contradicting = read_onnx(convolutions(), shapes={"x": (6, 1, 9, 9)})  # refused by the judge
    assert contradicting.inputs["x"].shape == ("batch", 3, 9, 9)


def test_a_size_without_name_is_called_after_its_input() -> None:
    proto = product()
    proto.graph.input[0].type.tensor_type.shape.dim[0].ClearField("dim_value")
    assert read_onnx(proto).inputs["x"].shape == ("x:0", 3)
    assert read_onnx(proto, sizes={"x:0": 7}).declared["y"].shape == (7, 4)


def test_a_size_of_minus_one_is_not_known() -> None:
    proto = product()
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    assert read_onnx(proto).inputs["x"].shape == ("x:0", 3)


def test_shapes_that_a_file_states_wrongly_are_not_trusted() -> None:
    proto = product()
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, [9, 9]))
    assert read_onnx(proto).declared["y"].shape in ((2, 4), None)


@pytest.mark.parametrize(
    ("attribute", "value", "wanted"),
    [
        ("value", numpy_helper.from_array(floats([[1, 2]])), floats([[1, 2]])),
        ("value_float", 0.1, np.float32(0.1)),
        ("value_floats", [0.1, 2.0], floats([0.1, 2])),
        ("value_int", 7, np.int64(7)),
        ("value_ints", [7, 8], np.array([7, 8], np.int64)),
        ("value_string", "a", np.array("a", object)),
        ("value_strings", ["a", "é"], np.array(["a", "é"], object)),
    ],
)
def test_constant_nodes_of_every_kind_are_weights(attribute: str, value: Any, wanted: np.ndarray) -> None:
    node = helper.make_node("Constant", [], ["c"], **{attribute: value})
    proto = model([node, helper.make_node("Identity", ["c"], ["y"])], {}, ["y"])
    found = read_onnx(proto).constants["c"]
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == wanted.dtype


@pytest.mark.parametrize("name", ["value_int", "value_ints", "value_float", "value_floats"])
@pytest.mark.parametrize("kind", [AttributeProto.UNDEFINED, AttributeProto.STRING, AttributeProto.GRAPH])
def test_constant_nodes_of_another_type_are_refused(name: str, kind: int) -> None:
    node = helper.make_node("Constant", [], ["c"], name="constant")
    node.attribute.add(name=name, type=kind, s=b"x")
    proto = model([node, helper.make_node("Identity", ["c"], ["y"])], {}, ["y"])
    refused(proto, f"a Constant whose {name} has another type")


@pytest.mark.parametrize("flat", [True, False])
def test_sparse_weights_are_written_out(flat: bool) -> None:
    values = numpy_helper.from_array(floats([5, 6]), "m")
    indices = np.array([1, 11], np.int64) if flat else np.array([[0, 1], [2, 3]], np.int64)
    proto = product({})
    sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(indices), [3, 4])
    proto.graph.sparse_initializer.append(sparse)
    wanted = np.zeros((3, 4), np.float32)
    wanted[0, 1], wanted[2, 3] = 5, 6
    np.testing.assert_array_equal(read_onnx(proto).constants["m"], wanted)


def test_weights_listed_among_the_inputs_are_no_inputs() -> None:
    proto = product()
    proto.ir_version = 3
    proto.graph.input.append(helper.make_tensor_value_info("m", TensorProto.FLOAT, [3, 4]))
    assert list(read_onnx(proto).inputs) == ["x"]


def test_nodes_out_of_order_are_sorted() -> None:
    proto = convolutions()
    nodes = list(proto.graph.node)[::-1]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    assert [node.name for node in read_onnx(proto).nodes] == ["first", "second", "product"]


def a_function(name: str, calls: str, domain: str = "own") -> onnx.FunctionProto:
    inner = [helper.make_node(calls, ["a", "b"], ["c"], domain="" if calls == "MatMul" else domain)]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(domain, 1)]
    return helper.make_function(domain, name, ["a", "b"], ["c"], inner, imports)


def test_functions_are_written_out() -> None:
    call = helper.make_node("Outer", ["x", "m"], ["y"], domain="own")
    functions = [a_function("Outer", "Inner"), a_function("Inner", "MatMul")]
    proto = model([call], {"x": [2, 3]}, ["y"], {"m": normal(3, 4)}, functions=functions, domains={"own": 1})
    graph = read_onnx(proto)
    assert kinds(graph) == ["MatMul"]
    assert judge(graph, computed(proto, {"x": normal(2, 3)})).same


def test_functions_that_call_themselves_are_refused() -> None:
    call = helper.make_node("A", ["x", "m"], ["y"], domain="own")
    functions = [a_function("A", "B"), a_function("B", "A")]
    refused(
        model([call], {"x": [2, 3]}, ["y"], {"m": normal(3, 4)}, functions=functions, domains={"own": 1}),
        "calls itself",
    )


def test_functions_that_grow_beyond_measure_are_refused() -> None:
    functions = []
    for level in range(40):
        last = "MatMul" if level == 39 else f"F{level + 1}"
        one = a_function(f"F{level}", last)
        one.node.append(helper.make_node(last, ["a", "b"], ["d"], domain="" if last == "MatMul" else "own"))
        functions.append(one)
    call = helper.make_node("F0", ["x", "m"], ["y"], domain="own")
    refused(
        model([call], {"x": [2, 3]}, ["y"], {"m": normal(3, 4)}, functions=functions, domains={"own": 1}),
        "more than",
    )


def test_an_operator_of_another_domain_is_not_the_standards() -> None:
    nodes = [helper.make_node("MatMul", ["x", "m"], ["y"], domain="evil")]
    graph = read_onnx(model(nodes, {"x": [2, 3]}, ["y"], {"m": normal(3, 4)}, domains={"evil": 1}))
    assert kinds(graph) == ["evil.MatMul"]
    assert graph.nodes[0].operator is None
    assert graph.nodes[0].problem == "evil.MatMul"


def test_the_standards_domain_has_two_names() -> None:
    nodes = [helper.make_node("MatMul", ["x", "m"], ["y"], domain="ai.onnx")]
    assert read_onnx(model(nodes, {"x": [2, 3]}, ["y"], {"m": normal(3, 4)})).nodes[0].operator is not None


def a_branch(name: str, weight: str) -> onnx.GraphProto:
    """A branch whose inner names are those of the other one."""
    nodes = [
        helper.make_node("MatMul", ["x", weight], ["inner"]),
        helper.make_node("MatMul", ["inner", "s"], ["out"]),
    ]
    out = [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)]
    return helper.make_graph(nodes, name, [], out, [numpy_helper.from_array(normal(4, 4), "s")])


def an_if(condition: np.ndarray | None) -> ModelProto:
    branches = {"then_branch": a_branch("yes", "m"), "else_branch": a_branch("no", "n")}
    nodes = [helper.make_node("If", ["c"], [output], **branches) for output in ("y", "z")]
    weights = {"m": normal(3, 4), "n": normal(3, 4, seed=1)} | ({} if condition is None else {"c": condition})
    proto = model(nodes, {"x": [2, 3]}, ["y", "z"], weights)
    if condition is None:
        proto.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    return proto


@pytest.mark.parametrize("condition", [True, False])
def test_an_if_with_a_constant_condition_is_its_branch(condition: bool) -> None:
    proto = an_if(np.array(condition))
    graph = read_onnx(proto)
    assert kinds(graph) == ["MatMul"] * 4
    assert len(set(graph.tensors)) == 4
    assert "m" if condition else "n" in graph.nodes[0].inputs
    report = judge(graph, computed(proto, {"x": normal(2, 3)}))
    assert report.same
    assert report.judged == 2


def test_an_if_that_depends_on_an_input_is_named() -> None:
    proto = an_if(None)
    graph = read_onnx(proto)
    assert kinds(graph) == ["If", "If"]
    assert "a graph within the graph" in graph.nodes[0].problem
    report = judge(graph, computed(proto, {"x": normal(2, 3), "c": np.array(True)}))
    assert report.unjudged == {"If": 2}
    assert report.verdict == "undecided"


def test_an_attribute_that_refers_to_none_is_unjudged() -> None:
    proto = convolutions()
    proto.graph.node[0].attribute.append(
        AttributeProto(name="group", ref_attr_name="g", type=AttributeProto.INT)
    )
    assert "refers to another" in read_onnx(proto).nodes[0].problem


def test_an_attribute_of_another_type_is_unjudged() -> None:
    proto = convolutions()
    proto.graph.node[1].attribute[0].CopyFrom(helper.make_attribute("strides", "wide"))
    assert "wrong type" in read_onnx(proto).nodes[1].problem


def test_meanings_outside_of_the_opsets_known_are_unjudged() -> None:
    assert read_onnx(product(opset=6)).nodes[0].operator is not None  # MatMul means the same since 1
    gemm = helper.make_node("Gemm", ["x", "m", "b"], ["y"], broadcast=1)
    old = model([gemm], {"x": [2, 3]}, ["y"], {"m": normal(3, 4), "b": normal(4)}, opset=6)
    assert read_onnx(old).nodes[0].problem == "Gemm of opset 6: known from 7 on"
    refused(product(opset=999), "opset 999")


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


def test_external_data_are_mapped_and_let_go(tmp_path: Path) -> None:
    graph = read_onnx(external(tmp_path))
    np.testing.assert_array_equal(graph.constants["m"], normal(3, 4))
    maps = Path("/proc/self/maps")
    if maps.exists():
        kept = graph.constants["m"]
        assert "weights.bin" in maps.read_text()
        del kept
        assert "weights.bin" not in maps.read_text()


def test_a_large_weight_costs_no_memory_before_it_is_used(tmp_path: Path) -> None:
    proto = product({})
    proto.graph.initializer.add(name="m", data_type=TensorProto.FLOAT, dims=[3, 2**32])
    proto.graph.initializer[0].data_location = TensorProto.EXTERNAL
    proto.graph.initializer[0].external_data.add(key="location", value="holes.bin")
    with (tmp_path / "holes.bin").open("wb") as file:
        file.truncate(3 * 2**34)  # 48 GiB without contents
    assert read_onnx(saved(proto, tmp_path)).constants["m"][2, 2**31] == 0


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", "", "a/../../weights.bin"])
def test_external_data_outside_of_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "in").mkdir()
    refused(external(tmp_path / "in", location=location), "outside of the model's folder")


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
        ({"offset": 6}, "too short"),
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
        file.truncate(2**31 + 1)
    refused(tmp_path / "huge.onnx", "2 GB")


def test_graphs_that_make_no_sense_are_refused() -> None:
    twice = product()
    twice.graph.node.append(twice.graph.node[0])
    refused(twice, "'y' is made twice")
    missing = product({})
    refused(missing, "needs 'm', which nothing makes")
    circle = convolutions()
    circle.graph.node[0].input[0] = "y"
    refused(circle, "in a circle")
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
    refused(kind, "element type that is not known: 77")


def test_300_damaged_files_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
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
    for case in range(300):
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
            judge(graph, {**inputs, **{name: normal(2, 4) for name in graph.tensors}})
            outcomes.append("judged")
        except UserError as error:
            outcomes.append("refused" if "\n" not in str(error) else str(error))
    assert set(outcomes) == {"refused", "judged"}
    assert 50 < outcomes.count("refused") < 250
