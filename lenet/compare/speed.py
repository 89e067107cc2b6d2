"""Measures the time of a forward pass and of a training step, for all ports on the same digits in the same
run.

Each port is timed in its best form: compiled if its mode compiles, without recording gradients in a forward
pass, on a batch that is already in the framework's own layout and memory, and until the result is available.
`lenet bench` gives each framework its own process (lenet/commands/racing.py): in a shared process, the
threads and allocators of the others slow NumPy down by a third or more. The limit is the time that NumPy's
BLAS would need if the network's arithmetic were a single large matrix product. It is measured between the
ports, in the same rounds.
"""

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, prod
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np
from threadpoolctl import ThreadpoolController

from lenet.network.architecture import ACTIVATION_SHAPES, FLOPS, LAYERS
from lenet.network.digits import Digits
from lenet.network.recipe import Recipe
from lenet.ports import FRAMEWORKS, Port
from lenet.ports.workers import Failed
from lenet.reference.backward import cross_entropy
from lenet.reference.distance import ratio
from lenet.reference.forward import reference
from parity.arithmetic import Bounded
from parity.errors import UserError
from parity.files import refuse_stream

ROUND_SECONDS = 0.1  # per port and round: long compared to the clock, short compared to load on the machine
SETTLE_SECONDS = 0.3  # thread pools spin for a while after their work, and would slow the next port down
SQUARE = 1024  # rows of the square matrices, 4 MB each, whose product measures the BLAS
TASKS = ("forward", "train")
# What a file may hold: names that every page and plot shows as they are, and times that have ratios.
NAME, LARGEST_BATCH, SHORTEST = re.compile(r"[\w.+:/-]{1,60}", re.ASCII), 10**6, 1e-30

# The gradient of a product consists of two products of the same size, one for each factor. The gradient of
# the images is not needed.
_FIRST = 2 * LAYERS[0].terms * prod(ACTIVATION_SHAPES[LAYERS[0].name])
TASK_FLOPS = {"forward": FLOPS, "train": 3 * FLOPS - _FIRST}


@dataclass(frozen=True)
class Timing:
    """Median microseconds per digit of a port, for a task and a batch size; None if it cannot do the task."""

    port: str
    version: str
    task: str
    batch: int
    microseconds: float | None


@dataclass(frozen=True)
class Bench:
    """All timings of a run, and the speed of the BLAS to compare them with.

    Attributes:
        gflops: the speed of a large float32 matrix product in NumPy's BLAS, the best of all rounds.
        failed: {port without timings: why}: it computed another function, or its process ended.
    """

    threads: int
    rounds: int
    gflops: float
    timings: list[Timing]
    failed: Mapping[str, str] = field(default_factory=dict)

    def fastest(self, task: str, batch: int) -> float:
        """Microseconds per digit of the fastest port; infinite if no port can do the task."""
        return min(
            (row.microseconds or inf for row in self.timings if (row.task, row.batch) == (task, batch)),
            default=inf,
        )

    def limit(self, task: str) -> float:
        """Microseconds per digit for the network's arithmetic alone at `gflops`."""
        return TASK_FLOPS[task] / self.gflops / 1e3

    def to_json(self) -> dict[str, Any]:
        """The form that docs/bench.md describes."""
        return {
            "threads": self.threads,
            "rounds": self.rounds,
            "sgemm_gflops": self.gflops,
            "limit": {task: self.limit(task) for task in TASKS},
            "failed": dict(self.failed),
            "timings": [
                {
                    "port": row.port,
                    "version": row.version,
                    "task": row.task,
                    "batch": row.batch,
                    "microseconds_per_digit": row.microseconds,
                    "over_fastest": row.microseconds and row.microseconds / self.fastest(row.task, row.batch),
                    "over_limit": row.microseconds and row.microseconds / self.limit(row.task),
                }
                for row in self.timings
            ],
        }


def read(path: Path) -> Bench:
    """Read a file of `lenet bench --json`.

    Raises:
        UserError: the file cannot be read, or is not such a file.
    """
    refuse_stream(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        timings = [
            Timing(
                str(row["port"]),
                str(row["version"]),
                str(row["task"]),
                int(row["batch"]),
                None if row["microseconds_per_digit"] is None else float(row["microseconds_per_digit"]),
            )
            for row in found["timings"]
        ]
        made = Bench(int(found["threads"]), int(found["rounds"]), float(found["sgemm_gflops"]), timings)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); `lenet bench --json` makes it"
        ) from error
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise UserError(f"{path}: not a file of `lenet bench --json`; make it again") from error
    if problem := _problem(made):
        raise UserError(f"{path}: {problem}; `lenet bench --json` makes it again")
    return made


def _problem(found: Bench) -> str | None:
    """The first thing in figures of unknown origin that cannot be shown."""
    numbers = [found.gflops, *(row.microseconds for row in found.timings if row.microseconds is not None)]
    if not found.timings or not all(SHORTEST < number < 1 / SHORTEST for number in numbers):
        return "no timings, or an invalid time"
    for row in found.timings:
        if row.task not in TASKS:
            return f"an unknown task {row.task[:60]!r}"
        if not 1 <= row.batch <= LARGEST_BATCH:
            return f"a batch that is not from 1 to {LARGEST_BATCH:,}"
        if not NAME.fullmatch(row.port) or not NAME.fullmatch(row.version):
            return f"a port or a version {row.port[:60]!r} {row.version[:60]!r}"
    return None


class Stopwatch:
    """Times the ports in a process.

    Args:
        ports: opened ports; `params` are loaded before a port is timed.
        params: shared weights.
        digits: as many digits as the largest batch.
    """

    def __init__(self, ports: Sequence[Port], params: Mapping[str, np.ndarray], digits: Digits) -> None:
        self.params, self.digits = params, digits
        self._ports = {port.name: port for port in ports}
        self._runs: dict[str, tuple[Callable[[], object], int]] = {}

    def versions(self) -> dict[str, str]:
        """{port: version of its framework}."""
        return {name: port.version for name, port in self._ports.items()}

    def prepare(self, name: str, task: str, size: int) -> bool:
        """Check the port's results on this many digits; returns False if it cannot do the task.

        Raises:
            UserError: the port computes a wrong forward pass or loss.
        """
        call = _prepare(task, self._ports[name], self.params, self.digits[:size])
        if call is not None:
            self._runs[name] = call, calls_in_a_round(call)
        return call is not None

    def seconds(self, name: str) -> float:
        """Seconds per call of the task prepared last, measured over a round."""
        return seconds_per_call(*self._runs[name])


class Watch(Protocol):
    """A `Stopwatch` in this or another process."""

    def versions(self) -> dict[str, str]: ...

    def prepare(self, name: str, task: str, size: int) -> bool: ...

    def seconds(self, name: str) -> float: ...


def bench(
    watches: Sequence[Watch],
    order: Sequence[str],
    sizes: Sequence[int] = (1, 16, 64, 256, 1000),
    rounds: int = 5,
    threads: int = 1,
    progress: Callable[[str], None] = lambda doing: None,
) -> Bench:
    """Time "forward" and "train" (one SGD step) at each batch size.

    Each port's results are checked against the bound before it is timed; a port that fails is left out, and
    the others are timed. Every round times all ports, so that
    a slow moment of the machine affects all of them; the median of the rounds counts.

    Args:
        watches: the stopwatches, each for the ports in its process.
        order: the names of ports; unknown names are skipped.
        threads: the number of threads set before the frameworks were imported; only recorded.
        progress: called (rounds + 1) times for each task and size, with a description of the next round.

    Raises:
        UserError: no port could be timed.
    """
    known = {name: (version, watch) for watch in watches for name, version in watch.versions().items()}
    ports = {name: known[name] for name in order if name in known}
    timings, product, failed = [], large_product(threads), dict[str, str]()

    def tried(name: str, call: Callable[..., Any], *args: Any) -> Any:
        try:
            return None if name in failed else call(*args)
        except UserError as error:
            failed[name] = str(error)
        except Failed as error:
            failed[name] = f"raises {error.said}"
        return None

    peaks = [1 / seconds_per_call(product, 1)]  # the first call starts the BLAS threads
    for size in sizes:
        for task in TASKS:
            progress(f"{task} of {size}: starting")
            able = [
                name for name, (_, watch) in ports.items() if tried(name, watch.prepare, name, task, size)
            ]
            taken = {name: list[float]() for name in able}
            for number in range(rounds):
                progress(f"{task} of {size}: round {number + 1}")
                for name, seconds in taken.items():
                    seconds.append(tried(name, ports[name][1].seconds, name) or inf)
                peaks.append(1 / seconds_per_call(product, 1))
            for name, (version, _) in ports.items():
                microseconds = median(taken[name]) / size * 1e6 if name in taken else None
                timings.append(Timing(name, version, task, size, microseconds))
    timed = [row for row in timings if row.port not in failed]
    if not timed:
        raise UserError("; ".join(dict.fromkeys(failed.values())))
    return Bench(threads, rounds, max(peaks) * product_flops() / 1e9, timed, failed)


def _prepare(
    task: str, port: Port, params: Mapping[str, np.ndarray], some: Digits
) -> Callable[[], object] | None:
    """The call to time, after its output has been checked; None if the port cannot do the task.

    Training steps have rate zero, so all of them do the same work.
    """
    if task == "train" and FRAMEWORKS[port.name.partition(":")[0]].forward_only:
        return None
    port.load(params)
    inputs = port.inputs(some.images)
    logits = reference(params, some.images, port.dtype)["logits"]
    if task == "forward":
        _check(port, port.forward(inputs), logits)
        return lambda: port.forward(inputs)
    list(port.train([], Recipe()))  # sets the optimizer up
    targets = port.targets(some.labels)
    loss, _ = cross_entropy(logits, some.labels, port.dtype)
    _check(port, np.array([port.one_step(inputs, targets, 0.0)]), loss)
    return lambda: port.one_step(inputs, targets, 0.0)


def _check(port: Port, found: np.ndarray, expected: Bounded) -> None:
    if ratio(found, expected).max() > 1:
        raise UserError(f"{port.name} computes another function: `lenet compare` shows where")


def calls_in_a_round(call: Callable[[], object]) -> int:
    """The number of calls in ROUND_SECONDS. The first call, which may compile, must already be made."""
    call()
    return max(1, round(ROUND_SECONDS / seconds_per_call(call, 1)))


def seconds_per_call(call: Callable[[], object], repeats: int) -> float:
    """Seconds per call, averaged over `repeats`, after the threads of earlier calls have gone to sleep."""
    time.sleep(SETTLE_SECONDS)
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def product_flops() -> int:
    """The number of operations of `large_product`."""
    return 2 * SQUARE**3


def large_product(threads: int | None = None) -> Callable[[], object]:
    """A product of two large float32 matrices, with a limit on threads if given, because the environment
    variable may have been set too late for NumPy.
    """
    a, out = np.ones((SQUARE, SQUARE), np.float32), np.empty((SQUARE, SQUARE), np.float32)
    pools = ThreadpoolController()

    def product() -> None:
        with pools.limit(limits=threads):
            np.matmul(a, a, out=out)

    return product
