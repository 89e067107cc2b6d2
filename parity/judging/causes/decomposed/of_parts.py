"""Mistakes where tensors are joined: the parts in another order."""

from collections.abc import Iterator
from itertools import permutations
from typing import Any

from parity.judging.causes.mistake import Changed, Mistake, Seen, made_in

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
