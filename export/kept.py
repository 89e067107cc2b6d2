"""What was made of the last two sets of weights: `lenet compare` goes to and fro between two."""

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import numpy as np

from export.onnx_file import checksum

T = TypeVar("T")
SETS = 2


class Kept(Generic[T]):
    """Models that take a second to make, by the weights in them."""

    def __init__(self) -> None:
        self._made: dict[str, T] = {}

    def of(self, params: Mapping[str, np.ndarray], make: Callable[[], T]) -> T:
        """What was made of these weights; made now, if they are none of the last two sets."""
        digest = checksum(params)
        made = self._made.pop(digest) if digest in self._made else make()
        self._made = dict([*self._made.items(), (digest, made)][-SETS:])
        return made
