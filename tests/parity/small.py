"""Small ONNX models of operators that round, and what onnxruntime makes of them."""

from functools import cache
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Arrays = dict[str, np.ndarray]


def model(
    nodes: list[NodeProto],
    inputs: dict[str, list[int | str | None]],
    outputs: list[str],
    weights: Arrays | None = None,
    *,
    opset: int = 17,
    functions: list[onnx.FunctionProto] | None = None,
    domains: dict[str, int] | None = None,
) -> ModelProto:
    """A model of float32 inputs."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    imports = [helper.make_opsetid("", opset)]
    imports += [helper.make_opsetid(domain, version) for domain, version in (domains or {}).items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=10, functions=functions or [])


def loop(rounds: str, start: str, result: str) -> NodeProto:
    """A loop of so many rounds, each of which passes its number on: `result` is `start`."""
    number = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    goes = helper.make_tensor_value_info("go", TensorProto.BOOL, [])
    onward = helper.make_tensor_value_info("onward", TensorProto.BOOL, [])
    value = helper.make_tensor_value_info("value", TensorProto.FLOAT, [])
    same = helper.make_tensor_value_info("same", TensorProto.FLOAT, [])
    nodes = [
        helper.make_node("Identity", ["go"], ["onward"]),
        helper.make_node("Identity", ["value"], ["same"]),
    ]
    body = helper.make_graph(nodes, "body", [number, goes, value], [onward, same])
    return helper.make_node("Loop", [rounds, "", start], [result], body=body)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Random float32 numbers."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def convolutions(batch: int | str = "batch") -> ModelProto:
    """Two convolutions and a product: x [batch, 3, 9, 9] → conv1 → conv2 → y."""
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["conv1"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["conv1", "w2"], ["conv2"], "second", strides=[2, 2]),
        helper.make_node("MatMul", ["conv2", "m"], ["y"], "product"),
    ]
    weights = {"w1": normal(8, 3, 3, 3), "b1": normal(8), "w2": normal(4, 8, 3, 3), "m": normal(4, 5)}
    return model(nodes, {"x": [batch, 3, 9, 9]}, ["y"], weights)


def saved(proto: ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    """The model as a file."""
    path = folder / name
    path.write_bytes(proto.SerializeToString())
    return path


def computed(proto: ModelProto, inputs: Arrays) -> Arrays:
    """Every tensor, by onnxruntime without optimisation."""
    from parity.record.onnx_runtimes import record

    return record(proto, inputs)


@cache
def adds_in_16_bits() -> bool:
    """Whether onnxruntime adds two products of uint8 and int8 in 16 bits, as on processors without VNNI."""
    nodes = [
        helper.make_node("Cast", ["x"], ["rows"], to=TensorProto.UINT8),
        helper.make_node("MatMulInteger", ["rows", "columns"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["y"], to=TensorProto.FLOAT),
    ]
    proto = model(nodes, {"x": [1, 64]}, ["y"], {"columns": np.full((64, 1), 127, np.int8)})
    found = computed(proto, {"x": np.full((1, 64), 255, np.float32)})["y"]
    return int(found.item()) != 64 * 255 * 127
