"""Changes to an exported model."""

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, numpy_helper

from tests.export.exported import model_of


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


def renamed(what: str) -> ModelProto:
    model = model_of("numpy")
    old, new = (model.graph.input if what == "input" else model.graph.output)[0], "renamed"
    for node in model.graph.node:
        node.input[:] = [new if name == old.name else name for name in node.input]
        node.output[:] = [new if name == old.name else name for name in node.output]
    old.name = new
    return model


def with_first(model: ModelProto, made: list[NodeProto]) -> ModelProto:
    """The model with these nodes before its own."""
    kept = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*made, *kept])
    return model
