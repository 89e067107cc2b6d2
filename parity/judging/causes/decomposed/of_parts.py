"""Mistakes where tensors are joined or split: the parts in another order."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import Any, ClassVar

from parity.arithmetic import Number
from parity.judging.causes.mistake import Changed, Mistake, Seen, made_in
from parity.operators import Operator

MOST = 4  # parts whose orders are tried: 24


@made_in("Concat")
def joined(operator: Any, seen: Seen) -> Iterator[Mistake]:
    if 1 < len(seen.inputs) <= MOST:
        for order in permutations(range(len(seen.inputs))):
            if order != tuple(range(len(seen.inputs))):
                yield Mistake(
                    f"concatenated in the order {order}",
                    "The parts are in another order.",
                    "Keep the order of the reference.",
                    Changed(operator, lambda inputs, order=order: [inputs[k] for k in order]),  # type: ignore[misc]
                )


@dataclass(frozen=True)
class Reordered(Operator):
    """An operator whose outputs are in another order."""

    TYPE: ClassVar[str] = "outputs in another order"

    right: Operator
    order: tuple[int, ...]

    def evaluate(self, *inputs: Number | None) -> tuple[Number, ...]:
        outputs = self.right.evaluate(*inputs)
        assert isinstance(outputs, tuple)
        return tuple(outputs[k] for k in self.order)


@made_in("Split")
def split(operator: Any, seen: Seen) -> Iterator[Mistake]:
    outputs = operator.evaluate(*seen.inputs)
    if 1 < len(outputs) <= MOST and len({one.shape for one in outputs}) == 1:
        for order in permutations(range(len(outputs))):
            if order != tuple(range(len(outputs))):
                yield Mistake(
                    f"split in the order {order}",
                    "The parts (query, key and value, say, or gates) are taken in another order.",
                    "Keep the order of the reference.",
                    Reordered(operator, order),
                )
