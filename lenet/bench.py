"""How long a forward pass and a training step take: every port on the same digits, in one run."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from lenet.compare import ratio
from lenet.data import Digits
from lenet.errors import LenetError
from lenet.ports import Port, Unsupported
from lenet.recipe import Batch, Recipe
from lenet.rounding import reference

ROUND_SECONDS = 0.2  # of each side in each round: long against the clock, short against the machine's moods


@dataclass(frozen=True)
class Timing:
    """Median microseconds per digit; None where the port cannot do the task."""

    port: str
    task: str
    batch: int
    microseconds: float | None


def bench(
    ports: Sequence[Port],
    params: Mapping[str, np.ndarray],
    digits: Digits,
    sizes: Sequence[int] = (1, 64, 1000),
    rounds: int = 5,
    progress: Callable[[], None] = lambda: None,
) -> list[Timing]:
    """Time "forward" and "train" (one SGD step) at each batch size.

    Each port's logits are checked against the bound before it is timed. Rounds are interleaved, every
    port in each, so that a slow moment of the machine falls on all; the median of the rounds is kept.

    Raises:
        LenetError: a port does not compute the network.
    """
    timings = []
    for size in sizes:
        some = digits[:size]
        for port in ports:
            port.load(params)
            if (
                not ratio(
                    port.logits(some.images), reference(params, some.images, port.dtype)["logits"]
                ).max()
                <= 1
            ):
                raise LenetError(f"{port.name} computes another function: `lenet compare` says where")
        for task in (forward, train):
            seconds: dict[str, list[float]] = {port.name: [] for port in ports}
            for _ in range(rounds + 1):
                for port in ports:
                    try:
                        seconds[port.name].append(_once(task, port, some))
                    except Unsupported:
                        continue
                progress()
            timings += [
                Timing(name, task.__name__, size, median(times[1:]) / size * 1e6 if times else None)
                for name, times in seconds.items()  # the first round compiled and warmed up
            ]
    return timings


def forward(port: Port, some: Digits, repeats: int) -> None:
    """The logits of one batch, `repeats` times."""
    for _ in range(repeats):
        port.logits(some.images)


def train(port: Port, some: Digits, repeats: int) -> None:
    """One SGD step on one batch, `repeats` times; at rate zero, so that every step is like the first."""
    batch = Batch(some.images, some.labels, rate=0.0)
    for _ in port.train([batch] * repeats, Recipe()):
        pass


def _once(task: Callable[[Port, Digits, int], None], port: Port, some: Digits) -> float:
    """Seconds for one repeat, over as many as fill ROUND_SECONDS."""
    repeats, taken = 1, 0.0
    while True:
        start = time.perf_counter()
        task(port, some, repeats)
        taken = time.perf_counter() - start
        if taken >= ROUND_SECONDS / 2:
            return taken / repeats
        repeats = max(2 * repeats, int(repeats * ROUND_SECONDS / max(taken, 1e-9)))
