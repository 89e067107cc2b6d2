"""Reads an ONNX file as a graph of operators."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import (
    AttributeProto,
    ModelProto,
    NodeProto,
    SparseTensorProto,
    TensorProto,
    ValueInfoProto,
    defs,
    helper,
    numpy_helper,
    shape_inference,
)

from parity.arithmetic import Array
from parity.errors import Unjudged, UserError, pip
from parity.files import check_readable
from parity.graph import Declared, Graph, Node, fits_shape
from parity.onnx.constants import Constants, Stored, constant, count, dtype_of, named_dtype
from parity.onnx.flatten import Key, every, in_order, inlined, key, standard, subgraphs, without_ifs
from parity.onnx.sequences import without_sequences
from parity.operators import OPERATORS, Operator

OLDEST, NEWEST = 7, 28  # the range of opsets that the operators implement
SMALL = 1024  # shape inference sees only weights with at most this many values, because it copies them
Shapes = Mapping[str, tuple[int, ...]]
Sizes = Mapping[str, int]


def read_onnx(
    source: Path | str | ModelProto, *, shapes: Shapes | None = None, sizes: Sizes | None = None
) -> Graph:
    """The graph of an ONNX file or model.

    Args:
        source: a path, or a model in memory.
        shapes: known shapes of inputs, from which the shapes of other tensors follow.
        sizes: sizes of symbolic dimensions, by name.

    Raises:
        UserError: there is no such file, it is not a valid ONNX model, or `sizes` names an unknown dimension.
    """
    if isinstance(source, ModelProto):
        return _graph(source, source.graph.name or "model", None, shapes or {}, sizes or {})
    path = Path(source)
    return _graph(load(path), str(path), path.parent, shapes or {}, sizes or {})


def load(path: Path) -> ModelProto:
    """The protobuf of an ONNX file; external data are not read.

    Raises:
        UserError: there is no such file, or it is not an ONNX model.
    """
    size = check_readable(path)
    if size == 0:
        raise UserError(f"{path}: is empty")
    if size >= 2**31:
        raise UserError(
            f"{path}: larger than 2 GB, which no ONNX file can be: store weights as external data"
        )
    try:
        model = ModelProto.FromString(path.read_bytes())
    except (DecodeError, OSError, ValueError) as error:
        raise UserError(f"{path}: not an ONNX file, or a damaged one") from error
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise UserError(f"{path}: not an ONNX file, or one without a graph")
    return model


def _graph(model: ModelProto, name: str, folder: Path | None, shapes: Shapes, sizes: Sizes) -> Graph:
    check_text(model, name)
    opset = opset_of(model, name)
    stored: dict[str, Stored] = {one.name: one for one in model.graph.initializer}
    stored |= {one.values.name: one for one in model.graph.sparse_initializer}
    frame = inlined(_frame(model, stored), name)
    nodes = _flat(frame, stored, name)
    entries = {one.name: declared(one) for one in model.graph.input if one.name not in stored}
    _check_sizes({entry: _sized(entry, one, {}, {}) for entry, one in entries.items()}, sizes, name)
    inputs = {entry: _sized(entry, one, shapes, sizes) for entry, one in entries.items()}
    outputs = tuple(one.name for one in model.graph.output)
    ordered = in_order(nodes, {*inputs, *stored}, name)
    made = {*inputs, *stored}.union(*(node.output for node in ordered))
    for output in outputs:
        if output not in made:
            raise UserError(f"{name}: nothing makes the output {output!r}")
    called = {(standard(one.domain), one.name, one.overload) for one in frame.functions}
    return Graph(
        tuple(_node(one, opset, called) for one in ordered),
        inputs,
        outputs,
        Constants(stored, folder),
        _inferred(frame, ordered, inputs, stored),
        name,
        {standard(one.domain): one.version for one in model.opset_import},
    )


def opset_of(model: ModelProto, name: str) -> int:
    """The version of the standard that a model uses.

    Raises:
        UserError: the installed onnx does not know this version yet.
    """
    opset = max((one.version for one in model.opset_import if standard(one.domain) == ""), default=1)
    if opset > defs.onnx_opset_version():
        newest = f"the onnx package here knows {defs.onnx_opset_version()} at most"
        raise UserError(f"{name}: keeps to opset {opset}, but {newest}: {pip()} install -U onnx")
    return opset


def check_text(model: ModelProto, name: str) -> None:
    """Refuse names that are not text: protobuf returns them as bytes.

    Raises:
        UserError: a name is not text.
    """
    graph = model.graph
    texts = [one.domain for one in model.opset_import]
    texts += [one.name for one in (graph, *graph.initializer, *graph.input, *graph.output)]
    texts += [one.values.name for one in graph.sparse_initializer]
    values = (*graph.input, *graph.output, *graph.value_info)
    texts += [dim.dim_param for one in values for dim in one.type.tensor_type.shape.dim]
    texts += [text for one in model.functions for text in (one.domain, one.name, one.overload)]
    for node in every([*graph.node, *(node for one in model.functions for node in one.node)]):
        texts += [node.name, node.op_type, node.domain, node.overload, *node.input, *node.output]
        texts += [text for one in node.attribute for text in (one.name, one.ref_attr_name)]
        for inner in subgraphs(node):
            texts += [one.name for one in (*inner.initializer, *inner.input, *inner.output)]
            texts += [one.values.name for one in inner.sparse_initializer]
    if not all(isinstance(text, str) for text in texts):
        raise UserError(f"{name}: a damaged ONNX file: it has names that are no text")


def _frame(model: ModelProto, stored: Mapping[str, Stored]) -> ModelProto:
    """The model without its weights, so that it is cheap to copy: used for functions and for shapes."""
    frame = ModelProto(ir_version=model.ir_version)
    frame.opset_import.extend(model.opset_import)
    frame.functions.extend(model.functions)
    frame.graph.name = model.graph.name or "graph"
    frame.graph.node.extend(model.graph.node)
    frame.graph.input.extend(one for one in model.graph.input if one.name not in stored)
    frame.graph.output.extend(model.graph.output)
    return frame


def _flat(frame: ModelProto, stored: dict[str, Stored], name: str) -> list[NodeProto]:
    """The nodes that compute something; nodes that are constants are added to `stored` instead."""
    produced = {output for node in frame.graph.node for output in node.output}
    nodes = _constants_apart(frame.graph.node, stored, name)
    taken = {*stored, *produced, *(one.name for one in frame.graph.input)}

    def small(tensor: str) -> Array | None:
        one = stored.get(tensor)
        return constant(tensor, one) if one is not None and _is_small(one) else None

    def condition(tensor: str) -> bool | None:
        value = small(tensor)
        return bool(value.all()) if value is not None and value.size == 1 else None

    while True:  # a branch may hold the condition of a later If
        before = len(nodes)
        nodes, more = without_ifs(nodes, condition, taken)
        for one in more:
            stored |= {one.name: one} if isinstance(one, TensorProto) else dict((one,))
        nodes = _constants_apart(nodes, stored, name)
        if not more and len(nodes) == before:
            break
    nodes, places = without_sequences(nodes, small, {one.name for one in frame.graph.output}, taken)
    stored |= places
    return nodes


def _is_small(one: Stored) -> bool:
    """Whether a constant has few values, and has them within the model."""
    external = isinstance(one, TensorProto) and one.data_location == TensorProto.EXTERNAL
    return not external and count(one) <= SMALL


def _constants_apart(nodes: Iterable[NodeProto], stored: dict[str, Stored], name: str) -> list[NodeProto]:
    others = []
    for node in nodes:
        if node.op_type != "Constant" or standard(node.domain):
            others.append(node)
            continue
        (output, *_) = node.output or ("",)
        if output in stored:
            raise UserError(f"{name}: the tensor {output!r} is made twice")
        stored[output] = _constant(node, name)
    return others


def _constant(node: NodeProto, name: str) -> Stored:
    """The value of a Constant node, from the one attribute that holds it."""
    if len(node.attribute) != 1 or node.attribute[0].ref_attr_name or len(node.output) != 1:
        raise UserError(
            f"{name}: the Constant {node.name or next(iter(node.output), '')!r} has no single value"
        )
    (attribute,) = node.attribute
    if attribute.name == "value":
        return attribute.t
    if attribute.name == "sparse_value":
        return attribute.sparse_tensor
    kinds = {"value_int": np.int64, "value_float": np.float32, "value_string": object}
    kind = attribute.name.removesuffix("s")
    if kind not in kinds:
        raise UserError(f"{name}: a Constant with attribute {attribute.name}, which a Constant does not have")
    if AttributeProto.AttributeType.Name(attribute.type) != attribute.name.removeprefix("value_").upper():
        raise UserError(f"{name}: a Constant whose {attribute.name} has another type")
    return np.array(attribute_value(attribute), kinds[kind])


def _sized(name: str, one: Declared, shapes: Shapes, sizes: Sizes) -> Declared:
    """An input's declaration with its known shape filled in, unless that contradicts the declared shape.

    A dimension without size or name is named after the input and its axis: "image:2".
    """
    if one.shape is None:
        return Declared(one.dtype, shapes.get(name))
    if name in shapes and fits_shape(shapes[name], one.shape):
        return Declared(one.dtype, shapes[name])
    named = (f"{name}:{axis}" if n is None else n for axis, n in enumerate(one.shape))
    return Declared(one.dtype, tuple(sizes.get(n, n) if isinstance(n, str) else n for n in named))


def _check_sizes(inputs: Mapping[str, Declared], sizes: Sizes, name: str) -> None:
    known = {n for one in inputs.values() for n in one.shape or () if isinstance(n, str)}
    for size in sizes:
        if size not in known:
            there = f"it has {', '.join(sorted(known))}" if known else "it has none"
            raise UserError(f"{name} has no symbolic dimension {size!r}: {there}")


def _inferred(
    frame: ModelProto,
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Declared],
    stored: Mapping[str, Stored],
) -> dict[str, Declared]:
    """Types and shapes of all tensors, inferred from the inputs. What the file declares is not trusted."""
    model = ModelProto(ir_version=max(frame.ir_version, 4))
    model.opset_import.extend(frame.opset_import)
    model.functions.extend(frame.functions)
    graph = model.graph
    graph.name = "graph"
    graph.node.extend(nodes)
    graph.input.extend(_value_info(name, one.dtype, one.shape) for name, one in inputs.items())
    for name, one in stored.items():
        tensor = one if isinstance(one, TensorProto) else None
        if isinstance(one, np.ndarray):
            if one.dtype == object or not _is_small(one):
                continue
            tensor = numpy_helper.from_array(one, name)
        if tensor is None:
            continue
        if _is_small(tensor):
            graph.initializer.append(tensor)
            graph.initializer[-1].name = name
        else:
            graph.input.append(helper.make_tensor_value_info(name, tensor.data_type, tensor.dims))
    graph.output.extend(helper.make_empty_tensor_value_info(one.name) for one in frame.graph.output)
    try:
        found = shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception:  # its C++ code raises several kinds; nothing is known then, which is allowed
        return {}
    return {one.name: declared(one) for one in (*found.value_info, *found.output)}


def _value_info(name: str, dtype: str, shape: tuple[int | str | None, ...] | None) -> ValueInfoProto:
    if not dtype:
        return helper.make_empty_tensor_value_info(name)
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(named_dtype(dtype)), shape)


def declared(value: ValueInfoProto) -> Declared:
    """The type and shape that a graph declares for an input, an output or a tensor in between.

    Raises:
        UserError: ONNX has no such element type.
    """
    tensor = value.type.tensor_type
    dtype = dtype_of(value.name, tensor.elem_type).name if tensor.elem_type else ""
    if not tensor.HasField("shape"):
        return Declared(dtype)
    dims = (
        dim.dim_param or (dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else None)
        for dim in tensor.shape.dim  # some exporters write -1 for a size that is not known
    )
    return Declared(dtype, tuple(dims))


def _node(proto: NodeProto, opset: int, functions: set[Key]) -> Node:
    domain = standard(proto.domain)
    kind = f"{domain}.{proto.op_type}" if domain else proto.op_type
    name = proto.name or next(iter(proto.output), kind)
    problem, operator = "", None
    try:
        if key(proto) in functions:
            raise Unjudged(f"{kind}, a function of the model that could not be written out")
        operator = _operator(kind, domain, proto, opset)
    except Unjudged as reason:
        problem = str(reason)
    return Node(name, kind, operator, tuple(proto.input), tuple(proto.output), problem, proto)


def _operator(kind: str, domain: str, proto: NodeProto, opset: int) -> Operator:
    if subgraphs(proto):
        raise Unjudged(f"{kind}, which runs a graph within the graph")
    if kind not in OPERATORS:
        raise Unjudged(kind)
    if not domain:
        _check_version(proto, opset)
    attributes = {one.name: attribute_value(one) for one in proto.attribute}
    try:
        operator = OPERATORS[kind].read(attributes, opset)
        return operator.with_outputs(len(proto.output))
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise Unjudged(f"{kind} with attributes that it cannot have: {error}") from error


def _check_version(proto: NodeProto, opset: int) -> None:
    """Check that the operator is known in this opset, and that the standard allows its inputs and attributes.

    Raises:
        Unjudged: the operator is not known, or the standard does not allow them.
    """
    kind = proto.op_type
    try:
        schema = defs.get_schema(kind, opset, "")
    except defs.SchemaError as error:
        raise Unjudged(f"{kind}, which opset {opset} does not have") from error
    if schema.since_version > NEWEST:
        raise Unjudged(f"{kind} of opset {schema.since_version}: known up to {NEWEST}")
    if opset < OLDEST and schema.since_version != defs.get_schema(kind, OLDEST, "").since_version:
        raise Unjudged(f"{kind} of opset {opset}: known from {OLDEST} on")
    needed = [place for place, one in enumerate(schema.inputs) if one.option == one.option.Single]
    if len(proto.input) > schema.max_input or any(not "".join(proto.input[i : i + 1]) for i in needed):
        raise Unjudged(f"{kind} with {len(proto.input)} inputs, which the standard does not allow")
    for one in proto.attribute:
        wanted = schema.attributes.get(one.name)
        if wanted is not None and wanted.type != getattr(
            defs.OpSchema.AttrType, AttributeProto.AttributeType.Name(one.type), None
        ):
            raise Unjudged(f"{kind} whose attribute {one.name} is of the wrong type")


def attribute_value(attribute: AttributeProto) -> Any:
    """An attribute as a Python value.

    Raises:
        Unjudged: it is a graph, has an unknown type, or refers to an attribute of a function.
    """
    if attribute.ref_attr_name:
        raise Unjudged(f"attribute {attribute.name} that refers to another")
    try:
        value = helper.get_attribute_value(attribute)
    except ValueError as error:
        raise Unjudged(f"attribute {attribute.name} of an unknown type") from error
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, TensorProto | SparseTensorProto):
        try:
            return constant(attribute.name, value)
        except UserError as error:
            raise Unjudged(str(error)) from error
    if isinstance(value, onnx.GraphProto):
        raise Unjudged(f"attribute {attribute.name}, a graph")
    if hasattr(value, "__iter__") and not isinstance(value, str | Mapping):
        return tuple(one.decode(errors="replace") if isinstance(one, bytes) else one for one in value)
    return value
