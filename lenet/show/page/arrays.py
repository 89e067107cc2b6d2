"""Packs all values that the page draws into a text, which `scripts/values.js` unpacks.

The values of a digit are all activations in the network's order. The text holds the float64 references of all
digits, then their rounding bounds as float32, rounded up, then each port's float32 values. These are stored
as the difference of their bits from those of the rounded reference: small integers, which compress well.
The encoding is little-endian, gzip, base64.
"""

import base64
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from lenet.network.architecture import ACTIVATION_SHAPES, PARAM_SHAPES
from parity.arithmetic import Bounded

VALUES = sum(prod(shape) for shape in ACTIVATION_SHAPES.values())


@dataclass(frozen=True)
class Values:
    """The values of all digits.

    Attributes:
        reference: (digits, VALUES) float64.
        bounds: (digits, VALUES) float32, rounded up.
        ports: (ports, digits, VALUES) float32.
    """

    reference: np.ndarray
    bounds: np.ndarray
    ports: np.ndarray


def joined(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """The activations (1, …) of a digit, joined as (VALUES,)."""
    return np.concatenate([arrays[name].reshape(-1) for name in ACTIVATION_SHAPES])


def layer_at(index: int) -> str:
    """The layer of a value of `joined`."""
    ends = np.cumsum([prod(shape) for shape in ACTIVATION_SHAPES.values()])
    return list(ACTIVATION_SHAPES)[int(np.searchsorted(ends, index, side="right"))]


def stack(expected: Sequence[Mapping[str, Bounded]], outputs: Sequence[Sequence[np.ndarray]]) -> Values:
    """Collect the references of all digits, and each port's `joined` values of all digits."""
    exact = [joined({name: one.value for name, one in digit.items()}) for digit in expected]
    errors = np.array([joined({name: one.bound for name, one in digit.items()}) for digit in expected])
    bounds = errors.astype(np.float32)
    bounds = np.where(bounds < errors, np.nextafter(bounds, np.float32(np.inf)), bounds)
    return Values(np.array(exact), bounds, np.array(outputs, np.float32))


def pack(values: Values) -> str:
    """The values as text for the page."""
    near = values.reference.astype("<f4").view("<i4")
    apart = values.ports.astype("<f4").view("<i4") - near  # modulo 2^32; the page adds modulo 2^32
    parts = (values.reference.astype("<f8"), values.bounds.astype("<f4"), apart)
    packed = gzip.compress(b"".join(part.tobytes() for part in parts), mtime=0)
    return base64.b64encode(packed).decode()


def pack_weights(params: Mapping[str, np.ndarray]) -> str:
    """The parameters in the network's order, as text for the page: float32, little-endian, gzip, base64."""
    content = b"".join(params[name].astype("<f4").tobytes() for name in PARAM_SHAPES)
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


def unpack(text: str, digits: int) -> Values:
    """The inverse of `pack`, as in the page."""
    content = gzip.decompress(base64.b64decode(text))
    size = digits * VALUES
    reference = np.frombuffer(content, "<f8", size).reshape(digits, VALUES)
    bounds = np.frombuffer(content, "<f4", size, 8 * size).reshape(digits, VALUES)
    apart = np.frombuffer(content, "<i4", offset=12 * size).reshape(-1, digits, VALUES)
    return Values(reference, bounds, (reference.astype("<f4").view("<i4") + apart).view("<f4"))
