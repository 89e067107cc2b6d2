"""Options that several commands share, and how commands end with an error."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parity.command import terminal
from parity.command.sources import JSON as JSON
from parity.command.sources import SECONDS as SECONDS
from parity.command.sources import NotNegative
from parity.errors import UserError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class Failure(terminal.Failure):
    """Ends the command with one line on stderr and exit code 1."""

    exit_code = 1


class Command(terminal.Command):
    """A command of `lenet`, or of one of its packages."""

    failure = Failure
    spare = "name fewer ports, or fewer digits"


class Commands(Command, terminal.Commands):
    """The subcommands of `lenet`."""


class PortName(click.ParamType):
    """A port and mode of the registry; where several may be named, "onnx" stands for all its modes."""

    name = "port"

    def __init__(self, *, several: bool = False) -> None:
        self.several = several

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from lenet.ports import framework, modes

        try:
            if not (self.several and modes(value)):
                framework(value)
        except UserError as error:
            self.fail(str(error), param, ctx)
        return value

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        from lenet.ports import names

        return [CompletionItem(name) for name in names() if name.startswith(incomplete)]


TEST_DIGITS, TRAINING_DIGITS = 10_000, 60_000
COUNT = click.IntRange(1, 10**6)  # of steps, epochs, rounds: nobody waits for more


def first_digits(help: str, *, most: int = TEST_DIGITS, default: int | None = None) -> Callable[[Any], Any]:
    """The option --digits N: the first of `most` digits, by default all."""
    return click.option(
        "--digits",
        type=click.IntRange(1, most),
        default=most if default is None else default,
        show_default=True,
        metavar="N",
        help=help,
    )


STDOUT = Path("-")  # of --json
FILE, PORT, RATE = click.Path(path_type=Path), PortName(), NotNegative()
PORTS = PortName(several=True)
DTYPE = click.option(
    "--dtype", type=click.Choice(["float32", "float64"]), default="float32", show_default=True
)
WEIGHTS = click.option(
    "--weights", "weights_file", type=FILE, metavar="FILE", help="Weights (default: this package's)."
)
DATA = click.option(
    "--data",
    "folder",
    type=FILE,
    metavar="DIR",
    help="Folder of the training set (default: $LENET_DATA, else a cache).",
)


def write_json(result: Any, file: Path | None) -> None:
    """Write a command's result as JSON into a file, or to standard output for STDOUT; None writes nothing."""
    import json

    from lenet.show.tables import strict_json
    from parity.files import write_atomically

    if file is not None:
        text = json.dumps(strict_json(result), indent=2, allow_nan=False) + "\n"
        click.echo(text, nl=False) if file == STDOUT else write_atomically(file, text)
