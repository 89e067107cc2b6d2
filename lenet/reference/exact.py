"""The network in integers: the values that every correct implementation returns if no sum rounds.

Every finite float is an integer times a power of two, so for weights and pixels on a common grid each layer
is a sum of integers. The sums are computed in int64, after a check in Python's integers that they cannot
overflow. `lenet.reference.certificate` decides whether float32 must return the same numbers.
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
from parity.arithmetic.floats import equal_bits
from parity.errors import UserError

EXACT = TRAINED.with_name("exact.safetensors")
PIXEL_SHIFT = 5  # low bits of a pixel that are dropped for exact weights


def coarsen(images: Array, shift: int = PIXEL_SHIFT) -> Array:
    """Images for exact weights: (pixel >> shift) / 2^(8 − shift), float32, on a dyadic grid.

    With the default shift they have 3 bits: 8 levels from 0 to 7/8.

    Args:
        images: float32 pixel / 255, from `lenet.network.digits.scale`. Rounding recovers the pixel, exactly
            for each of the 256 values.
    """
    pixels = np.rint(images * np.float32(255)).astype(np.int64)
    return ((pixels >> shift) / 2 ** (8 - shift)).astype(np.float32)


def pixel_values(shift: int = PIXEL_SHIFT) -> Array:
    """All values that a pixel can have after `coarsen`, ascending, float32."""
    return np.arange(2 ** (8 - shift), dtype=np.float32) / np.float32(2 ** (8 - shift))


def forward(params: Mapping[str, Array], images: Array) -> dict[str, Integers]:
    """All activations, {layer: integers}, in the shared layout.

    Raises:
        TooWide: a sum might overflow int64.
    """
    return {layer.name: y for layer, _, y in walk(params, integers(images))}


def walk(params: Mapping[str, Array], x: Integers) -> Iterator[tuple[Layer, Integers, Integers]]:
    """All layers in order, each with its exact input and output, for images on a grid.

    Raises:
        TooWide: a sum might overflow int64; the layers before it have been yielded.
    """
    for layer in LAYERS:
        with named(layer.name):
            y = evaluate(layer, params, x)
        yield layer, x, y
        x = y


@contextmanager
def named(name: str) -> Iterator[None]:
    """Attribute a TooWide raised in this block to the layer `name`."""
    try:
        yield
    except TooWide as found:
        found.name = name
        raise


def backward(params: Mapping[str, Array], images: Array, cotangent: Array) -> dict[str, Integers]:
    """d(sum(cotangent · logits)) / d(parameter), for a cotangent (N, 10) on a dyadic grid.

    Raises:
        TooWide: a sum might overflow int64.
    """
    passed = list(walk(params, integers(images)))
    found = gradients(passed, params, integers(cotangent, "cotangent"))
    return {name: found[name] for name in PARAM_SHAPES}


# --- comparison --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """The first value whose bits differ: its array and index, and the number of such values in the array."""

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
    """The first difference in a bit between two sets of arrays, in the order of `expected`; None if there is
    none.

    The sign of zero does not count (see `lenet.reference.certificate`); NaNs with different bits differ.

    Args:
        expected: {layer or parameter: array}.
        got: arrays with the same names, shapes and dtypes.
        start: the number of the first digit of the activations, added to the first index.

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
