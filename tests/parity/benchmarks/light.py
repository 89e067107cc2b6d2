"""Give the light models of the onnx package, whose weights are missing, seeded random ones.

    python -m tests.parity.benchmarks.light FOLDER [NAME ...]

Weights are scaled so that activations neither explode nor vanish (He et al. 2015). The statistics of each
BatchNormalization are those of its own input, off by a few percent, as in a network that was trained.
"""

import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

Array = np.ndarray
FOLDER = Path(onnx.__file__).parent / "backend/test/data/light"
LIGHT = tuple(sorted(path.stem.removeprefix("light_") for path in FOLDER.glob("light_*.onnx")))


def write_light(folder: Path, names: Sequence[str] = LIGHT) -> None:
    """The light models of these names, with weights, as files in a folder."""
    onnxruntime.disable_telemetry_events()
    for name in names:
        model = onnx.load(FOLDER / f"light_{name}.onnx")
        fill(model)
        onnx.save(model, folder / f"{name}.onnx")


def fill(model: ModelProto) -> None:
    """Weights made by ConstantOfShape become initializers with random values; so do all float ones."""
    graph = model.graph
    model.ir_version = max(model.ir_version, 4)  # initializers need not be inputs from 4 on
    kept = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    shapes = {name: array.shape for name, array in kept.items() if array.dtype == np.float32}
    for node in [one for one in graph.node if one.op_type == "ConstantOfShape"]:
        shapes[node.output[0]] = tuple(int(size) for size in kept[node.input[0]])
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    uses = _uses(graph, shapes)
    arrays = {name: array for name, array in kept.items() if name not in shapes and name in used}
    for name, shape in shapes.items():
        if name in used:
            arrays[name] = _drawn(name, shape, *uses[name]).astype(np.float32)
    inputs = [one for one in graph.input if one.name in used and one.name not in arrays]
    del graph.input[:]
    graph.input.extend(inputs)
    _measure_statistics(model, arrays)
    del graph.initializer[:]
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())


def _rng(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def _uses(graph: GraphProto, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[NodeProto, int]]:
    """Which node reads a weight, and as which of its inputs; through Unsqueeze, too."""
    same = {
        one.output[0]: one.input[0]
        for one in graph.node
        if one.op_type == "Unsqueeze" and one.input[0] in shapes
    }
    found: dict[str, tuple[NodeProto, int]] = {}
    for node in graph.node:
        for place, name in enumerate(node.input):
            if node.op_type != "Unsqueeze":
                found.setdefault(same.get(name, name), (node, place))
    return found


def _drawn(name: str, shape: tuple[int, ...], node: NodeProto, place: int) -> Array:
    """Random values that suit a node's input of this number."""
    rng = _rng(name)
    if node.op_type == "Conv" and place == 1:
        return rng.standard_normal(shape) * np.sqrt(2 / prod(shape[1:]))
    if node.op_type == "Gemm" and place == 1:
        transposed = any(one.name == "transB" and one.i for one in node.attribute)
        return rng.standard_normal(shape) * np.sqrt(2 / shape[1 if transposed else 0])
    if node.op_type == "Mul" or (node.op_type == "BatchNormalization" and place == 1):
        return rng.uniform(0.5, 1.5, shape)
    return rng.standard_normal(shape) * (0.2 if node.op_type == "BatchNormalization" else 0.1)


def _measure_statistics(model: ModelProto, arrays: dict[str, Array]) -> None:
    """Run the graph node by node; set the statistics of each BatchNormalization before it is run."""
    if not any(node.op_type == "BatchNormalization" for node in model.graph.node):
        return
    values = {
        one.name: _rng("input")
        .standard_normal([dim.dim_value for dim in one.type.tensor_type.shape.dim])
        .astype(np.float32)
        for one in model.graph.input
    }
    last = {name: node.output[0] for node in model.graph.node for name in node.input}
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            x = values[node.input[0]].astype(np.float64)
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3)) + 1e-6
            rng = _rng(node.output[0])
            mean += 0.05 * np.sqrt(variance) * rng.standard_normal(len(mean))
            arrays[node.input[3]] = mean.astype(np.float32)
            arrays[node.input[4]] = (variance * rng.uniform(0.9, 1.1, len(mean))).astype(np.float32)
        fed = {name: values[name] if name in values else arrays[name] for name in node.input if name}
        for name, array in run_node(node, fed, model):
            values[name] = array
        for name in node.input:
            if last.get(name) == node.output[0]:
                values.pop(name, None)


def run_node(node: NodeProto, fed: Mapping[str, Array], model: ModelProto) -> Iterator[tuple[str, Array]]:
    """The outputs of one node by name, computed by onnxruntime from all its inputs."""
    names = [name for name in node.output if name]
    graph = helper.make_graph(
        [node],
        "node",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in fed.items()
        ],
        [helper.make_empty_tensor_value_info(name) for name in names],
    )
    alone = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(alone.SerializeToString(), options, ["CPUExecutionProvider"])
    return zip(names, session.run(names, {name: np.asarray(one) for name, one in fed.items()}), strict=True)


if __name__ == "__main__":
    write_light(Path(sys.argv[1]), sys.argv[2:] or LIGHT)
