"""The `parity` command. It imports NumPy and onnx only when needed, so that `--help` is fast."""

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parity.command.copies import within_limits
from parity.command.interrupts import CTRL_C
from parity.command.probe import probe
from parity.command.recording import record
from parity.command.sources import (
    DIM,
    FILE,
    INPUTS,
    JSON,
    RUNTIMES,
    SEED,
    TIMEOUT,
    inputs_of,
    is_one_of,
    read_files,
    read_graph,
    run_runtime,
)
from parity.command.terminal import Commands, open_streams, output, progress_bar, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parity.arithmetic import Array
    from parity.graph import Graph
    from parity.judging.verdict import Report


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="lenet-migrations", prog_name="parity", message="%(prog)s %(version)s")
def cli() -> None:
    """Do two implementations of a network compute the same function? Is a difference rounding or a bug?"""


@cli.command()
@click.argument("model", metavar="MODEL.onnx", type=FILE)
@INPUTS
@click.option(
    "--values",
    "values_file",
    type=FILE,
    metavar="FILE.npz",
    help="Tensors recorded anywhere, by their names in the graph, inputs included. Nothing is run.",
)
@click.option(
    "--map",
    "map_file",
    type=FILE,
    metavar="FILE.json",
    help="Names of --values: {own name: name in the graph, or [name, axes]}, axes such as NHWC->NCHW.",
)
@click.option(
    "--runtime", type=click.Choice(RUNTIMES), metavar="NAME", help=f"What to judge: {', '.join(RUNTIMES)}."
)
@DIM
@click.option("--sample", type=click.IntRange(1), metavar="N", help="Judge N values of each tensor.")
@SEED
@click.option("--all", "every", is_flag=True, help="Show all tensors, not the worst alone.")
@JSON
@click.option(
    "--html", "html_file", type=FILE, metavar="FILE", help="Write the result as a page with the graph."
)
@TIMEOUT
@click.pass_context
def judge(
    ctx: click.Context,
    model: Path,
    inputs_file: Path | None,
    values_file: Path | None,
    map_file: Path | None,
    runtime: str | None,
    sizes: tuple[tuple[str, int], ...],
    sample: int | None,
    seed: int | None,
    every: bool,
    json_file: Path | None,
    html_file: Path | None,
    timeout: float,
) -> None:
    """Judge every tensor that an implementation of MODEL.onnx computes.

    Without --values it judges a runtime, by default onnxruntime without optimisation, on --inputs or on
    random inputs of the declared shapes.

    The exit code is 0 for the same function; 1 if a tensor is different or coarse, or an output undecided;
    2 if nothing could be judged.
    """
    if values_file is not None and (runtime or seed is not None):
        raise click.UsageError(
            "--values judges what was recorded: --runtime and --seed have no meaning beside it."
        )
    if map_file is not None and values_file is None:
        raise click.UsageError("--map gives names to what was recorded: it needs --values.")
    if inputs_file is not None and seed is not None:
        raise click.UsageError("--seed is for random inputs, but --inputs gives them.")
    within_limits(str(model), timeout)
    to_stdout = json_file == Path("-")
    import json

    from parity.files import write_atomically

    _check_results(json_file, html_file, (model, inputs_file, values_file, map_file))
    if html_file is not None:
        from parity.command.page import page  # a missing Jinja is reported before anything is judged
    with progress_bar() as bar:
        task = bar.add_task("reading", total=None)
        files = read_files(inputs_file, values_file)
        if values_file is not None:
            graph, values = _named(model, files, map_file, dict(sizes))
            what = f"{shown(str(values_file))} on its own inputs"
        else:
            graph, runtime = read_graph(model, files, dict(sizes)), runtime or "onnxruntime"
            bar.update(task, description=f"running {runtime}")
            inputs, what = inputs_of(graph, files if inputs_file else None, seed or 0)
            values, what = run_runtime(model, graph, inputs, runtime), f"{runtime} {what}"
        bar.update(task, description="judging", total=sum(name in values for name in graph.tensors))
        report = _judge(graph, values, sample, lambda tensor: bar.advance(task))
    if html_file is not None:
        write_atomically(html_file, page(graph, report, what))
    text = json.dumps(report.to_json(), indent=2, allow_nan=False) + "\n"
    if to_stdout:
        click.echo(text, nl=False)
    else:
        _show(report, what, every)
        if json_file is not None:
            write_atomically(json_file, text)
    ctx.exit(2 if report.nothing else 0 if report.same else 1)


def _check_results(json_file: Path | None, html_file: Path | None, read: tuple[Path | None, ...]) -> None:
    """Refuse results that cannot be written, or would overwrite what is read, or each other."""
    from parity.files import check_writable

    results = {"--json": None if json_file == Path("-") else json_file, "--html": html_file}
    for option, file in results.items():
        check_writable(file)
        if is_one_of(file, read):
            raise click.UsageError(f"{option} {shown(str(file))} would overwrite what is judged.")
    if html_file == Path("-"):
        raise click.UsageError("--html needs the name of a file.")
    if html_file is not None and json_file is not None and html_file.resolve() == json_file.resolve():
        raise click.UsageError("--json and --html would write into the same file.")


def _named(
    model: Path, files: "Mapping[str, Array]", map_file: Path | None, sizes: dict[str, int]
) -> "tuple[Graph, Mapping[str, Array]]":
    """The graph, and recorded arrays under its names."""
    if map_file is None:
        return read_graph(model, files, sizes), files
    from parity.record import renamed

    graph = read_graph(model, renamed(files, map_file, keep=files), sizes)
    return graph, renamed(files, map_file, keep=graph.inputs)


def _judge(graph: "Graph", values: "Mapping[str, Array]", sample: int | None, progress: Any) -> "Report":
    from parity.judging.causes import judge

    return judge(graph, values, sample=sample, progress=progress)


def _show(report: "Report", what: str, every: bool) -> None:
    from parity.command.report import rendered

    console = output()
    console.print(what)
    console.print()
    console.print(rendered(report, console, every))


cli.add_command(record)
cli.add_command(probe)


def main() -> None:
    """Run the command line."""
    open_streams()
    CTRL_C.install()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries' warnings to their developers
    cli(prog_name="parity")
