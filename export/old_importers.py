"""Says the same in what old importers know: constant shapes, and attributes that opset 9 has."""

from typing import Any

import numpy as np
from onnx import ModelProto, ValueInfoProto, helper, numpy_helper, shape_inference

# Attributes that are younger than opset 9, with the value that means what an importer does without them.
LATER = {("MaxPool", "dilations"): [1, 1], ("MaxPool", "ceil_mode"): 0}


def leave_out_later(model: ModelProto) -> None:
    """Remove attributes that opset 9 does not have, where they state what is so anyway; in place."""
    for node in model.graph.node:
        said = [(one, LATER.get((node.op_type, one.name))) for one in node.attribute]
        _put(node.attribute, [one for one, usual in said if helper.get_attribute_value(one) != usual])


def fix_targets(model: ModelProto) -> None:
    """Make the target of each Reshape a constant, if ONNX's shape inference knows all sizes but one.

    That one, the batch, is −1 in the target. As no size is 0, `allowzero` is left out, which opsets before 14
    do not have. Nodes and tensors that only computed a target are removed. The model is changed in place.

    Raises:
        onnx.shape_inference.InferenceError: the shapes contradict each other.
    """
    graph = model.graph
    inferred = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    sizes = {value.name: _sizes(value) for value in (*inferred.value_info, *inferred.output)}
    stored = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        known = sizes.get(node.output[0], [0])
        if node.op_type == "Reshape" and known.count(-1) <= 1 and 0 not in known:
            _put(node.attribute, [one for one in node.attribute if one.name != "allowzero"])
            if node.input[1] not in stored:
                node.input[1] = f"{node.output[0]}/shape"
                graph.initializer.append(numpy_helper.from_array(np.array(known, np.int64), node.input[1]))
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed.update(node.input)
    _put(graph.node, kept[::-1])
    _put(graph.initializer, [tensor for tensor in graph.initializer if tensor.name in needed])


def _sizes(value: ValueInfoProto) -> list[int]:
    """The sizes of a tensor, −1 for one that is not known; [0] if nothing is known."""
    if not value.type.tensor_type.HasField("shape"):
        return [0]
    return [dim.dim_value if dim.HasField("dim_value") else -1 for dim in value.type.tensor_type.shape.dim]


def _put(field: Any, items: list[Any]) -> None:
    """Put items into a repeated field in place of those that it has, which may be among them."""
    copies = [type(item).FromString(item.SerializeToString()) for item in items]
    del field[:]
    field.extend(copies)
