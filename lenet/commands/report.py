"""`lenet report`."""

from pathlib import Path

import click

from lenet.commands import options
from lenet.commands.outliving import go_on_in_a_copy
from lenet.ports.threads import TRAINED, share_cores


@click.command()
@click.argument("ports", metavar="[PORT]...", nargs=-1, type=options.PORTS)
@click.option(
    "--out",
    type=options.FILE,
    metavar="FILE",
    default=Path("report.html"),
    show_default=True,
    help="The page to write.",
)
@click.option(
    "--site",
    type=options.FILE,
    metavar="DIR",
    help="Instead, write a folder of static pages to publish, with the report as index.html.",
)
@options.first_digits("Judge the first N test digits, and choose the digits to show from these.")
@click.option(
    "--strip", type=click.IntRange(1, 60), default=24, show_default=True, metavar="N", help="Digits to show."
)
@click.option(
    "--steps",
    type=options.COUNT,
    default=150,
    show_default=True,
    metavar="N",
    help="SGD steps in the training run.",
)
@click.option(
    "--bench",
    "bench_file",
    type=options.FILE,
    metavar="FILE",
    help="Show the timings in FILE, written by `lenet bench --json FILE`.",
)
@click.option(
    "--web",
    "web_folder",
    type=options.FILE,
    metavar="DIR",
    help="Folder of onnxruntime-web, from `make web`: the ONNX file then runs the digits drawn in the page.",
)
@click.pass_context
def report(
    ctx: click.Context,
    ports: tuple[str, ...],
    out: Path,
    site: Path | None,
    digits: int,
    strip: int,
    steps: int,
    bench_file: Path | None,
    web_folder: Path | None,
) -> None:
    """Write a page for the browser with all results.

    It tells what was built (the network, the code of each framework), what may differ and what does, what
    a planted bug looks like, the proof, and what the originals returned.

    Runs PORTs (default: all that are installed, each in its first mode). The page is a single HTML file that
    opens from disk and needs no network. Drawn digits and planted bugs are computed in the page itself.
    """
    share_cores(TRAINED)
    ended = go_on_in_a_copy()
    from export import from_numpy, onnx_file
    from lenet.commands.opening import open_ports, written_ports
    from lenet.compare import speed as stopwatch
    from lenet.network import weights
    from lenet.network.architecture import ACTIVATION_SHAPES
    from lenet.network.digits import test_set
    from lenet.reference import exact
    from lenet.show import tables
    from lenet.show.page import collect, render, web
    from lenet.show.page import site as beside
    from museum import museum_tables, recorded, replay
    from parity.command.terminal import output, progress_bar
    from parity.files import check_writable, write_together

    if site is not None:
        beside.make_folder(site)
        out = site / "index.html"
    check_writable(out)
    bench = None if bench_file is None else stopwatch.read(bench_file)
    runtime = None if web_folder is None else web.read(web_folder)
    params, chosen = weights.read(weights.TRAINED), test_set()[:digits]
    with progress_bar() as progress:
        first = [name for name in written_ports() if ":" not in name]
        opened, missing = open_ports(ports, "float32", progress, first, ended)
        task = progress.add_task("", total=collect.work(len(chosen), strip, steps) + 1)
        found = collect.collect(
            opened,
            params,
            weights.read(exact.EXACT),
            chosen,
            strip,
            steps,
            lambda doing, done: progress.update(task, description=doing, advance=done),
        )
        pages = {}
        if site is not None:
            follow = progress.add_task("", total=beside.count())
            pages = beside.pages(site, lambda doing: progress.update(follow, description=doing, advance=1))
        progress.update(task, description="judging the originals")
        replays = [replay.replay(recorded.read(name)) for name in recorded.names()]
        progress.update(task, description="writing the page")
        onnx = onnx_file.with_outputs(from_numpy.export(params), ACTIVATION_SHAPES).SerializeToString()
        links = {name: title for name, (title, _) in pages.items()}
        html = render.page(found, bench, onnx, runtime, museum_tables.originals(replays), links)
        write_together({**{out.with_name(name): text for name, (_, text) in pages.items()}, out: html})
    if missing:
        output().print(tables.missing(missing))
    output().print(f"{out}: {len(html.encode()) / 1e6:.1f} MB; open it in a browser")
    ctx.exit(int(bool(ports and missing)))
