"""Finds this network in an ONNX graph: the tensor of each layer and the constant of each parameter.

Nothing is guessed from a shape. The graph is followed in order. Values that do not depend on the image (a
kernel behind a Transpose, the target of a Reshape) are evaluated. For values that depend on the image, the
layer is tracked and *the places of the elements*: a Transpose, Reshape or Flatten is applied to their indices
in the shared layout. So the order of the columns of `fc1` follows from the order of the values that they
multiply, and a layer that reads its input in another order is detected.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from export.onnx_file import describe, inputs, one_line
from lenet.network.architecture import ACTIVATION_SHAPES, IMAGE_SHAPE, LAYERS, PARAM_SHAPES, Layer
from parity.errors import Unjudged, UserError
from parity.onnx.flatten import standard
from parity.operators.activation import Relu
from parity.operators.affine import Conv, Gemm
from parity.operators.pooling import MaxPool
from parity.operators.shape import Flatten
from parity.operators.windows import window

MOST = 10_000  # images in a batch of fixed size
REARRANGING = ("Identity", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze")
RANDOM = (
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
)
OPERATORS = {Conv: "Conv", Relu: "Relu", MaxPool: "MaxPool", Flatten: "Flatten", Gemm: "Gemm or MatMul"}


class Mismatch(UserError):
    """The graph is not this network. The exception names the layer and its difference from the table."""

    def __init__(self, layer: str, text: str) -> None:
        super().__init__(f"{layer}: {text}")
        self.layer = layer


@dataclass(frozen=True)
class Place:
    """The place of a layer's output in the graph.

    Attributes:
        tensor: its name in the graph.
        order: (values of an image,) int64: for each value of the tensor, its index in the shared layout.
    """

    tensor: str
    order: np.ndarray

    def to_shared(self, layer: str, value: np.ndarray) -> np.ndarray:
        """Convert the tensor (N, ...) to the activation of `layer` in the shared layout, as a new array."""
        flat = np.empty((len(value), self.order.size), value.dtype)
        flat[:, self.order] = value.reshape(len(value), -1)
        return flat.reshape(-1, *ACTIVATION_SHAPES[layer])


@dataclass
class Reading:
    """The recognised part of a graph: the whole network, or everything before `problem`."""

    params: dict[str, np.ndarray] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    problem: Mismatch | None = None


def read_graph(model: ModelProto) -> Reading:
    """Find the layers and parameters of this network, as far as the graph follows the table."""
    walk = _Walk(model)
    try:
        walk.start()
        for node in model.graph.node:
            walk.visit(node)
        walk.end()
    except Mismatch as problem:
        walk.reading.problem = problem
    return walk.reading


@dataclass(frozen=True)
class _Data:
    """A value that depends on the image.

    Attributes:
        done: how many layers of the table it has been through; 0 for the image itself.
        order: int64, of the tensor's shape: which value of the last layer's output, counted through
            the whole batch in the shared layout, stands where.
    """

    done: int
    order: np.ndarray


class _Walk:
    """The state of `read_graph`: every value met so far."""

    def __init__(self, model: ModelProto) -> None:
        self.reading = Reading()
        self.model = model
        self.opsets = {opset.domain: opset.version for opset in model.opset_import}
        self.values: dict[str, np.ndarray | _Data] = {}
        self.sizes: set[str] = set()  # values that follow from the size of a batch
        self.after: list[NodeProto] = []  # what comes after the logits

    def start(self) -> None:
        """Take in the constants and the image."""
        graph = self.model.graph
        self.values |= {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        if len(inputs(self.model)) != 1:
            found = "; ".join(describe(value) for value in inputs(self.model)) or "none"
            raise Mismatch("image", f"expected as the only input, found {found}")
        (image,) = inputs(self.model)
        dims = [dim.dim_value for dim in image.type.tensor_type.shape.dim]
        if prod(dims[1:]) != prod(IMAGE_SHAPE):
            raise Mismatch("image", f"the input is {describe(image)}, expected 28 × 28 pixels")
        if not all(0 <= size <= MOST for size in dims):
            raise Mismatch("image", f"the input is {describe(image)}: sizes up to {MOST:,} are followed")
        self.batch = dims[0] or 2  # two images where the file leaves it open: a batch axis that moves shows
        self.values[image.name] = _Data(0, _in_order(self.batch, *dims[1:]))

    def visit(self, node: NodeProto) -> None:
        """Find the node's output. If there are several (MaxPool's indices), only the first is known."""
        self.expect_standard(node)
        given = [name for name in node.input if name]
        named = {name: self.values.get(name) for name in given}
        if any(value is None for value in named.values()):
            return
        data = [value for value in named.values() if isinstance(value, _Data)]
        constants = [value for value in named.values() if isinstance(value, np.ndarray)]
        if not data or node.op_type in ("Shape", "Size"):
            self.values[node.output[0]] = self.evaluate(node, node.name or node.op_type)
            if data or self.sizes.intersection(given):
                self.sizes.update(node.output)
        elif len(data) > 1 or len(given) > len(named):
            raise self.unexpected(node, max(data, key=lambda value: value.done))
        elif node.op_type in REARRANGING:
            layer = LAYERS[min(data[0].done, len(LAYERS) - 1)].name
            self.values[node.output[0]] = _Data(data[0].done, self.evaluate(node, layer))
        elif sized := sorted(self.sizes.intersection(given)):
            problem = f"{_name(node)} reads {sized[0]!r}, which depends on the number of images"
            raise Mismatch(self.next_layer(), problem)
        elif data[0].done == len(LAYERS) and (node.op_type != "Add" or "logits.bias" in self.reading.params):
            self.after.append(node)
        elif node.op_type == "Add":
            self.values[node.output[0]] = self.add(node, data[0], *constants)
        else:
            self.values[node.output[0]] = self.layer(node, data[0], constants)

    def expect_standard(self, node: NodeProto) -> None:
        """Require that a node is one of ONNX's operators, and that all it does stands in the node itself."""
        own = {(standard(function.domain), function.name) for function in self.model.functions}
        problem = None
        if standard(node.domain):
            problem = f"belongs to the domain {node.domain!r}, not to ONNX"
        elif ("", node.op_type) in own:
            problem = "is defined anew by a function in the file"
        elif any(one.ref_attr_name for one in node.attribute):
            problem = "refers to an attribute of a function, but is in none"
        elif any(one.HasField("g") or one.graphs for one in node.attribute):
            problem = "has a graph of its own, which is not followed"
        elif node.op_type in RANDOM:
            problem = "gives random values"
        if problem is not None:
            raise Mismatch(self.next_layer(), f"{_name(node)} {problem}")

    def next_layer(self) -> str:
        """The name of the first layer that was not found yet."""
        return next((layer.name for layer in LAYERS if layer.name not in self.reading.places), "logits")

    def end(self) -> None:
        """Compare the graph's outputs with the table's last layer, and require all parameters."""
        outputs = [self.values.get(output.name) for output in self.model.graph.output]
        data = [value for value in outputs if isinstance(value, _Data)]
        furthest = max(data, key=lambda value: value.done, default=_Data(0, np.empty(0)))
        if self.after and furthest.done < len(LAYERS):
            raise Mismatch(
                "logits", f"they are no output of the graph: {_name(self.after[0])} comes after them"
            )
        if furthest.done < len(LAYERS):
            raise Mismatch(LAYERS[furthest.done].name, "the graph ends before it")
        if outputs[0] is not furthest:
            name = self.model.graph.output[0].name
            raise Mismatch("logits", f"they are not the first output of the graph, which is {name!r}")
        self.expect_order("logits", furthest.order, self.batch, *ACTIVATION_SHAPES["logits"])
        for name, shape in PARAM_SHAPES.items():  # a bias of zero may be left out (tf2onnx does)
            self.reading.params.setdefault(name, np.zeros(shape, np.float32))
        self.reading.params = {name: self.reading.params[name] for name in PARAM_SHAPES}

    def evaluate(self, node: NodeProto, layer: str) -> np.ndarray:
        """Evaluate a node with ONNX's reference evaluator; images are represented by places."""
        values = {name: self.values[name] for name in node.input if name}
        arrays = {name: value.order if isinstance(value, _Data) else value for name, value in values.items()}
        try:
            first, *_ = ReferenceEvaluator(node, opsets=self.opsets).run(None, arrays)
        except Exception as error:  # an operator may raise anything
            problem = f"{_name(node)} fails for a batch of {self.batch}: {one_line(error)}"
            raise Mismatch(layer, problem) from error
        return np.asarray(first)

    def layer(self, node: NodeProto, data: _Data, constants: list[np.ndarray]) -> _Data:
        """Match the node with the next layer of the table."""
        if node.op_type in ("Gemm", "MatMul") and isinstance(LAYERS[data.done].operator, Flatten):
            if data.order.ndim != 2:
                problem = f"{_name(node)} reads values of shape {data.order.shape[1:]}, not in one row"
                raise Mismatch(LAYERS[data.done].name, problem)
            data = self.found(node.input[0], data.done, data.order)  # `flatten` is what fc1 reads
        if not isinstance(self.values[node.input[0]], _Data):
            raise Mismatch(
                LAYERS[data.done].name, f"{_name(node)} reads the layer before as its second input"
            )
        layer = LAYERS[data.done]
        match layer.operator, node.op_type:
            case Conv(), "Conv":
                order = self.conv(layer, node, data, *constants)
            case Relu(), "Relu":
                order = data.order
            case MaxPool(), "MaxPool":
                order = self.max_pool(layer, node, data)
            case Gemm(), "Gemm" | "MatMul":
                order = self.linear(layer, node, data, *constants)
            case _:
                raise self.unexpected(node, data)
        return self.found(node.output[0], data.done, order)

    def conv(
        self, layer: Layer, node: NodeProto, data: _Data, kernel: np.ndarray, bias: np.ndarray | None = None
    ) -> np.ndarray:
        """Check a convolution's settings, input order and parameters; returns the order of its output."""
        shape = ACTIVATION_SHAPES[LAYERS[data.done - 1].name] if data.done else IMAGE_SHAPE
        self.expect_order(layer.name, data.order, self.batch, *shape)
        self.expect_settings(layer.name, node, shape, layer.kernel, stride=1, padding=layer.padding)
        self.parameter(f"{layer.name}.weight", kernel)
        order = _in_order(self.batch, *ACTIVATION_SHAPES[layer.name])
        if bias is not None:
            self.bias(layer, bias.reshape(-1, 1, 1), order)
        return order

    def max_pool(self, layer: Layer, node: NodeProto, data: _Data) -> np.ndarray:
        """Check max pooling's settings and input order; returns the order of its output."""
        shape = ACTIVATION_SHAPES[LAYERS[data.done - 1].name]
        self.expect_order(layer.name, data.order, self.batch, *shape)
        self.expect_settings(layer.name, node, shape, layer.kernel, stride=layer.kernel, padding=0)
        return _in_order(self.batch, *ACTIVATION_SHAPES[layer.name])

    def linear(
        self, layer: Layer, node: NodeProto, data: _Data, kernel: np.ndarray, bias: np.ndarray | None = None
    ) -> np.ndarray:
        """Check a dense layer's settings and parameters; returns the order of its output.

        Column j of the kernel multiplies the j-th input in the graph, which is input `order[j]` of the
        shared layout.
        """
        settings = _settings(node)
        for name, wanted in ("alpha", 1.0), ("beta", 1.0), ("transA", 0):
            if settings.get(name, wanted) != wanted:
                raise Mismatch(layer.name, f"{_name(node)} has {name} {settings[name]}, expected {wanted}")
        rows = kernel if settings.get("transB") else kernel.T  # (out, in)
        if rows.ndim != 2 or rows.shape[1:] != data.order.shape[1:]:
            problem = f"{_name(node)} multiplies {data.order.shape[1:]} values by a kernel {kernel.shape}"
            raise Mismatch(layer.name, problem)
        weight = np.empty_like(rows)
        weight[:, data.order[0]] = rows
        self.parameter(f"{layer.name}.weight", weight)
        order = _in_order(self.batch, layer.weight_shape[0])
        if bias is not None:
            self.bias(layer, bias, order)
        return order

    def add(self, node: NodeProto, data: _Data, constant: np.ndarray) -> _Data:
        """Use the constant as the bias of the layer before, if it has none yet."""
        layer = LAYERS[data.done - 1]
        if not data.done or not layer.affine or f"{layer.name}.bias" in self.reading.params:
            raise self.unexpected(node, data)
        self.bias(layer, constant, data.order)
        return self.found(node.output[0], data.done - 1, data.order)

    def bias(self, layer: Layer, constant: np.ndarray, order: np.ndarray) -> None:
        """Check that a constant added to a layer's output is a bias: the same value at all its places."""
        added = np.empty(order.size, constant.dtype)
        try:
            added[order] = np.broadcast_to(constant, order.shape)
        except ValueError:
            raise Mismatch(layer.name, f"a constant of shape {constant.shape} is added to it") from None
        each = added.reshape(self.batch, layer.weight_shape[0], -1)
        if not np.array_equal(each, np.broadcast_to(each[:1, :, :1], each.shape), equal_nan=True):
            raise Mismatch(layer.name, "the constant added to it is not one value for each output")
        self.parameter(f"{layer.name}.bias", np.ascontiguousarray(each[0, :, 0]))

    def parameter(self, name: str, array: np.ndarray) -> None:
        """Keep a parameter if it fits the table."""
        layer = name.partition(".")[0]
        if array.shape != PARAM_SHAPES[name] or array.dtype != np.float32:
            wanted = f"float32 {PARAM_SHAPES[name]}"
            raise Mismatch(layer, f"{name} is {array.dtype} {array.shape}, expected {wanted}")
        self.reading.params[name] = np.ascontiguousarray(array)

    def found(self, tensor: str, done: int, order: np.ndarray) -> _Data:
        """Record the place of the output of layer number `done`."""
        layer = LAYERS[done].name
        size = prod(ACTIVATION_SHAPES[layer])
        images = np.arange(self.batch)[:, None] * size
        whole = order.shape[0] == self.batch and order.size == self.batch * size
        if not whole or (order.reshape(self.batch, -1) != images + order[0].ravel()).any():
            raise Mismatch(layer, f"{tensor!r} mixes images: its first axis is not the batch")
        self.reading.places[layer] = Place(tensor, order[0].ravel())
        return _Data(done + 1, order)

    def expect_order(self, layer: str, order: np.ndarray, *shape: int) -> None:
        """Require the order (N, C, H, W), which convolution and pooling read."""
        if not np.array_equal(order, _in_order(*shape)):
            raise Mismatch(layer, f"its values have another order than the table's {shape[1:]}")

    def expect_settings(
        self, layer: str, node: NodeProto, shape: tuple[int, ...], size: int, stride: int, padding: int
    ) -> None:
        """Require this window, stride and padding of a Conv or MaxPool."""
        found = {"strides": [1, 1], "dilations": [1, 1], "group": 1, "kernel_shape": [size, size]}
        found |= _settings(node)
        try:
            found["pads"] = pads_of(found, shape[1:], [size, size])
        except ValueError as error:
            raise Mismatch(layer, f"{_name(node)} has {error}") from error
        wanted = {
            "kernel_shape": [size, size],
            "strides": [stride, stride],
            "dilations": [1, 1],
            "group": 1,
            "pads": [padding] * 4,
        }
        for name, value in wanted.items():
            if found[name] != value:
                raise Mismatch(layer, f"{_name(node)} has {name} {found[name]}, expected {value}")

    def unexpected(self, node: NodeProto, data: _Data) -> Mismatch:
        """The exception for an operator that is not the expected operator."""
        if data.done == len(LAYERS):
            return Mismatch("logits", f"{_name(node)} comes after them")
        layer = LAYERS[data.done]
        return Mismatch(layer.name, f"expected {OPERATORS[type(layer.operator)]}, found {_name(node)}")


def _in_order(*shape: int) -> np.ndarray:
    return np.arange(prod(shape)).reshape(shape)


def _name(node: NodeProto) -> str:
    return f"{node.op_type} {node.name!r}" if node.name else f"{node.op_type} (of {node.output[0]!r})"


def _settings(node: NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def pads_of(settings: dict[str, Any], sizes: Sequence[int], windows: Sequence[int]) -> list[int]:
    """Rows and columns added before and after, from a node's `pads` or `auto_pad`.

    SAME gives ⌈size / stride⌉ outputs per axis; an odd pad is added at the end (UPPER) or start (LOWER).

    Raises:
        ValueError: `auto_pad` is none of ONNX's.
    """
    mode = settings.get("auto_pad", b"NOTSET").decode(errors="replace")
    pads = settings.get("pads", [0] * 2 * len(sizes))
    if mode == "NOTSET":
        return list(pads)
    try:
        strides = tuple(settings.get("strides", ()))
        sliding = window(tuple(windows), strides, (), tuple(pads), mode, tuple(sizes))
    except Unjudged as error:
        raise ValueError(f"an unknown auto_pad, {mode!r}") from error
    return [*sliding.before, *sliding.after]
