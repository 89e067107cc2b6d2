"""`lenet predict`."""

from pathlib import Path

import click

from lenet.commands import options
from lenet.commands.outliving import go_on_in_a_copy


@click.command()
@click.argument("images", metavar="[IMAGE]...", nargs=-1, type=options.FILE)
@click.option(
    "--digit", type=click.IntRange(0, options.TEST_DIGITS - 1), help="A digit of the test set, from 0."
)
@click.option("--port", "ports", multiple=True, type=options.PORT, help="Ask this port (may be repeated).")
@options.WEIGHTS
@click.pass_context
def predict(
    ctx: click.Context,
    images: tuple[Path, ...],
    digit: int | None,
    ports: tuple[str, ...],
    weights_file: Path | None,
) -> None:
    """Which digit is in an image? Ask the ports.

    Takes image files with a handwritten digit each, or a digit of the test set.

    An image may have any size and colours. It is converted to grey, light on dark, cropped to its ink,
    scaled and centred, like the digits of MNIST. The exit code is 1 if one of several cannot be read.
    """
    ended = go_on_in_a_copy()
    import numpy as np

    from lenet.commands.opening import eager_ports, left_out, open_ports
    from lenet.network import digits, weights
    from lenet.network.architecture import CLASSES
    from lenet.ports.calling import PortFailed, calling
    from lenet.show import tables
    from lenet.show.drawn_digit import draw
    from parity.command.terminal import output, progress_bar
    from parity.errors import UserError

    if bool(images) == (digit is not None):
        raise click.UsageError("give either image files or --digit N")
    params = weights.read(weights_file or weights.TRAINED)
    subjects: list[tuple[str, np.ndarray, list[str]]] = []  # title, image (1, 28, 28), notes
    if digit is not None:
        tests = digits.test_set()
        subjects.append((f"test digit {digit}", tests.images[digit], [f"its label is {tests.labels[digit]}"]))
    refused = []
    for path in images:
        from lenet.network import pictures  # needs Pillow, a digit does not

        try:
            picture = pictures.read(path)
        except UserError as error:
            refused.append(options.Failure(str(error)))
            continue
        notes = ["inverted, because its background is light"] if picture.inverted else []
        if picture.shapes > 1:
            notes.append(f"{picture.shapes} separate shapes: give each digit an image of its own")
        subjects.append((str(path), digits.scale(picture.pixels), notes))
    if not subjects:
        raise UserError("; ".join(failure.message for failure in refused))
    with progress_bar() as progress:
        opened, missing = open_ports(ports, "float32", progress, eager_ports(), ended)
    console, pictured = output(), np.stack([image for _, image, _ in subjects])
    logits = {}
    for model in opened:
        try:
            with calling(model):
                model.load(params)
                found = model.logits(pictured)
                if found.shape != (len(pictured), CLASSES):
                    raise PortFailed(model.name, f"returns logits of shape {found.shape}")
                logits[model.name] = found
        except UserError as error:
            missing[model.name] = error.said if isinstance(error, PortFailed) else str(error)
    if not logits:
        raise UserError("; ".join(missing.values()))
    for name, values in logits.items():
        if not np.isfinite(values).all():
            raise UserError(f"{name}: a logit is NaN or infinite; with these weights its sums overflow")
    chances = {name: tables.probabilities(values) for name, values in logits.items()}
    for i, (title, image, notes) in enumerate(subjects):
        here = {name: values[i] for name, values in chances.items()}
        console.print(tables.prediction(title, draw(image, console), here, notes))
    failed = left_out(missing, ports)
    for failure in refused:
        failure.show()
    ctx.exit(int(failed or bool(refused)))
