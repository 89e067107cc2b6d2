"""The table of the network's layers, from which all shapes, names and counts are derived.

Shapes are in the shared layout, without the batch axis: (C, H, W) or (features,).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from parity.arithmetic import Array, Bounded
from parity.graph import Declared, Graph, Node
from parity.operators import Operator
from parity.operators.activation import Relu
from parity.operators.affine import Conv, Gemm
from parity.operators.pooling import MaxPool
from parity.operators.shape import Flatten

Shape = tuple[int, ...]

CLASSES = 10
IMAGE_SHAPE: Shape = (1, 28, 28)


@dataclass(frozen=True)
class Layer:
    """A row of the table: an operator of `parity` and the shapes of its parameters.

    Attributes:
        name: the name of the layer and of its output.
        operator: the function of its input and its parameters.
        params: {"weight" or "bias": shape in the shared layout}, in the operator's order.
    """

    name: str
    operator: Operator
    params: tuple[tuple[str, Shape], ...] = ()

    def param_shapes(self) -> dict[str, Shape]:
        """{parameter ("conv1.weight"): shape in the shared layout}."""
        return {f"{self.name}.{part}": shape for part, shape in self.params}

    def out_shape(self, shape: Shape) -> Shape:
        """Shape of the output for an input of `shape`."""
        x, *params = (Bounded(np.zeros(size)) for size in ((1, *shape), *(size for _, size in self.params)))
        output = self.operator.evaluate(x, *params)
        return (output[0] if isinstance(output, tuple) else output).shape[1:]

    @property
    def affine(self) -> bool:
        """Whether it is y = Wx + b: a convolution or a dense layer."""
        return isinstance(self.operator, Conv | Gemm)

    @property
    def weight_shape(self) -> Shape:
        """Shape of W, output axis first; () if there is no W."""
        return dict(self.params).get("weight", ())

    @property
    def terms(self) -> int:
        """Number of products in the sum of an output value; 0 if there is no sum."""
        return prod(self.weight_shape[1:]) if self.affine else 0

    @property
    def kernel(self) -> int:
        """Side of the square window of a convolution or a pooling."""
        return self.operator.kernel_shape[0] if isinstance(self.operator, MaxPool) else self.weight_shape[-1]

    @property
    def padding(self) -> int:
        """Zeros on each side of a convolution's input."""
        return self.operator.pads[0] if isinstance(self.operator, Conv) and self.operator.pads else 0


def conv(name: str, inputs: int, outputs: int, kernel: int, padding: int = 0) -> Layer:
    """Cross-correlation, stride 1, square kernel, zero padding on all four sides; weights OIHW."""
    shapes = (("weight", (outputs, inputs, kernel, kernel)), ("bias", (outputs,)))
    return Layer(name, Conv(pads=(padding,) * 4), shapes)


def dense(name: str, inputs: int, outputs: int) -> Layer:
    """Dense layer; weights (out, in)."""
    return Layer(name, Gemm(transB=1), (("weight", (outputs, inputs)), ("bias", (outputs,))))


@dataclass(frozen=True)
class Network:
    """A sequence of layers, each with the output of the layer before as input."""

    layers: tuple[Layer, ...]
    image_shape: Shape

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Shape of every layer's output, by name."""
        shapes, shape = {}, self.image_shape
        for layer in self.layers:
            shapes[layer.name] = shape = layer.out_shape(shape)
        return shapes

    @cached_property
    def param_shapes(self) -> dict[str, Shape]:
        """{parameter: shape in the shared layout}, for all layers."""
        return {name: shape for layer in self.layers for name, shape in layer.param_shapes().items()}

    def graph(self, params: Mapping[str, Array], dtype: str = "float32") -> Graph:
        """The network as a graph for `parity.judge`. Tensors have the layers' names; the input is "image"."""
        names = ("image", *(layer.name for layer in self.layers))
        nodes = tuple(
            Node(
                layer.name,
                layer.operator.TYPE,
                layer.operator,
                (before, *layer.param_shapes()),
                (layer.name,),
            )
            for before, layer in zip(names, self.layers, strict=False)
        )
        declared = {name: Declared(dtype, ("batch", *shape)) for name, shape in self.shapes.items()}
        image = Declared(dtype, ("batch", *self.image_shape))
        return Graph(nodes, {"image": image}, names[-1:], params, declared, "the network")


LENET = Network(
    (
        conv("conv1", 1, 6, kernel=5, padding=2),
        Layer("relu1", Relu()),
        Layer("pool1", MaxPool(kernel_shape=(2, 2), strides=(2, 2))),
        conv("conv2", 6, 16, kernel=5),
        Layer("relu2", Relu()),
        Layer("pool2", MaxPool(kernel_shape=(2, 2), strides=(2, 2))),
        Layer("flatten", Flatten()),
        dense("fc1", 400, 120),
        Layer("relu3", Relu()),
        dense("fc2", 120, 84),
        Layer("relu4", Relu()),
        dense("logits", 84, CLASSES),
    ),
    IMAGE_SHAPE,
)
LAYERS = LENET.layers
ACTIVATION_SHAPES = LENET.shapes
PARAM_SHAPES = LENET.param_shapes
PARAM_COUNT = sum(prod(shape) for shape in PARAM_SHAPES.values())
# A product and an addition for each term of each output; biases, ReLU and pooling are not counted.
FLOPS = sum(2 * layer.terms * prod(ACTIVATION_SHAPES[layer.name]) for layer in LAYERS)
