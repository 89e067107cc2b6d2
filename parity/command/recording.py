"""`parity record`: what a runtime or a framework computes, in a file for another machine or another time."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parity.command.copies import end, within_limits
from parity.command.sources import (
    DIM,
    FILE,
    INPUTS,
    RUNTIMES,
    SEED,
    TIMEOUT,
    inputs_of,
    is_one_of,
    read_files,
    read_graph,
    run_runtime,
)
from parity.command.terminal import progress_bar, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parity.arithmetic import Array


@click.command("record")
@click.argument("source", metavar="MODEL.onnx|PORT.py:NAME")
@click.argument("out", metavar="OUT.npz", type=FILE)
@click.option(
    "--runtime",
    type=click.Choice(RUNTIMES),
    metavar="NAME",
    help=f"What runs MODEL.onnx: {', '.join(RUNTIMES)} (default: {RUNTIMES[0]}).",
)
@INPUTS
@DIM
@SEED
@click.option(
    "--map",
    "map_file",
    type=FILE,
    metavar="FILE.json",
    help="What to record: {own name: name in the graph, or [name, axes]}, axes such as NHWC->NCHW.",
)
@click.option(
    "--graph",
    "graph_file",
    type=FILE,
    metavar="FILE.onnx",
    help="The graph of PORT.py:NAME, for random inputs and for the names of tensors.",
)
@click.option(
    "--export", "export_file", type=FILE, metavar="FILE.onnx", help="Write the graph of a PyTorch module too."
)
@TIMEOUT
def record(
    source: str,
    out: Path,
    runtime: str | None,
    inputs_file: Path | None,
    sizes: tuple[tuple[str, int], ...],
    seed: int | None,
    map_file: Path | None,
    graph_file: Path | None,
    export_file: Path | None,
    timeout: float,
) -> None:
    """Write what a runtime or a framework computes to OUT.npz, for `parity judge --values`.

    MODEL.onnx is run by a runtime, on --inputs or on random inputs of the declared shapes.

    PORT.py:NAME is a PyTorch module, a Keras model, or a function of JAX or of arrays, or a function without
    arguments that returns one. The file PORT.py is run, so record only files that you trust. The tensors of a
    PyTorch module get the names of its exported graph. Those of a Keras model need --map, without which they
    keep their own names and axes.
    """
    place = Path.cwd() / out  # the file may change the folder
    file, colon, name = source.rpartition(":")
    port = (Path(file), name) if colon and file.endswith(".py") else None
    given = (Path(file) if port else Path(source), inputs_file, map_file, graph_file)
    _check_options(port is not None, runtime, inputs_file, graph_file, export_file, seed)
    within_limits(source, timeout)
    from parity.files import check_writable
    from parity.record import renamed, write_npz

    for written in (out, export_file):
        check_writable(written)
        if is_one_of(written, given):
            raise click.UsageError(f"{shown(str(written))} would be overwritten, which is to be read.")
    with progress_bar() as bar:
        bar.add_task(f"running {shown(source)}", total=None)
        files = read_files(inputs_file) if inputs_file else None
        values: Mapping[str, Array]
        if port is not None:
            values = _of_framework(port, files, graph_file, dict(sizes), seed or 0, map_file, export_file)
        else:
            graph = read_graph(Path(source), files or {}, dict(sizes))
            inputs, _ = inputs_of(graph, files, seed or 0)
            values = run_runtime(Path(source), graph, inputs, runtime or RUNTIMES[0])
            values = values if map_file is None else renamed(values, map_file, keep=graph.inputs)
        write_npz(place, values)
    click.echo(f"{shown(str(out))}: {len(values)} tensors")
    end(0)


def _check_options(
    is_port: bool,
    runtime: str | None,
    inputs_file: Path | None,
    graph_file: Path | None,
    export_file: Path | None,
    seed: int | None,
) -> None:
    if is_port and runtime:
        raise click.UsageError("--runtime runs MODEL.onnx; PORT.py:NAME runs by itself.")
    if is_port and inputs_file is None and graph_file is None:
        raise click.UsageError("PORT.py:NAME needs --inputs, or --graph for random ones.")
    if not is_port and (graph_file or export_file):
        raise click.UsageError("--graph and --export are for PORT.py:NAME.")
    if inputs_file is not None and seed is not None:
        raise click.UsageError("--seed is for random inputs, but --inputs gives them.")


def _of_framework(
    port: tuple[Path, str],
    files: "Mapping[str, Array] | None",
    graph_file: Path | None,
    sizes: dict[str, int],
    seed: int,
    map_file: Path | None,
    export_file: Path | None,
) -> "Mapping[str, Array]":
    """The tensors of what a Python file holds."""
    from parity.errors import UserError
    from parity.files import write_atomically
    from parity.onnx.reading import load
    from parity.record import export_torch
    from parity.record.candidates import kind, recorded
    from parity.record.python_files import held_by
    from parity.record.sessions import refusing

    graph = None if graph_file is None else read_graph(graph_file, files or {}, sizes)
    inputs: Any = files if graph is None else inputs_of(graph, files, seed)[0]
    candidate = held_by(*port)
    if export_file is not None and kind(candidate) != "PyTorch module":
        raise UserError(f"{port[1]} is no PyTorch module but a {kind(candidate)}, which is not exported")
    with refusing(f"{port[1]} of {port[0]} cannot be run"):
        model = load(graph_file) if graph_file else None
        if export_file is not None:
            exported = export_torch(candidate, dict(inputs))
            write_atomically(export_file, exported.SerializeToString())
            model = model or exported
        return recorded(candidate, dict(inputs), map_file, model, graph.outputs if graph else ())
