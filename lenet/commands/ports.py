"""`lenet ports`."""

import click


@click.command("ports")
def list_ports() -> None:
    """Which ports are installed, and how to install the others."""
    from lenet import ports
    from lenet.show import tables
    from parity.command.terminal import output
    from parity.errors import extra_of, install_line

    rows, lacking = [], []
    for name in ports.names(forward_only=True):
        line, missing = ports.framework(name), ports.missing(name)
        extras = dict.fromkeys(extra for package in ports.needed(name) if (extra := extra_of(package)))
        rows.append((name, line.package, None if missing else line.version, ", ".join(extras)))
        lacking += missing
    output().print(tables.ports(rows, install_line(*lacking) if lacking else None))
