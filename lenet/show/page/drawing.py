"""The layers as the page draws them: what each does, and the sizes with which the page computes it."""

from dataclasses import dataclass
from math import prod

from lenet.network.architecture import ACTIVATION_SHAPES, IMAGE_SHAPE, LAYERS, Layer, Shape
from parity.operators.affine import Conv, Gemm
from parity.operators.pooling import MaxPool
from parity.operators.shape import Flatten

KINDS = {Conv: "conv", Gemm: "dense", MaxPool: "pool", Flatten: "flatten"}


@dataclass(frozen=True)
class Station:
    """The image or the output of a layer in the picture of the network."""

    name: str
    kind: str
    what: str
    shape: Shape

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


def kind(layer: Layer) -> str:
    """ "conv", "dense", "relu", "pool" or "flatten"."""
    return KINDS.get(type(layer.operator), "relu")


def stations() -> list[Station]:
    """The image and every layer, in order."""
    image = Station("image", "image", "pixels in [0, 1]", IMAGE_SHAPE)
    return [
        image,
        *(
            Station(layer.name, kind(layer), describe(layer), ACTIVATION_SHAPES[layer.name])
            for layer in LAYERS
        ),
    ]


def to_compute(layer: Layer) -> dict[str, int | str]:
    """{"kind", "kernel", "padding"}: with these and its parameters, the page computes the layer."""
    window = kind(layer) in ("conv", "pool")
    return {
        "kind": kind(layer),
        "kernel": layer.kernel if window else 0,
        "padding": layer.padding,
    }
