"""Computes the drawing of the network: the place and the size of each layer."""

from dataclasses import dataclass
from math import prod

from lenet.network.architecture import ACTIVATION_SHAPES, IMAGE_SHAPE, LAYERS, Layer, Shape
from parity.operators.affine import Conv, Gemm
from parity.operators.pooling import MaxPool
from parity.operators.shape import Flatten

GAP, LABEL, MIDDLE = 26, 60, 88
SHEETS = 6  # largest number of maps drawn in a stack
KINDS = {Conv: "conv", Gemm: "dense", MaxPool: "pool", Flatten: "flatten"}


@dataclass(frozen=True)
class Station:
    """An activation in the drawing: a stack of maps or a column of features; lengths in pixels."""

    name: str
    kind: str
    what: str
    shape: Shape
    x: float
    width: float
    height: float
    sheets: int

    @property
    def y(self) -> float:
        """The upper edge of the front sheet."""
        return MIDDLE - self.height / 2

    @property
    def middle(self) -> float:
        """The horizontal position of the label."""
        return self.x + (self.width + 4 * (self.sheets - 1)) / 2

    @property
    def hit(self) -> float:
        """The width of the clickable area."""
        return max(LABEL, self.width + 4 * (self.sheets - 1)) + 18

    @property
    def size(self) -> str:
        """ "6×28×28"."""
        return "×".join(map(str, self.shape))


def describe(layer: Layer) -> str:
    """A description of a layer, with its number of operations and parameters."""
    shape = ACTIVATION_SHAPES[layer.name]
    match layer.operator:
        case Conv():
            what = f"convolution {layer.kernel}×{layer.kernel}, padding {layer.padding}"
        case Gemm():
            what = f"dense layer, {layer.weight_shape[1]} to {layer.weight_shape[0]}"
        case MaxPool():
            what = f"maximum of every {layer.kernel}×{layer.kernel} window"
        case Flatten():
            what = "maps to features, in the order channel, row, column"
        case _:
            what = "ReLU: max(x, 0)"
    if not layer.affine:
        return f"{what}; rounds nothing"
    parameters = sum(prod(size) for size in layer.param_shapes().values())
    return f"{what}; {layer.terms} products in each of {prod(shape):,} sums; {parameters:,} parameters"


def stations() -> list[Station]:
    """The image and every layer, from left to right."""
    found, x = [], 8.0
    everything = [("image", "image", "pixels in [0, 1]", IMAGE_SHAPE)]
    everything += [
        (layer.name, KINDS.get(type(layer.operator), "relu"), describe(layer), ACTIVATION_SHAPES[layer.name])
        for layer in LAYERS
    ]
    for name, kind, what, shape in everything:
        maps = len(shape) == 3
        height = 18 + 2.6 * shape[1] if maps else 24 + 4.2 * shape[0] ** 0.5
        width = height if maps else 12
        sheets = min(shape[0], SHEETS) if maps else 1
        whole = width + 4 * (sheets - 1)
        left = x + max(0, LABEL - whole) / 2
        found.append(Station(name, kind, what, shape, left, width, height, sheets))
        x += max(whole, LABEL) + GAP
    return found
