"""`lenet ports`."""

import click


@click.command("ports")
def list_ports() -> None:
    """What is installed, and how to get the rest."""
    from lenet import ports
    from lenet.show import tables
    from parity.errors import extra_of, install_line
    from parity.terminal import output

    rows, lacking = [], []
    for name in ports.names(forward_only=True):
        line, missing = ports.framework(name), ports.missing(name)
        extras = dict.fromkeys(extra for package in ports.needed(name) if (extra := extra_of(package)))
        rows.append((name, line.package, None if missing else line.version, ", ".join(extras)))
        lacking += missing
    output().print(tables.ports(rows, install_line(*lacking) if lacking else None))
