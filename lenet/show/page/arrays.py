"""Packs every value that the page draws into one text, which `report.js` unpacks.

The values of one digit are all activations one after the other, in the network's order. First come the
float64 references of all digits, then their rounding bounds as float32, rounded up, then each port's
float32 values as the difference of their bits from those of the rounded reference: small integers, which
compress well. Little-endian, gzip, base64.
"""

import base64
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from lenet.network.architecture import ACTIVATION_SHAPES
from parity.arithmetic import Bounded

VALUES = sum(prod(shape) for shape in ACTIVATION_SHAPES.values())


@dataclass(frozen=True)
class Values:
    """All digits' values.

    Attributes:
        reference: (digits, VALUES) float64.
        bounds: (digits, VALUES) float32, none below the bound itself.
        ports: (ports, digits, VALUES) float32.
    """

    reference: np.ndarray
    bounds: np.ndarray
    ports: np.ndarray


def joined(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """One digit's activations, (1, …) each, as (VALUES,)."""
    return np.concatenate([arrays[name].reshape(-1) for name in ACTIVATION_SHAPES])


def stack(expected: Sequence[Mapping[str, Bounded]], outputs: Sequence[Sequence[np.ndarray]]) -> Values:
    """From each digit's reference, and for each port each digit's `joined` values."""
    exact = [joined({name: one.value for name, one in digit.items()}) for digit in expected]
    errors = np.array([joined({name: one.bound for name, one in digit.items()}) for digit in expected])
    bounds = errors.astype(np.float32)
    bounds = np.where(bounds < errors, np.nextafter(bounds, np.float32(np.inf)), bounds)
    return Values(np.array(exact), bounds, np.array(outputs, np.float32))


def pack(values: Values) -> str:
    """As text for the page."""
    near = values.reference.astype("<f4").view("<i4")
    apart = values.ports.astype("<f4").view("<i4") - near  # modulo 2^32, as the page adds it
    parts = (values.reference.astype("<f8"), values.bounds.astype("<f4"), apart)
    packed = gzip.compress(b"".join(part.tobytes() for part in parts), mtime=0)
    return base64.b64encode(packed).decode()


def unpack(text: str, digits: int) -> Values:
    """What `pack` packed of so many digits: what the page does, once more."""
    content = gzip.decompress(base64.b64decode(text))
    size = digits * VALUES
    reference = np.frombuffer(content, "<f8", size).reshape(digits, VALUES)
    bounds = np.frombuffer(content, "<f4", size, 8 * size).reshape(digits, VALUES)
    apart = np.frombuffer(content, "<i4", offset=12 * size).reshape(-1, digits, VALUES)
    return Values(reference, bounds, (reference.astype("<f4").view("<i4") + apart).view("<f4"))
