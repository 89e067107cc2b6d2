"""`lenet ports`."""

import click


@click.command("ports")
def list_ports() -> None:
    """What is installed, and how to get the rest."""
    from lenet import ports
    from lenet.show import tables
    from parity.terminal import output

    rows = []
    for name in ports.names(forward_only=True):
        line = ports.framework(name)
        version = line.version if ports.installed(name) else None
        rows.append((name, line.package, version, line.install))
    output().print(tables.ports(rows))
