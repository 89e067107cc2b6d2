"""`lenet ports`."""

import click


@click.command("ports")
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
