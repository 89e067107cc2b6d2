"""The network in integers: what every correct implementation returns when no sum rounds.

Every finite float is an integer times a power of two, so that weights and pixels on a common grid make
each layer a sum of integers. It is computed here in int64, whose own overflow is excluded beforehand
in Python's integers, and no sum is ever rounded. `lenet.reference.certificate` decides whether float32 is
bound to return the same numbers.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from lenet.network.architecture import LAYERS, PARAM_SHAPES, Layer
from lenet.network.weights import TRAINED
from lenet.reference.backward import gradients
from lenet.reference.forward import evaluate
from parity.arithmetic import Array, Integers, TooWide, integers
from parity.errors import UserError
from parity.floats import equal_bits

EXACT = TRAINED.with_name("exact.safetensors")
PIXEL_SHIFT = 5  # bits of a pixel that exact weights do not look at


def coarsen(images: Array, shift: int = PIXEL_SHIFT) -> Array:
    """Images as exact weights take them: (pixel >> shift) / 2^(8 − shift), float32, on a dyadic grid.

    With the default shift, 8 levels from 0 to 7/8: a 3-bit image.

    Args:
        images: float32 as `lenet.network.digits.scale` makes them, pixel / 255; the pixel is recovered by
            rounding, which is exact for each of the 256 values.
    """
    pixels = np.rint(images * np.float32(255)).astype(np.int64)
    return ((pixels >> shift) / 2 ** (8 - shift)).astype(np.float32)


def pixel_values(shift: int = PIXEL_SHIFT) -> Array:
    """Every value that a pixel of `coarsen` can take, ascending, float32."""
    return np.arange(2 ** (8 - shift), dtype=np.float32) / np.float32(2 ** (8 - shift))


def forward(params: Mapping[str, Array], images: Array) -> dict[str, Integers]:
    """Every activation, by name, in the shared layout.

    Raises:
        TooWide: a sum could leave int64.
    """
    return {layer.name: y for layer, _, y in walk(params, integers(images))}


def walk(params: Mapping[str, Array], x: Integers) -> Iterator[tuple[Layer, Integers, Integers]]:
    """Each layer in order, with its exact input and output, from images on a grid.

    Raises:
        TooWide: a sum could leave int64; the layers before it have been handed out.
    """
    for layer in LAYERS:
        with named(layer.name):
            y = evaluate(layer, params, x)
        yield layer, x, y
        x = y


@contextmanager
def named(name: str) -> Iterator[None]:
    """Sums that are too wide in this block are those of `name`."""
    try:
        yield
    except TooWide as found:
        found.name = name
        raise


def backward(params: Mapping[str, Array], images: Array, cotangent: Array) -> dict[str, Integers]:
    """d(sum(cotangent · logits)) / d(parameter), for a cotangent (N, 10) on a dyadic grid.

    Raises:
        TooWide: a sum could leave int64.
    """
    passed = list(walk(params, integers(images)))
    found = gradients(passed, params, integers(cotangent, "cotangent"))
    return {name: found[name] for name in PARAM_SHAPES}


# --- comparison --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """The first value whose bits differ: of which array, where, and how many more of that array do."""

    name: str
    where: tuple[int, ...]
    got: float
    expected: float
    values: int

    def __str__(self) -> str:
        where = ", ".join(map(str, self.where))
        return f"{self.name}[{where}] is {self.got!r}, not {self.expected!r}; {self.values} of it differ"


def first_difference(
    expected: Mapping[str, Array], got: Mapping[str, Array], start: int = 0
) -> Difference | None:
    """Where two sets of arrays, taken in the order of `expected`, first differ in a bit; None: nowhere.

    The sign of a zero does not count (see `lenet.reference.certificate`); a NaN differs from another
    NaN's bits.

    Args:
        expected: by layer or parameter.
        got: arrays of the same names, shapes and dtypes.
        start: added to the first index, which counts digits in an activation.

    Raises:
        UserError: a name, a shape or a dtype differs.
    """
    if got.keys() != expected.keys():
        raise UserError(f"got {', '.join(got)}; expected {', '.join(expected)}")
    for name, want in expected.items():
        array = got[name]
        if array.shape != want.shape or array.dtype != want.dtype:
            raise UserError(f"{name} is {array.dtype} {array.shape}, not {want.dtype} {want.shape}")
        unequal = ~equal_bits(want, array)
        if unequal.any():
            first, *unit = (int(i) for i in np.unravel_index(unequal.argmax(), unequal.shape))
            value, wanted = float(array[first, *unit]), float(want[first, *unit])
            return Difference(name, (start + first, *unit), value, wanted, int(unequal.sum()))
    return None
