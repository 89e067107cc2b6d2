"""The values from which a mistake is read off: what a layer was given, and what the port returned of it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lenet.network.architecture import Layer
from parity.arithmetic import Array, Bounded

Arrays = Mapping[str, Array]

LINE = 1e-4  # relative distance from a fit up to which values may lie on it; the bound decides afterwards
SAME = 1e-5  # relative difference of two numbers that are read off as one


@dataclass(frozen=True)
class Example:
    """The last layer of a segment on one probe.

    Attributes:
        x: its input, if the layers before it are right.
        right: its right output.
        seen: the port's output, float64.
        params: all shared weights, float64.
    """

    x: Bounded
    right: Bounded
    seen: Array
    params: Arrays


@dataclass(frozen=True)
class Shown:
    """A segment whose last layer is wrong.

    Attributes:
        layer: the last layer.
        stages: all stages of the segment, in order of execution.
        examples: the layer on each probe; empty where the port's shapes are not the right ones.
        dtype: the port's dtype.
    """

    layer: Layer
    stages: tuple[str, ...]
    examples: tuple[Example, ...]
    dtype: str

    @property
    def readable(self) -> bool:
        """Whether all values are finite numbers in the right shape."""
        return bool(self.examples) and all(
            one.seen.shape == one.right.shape
            and np.isfinite(one.seen).all()
            and np.isfinite(one.x.value).all()
            for one in self.examples
        )


def listed(numbers: Array, most: int = 12) -> str:
    """The first of them, with dots if there are more."""
    flat = np.asarray(numbers).ravel()
    return ", ".join(map(str, flat[:most].tolist())) + (", …" if flat.size > most else "")
