"""`lenet compare`."""

from pathlib import Path

import click

from lenet.commands import options
from lenet.commands.outliving import go_on_in_a_copy
from lenet.ports.threads import share_cores


@click.command()
@click.argument("ports", metavar="[PORT]...", nargs=-1, type=options.PORTS)
@click.option("--layers", is_flag=True, help="Show every layer of every port.")
@options.first_digits("Take the first N test digits.")
@options.DTYPE
@options.WEIGHTS
@options.JSON
@click.option("--svg", "svg_file", type=options.FILE, hidden=True)
@click.pass_context
def compare(
    ctx: click.Context,
    ports: tuple[str, ...],
    layers: bool,
    digits: int,
    dtype: str,
    weights_file: Path | None,
    json_file: Path | None,
    svg_file: Path | None,
) -> None:
    """Are the ports the same function? The main job.

    Runs the ports on the same digits and judges every layer: rounding, or a different function. Then runs
    them with exact weights, with which the same function must return the same bits.

    Without PORT, compares all installed ports and modes except those of ONNX, all of which `onnx` names.
    The exit code is 1 if any port is different, or a named one fails to open.
    """
    ended = go_on_in_a_copy()
    share_cores(2)  # frameworks and the judge run at the same time
    from concurrent.futures import ThreadPoolExecutor
    from functools import partial

    from rich.console import Group

    from lenet.commands.opening import open_ports, require_named
    from lenet.compare import compare as judge
    from lenet.compare import exact_bits
    from lenet.network import weights
    from lenet.network.digits import test_set
    from lenet.ports.memory import keep_freed
    from lenet.reference import exact
    from lenet.show import tables
    from parity.command.terminal import output, progress_bar
    from parity.files import check_writable, write_atomically

    to_stdout = json_file == options.STDOUT
    for path in (None if to_stdout else json_file, svg_file):
        check_writable(path)
    require_named(ports)
    keep_freed()
    params = weights.read(weights_file or weights.TRAINED)
    chosen = test_set()[:digits]
    with progress_bar() as progress, ThreadPoolExecutor(1) as beside:
        right = beside.submit(
            exact_bits.right, weights.read(exact.EXACT), chosen.images, dtype
        )  # during the imports
        opened, missing = open_ports(ports, dtype, progress, without=ended)
        task = progress.add_task("judging digits", total=digits)
        advance = partial(progress.advance, task)
        result = judge(opened, params, chosen, advance, right.result())
    shown = [tables.comparison(result), *([tables.missing(missing)] if missing else [])]
    if layers:
        shown += [tables.layers(report) for report in result.ports if report.layers]
    options.write_json(result.to_json(), json_file)
    if not to_stdout:
        output().print(Group(*shown))
    if svg_file is not None:
        write_atomically(svg_file, tables.to_svg(Group(*shown), "lenet compare"))
    different = any(report.verdict != "rounding" for report in result.ports)
    ctx.exit(int(different or bool(ports and missing)))
