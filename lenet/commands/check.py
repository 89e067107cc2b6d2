"""`lenet check`."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lenet.commands import options
from parity.command.terminal import shown

if TYPE_CHECKING:
    from lenet.diagnose.own_file.process import Checked


class Checkable(click.ParamType):
    """A Python file or a port of the registry."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(value)
        if path.suffix == ".py":
            return self._readable(path, param, ctx)
        if os.path.exists(path):  # unlike Path.exists, no error for a path that cannot be looked at
            self.fail(f"{shown(value)} is no Python file: its name must end in .py", param, ctx)
        return options.PORT.convert(value, param, ctx)

    def _readable(self, path: Path, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        from parity.errors import UserError
        from parity.files import check_readable

        try:
            check_readable(path)
        except UserError as error:
            self.fail(shown(str(error)), param, ctx)
        return path


def show_template(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """Print the template and exit."""
    if value:
        template = Path(__file__).parents[1] / "diagnose" / "own_file" / "my_port.py.txt"
        click.echo(template.read_text(encoding="utf-8"), nl=False)
        ctx.exit()


@click.command()
@click.argument("port", metavar="FILE", type=Checkable())
@click.option(
    "--template",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=show_template,
    help="Print a complete example of FILE to start from: lenet check --template > my_port.py",
)
@click.option(
    "--timeout",
    type=options.SECONDS,
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="Time limit for the import of FILE and for each call; then its processes are ended.",
)
@click.option(
    "--env",
    "variables",
    multiple=True,
    metavar="NAME",
    help="Let FILE see this variable of the environment (may be repeated). It sees those of libraries only.",
)
@options.JSON
@click.pass_context
def check(
    ctx: click.Context,
    port: Path | str,
    timeout: float,
    variables: tuple[str, ...],
    json_file: Path | None,
) -> None:
    """Is my own port right? If not, which mistake is it?

    FILE defines activations(params, images) and optionally gradients(params, images, labels) and
    train(params, batches, recipe); --template explains them. The check finds wrong layers and names the
    mistake and its remedy. FILE runs in a separate process, and its output goes to standard error. A port
    of `lenet ports` can be given instead of FILE.

    The exit code is 0 if the port is ok, 1 if it was judged and is anything else (different, less accurate,
    undecided, failed), 2 if it could not be judged: there is no such file, or it does not follow the
    interface.
    """
    from lenet.diagnose.own_file.interface import Misused
    from lenet.show.check_report import report
    from parity.command.terminal import output
    from parity.files import check_writable

    to_stdout = json_file == options.STDOUT
    check_writable(None if to_stdout else json_file)

    try:
        checked = run(port, timeout, variables)
    except Misused as error:
        message = " ".join(str(error).split())
        options.write_json({"source": str(port), "verdict": "misused", "message": message}, json_file)
        raise click.UsageError(shown(message)) from error
    options.write_json(checked.to_json(), json_file)
    if not to_stdout:
        output().print(report(checked))
    ctx.exit(int(checked.summary != "ok"))


def run(port: Path | str, timeout: float, variables: tuple[str, ...]) -> "Checked":
    """Judge the file or port, with a progress bar; lines that the file prints appear above the bar."""
    from lenet import ports
    from lenet.diagnose.own_file.process import check_file, check_port
    from parity.command.terminal import progress_bar

    with progress_bar() as progress:
        task = progress.add_task(f"running {shown(str(port))}", total=None)
        if isinstance(port, str):
            return check_port(ports.open_port(port))

        def echo(line: str) -> None:
            line = shown(line.rstrip("\r\n").rpartition("\r")[2].expandtabs())  # a progress bar's last state
            if progress.disable:
                sys.stderr.write(f"{line}\n")
            else:
                progress.console.out(line, highlight=False)

        def follow(done: int, total: int | None) -> None:
            naming = "naming the mistake" if done == total else f"running {shown(str(port))}"
            progress.update(task, completed=done, total=total, description=naming)

        return check_file(port, timeout, echo, follow, variables)
