"""`lenet bench`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lenet.commands import options
from lenet.ports.threads import THREADS

if TYPE_CHECKING:
    from lenet.commands.racing import Away

# PyTorch compiles for each batch size separately, not for all sizes at once.
BEST_FORM = {"TORCH_DYNAMO_AUTOMATIC_DYNAMIC_SHAPES": "0"}


@click.command()
@click.argument("ports", metavar="[PORT]...", nargs=-1, type=options.PORTS)
@click.option(
    "--batch",
    "sizes",
    multiple=True,
    type=click.IntRange(1, options.TEST_DIGITS),
    default=(1, 16, 64, 256, 1000),
    show_default=True,
    help="Batch size (may be repeated).",
)
@click.option("--rounds", type=options.COUNT, default=5, show_default=True, help="Number of rounds.")
@click.option("--threads", type=click.IntRange(1, 1024), default=os.cpu_count(), show_default="all cores")
@click.option("--json", "json_file", type=options.FILE, metavar="FILE", help="Write all figures to FILE.")
@click.option("--plot", type=options.FILE, metavar="FILE", help="Plot them (png, svg or pdf).")
@options.WEIGHTS
@click.pass_context
def bench(
    ctx: click.Context,
    ports: tuple[str, ...],
    sizes: tuple[int, ...],
    rounds: int,
    threads: int,
    json_file: Path | None,
    plot: Path | None,
    weights_file: Path | None,
) -> None:
    """How long do a forward pass and a training step take?

    Prints microseconds per digit for all installed ports and modes, or for the PORTs named: the median of
    interleaved rounds, its ratio to the fastest port, and its ratio to the limit, the time of NumPy's BLAS
    for the arithmetic alone. Outputs are checked first. Batches are in the framework's own memory and
    layout before the clock starts. Each framework has its own process, so that no other framework's
    threads run during its timing. A framework that fails is left out, and the others are timed: the exit code
    is 1 then, or if a named port cannot be opened.
    """
    os.environ.update(dict.fromkeys(THREADS, str(threads)) | BEST_FORM)
    import json
    from contextlib import ExitStack

    from lenet.commands.opening import by_framework, left_out, raced_ports, wanted_ports
    from lenet.commands.racing import Away
    from lenet.compare.speed import TASKS
    from lenet.compare.speed import bench as measure
    from lenet.network import weights
    from lenet.show import plots, tables
    from parity.command.terminal import output, progress_bar
    from parity.files import check_writable, write_atomically

    if plot is not None:
        plots.check_format(plot)
    for path in (json_file, plot):
        check_writable(path)
    weights_file = weights_file or weights.TRAINED
    weights.read(weights_file)  # a bad file is refused before any import
    wanted = wanted_ports(ports, raced_ports())
    sizes = tuple(sorted(set(sizes)))
    with progress_bar() as progress, ExitStack() as stack:
        task = progress.add_task("importing", total=len(sizes) * len(TASKS) * (rounds + 1))
        watches = [
            stack.enter_context(Away(names, bool(ports), weights_file)) for names in by_framework(wanted)
        ]
        ready, missing = started(watches)
        found = measure(
            ready,
            wanted,
            sizes,
            rounds,
            threads,
            lambda doing: progress.update(task, advance=1, description=doing),
        )
    if json_file is not None:
        write_atomically(json_file, json.dumps(found.to_json(), indent=2, allow_nan=False) + "\n")
    if plot is not None:
        plots.bench(plot, found)
    output().print(tables.bench(found))
    failed = left_out({**missing, **found.failed}, ports)
    ctx.exit(int(failed or bool(found.failed)))


def started(watches: "list[Away]") -> "tuple[list[Away], dict[str, str]]":
    """The stopwatches that have started, and {port that could not be opened: why}.

    Raises:
        UserError: none has started.
    """
    from lenet.ports.workers import Failed
    from parity.errors import UserError

    ready, missing = [], dict[str, str]()
    for watch in watches:
        try:
            missing |= watch.missing()
            ready.append(watch)
        except UserError as error:
            missing |= dict.fromkeys(watch.names, str(error))
        except Failed as error:
            missing |= dict.fromkeys(watch.names, f"raises {error.said}")
    if not ready:
        raise UserError("; ".join(dict.fromkeys(missing.values())))
    return ready, missing
