"""Graphs: shapes that are computed, nodes that share weights, runtimes that refuse, what is written."""

import json
from collections.abc import Mapping

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import parity
from parity.arithmetic import Array
from parity.onnx.one_node import IR_VERSION, one_node_model
from parity.record.onnx_runtimes import record
from tests.parity.small import convolutions, model, normal

make = helper.make_node


def in_onnxruntime(one: ModelProto, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
    return record(one, inputs)


def reshaped() -> ModelProto:
    """x [batch, 3, 4, 4] is reshaped to a shape that the graph computes, as exporters do it."""
    nodes = [
        make("Shape", ["x"], ["shape"]),
        make("Gather", ["shape", "zero"], ["size"]),
        make("Unsqueeze", ["size", "first"], ["row"]),
        make("Concat", ["row", "rest"], ["wanted"], axis=0),
        make("Reshape", ["x", "wanted"], ["flat"]),
        make("MatMul", ["flat", "m"], ["y"]),
    ]
    proto = model(nodes, {"x": ["batch", 3, 4, 4]}, ["y"], {"m": normal(48, 5)})
    whole = {"zero": np.array(0), "first": np.array([0]), "rest": np.array([-1])}
    proto.graph.initializer.extend(
        numpy_helper.from_array(a.astype(np.int64), name) for name, a in whole.items()
    )
    return proto


def test_shapes_that_the_graph_computes_are_known() -> None:
    report = parity.probe(parity.read_onnx(reshaped(), sizes={"batch": 2}), in_onnxruntime)
    by_op = {one.op: one for one in report.findings}
    assert by_op["Reshape"].verdict == by_op["MatMul"].verdict == "right"
    assert by_op["MatMul"].shapes == ((2, 48), (48, 5))


def test_a_shape_that_onnx_infers_is_known_behind_an_operator_that_is_not() -> None:
    nodes = [make("RandomNormalLike", ["x"], ["noise"]), make("MatMul", ["noise", "m"], ["y"])]
    graph = parity.read_onnx(model(nodes, {"x": [3, 4]}, ["y"], {"m": normal(4, 5)}))
    noise, product = parity.probe(graph, in_onnxruntime).findings
    assert (noise.verdict, product.verdict) == ("not probed", "right")
    assert product.shapes == ((3, 4), (4, 5))


def test_inputs_that_do_not_fit_are_named() -> None:
    nodes = [make("Add", ["x", "w"], ["y"])]
    graph = parity.read_onnx(model(nodes, {"x": [2, 3]}, ["y"], {"w": normal(4)}))
    (found,) = parity.probe(graph, in_onnxruntime).findings
    assert (found.nodes, found.op, found.verdict) == (("y",), "Add", "not probed")
    assert found.note.startswith("does not fit its inputs: ")


def test_a_symbolic_size_must_be_given() -> None:
    with pytest.raises(parity.UserError, match="--dim batch=N"):
        parity.probe(parity.read_onnx(reshaped()), in_onnxruntime)


def test_a_model_of_one_node_holds_weights_and_nothing_else() -> None:
    proto = model([make("Add", ["x", "x"], ["y"]), make("Split", ["y", "s"], ["a", "b"])], {"x": [4]}, ["a"])
    proto.graph.initializer.append(numpy_helper.from_array(np.array([1, 3]), "s"))
    add, split = parity.read_onnx(proto).nodes
    x, s = np.zeros(4, np.float32), np.array([1, 3])
    doubled = one_node_model(add.source, {"": 17}, [x, x], [False, False], [True])
    assert [one.name for one in doubled.graph.input] == ["x0", "x1"]  # both are drawn by themselves
    cut = one_node_model(split.source, {"": 17}, [x, s], [False, True], [True, False])
    assert [one.name for one in cut.graph.input] == ["x0"]
    assert [one.name for one in cut.graph.initializer] == ["x1"]
    assert [one.name for one in cut.graph.output] == ["y0"]
    assert split.source.input == ["y", "s"]  # the graph is as before
    clip = make("Clip", ["x", "", "high"], ["z"])
    limited = one_node_model(clip, {"": 17}, [x, None, x[0]], [False, False, True], [True])
    assert list(limited.graph.node[0].input) == ["x0", "", "x2"]


def test_nodes_of_other_shapes_or_limits_are_probed_by_themselves() -> None:
    nodes = [make("MatMul", ["x", "m"], ["a"]), make("Clip", ["a", "low", "high"], ["b"])]
    nodes += [make("MatMul", ["b", "n"], ["c"]), make("Clip", ["c", "low", "top"], ["y"])]
    weights = {"m": normal(4, 5), "n": normal(5, 4)} | {
        name: np.array(value, np.float32) for name, value in (("low", 0), ("high", 6), ("top", 1))
    }
    report = parity.probe(parity.read_onnx(model(nodes, {"x": [3, 4]}, ["y"], weights)), in_onnxruntime)
    assert [one.nodes for one in report.findings] == [("a",), ("b",), ("c",), ("y",)]
    assert report.right


def test_only_outputs_that_are_used_are_probed() -> None:
    """A mask that nothing reads may be anything."""
    nodes = [make("Dropout", ["x"], ["y", "mask"])]
    proto = model(nodes, {"x": [2, 3]}, ["y"])
    graph = parity.read_onnx(proto)
    seen = []

    def run(one: ModelProto, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        seen.append([output.name for output in one.graph.output])
        return record(one, inputs)

    assert parity.probe(graph, run).right
    assert seen[0] == ["y0"]


def test_a_runtime_that_refuses_is_quoted() -> None:
    def run(one: ModelProto, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        if one.graph.node[0].op_type == "MatMul":
            raise parity.UserError("no MatMul here")
        return record(one, inputs)

    report = parity.probe(parity.read_onnx(convolutions(2)), run)
    assert [one.verdict for one in report.findings] == ["right", "right", "not probed"]
    assert report.findings[2].note == "no MatMul here"
    assert dict(report.not_probed) == {"MatMul": 1}
    assert report.right
    nothing = parity.probe(parity.read_onnx(convolutions(2)), lambda one, inputs: {})
    assert nothing.verdict == "not probed"
    assert not nothing.right
    assert "returns no y0" in nothing.findings[0].note


def test_weights_are_those_of_the_probe() -> None:
    """The model's own weights, all of which are zero here, hide every mistake."""
    zeros = np.zeros((4, 4), np.float32)
    proto = model([make("MatMul", ["x", "w"], ["y"])], {"x": [3, 4]}, ["y"], {"w": zeros})

    def transposed(one: ModelProto, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return {"y0": inputs["x0"] @ numpy_helper.to_array(one.graph.initializer[0]).T}

    graph = parity.read_onnx(proto)
    x = normal(3, 4)
    assert parity.judge(graph, {"x": x, "y": x @ zeros.T}).same
    (found,) = parity.probe(graph, transposed).findings
    assert [one.name for one in found.causes] == ["weights transposed"]


def test_a_half_precision_graph_is_probed_in_its_own_format() -> None:
    node = make("MatMul", ["x", "w"], ["y"])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT16, [3, 50])
    y = helper.make_empty_tensor_value_info("y")
    w = numpy_helper.from_array(normal(50, 4).astype(np.float16), "w")
    proto = helper.make_model(helper.make_graph([node], "half", [x], [y], [w]), ir_version=10)
    graph = parity.read_onnx(proto)

    def run(one: ModelProto, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        weights = numpy_helper.to_array(one.graph.initializer[0])
        assert weights.dtype == np.float16
        return {"y0": (inputs["x0"].astype(np.float32) @ weights.astype(np.float32)).astype(np.float16)}

    assert parity.probe(graph, run).right


def test_the_json_has_everything() -> None:
    def doubled(one: ModelProto, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return {name: array * 2 for name, array in record(one, inputs).items()}

    report = parity.probe(parity.read_onnx(convolutions(2)), doubled)
    written = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert written["verdict"] == "wrong"
    assert written["probed"] == 3
    assert written["not_probed"] == {}
    assert written["limits"].startswith("Probes do not see")
    first = written["findings"][0]
    assert first["nodes"] == ["first"]
    assert first["op"] == "Conv"
    assert (first["semantics"], first["precision"], first["digits"]) == ("wrong", None, None)
    assert first["worst"]["found"] == 2 * first["worst"]["expected"]
    assert "output doubled" in [one["name"] for one in first["causes"]], first["causes"]


def test_progress_is_told_of_every_node() -> None:
    seen: list[str] = []
    parity.probe(parity.read_onnx(convolutions(2)), in_onnxruntime, progress=seen.append)
    assert seen == ["first", "second", "product"]


def test_a_node_by_itself_keeps_its_opset_and_its_shapes() -> None:
    proto = model([make("Add", ["x", "x"], ["y"])], {"x": [2, 3]}, ["y"], opset=11)
    one = one_node_model(proto.graph.node[0], {"": 11}, [normal(2, 3)] * 2, [False, True], [True])
    assert one.ir_version == IR_VERSION
    assert [(each.domain, each.version) for each in one.opset_import] == [("", 11)]
    assert [dim.dim_value for dim in one.graph.input[0].type.tensor_type.shape.dim] == [2, 3]
