"""`lenet exact`."""

from pathlib import Path

import click

from lenet.commands import options
from lenet.commands.outliving import go_on_in_a_copy


@click.command()
@click.argument("ports", metavar="[PORT]...", nargs=-1, type=options.PORT)
@options.first_digits("Run the ports on the first N test digits.", default=500)
@click.option(
    "--train",
    "out",
    type=options.FILE,
    metavar="FILE",
    help="Instead, train exact weights again by the recorded recipe, and write them.",
)
@options.DATA
@click.pass_context
def exact(
    ctx: click.Context, ports: tuple[str, ...], digits: int, out: Path | None, folder: Path | None
) -> None:
    """Why can no port differ by a bit, and when do they?

    Shows the certificate of the exact weights: the largest number of bits that the sums of each layer need
    for any image, and the number that float32 has. Then adds bits to the weights, one at a time, until the
    certificate fails, a rounding is forced, and PORTs (default: all, each in its first mode) differ. The exit
    code is 1 if a port differs before.
    """
    ended = {} if out is not None else go_on_in_a_copy()
    from rich.console import Group

    from lenet.commands.opening import eager_ports, left_out, open_ports
    from lenet.compare import finer_grids
    from lenet.network import weights
    from lenet.network.digits import test_set
    from lenet.reference import exact as integers
    from lenet.reference.certificate import certify_range
    from lenet.show import tables
    from parity.command.terminal import output, progress_bar

    if out is not None:
        if ports:
            raise click.UsageError("--train takes no PORT: NumPy trains the exact weights")
        return train(out, folder)
    params = weights.read(integers.EXACT)
    images = integers.coarsen(test_set()[:digits].images)
    levels = range(5)
    with progress_bar() as progress:
        opened, missing = open_ports(ports, "float32", progress, eager_ports(), ended)
        task = progress.add_task("making weights finer", total=len(levels))
        seen = []
        for level in finer_grids.levels(opened, params, images, levels):
            seen.append(level)
            progress.advance(task)
    certificate = certify_range(params, integers.pixel_values())
    output().print(Group(tables.certificate(certificate), tables.finer(seen, [p.name for p in opened])))
    failed = left_out(missing, ports)
    ctx.exit(int(failed or any(level.wrong for level in seen)))


def train(out: Path, folder: Path | None) -> None:
    """Train exact weights with NumPy and write them."""
    from lenet.network.digits import training_set
    from lenet.ports import open_port
    from lenet.ports.exact_training import ExactRecipe, train, write_weights
    from parity.command.terminal import output, progress_bar
    from parity.files import check_writable

    check_writable(out)
    recipe, port, digits = ExactRecipe(), open_port("numpy"), training_set(folder)
    with progress_bar("{task.fields[seen]}") as progress:
        task = progress.add_task("training on the grid", total=recipe.steps(len(digits)), seen="")
        params = train(
            port,
            digits,
            recipe,
            lambda step, loss: progress.update(task, completed=step, seen=f"loss {loss:.4f}"),
        )
        found = write_weights(out, params, port, recipe, digits)
    output().print(
        f"{out}: {float(found['test_accuracy']):.2%} of the test digits right; "
        f"sums need at most {found['bits_every_image']} bits for every image"
    )
