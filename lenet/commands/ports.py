"""`lenet ports`."""

import click


@click.command("ports")
def list_ports() -> None:
    """Which ports are installed, and how to install the others."""
    from rich.text import Text

    from lenet import ports
    from lenet.ports.registry import version
    from lenet.show import tables
    from parity.command.terminal import output
    from parity.errors import extra_of, install_line

    rows, lacking = [], []
    for name in ports.names(forward_only=True):
        package, missing = ports.framework(name).runs_in(name.partition(":")[2]), ports.missing(name)
        extras = dict.fromkeys(extra for package in ports.needed(name) if (extra := extra_of(package)))
        rows.append((name, package, None if missing else version(package), ", ".join(extras)))
        lacking += missing
    output().print(tables.ports(rows))
    if lacking:
        # Not folded: this line is there to be copied.
        output().print("\nall that is missing:", Text(install_line(*lacking), "bold"), soft_wrap=True)
