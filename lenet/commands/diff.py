"""`lenet diff`."""

import os
from pathlib import Path

import click

from lenet.commands import options


@click.command()
@click.argument("a", type=options.PORT)
@click.argument("b", type=options.PORT)
@click.option(
    "--html", "html_file", type=options.FILE, metavar="FILE", help="Write one self-contained page instead."
)
@click.option("--pager/--no-pager", default=True, help="Page what is shown in a terminal.")
def diff(a: str, b: str, html_file: Path | None, pager: bool) -> None:
    """Show two ports' sources side by side.

    File by file, aligned by the names that both define, without importing a framework. Marks: | for
    lines that differ, < and > for lines that only one side has.
    """
    from lenet.show import side_by_side as sources
    from parity.files import write_atomically
    from parity.terminal import output

    if a.partition(":")[0] == b.partition(":")[0]:
        raise click.UsageError(f"{a} and {b} share one source; give two different ports")
    files = sources.compare_folders(a, b)
    if html_file is not None:
        write_atomically(html_file, sources.to_html(files, a, b))
        return
    console = output()
    with console.capture() as captured:
        console.print(sources.render(files, console.width))
    if pager and console.is_terminal:
        os.environ.setdefault("LESS", "-FRX")  # as git has it: colours, and no waiting on one screen
        click.echo_via_pager(captured.get(), color=not console.no_color)
    else:
        click.echo(captured.get(), nl=False, color=True)
