"""`lenet train`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lenet.commands import options
from lenet.commands.outliving import go_on_in_a_copy
from lenet.ports.threads import TRAINED, share_cores
from parity.command.copies import go_on
from parity.command.interrupts import CTRL_C
from parity.errors import UserError

if TYPE_CHECKING:
    from rich.progress import Progress

    from lenet.commands.training_apart import Away
    from lenet.network.digits import Digits
    from lenet.network.recipe import Recipe
    from lenet.ports import Port
    from lenet.ports.lockstep import Lockstep


@click.command()
@click.argument("ports", metavar="[PORT]...", nargs=-1, type=options.PORT)
@click.option(
    "--compare",
    "steps",
    is_flag=False,
    flag_value=200,
    type=options.COUNT,
    metavar="[STEPS]",
    help="Instead, train all PORTs in float32 and float64, and plot how far they drift apart.",
)
@options.DATA
@click.option(
    "--out",
    type=options.FILE,
    metavar="FILE",
    help="Weights file to write (default: PORT.safetensors); with --compare, the plot (drift.png).",
)
@options.first_digits("Train only on the first N digits, for a quick try.", most=options.TRAINING_DIGITS)
@options.DTYPE
@click.option(
    "--seed",
    type=click.IntRange(0, 2**64 - 1),
    default=0,
    show_default=True,
    help="Seed of the initial weights and the order of digits.",
)
@click.option("--epochs", type=options.COUNT, default=20, show_default=True)
@click.option("--batch-size", type=click.IntRange(1, options.TRAINING_DIGITS), default=64, show_default=True)
@click.option("--learning-rate", type=options.RATE, default=0.05, show_default=True, help="Initial η.")
@click.option("--momentum", type=options.RATE, default=0.9, show_default=True, help="μ.")
@click.option("--weight-decay", type=options.RATE, default=5e-4, show_default=True, help="λ.")
@click.option("--schedule", type=click.Choice(["cosine", "drop"]), default="cosine", show_default=True)
@click.pass_context
def train(
    ctx: click.Context,
    ports: tuple[str, ...],
    steps: int | None,
    folder: Path | None,
    out: Path | None,
    digits: int,
    dtype: str,
    **recipe: Any,
) -> None:
    """Train PORT on MNIST and write its weights.

    SGD with momentum: v ← μ·v + g + λ·w, w ← w − η·v. After each epoch a checkpoint is written beside the
    weights. The same command continues from it, and ends with the same weights as without interruption.

    With --compare, several ports train in lockstep, from the same weights and on the same batches of test
    digits (with --data, of training digits), and the plot shows their distance from NumPy in float64.
    """
    if steps is not None:
        share_cores(TRAINED)
        ctx.exit(int(compare_training(ports, steps, folder, out or Path("drift.png"), recipe)))
    if len(ports) != 1:
        raise click.UsageError("give one PORT to train, or --compare")
    from parity.files import check_writable

    target = out or Path(f"{ports[0].replace(':', '-')}.safetensors")
    check_writable(target)
    checkpoint = target.with_name(f"{target.name}.checkpoint")
    CTRL_C.says = lambda: f"interrupted; {_kept(checkpoint)}"
    if (death := go_on()) is not None:
        raise UserError(f"port {ports[0]!r} ended the process {death.how}; {_kept(checkpoint)}")
    train_one(ports[0], folder, target, checkpoint, digits, dtype, recipe)


def train_one(
    port: str,
    folder: Path | None,
    target: Path,
    checkpoint: Path,
    digits: int,
    dtype: str,
    recipe: dict[str, Any],
) -> None:
    """Train a port and write its weights, with checkpoints beside them."""
    from lenet.network.digits import test_set, training_set
    from lenet.network.recipe import Recipe
    from lenet.ports import open_port, training
    from parity.command.terminal import output, progress_bar

    settings, chosen, tests = Recipe(**recipe), training_set(folder)[:digits], test_set()
    with progress_bar("{task.fields[seen]}") as progress:
        task = progress.add_task(f"importing {port}", total=settings.steps(len(chosen)), seen="")
        model = open_port(port, dtype)
        progress.update(task, description=f"training {port}")
        follow = follow_training(model, settings, chosen, tests, progress)
        training.train(model, chosen, settings, checkpoint, follow)
        accuracy = training.accuracy(model, tests)
    training.write_weights(target, model, training.record(model, settings, chosen, accuracy))
    checkpoint.unlink(missing_ok=True)
    output().print(f"{target}: {accuracy:.2%} of the {len(tests):,} test digits right")


def compare_training(
    names: tuple[str, ...], steps: int, folder: Path | None, out: Path, recipe: dict[str, Any]
) -> bool:
    """Train ports in both dtypes; plot and print how far they drift from NumPy in float64.

    Returns:
        Whether a port that was named is left out.
    """
    ended = go_on_in_a_copy()
    from lenet.commands.opening import left_out, require_named
    from lenet.commands.training_apart import PortEnded
    from lenet.network.digits import test_set, training_set
    from lenet.network.recipe import Recipe
    from lenet.show import plots, tables
    from parity.command.terminal import output
    from parity.files import check_writable

    plots.check_format(out)
    check_writable(out)
    require_named(names)
    chosen = test_set() if folder is None else training_set(folder)
    settings = Recipe(**recipe | {"schedule": "drop", "epochs": 1})
    per_epoch = settings.steps(len(chosen))
    settings = Recipe(**recipe | {"schedule": "drop", "epochs": -(-steps // per_epoch)})
    while True:
        try:
            opened, run, missing = train_in_lockstep(names, chosen, settings, steps, ended)
            break
        except PortEnded as death:
            ended[death.port] = str(death)
    labels = [f"{model.name} {model.dtype}" for model in opened]
    plots.drift(out, labels, run.distances, settings.steps(len(chosen)) // 2)
    output().print(tables.drift(labels, run.distances), f"\n{out}: the plot", sep="")
    return left_out(missing, names)


def train_in_lockstep(
    names: tuple[str, ...], digits: "Digits", recipe: "Recipe", steps: int, ended: dict[str, str]
) -> "tuple[list[Away], Lockstep, dict[str, str]]":
    """Train ports in both dtypes.

    Args:
        ended: {port that has ended a process: how}, without which the others go on.

    Returns:
        The ports, their run, and {port that cannot be opened: why}.
    """
    from lenet.commands.opening import eager_ports, opened_by, wanted_ports
    from lenet.commands.training_apart import apart
    from lenet.ports import lockstep, open_port
    from lenet.ports.memory import keep_freed
    from parity.command.terminal import progress_bar

    keep_freed()
    wanted = [name for name in wanted_ports(names, eager_ports()) if name not in ended]
    dtypes = ("float32", "float64")
    with apart(wanted, dtypes, digits, recipe, steps) as others, progress_bar() as progress:
        found, missing = [], dict[str, str]()
        for dtype in dtypes:
            some, lacking = opened_by(others.open, names, dtype, progress, eager_ports(), ended)
            found += some
            missing |= lacking
        opened = [one for one in found if (one.name, one.dtype) != ("numpy", "float64")]  # the reference
        task = progress.add_task("training in lockstep", total=steps)
        reference = lockstep.run(open_port("numpy", "float64"), digits, recipe, steps)
        together = ([first, *rest] for first, rest in zip(reference, others.train(opened), strict=True))
        return opened, lockstep.compared(together, lambda: progress.advance(task)), missing


def follow_training(
    model: "Port", recipe: "Recipe", digits: "Digits", tests: "Digits", progress: "Progress"
) -> Callable[[int, float], None]:
    """A function to call after each step. It shows the loss and, after each epoch except the last, the
    accuracy."""
    from lenet.ports import training

    task, steps = progress.task_ids[0], recipe.steps(len(digits))
    accuracy = ""

    def follow(step: int, loss: float) -> None:
        nonlocal accuracy
        if step % (steps // recipe.epochs) == 0 and step < steps and not progress.disable:
            accuracy = f", {training.accuracy(model, tests):.2%} right"
        progress.update(task, completed=step, seen=f"loss {loss:.4f}{accuracy}")

    return follow


def _kept(checkpoint: Path) -> str:
    return f"the same command continues from {checkpoint}" if checkpoint.exists() else "nothing was kept"
