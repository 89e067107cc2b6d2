"""`lenet bench`."""

import os
from pathlib import Path

import click

from lenet.commands import options


@click.command()
@click.argument("ports", metavar="[PORT]...", nargs=-1, type=options.PORT)
@click.option(
    "--batch",
    "sizes",
    multiple=True,
    type=click.IntRange(1, options.TEST_DIGITS),
    default=(1, 64, 1000),
    show_default=True,
    help="Batch size (may be repeated).",
)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Interleaved rounds.")
@click.option("--threads", type=click.IntRange(1), default=os.cpu_count(), show_default="all cores")
@options.WEIGHTS
def bench(
    ports: tuple[str, ...], sizes: tuple[int, ...], rounds: int, threads: int, weights_file: Path | None
) -> None:
    """How long do a forward pass and a training step take?

    Microseconds per digit, NumPy in and out, the median of interleaved rounds. Outputs are checked first.
    """
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        os.environ[variable] = str(threads)  # read by each library when it is imported
    from lenet import data, tables, weights
    from lenet.bench import bench as measure
    from lenet.commands.opening import eager_ports, open_ports
    from lenet.terminal import output, progress_bar

    params, digits = weights.read(weights_file or weights.TRAINED), data.test_set()
    with progress_bar() as progress:
        opened, _ = open_ports(ports or eager_ports(), "float32", progress)
        task = progress.add_task("timing", total=len(sizes) * 2 * (rounds + 1))
        timings = measure(opened, params, digits, sizes, rounds, lambda: progress.advance(task))
    output().print(tables.timings(timings, threads))
