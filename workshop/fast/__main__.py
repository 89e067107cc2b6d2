"""`python -m workshop.fast`: from the nested loops of the definition to the fast path, each step timed.

python -m workshop.fast                                              the table
python -m workshop.fast --markdown docs/fast.md --plot docs/fast.svg      write the chapter again
"""

import inspect
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lenet.commands.options import FILE, Failure
from lenet.ports.threads import THREADS
from parity.errors import UserError

if TYPE_CHECKING:
    from workshop.fast.steps import Measured

HEAD = """# From seven loops to the fast path

This page shows the forward pass of the network in eight versions. Each step is real code
([workshop/fast/steps.py](../workshop/fast/steps.py)), and its logits were within the rounding bound before it
was timed. Written by `python -m workshop.fast --markdown docs/fast.md --plot docs/fast.svg`.

Measured on {machine}: {cores}, {threads}, NumPy {numpy}; the median of {rounds} interleaved rounds.
The arithmetic alone would take {limit} µs per digit as a single large product of matrices.

![microseconds per digit of each step, on a logarithmic axis]({plot})

| step | digits at once | µs per digit | speed-up | multiple of the arithmetic |
|---|---|---|---|---|
"""
TAIL = """
The training step uses the same layout. The gradient of the weights is a product with the same patches,
summed over both shifts. The gradient of the input is a product with the same strips, and copies of the
same value are summed. [lenet_numpy/fast.py](../lenet_numpy/fast.py) contains both, and `lenet bench`
compares them with the frameworks.
"""


def markdown(found: "list[Measured]", limit: float, threads: int, rounds: int, plot: str) -> str:
    """The chapter: a table of all steps, then each step's docstring."""
    import numpy as np

    text = HEAD.format(
        machine=processor(),
        cores=f"{os.cpu_count()} cores",
        threads=f"{threads} thread{'s' * (threads != 1)}",
        numpy=np.__version__,
        rounds=rounds,
        limit=figure(limit),
        plot=plot,
    )
    before = None
    for number, one in enumerate(found, 1):
        gain = "" if before is None else f"{figure(before / one.microseconds)}×"
        cells = [f"{number}. {one.step.title}", str(one.step.digits), figure(one.microseconds), gain]
        text += f"| {' | '.join([*cells, figure(one.microseconds / limit) + '×'])} |\n"
        before = one.microseconds
    for number, one in enumerate(found, 1):
        first, _, rest = (inspect.getdoc(one.step.make) or "").partition("\n")
        text += f"\n## {number}. {one.step.title}: {figure(one.microseconds)} µs\n\n{first}\n{rest}\n"
    return text + TAIL


def figure(number: float) -> str:
    """A number with two or three significant digits."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}"


def processor() -> str:
    """The name of the processor: from a file on Linux, from Python elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


@click.command()
@click.option("--threads", type=click.IntRange(1), default=os.cpu_count(), show_default="all cores")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Interleaved rounds.")
@click.option("--markdown", "page", type=FILE, metavar="FILE", help="Write the chapter.")
@click.option("--plot", type=FILE, metavar="FILE", help="Plot the steps (png, svg or pdf).")
def main(threads: int, rounds: int, page: Path | None, plot: Path | None) -> None:
    """Check and time each step from the nested loops of the definition to the fast path."""
    os.environ.update(dict.fromkeys(THREADS, str(threads)))  # before NumPy is imported
    try:
        run(threads, rounds, page, plot)
    except UserError as error:
        raise Failure(str(error)) from error


def run(threads: int, rounds: int, page: Path | None, plot: Path | None) -> None:
    """Measure, and write the requested files."""
    from lenet.network import weights
    from lenet.network.digits import test_set
    from lenet.show import plots, tables
    from parity.command.terminal import output, progress_bar
    from parity.files import check_writable, write_atomically
    from workshop.fast.steps import STEPS, measure

    if plot is not None:
        plots.check_format(plot)
    for path in (page, plot):
        check_writable(path)
    params, digits = weights.read(), test_set()
    with progress_bar() as progress:
        task = progress.add_task("", total=len(STEPS) + rounds)
        found, limit = measure(
            params, digits, rounds, progress=lambda doing: progress.update(task, advance=1, description=doing)
        )
    if page is not None:
        picture = "fast.svg" if plot is None else os.path.relpath(plot, page.parent)
        write_atomically(page, markdown(found, limit, threads, rounds, picture))
    times = {one.step.title: one.microseconds for one in found}
    if plot is not None:
        plots.steps(plot, times, limit)
    output().print(tables.steps(times, limit, threads))


if __name__ == "__main__":
    main(prog_name="python -m workshop.fast")
