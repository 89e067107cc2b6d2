"""`lenet export`. Heavy modules are imported where they are used, as in `lenet.commands`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lenet.commands import options
from parity.command.copies import within_limits
from parity.errors import MissingFramework, install_line

if TYPE_CHECKING:
    import numpy as np
    from rich.console import RenderableType

EXPORTERS = ("numpy", "torch", "tf")
MEMORY = 4 << 30  # bytes that --check may take; this network takes a twentieth of it


@click.command()
@click.option(
    "--from",
    "exporter",
    type=click.Choice([*EXPORTERS, "all"]),
    help="The exporter (default: all that are installed).",
)
@click.option("--out", "folder", type=options.FILE, metavar="DIR", help="Folder to write (default: here).")
@click.option(
    "--opset",
    type=click.IntRange(1),
    metavar="N",
    show_default="18",
    help="Version of ONNX's operators: 9 for importers of 2019.",
)
@click.option("--check", "file", type=options.FILE, metavar="FILE", help="Judge this ONNX file instead.")
@options.WEIGHTS
@options.first_digits("Judge by the first N test digits.", default=100)
@click.option(
    "--timeout",
    type=options.SECONDS,
    metavar="SECONDS",
    show_default="60, and a tenth for each digit",
    help="Time limit of --check; then the process that judges is ended.",
)
@click.pass_context
def export(
    ctx: click.Context,
    exporter: str | None,
    folder: Path | None,
    opset: int | None,
    file: Path | None,
    weights_file: Path | None,
    digits: int,
    timeout: float | None,
) -> None:
    """Write the network as ONNX, or judge an ONNX file.

    Each exporter's file is compared with the table of layers, read back bit for bit, run in every runtime
    and judged layer by layer. Only then it is written as lenet-EXPORTER.onnx.

    With --check, judges whether FILE is this network with these weights. The exit code is 1 if it is not.
    FILE is read and run in a separate process, with limits of time and memory.
    """
    if file is not None and (exporter or folder or opset):
        raise click.UsageError("--check judges a file and writes none: leave out --from, --out and --opset")
    if file is not None:
        within_limits(str(file), 60 + digits / 10 if timeout is None else timeout, MEMORY)
    from lenet.network import weights
    from lenet.network.digits import test_set
    from parity.command.terminal import output

    params, images = weights.read(weights_file or weights.TRAINED), test_set()[:digits].images
    different = False
    if file is not None:
        shown, different = judge(file, params, images)
    else:
        chosen = [] if exporter in (None, "all") else [exporter]
        shown = write(chosen, params, folder or Path(), images, opset)
    output().print(shown)
    ctx.exit(int(different))


def write(
    names: Sequence[str],
    params: dict[str, "np.ndarray"],
    folder: Path,
    images: "np.ndarray",
    opset: int | None,
) -> "RenderableType":
    """Write the files of these exporters (default: all that are installed), in the usual opset if it is None.

    Returns a table to print.
    """
    from rich.console import Group

    from export import export_tables, write
    from export.onnx_file import OPSET
    from lenet import ports
    from lenet.show.tables import missing as not_made
    from parity.command.terminal import progress_bar

    missing = {}
    for name in names or EXPORTERS:
        if packages := ports.missing(f"onnx:{name}/reference"):
            missing[name] = f"exporter {name!r} needs {', '.join(packages)}: {install_line(*packages)}"
    if names and missing:
        raise MissingFramework(missing[names[0]])
    chosen = [name for name in names or EXPORTERS if name not in missing]
    with progress_bar() as progress:
        task = progress.add_task("", total=len(chosen))

        def started(name: str) -> None:
            progress.update(task, description=f"exporting from {name}", completed=chosen.index(name))

        files = write.write_files(chosen, params, folder, images, started, opset or OPSET)
    return Group(export_tables.exports(files), *([not_made(missing)] if missing else []))


def judge(file: Path, params: dict[str, "np.ndarray"], images: "np.ndarray") -> tuple["RenderableType", bool]:
    """Judge a file. Returns a table to print, and whether the file differs."""
    from export import check, export_tables
    from parity.command.terminal import progress_bar, shown

    with progress_bar() as progress:
        progress.add_task(f"judging {shown(str(file))}", total=None)
        found = check.check_file(file, params, images)
    return export_tables.verdict(found), found.different
