"""The network as data: one table, from which every shape, name and count is derived.

Shapes leave out the batch axis and are in the shared layout: (C, H, W), or (features,).
"""

from dataclasses import dataclass
from math import prod

Shape = tuple[int, ...]

CLASSES = 10
IMAGE_SHAPE: Shape = (1, 28, 28)


@dataclass(frozen=True)
class Layer:
    """One row of the table. The base class is a layer without parameters that keeps its shape."""

    name: str

    def out_shape(self, shape: Shape) -> Shape:
        """Shape of the output for an input of `shape`."""
        return shape

    def param_shapes(self) -> dict[str, Shape]:
        """Parameter names and shapes in the shared layout."""
        return {}

    @property
    def terms(self) -> int:
        """Number of products summed into one output value (0: nothing is summed)."""
        return 0


@dataclass(frozen=True)
class Affine(Layer):
    """y = Wx + b: a convolution or a dense layer."""

    @property
    def weight_shape(self) -> Shape:
        """Shape of W, output axis first."""
        raise NotImplementedError

    def param_shapes(self) -> dict[str, Shape]:
        return {f"{self.name}.weight": self.weight_shape, f"{self.name}.bias": self.weight_shape[:1]}

    @property
    def terms(self) -> int:
        return prod(self.weight_shape[1:])


@dataclass(frozen=True)
class Conv(Affine):
    """Cross-correlation, stride 1, square kernel, zero padding on all four sides."""

    in_channels: int
    out_channels: int
    kernel: int
    padding: int = 0

    @property
    def weight_shape(self) -> Shape:
        return (self.out_channels, self.in_channels, self.kernel, self.kernel)  # OIHW

    def out_shape(self, shape: Shape) -> Shape:
        shrink = self.kernel - 1 - 2 * self.padding
        return (self.out_channels, shape[1] - shrink, shape[2] - shrink)


@dataclass(frozen=True)
class Linear(Affine):
    """Dense layer."""

    in_features: int
    out_features: int

    @property
    def weight_shape(self) -> Shape:
        return (self.out_features, self.in_features)

    def out_shape(self, shape: Shape) -> Shape:
        return (self.out_features,)


@dataclass(frozen=True)
class ReLU(Layer):
    """max(x, 0)."""


@dataclass(frozen=True)
class MaxPool(Layer):
    """Maximum over square windows that do not overlap."""

    size: int

    def out_shape(self, shape: Shape) -> Shape:
        return (shape[0], shape[1] // self.size, shape[2] // self.size)


@dataclass(frozen=True)
class Flatten(Layer):
    """(C, H, W) to (C·H·W,), the last axis running fastest."""

    def out_shape(self, shape: Shape) -> Shape:
        return (prod(shape),)


LAYERS: tuple[Layer, ...] = (
    Conv("conv1", in_channels=1, out_channels=6, kernel=5, padding=2),
    ReLU("relu1"),
    MaxPool("pool1", size=2),
    Conv("conv2", in_channels=6, out_channels=16, kernel=5),
    ReLU("relu2"),
    MaxPool("pool2", size=2),
    Flatten("flatten"),
    Linear("fc1", in_features=400, out_features=120),
    ReLU("relu3"),
    Linear("fc2", in_features=120, out_features=84),
    ReLU("relu4"),
    Linear("logits", in_features=84, out_features=CLASSES),
)


def _shapes() -> dict[str, Shape]:
    shapes, shape = {}, IMAGE_SHAPE
    for layer in LAYERS:
        shapes[layer.name] = shape = layer.out_shape(shape)
    return shapes


ACTIVATION_SHAPES = _shapes()
PARAM_SHAPES = {name: shape for layer in LAYERS for name, shape in layer.param_shapes().items()}
PARAM_COUNT = sum(prod(shape) for shape in PARAM_SHAPES.values())
# A product and an addition for each term of each output; biases, ReLU and pooling are left out.
FLOPS = sum(2 * layer.terms * prod(ACTIVATION_SHAPES[layer.name]) for layer in LAYERS)
