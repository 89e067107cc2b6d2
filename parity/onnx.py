"""Reads an ONNX file as a graph of operators."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, ModelProto, NodeProto, ValueInfoProto, helper, numpy_helper, shape_inference

from parity.arithmetic import Array
from parity.errors import Unjudged, UserError
from parity.graph import Declared, Graph, Node
from parity.operators import OPERATORS, Operator

STANDARD = ("", "ai.onnx")


def read_onnx(source: Path | str | ModelProto) -> Graph:
    """The graph of an ONNX file or model.

    Raises:
        UserError: there is no such file, or it is no valid ONNX model.
    """
    if isinstance(source, ModelProto):
        return _graph(source, source.graph.name or "model")
    path = Path(source)
    try:
        model = onnx.load(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (DecodeError, OSError, ValueError) as error:
        raise UserError(f"{path}: not an ONNX file, or a damaged one") from error
    return _graph(model, str(path))


def _graph(model: ModelProto, name: str) -> Graph:
    opset = max((one.version for one in model.opset_import if one.domain in STANDARD), default=1)
    constants: dict[str, Array] = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    nodes = []
    for proto in model.graph.node:
        if proto.op_type == "Constant" and proto.domain in STANDARD:
            constants[proto.output[0]] = _constant(proto)
        else:
            nodes.append(_node(proto, opset))
    inputs = {one.name: declared(one) for one in model.graph.input if one.name not in constants}
    try:
        inferred = shape_inference.infer_shapes(model, data_prop=True).graph
    except shape_inference.InferenceError:
        inferred = model.graph
    known = {one.name: declared(one) for one in (*inferred.value_info, *inferred.output)}
    outputs = tuple(one.name for one in model.graph.output)
    return Graph(tuple(nodes), inputs, outputs, constants, known, name)


def declared(value: ValueInfoProto) -> Declared:
    """What a graph says of an input, an output or a value between."""
    tensor = value.type.tensor_type
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type).name if tensor.elem_type else ""
    if not tensor.HasField("shape"):
        return Declared(dtype)
    dims = (
        dim.dim_param or (dim.dim_value if dim.HasField("dim_value") else None) for dim in tensor.shape.dim
    )
    return Declared(dtype, tuple(dims))


def _constant(proto: NodeProto) -> Array:
    (attribute,) = proto.attribute
    value = _value(attribute)
    if attribute.name in ("value_int", "value_ints"):
        return np.array(value, np.int64)
    return np.array(value, np.float32) if attribute.name.startswith("value_float") else np.array(value)


def _node(proto: NodeProto, opset: int) -> Node:
    kind = proto.op_type if proto.domain in STANDARD else f"{proto.domain}.{proto.op_type}"
    name = proto.name or next(iter(proto.output), kind)
    problem, operator = "", None
    try:
        operator = _operator(kind, proto, opset)
    except Unjudged as reason:
        problem = str(reason)
    return Node(name, kind, operator, tuple(proto.input), tuple(proto.output), problem)


def _operator(kind: str, proto: NodeProto, opset: int) -> Operator:
    if kind not in OPERATORS:
        raise Unjudged(kind)
    attributes = {one.name: _value(one) for one in proto.attribute}
    operator = OPERATORS[kind].read(attributes, opset, len(proto.input))
    return operator.with_outputs(len(proto.output))


def _value(attribute: AttributeProto) -> Any:
    """An attribute as a Python value.

    Raises:
        Unjudged: it is a graph, or refers to an attribute of a function.
    """
    if attribute.ref_attr_name:
        raise Unjudged(f"attribute {attribute.name} that refers to another")
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, onnx.GraphProto):
        raise Unjudged(f"attribute {attribute.name}, a graph")
    if hasattr(value, "__iter__") and not isinstance(value, str | Mapping):
        return tuple(one.decode(errors="replace") if isinstance(one, bytes) else one for one in value)
    return value
