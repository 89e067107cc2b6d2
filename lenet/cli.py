"""The `lenet` command. What is heavy is imported where it is used, so that `--help` answers at once."""

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from export.command import export
from lenet import __version__, options
from lenet.errors import LenetError, MissingFramework

if TYPE_CHECKING:
    from rich.progress import Progress

    from lenet.data import Digits
    from lenet.ports import Port
    from lenet.recipe import Recipe

TEST_DIGITS, TRAINING_DIGITS = 10_000, 60_000


@click.group(
    cls=options.Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="lenet", message="%(prog)s %(version)s")
def cli() -> None:
    """One LeNet, written once per framework. Are the ports the same mathematics?

    `lenet compare` answers that; `lenet ports` lists the ports.
    """


@cli.command()
@click.argument("ports", metavar="[PORT]...", nargs=-1, type=options.PORTS)
@click.option("--layers", is_flag=True, help="Show every layer of every port.")
@click.option(
    "--digits",
    type=click.IntRange(1, TEST_DIGITS),
    default=TEST_DIGITS,
    show_default=True,
    help="Take the first N test digits.",
    metavar="N",
)
@options.DTYPE
@options.WEIGHTS
@click.option(
    "--json",
    "json_file",
    type=options.FILE,
    metavar="FILE",
    help="Write the result as JSON; - is standard output.",
)
@click.option("--svg", "svg_file", type=options.FILE, hidden=True)
@click.pass_context
def compare(
    ctx: click.Context,
    ports: tuple[str, ...],
    layers: bool,
    digits: int,
    dtype: str,
    weights_file: Path | None,
    json_file: Path | None,
    svg_file: Path | None,
) -> None:
    """Are the ports the same function? The main job.

    Runs them on the same digits and judges every layer: rounding, or a different function.

    Without PORT: every port and mode that is installed and can train; `onnx` names all that ONNX runs
    in. The exit code is 1 if any is different.
    """
    import json

    from rich.console import Group

    from lenet import data, tables, weights
    from lenet.compare import compare as judge
    from lenet.files import write_atomically
    from lenet.terminal import output, progress_bar, to_svg

    to_stdout = json_file == Path("-")
    for path in (None if to_stdout else json_file, svg_file):
        check_writable(path)
    params = weights.read(weights_file or weights.TRAINED)
    chosen = data.test_set()[:digits]
    with progress_bar() as progress:
        opened, missing = open_ports(ports, dtype, progress)
        task = progress.add_task("judging digits", total=digits)
        result = judge(opened, params, chosen, lambda done: progress.advance(task, done))
    shown = [tables.comparison(result), *([tables.missing(missing)] if missing else [])]
    if layers:
        shown += [tables.layers(report) for report in result.ports if report.layers]
    if json_file is not None:
        text = json.dumps(tables.strict_json(result.to_json()), indent=2, allow_nan=False) + "\n"
        click.echo(text, nl=False) if to_stdout else write_atomically(json_file, text)
    if not to_stdout:
        output().print(Group(*shown))
    if svg_file is not None:
        write_atomically(svg_file, to_svg(Group(*shown), "lenet compare"))
    ctx.exit(int(any(report.verdict == "different" for report in result.ports)))


@cli.command()
@click.argument("a", type=options.PORT)
@click.argument("b", type=options.PORT)
@click.option(
    "--html", "html_file", type=options.FILE, metavar="FILE", help="Write one self-contained page instead."
)
@click.option("--pager/--no-pager", default=True, help="Page what is shown in a terminal.")
def diff(a: str, b: str, html_file: Path | None, pager: bool) -> None:
    """Show two ports' sources side by side.

    File by file, aligned by the names that both define, without importing a framework. Marks: | for
    lines that differ, < and > for lines that only one side has.
    """
    from lenet import diff as sources
    from lenet.files import write_atomically
    from lenet.terminal import output

    if a.partition(":")[0] == b.partition(":")[0]:
        raise click.UsageError(f"{a} and {b} share one source; give two different ports")
    files = sources.compare_folders(a, b)
    if html_file is not None:
        write_atomically(html_file, sources.to_html(files, a, b))
        return
    console = output()
    with console.capture() as captured:
        console.print(sources.render(files, console.width))
    if pager and console.is_terminal:
        os.environ.setdefault("LESS", "-FRX")  # as git has it: colours, and no waiting on one screen
        click.echo_via_pager(captured.get(), color=not console.no_color)
    else:
        click.echo(captured.get(), nl=False, color=True)


@cli.command()
@click.argument("ports", metavar="[PORT]...", nargs=-1, type=options.PORT)
@click.option(
    "--compare",
    "steps",
    is_flag=False,
    flag_value=200,
    type=click.IntRange(1),
    metavar="[STEPS]",
    help="Instead: train PORTs alike in float32 and float64, and plot how far they drift apart.",
)
@options.DATA
@click.option(
    "--out",
    type=options.FILE,
    metavar="FILE",
    help="Weights file to write (default: PORT.safetensors here); with --compare the plot (drift.png).",
)
@click.option(
    "--digits",
    type=click.IntRange(1, TRAINING_DIGITS),
    default=TRAINING_DIGITS,
    show_default=True,
    help="Train on the first N only, for a quick look.",
    metavar="N",
)
@options.DTYPE
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Of the initial weights and the order of digits.",
)
@click.option("--epochs", type=click.IntRange(1), default=20, show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True)
@click.option("--learning-rate", type=options.RATE, default=0.05, show_default=True, help="η at the start.")
@click.option("--momentum", type=options.RATE, default=0.9, show_default=True, help="μ.")
@click.option("--weight-decay", type=options.RATE, default=5e-4, show_default=True, help="λ.")
@click.option("--schedule", type=click.Choice(["cosine", "drop"]), default="cosine", show_default=True)
def train(
    ports: tuple[str, ...],
    steps: int | None,
    folder: Path | None,
    out: Path | None,
    digits: int,
    dtype: str,
    **recipe: Any,
) -> None:
    """Train PORT on MNIST and write its weights.

    SGD with momentum: v ← μ·v + g + λ·w, w ← w − η·v. After each epoch a checkpoint is left beside the
    weights; the same command goes on from it, and ends in the same weights as if never interrupted.

    With --compare several ports train in lockstep from the same weights on the same batches of test
    digits (of the training set, with --data), and their distance from NumPy in float64 is plotted.
    """
    if steps is not None:
        return compare_training(ports, steps, folder, out or Path("drift.png"), recipe)
    if len(ports) != 1:
        raise click.UsageError("give one PORT to train, or --compare")
    train_one(ports[0], folder, out, digits, dtype, recipe)


def train_one(
    port: str, folder: Path | None, out: Path | None, digits: int, dtype: str, recipe: dict[str, Any]
) -> None:
    """Train one port and write its weights, checkpoints beside them."""
    from lenet import data, training
    from lenet.ports import open_port
    from lenet.recipe import Recipe
    from lenet.terminal import output, progress_bar

    target = out or Path(f"{port.replace(':', '-')}.safetensors")
    checkpoint = target.with_name(f"{target.name}.checkpoint")
    check_writable(target)
    settings, chosen, tests = Recipe(**recipe), data.training_set(folder)[:digits], data.test_set()
    with progress_bar("{task.fields[seen]}") as progress:
        task = progress.add_task(f"importing {port}", total=settings.steps(len(chosen)), seen="")
        model = open_port(port, dtype)
        progress.update(task, description=f"training {port}")
        follow = follow_training(model, settings, chosen, tests, progress)
        try:
            training.train(model, chosen, settings, checkpoint, follow)
        except KeyboardInterrupt as error:
            kept = (
                f"the same command goes on from {checkpoint}" if checkpoint.exists() else "nothing was kept"
            )
            raise options.Interrupted(f"interrupted; {kept}") from error
        accuracy = measure_accuracy(model, tests)
    training.write_weights(target, model, training.record(model, settings, chosen, accuracy))
    checkpoint.unlink(missing_ok=True)
    output().print(f"{target}: {accuracy:.2%} of the {len(tests):,} test digits right")


def compare_training(
    names: tuple[str, ...], steps: int, folder: Path | None, out: Path, recipe: dict[str, Any]
) -> None:
    """Train ports alike in both dtypes; plot and print how far they drift from NumPy in float64."""
    from lenet import data, drift, plots, ports, tables
    from lenet.recipe import Recipe
    from lenet.terminal import output, progress_bar

    plots.check_format(out)
    check_writable(out)
    chosen = data.test_set() if folder is None else data.training_set(folder)
    settings = Recipe(**recipe | {"schedule": "drop", "epochs": 1})
    per_epoch = settings.steps(len(chosen))
    settings = Recipe(**recipe | {"schedule": "drop", "epochs": -(-steps // per_epoch)})
    with progress_bar() as progress:
        opened = [
            model
            for dtype in ("float32", "float64")
            for model in open_ports(names or eager_ports(), dtype, progress)[0]
            if (model.name, dtype) != ("numpy", "float64")  # the reference
        ]
        task = progress.add_task("training in lockstep", total=steps)
        distances = drift.drift(
            ports.open_port("numpy", "float64"),
            opened,
            chosen,
            settings,
            steps,
            lambda: progress.advance(task),
        )
    labels = [f"{model.name} {model.dtype}" for model in opened]
    plots.drift(out, labels, distances, settings.steps(len(chosen)) // 2)
    output().print(tables.drift(labels, distances), f"\n{out}: the plot", sep="")


@cli.command()
@click.argument("ports", metavar="[PORT]...", nargs=-1, type=options.PORT)
@click.option(
    "--batch",
    "sizes",
    multiple=True,
    type=click.IntRange(1, TEST_DIGITS),
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
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "PJRT_NPROC"):
        os.environ[variable] = str(threads)  # read by each library when it is imported
    from lenet import data, tables, weights
    from lenet.bench import bench as measure
    from lenet.terminal import output, progress_bar

    params, digits = weights.read(weights_file or weights.TRAINED), data.test_set()
    with progress_bar() as progress:
        opened, _ = open_ports(ports or eager_ports(), "float32", progress)
        task = progress.add_task("timing", total=len(sizes) * 2 * (rounds + 1))
        timings = measure(opened, params, digits, sizes, rounds, lambda: progress.advance(task))
    output().print(tables.timings(timings, threads))


@cli.command()
@click.argument("images", metavar="[IMAGE]...", nargs=-1, type=options.FILE)
@click.option("--digit", type=click.IntRange(0, TEST_DIGITS - 1), help="A digit of the test set, from 0.")
@click.option("--port", "ports", multiple=True, type=options.PORT, help="Ask this port (may be repeated).")
@options.WEIGHTS
def predict(
    images: tuple[Path, ...], digit: int | None, ports: tuple[str, ...], weights_file: Path | None
) -> None:
    """Which digit is in an image? Ask the ports.

    Takes image files of one handwritten digit each, or a digit of the test set.

    An image may have any size and colours: it is made grey, light on dark, cropped to its ink, scaled
    and centred as MNIST's digits were.
    """
    import numpy as np

    from lenet import data, pictures, tables, weights
    from lenet.terminal import output, progress_bar

    if bool(images) == (digit is not None):
        raise click.UsageError("give either image files or --digit N")
    params = weights.read(weights_file or weights.TRAINED)
    subjects: list[tuple[str, np.ndarray, list[str]]] = []  # title, image (1, 28, 28), notes
    if digit is not None:
        tests = data.test_set()
        subjects.append((f"test digit {digit}", tests.images[digit], [f"its label is {tests.labels[digit]}"]))
    for path in images:
        picture = pictures.read(path)
        notes = ["its background is light: inverted"] if picture.inverted else []
        subjects.append((str(path), data.scale(picture.pixels), notes))
    with progress_bar() as progress:
        opened, _ = open_ports(ports or eager_ports(), "float32", progress)
    for model in opened:
        model.load(params)
    console = output()
    logits = {model.name: model.logits(np.stack([image for _, image, _ in subjects])) for model in opened}
    chances = {name: tables.probabilities(values) for name, values in logits.items()}
    for i, (title, image, notes) in enumerate(subjects):
        here = {name: values[i] for name, values in chances.items()}
        console.print(tables.prediction(title, pictures.draw(image, console), here, notes))


cli.add_command(export)


@cli.command("ports")
def list_ports() -> None:
    """What is installed, and how to get the rest."""
    from importlib.metadata import version

    from lenet import ports, tables
    from lenet.terminal import output

    rows = []
    for name in ports.names(forward_only=True):
        line = ports.framework(name)
        rows.append((name, version(line.package) if ports.installed(name) else None, line.install))
    output().print(tables.ports(rows))


@cli.command("data")
@options.DATA
def fetch_data(folder: Path | None) -> None:
    """Download or verify the MNIST training set."""
    from lenet import data
    from lenet.terminal import output

    place = data.training_folder(folder)
    files = data.download(place)
    output().print(f"{place}: {TRAINING_DIGITS:,} training digits, verified by SHA-256")
    for path in files:
        output().print(f"  {path.name}  {path.stat().st_size:,} bytes")


def open_ports(names: Sequence[str], dtype: str, progress: "Progress") -> tuple[list["Port"], dict[str, str]]:
    """The ports of those names, opened; without names all that can be, and why each other cannot."""
    from lenet import ports

    opened, missing = [], {}
    wanted = list(dict.fromkeys(mode for name in names for mode in ports.modes(name))) or ports.names()
    task = progress.add_task(f"importing {wanted[0]}", total=len(wanted))
    for name in wanted:
        progress.update(task, description=f"importing {name}")
        try:
            opened.append(ports.open_port(name, dtype))
        except (MissingFramework, ports.Unsupported) as error:
            if names:
                raise
            missing[name] = str(error)
        progress.advance(task)
    progress.remove_task(task)
    return opened, missing


def eager_ports() -> list[str]:
    """The ports that are installed, each in its first mode."""
    from lenet import ports

    return [name for name in ports.names() if ":" not in name and ports.installed(name)]


def follow_training(
    model: "Port", recipe: "Recipe", digits: "Digits", tests: "Digits", progress: "Progress"
) -> Callable[[int, float], None]:
    """What is called after each step: shows the loss, and after each epoch but the last the accuracy."""
    task, steps = progress.task_ids[0], recipe.steps(len(digits))
    accuracy = ""

    def follow(step: int, loss: float) -> None:
        nonlocal accuracy
        if step % (steps // recipe.epochs) == 0 and step < steps and not progress.disable:
            accuracy = f", {measure_accuracy(model, tests):.2%} right"
        progress.update(task, completed=step, seen=f"loss {loss:.4f}{accuracy}")

    return follow


def measure_accuracy(model: "Port", digits: "Digits") -> float:
    """The share of `digits` that the port classifies as labelled."""
    size = 1000
    starts = range(0, len(digits), size)
    right = [
        (model.logits(part.images).argmax(axis=1) == part.labels).sum()
        for part in (digits[start : start + size] for start in starts)
    ]
    return float(sum(right)) / len(digits)


def check_writable(path: Path | None) -> None:
    """Refuse, before any work is done, a file that could not be written after it."""
    import tempfile

    if path is None:
        return
    try:
        if path.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise LenetError(f"{path}: cannot be written ({error.strerror}); choose another place") from error


def main() -> None:
    """Run the command line; frameworks' warnings are not the user's to read unless -W asks for them."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # not a file of its own
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    cli(prog_name="lenet")
