"""`lenet migrations`."""

from pathlib import Path

import click

from lenet.commands import options


@click.command()
@click.option("--markdown", "page", type=options.FILE, metavar="FILE", help="Write the page of the docs too.")
@click.option("--timeline", type=options.FILE, metavar="FILE", help="Plot the frameworks' years too.")
@click.pass_context
def migrations(ctx: click.Context, page: Path | None, timeline: Path | None) -> None:
    """What changed from framework to framework, and what did not.

    Layouts, sizes and outputs are taken from the ports themselves; outputs need their frameworks
    installed. The exit code is 1 if what must not change has changed.
    """
    from lenet.show import plots
    from lenet.show.migrations import folders, history, migrate, migration_tables
    from parity.files import check_writable, write_atomically
    from parity.terminal import output, progress_bar

    if timeline is not None:
        plots.check_format(timeline)
    for path in (page, timeline):
        check_writable(path)
    found = []
    with progress_bar() as progress:
        task = progress.add_task("", total=len(folders()))
        for name in folders():
            progress.update(task, description=f"running {name}")
            found.append(migrate(name))
            progress.advance(task)
    if page is not None:
        write_atomically(page, migration_tables.markdown(found))
    if timeline is not None:
        plots.timeline(timeline, history())
    output().print(migration_tables.render(found))
    ctx.exit(int(not migration_tables.same(found)))
