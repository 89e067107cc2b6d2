"""`lenet diff`."""

import os
from pathlib import Path

import click

from lenet.commands import options


@click.command()
@click.argument("a", type=options.PORT)
@click.argument("b", type=options.PORT)
@click.option(
    "--html", "html_file", type=options.FILE, metavar="FILE", help="Write a self-contained HTML page instead."
)
@click.option("--pager/--no-pager", default=True, help="Use a pager in a terminal.")
def diff(a: str, b: str, html_file: Path | None, pager: bool) -> None:
    """Show two ports' sources side by side.

    Files are aligned by the names that both define; no framework is imported. Marks: | for lines that
    differ, < and > for lines on only one side.
    """
    from lenet.show import side_by_side as sources
    from parity.command.terminal import output, shown
    from parity.files import write_atomically

    if a.partition(":")[0] == b.partition(":")[0]:
        raise click.UsageError(f"{a} and {b} share one source; give two different ports")
    files = sources.compare_folders(a, b)
    if html_file is not None:
        write_atomically(html_file, sources.to_html(files, a, b))
        click.echo(f"{shown(str(html_file))}: {a} and {b}; open it in a browser")
        return
    console = output()
    with console.capture() as captured:
        console.print(sources.render(files, console.width))
    if pager and console.is_terminal:
        os.environ.setdefault("LESS", "-FRX")  # as in git: colours, and no pager for a single screen
        click.echo_via_pager(captured.get(), color=not console.no_color)
    else:
        click.echo(captured.get(), nl=False, color=True)
