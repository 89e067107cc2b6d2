"""What the commands read and run: npz files, models, and runtimes."""

from collections import ChainMap
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parity.command.terminal import shown

if TYPE_CHECKING:
    from parity.arithmetic import Array
    from parity.graph import Graph

FILE = click.Path(path_type=Path)
RUNTIMES = ("onnxruntime", "onnxruntime-all", "reference", "openvino", "openvino-f32", "opencv")
LARGEST = 2**31 - 1  # size of a dimension


class Size(click.ParamType):
    """NAME=N, the size of a symbolic dimension."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        name, equals, size = str(value).rpartition("=")
        if not (name and equals and size.isascii() and size.isdigit() and 0 < int(size) <= LARGEST):
            self.fail(f"{value!r} is not NAME=N with a whole number N from 1 to {LARGEST}.", param, ctx)
        return name, int(size)


class NotNegative(click.FloatRange):
    """A finite number from 0 to `most`; 0 itself only if it is not open."""

    def __init__(self, *, open: bool = False, most: float | None = None) -> None:
        super().__init__(min=0, max=most, min_open=open)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        return number if isfinite(number) else self.fail(f"{value} is not finite.", param, ctx)


SECONDS = NotNegative(open=True, most=10**6)  # eleven days: more than the system can wait at once

# Options that several commands have.
INPUTS = click.option(
    "--inputs", "inputs_file", type=FILE, metavar="FILE.npz", help="Inputs, by their names in the graph."
)
DIM = click.option(
    "--dim", "sizes", type=Size(), multiple=True, metavar="NAME=N", help="Size of a symbolic dimension."
)
SEED = click.option("--seed", type=click.IntRange(0), metavar="N", help="Of random inputs (default: 0).")
JSON = click.option(
    "--json", "json_file", type=FILE, metavar="FILE", help="Write the result as JSON; - is standard output."
)
TIMEOUT = click.option(
    "--timeout",
    type=SECONDS,
    default=3600,
    show_default=True,
    metavar="SECONDS",
    help="Time limit. There is one of memory too: three quarters of what is free.",
)


class Files(ChainMap[str, "Array"]):
    """The arrays of several npz files, read one at a time."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every array, without reading the arrays."""
        found: dict[str, tuple[int, ...]] = {}
        for one in self.maps:
            found |= getattr(one, "shapes", {})
        return found


def read_files(*files: Path | None) -> Files:
    """The arrays of several npz files.

    Raises:
        UserError: two files hold an array of the same name, or one cannot be read.
    """
    from parity.errors import UserError
    from parity.record import read_npz

    opened = [read_npz(path) for path in files if path is not None]
    for one in opened[1:]:
        for name in one:
            if name in opened[0]:
                raise UserError(f"{name} is given twice: in {opened[0].path} and in {one.path}")
    return Files(*opened)  # type: ignore[arg-type]  # it is only read


def read_graph(model: Path, files: Mapping[str, Any], sizes: dict[str, int]) -> "Graph":
    """The graph of a model, with the shapes of the arrays that are given."""
    from parity.onnx import read_onnx

    return read_onnx(model, shapes=getattr(files, "shapes", {}), sizes=sizes)


def inputs_of(
    graph: "Graph", given: "Mapping[str, Array] | None", seed: int
) -> "tuple[dict[str, Array], str]":
    """The inputs for a graph, given or drawn at random, and words about them.

    Raises:
        UserError: the given ones do not fit, or they cannot be drawn.
    """
    from parity.record.random_inputs import DRAWN, check_inputs, random_inputs

    if given is not None:
        check_inputs(graph, given)
        return dict(given), "on given inputs"
    drawn = random_inputs(graph, seed)
    said = ", ".join(f"{shown(name)} {list(array.shape)}" for name, array in drawn.items())
    return drawn, f"on random inputs (seed {seed}; {DRAWN}): {said or 'none'}"


def run_runtime(model: Path, graph: "Graph", inputs: "dict[str, Array]", runtime: str) -> "dict[str, Array]":
    """The tensors that a runtime computes, of those that the graph has."""
    from parity.record import record_onnx

    known = {*graph.tensors, *graph.inputs}
    return {name: array for name, array in record_onnx(model, inputs, runtime).items() if name in known}


def is_one_of(file: Path | None, others: "tuple[Path | None, ...]") -> bool:
    """Whether a file is one of the others, so that writing it would overwrite that one."""
    there = [one for one in others if one is not None and one.exists()]
    return file is not None and file.exists() and any(file.samefile(one) for one in there)
