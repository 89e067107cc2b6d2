"""`lenet migrations`."""

from pathlib import Path

import click

from lenet.commands import options


@click.command()
@click.option("--markdown", "page", type=options.FILE, metavar="FILE", help="Also write the docs' page.")
@click.option("--timeline", type=options.FILE, metavar="FILE", help="Also plot the frameworks' years.")
@click.pass_context
def migrations(ctx: click.Context, page: Path | None, timeline: Path | None) -> None:
    """What changed from framework to framework, and what did not.

    Layouts, sizes and outputs are measured on the ports; outputs need the frameworks to be installed.
    The exit code is 1 if something changed that must not change.
    """
    from lenet.show import plots
    from lenet.show.migrations import folders, history, migrate, migration_tables
    from museum import museum_tables
    from parity.command.terminal import output, progress_bar
    from parity.files import check_writable, write_atomically

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
        plots.timeline(timeline, history(), museum_tables.originals([]))
    output().print(migration_tables.render(found))
    ctx.exit(int(not migration_tables.same(found)))
