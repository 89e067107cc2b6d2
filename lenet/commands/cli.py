"""The `lenet` command. Loads no framework, so that `--help` answers at once."""

import click

from export.command import export
from lenet import __version__
from lenet.commands import options
from lenet.commands.bench import bench
from lenet.commands.check import check
from lenet.commands.compare import compare
from lenet.commands.data import fetch_data
from lenet.commands.diff import diff
from lenet.commands.exact import exact
from lenet.commands.migrations import migrations
from lenet.commands.museum import museum
from lenet.commands.ports import list_ports
from lenet.commands.predict import predict
from lenet.commands.report import report
from lenet.commands.train import train
from lenet.commands.workshop import workshop
from lenet.ports.quiet import hide_warnings
from parity.command import terminal
from parity.command.interrupts import CTRL_C


@click.group(
    cls=options.Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="lenet", message="%(prog)s %(version)s")
def cli() -> None:
    """One LeNet, written once per framework. Do all ports compute the same function?

    `lenet compare` answers this question; `lenet ports` lists the ports.
    """


for command in (
    compare,
    check,
    diff,
    exact,
    migrations,
    museum,
    train,
    bench,
    report,
    predict,
    export,
    list_ports,
    fetch_data,
    workshop,
):
    cli.add_command(command)


def main() -> None:
    """Run the command line."""
    terminal.open_streams()
    CTRL_C.install()
    hide_warnings()
    cli(prog_name="lenet")
