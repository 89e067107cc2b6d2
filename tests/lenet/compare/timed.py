"""Made-up figures of `lenet bench`."""

from lenet.compare.speed import Bench, Timing

Cell = tuple[str, int, float, float | None]  # task, batch, and the microseconds per digit of both ports


def timed(first: str, second: str, *cells: Cell) -> Bench:
    """The figures of two ports, of a machine where the 833,040 operations of a digit take a microsecond."""
    timings = [
        Timing(port, "1", task, batch, microseconds)
        for task, batch, *both in cells
        for port, microseconds in zip((first, second), both, strict=True)
    ]
    return Bench(threads=2, rounds=3, gflops=833.04, timings=timings)
