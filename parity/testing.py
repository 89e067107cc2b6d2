"""An assertion for your own test suite, which judges a port as `parity judge` does:

    from parity.testing import assert_same
    from my_port import model


    def test_my_port():
        assert_same("model.onnx", model, {"x": x})

A failing test shows the verdict: the first wrong tensor, its worst value, and the mistake that explains it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from parity.command.report import explained, headline
from parity.errors import UserError
from parity.graph import Graph
from parity.judging.causes import judge
from parity.judging.verdict import Report
from parity.onnx.reading import load, read_onnx
from parity.record.candidates import kind, recorded
from parity.record.own_names import Names
from parity.record.random_inputs import check_inputs

if TYPE_CHECKING:
    from onnx import ModelProto

PORT = "The candidate does not compute the reference."
EXPORT = (
    "The reference module itself does not compute the graph that PyTorch's exporter made of it, so the "
    "candidate was not judged: the module is in training mode or runs in reduced precision, or the exporter "
    "made a mistake."
)


def assert_same(
    reference: "str | Path | ModelProto | Graph | Any",
    candidate: Any,
    inputs: Any,
    *,
    names: Names | None = None,
    sample: int | None = None,
) -> Report:
    """Assert that a candidate computes the same function as a reference, up to rounding.

    Args:
        reference: an ONNX file or model, a graph, or a PyTorch module. A module is exported, and its own
            values are judged against the graph first, so that a mistake of the exporter is not taken for one
            of the port.
        candidate: recorded arrays by name; a PyTorch module; a Keras model; a JAX function, or any other
            function of arrays; or the name of a runtime, such as "onnxruntime-all".
        inputs: arrays by their names in the graph; a tuple in the graph's order; or one array.
        names: {the candidate's own name: name in the graph, or (name, "NHWC->NCHW")}, see `parity.record`.
            Without it the modules of a PyTorch port are expected to have the paths of the exported module,
            and of other candidates what they return is judged.
        sample: the number of values to judge per tensor; None for all.

    Returns:
        The report, if the candidate computes the same function.

    Raises:
        AssertionError: it does not; the message is the verdict.
        UserError: the candidate cannot be run, or names or inputs do not fit.
    """
    __tracebackhide__ = True  # pytest shows the test, not this function
    from onnx import ModelProto

    what = kind(candidate)
    source: ModelProto | Path | None = None
    if isinstance(reference, Graph):
        graph, fed = reference, _by_name(reference, inputs)
    elif isinstance(reference, ModelProto | str | Path):
        source = Path(reference) if isinstance(reference, str) else reference
        graph = read_onnx(source)
        fed = _by_name(graph, inputs)
        if isinstance(source, Path) and what == "PyTorch module":
            source = load(source)  # its metadata tell which tensor a module returns
    else:
        source, graph, fed = _exported(reference, inputs, sample)
    values = recorded(candidate, fed, names, source, graph.outputs)
    if what == "runtime":  # which shows names of its own too
        values = {name: one for name, one in values.items() if name in {*graph.tensors, *graph.inputs}}
    return _same(judge(graph, values, sample=sample), PORT)


def _same(report: Report, otherwise: str) -> Report:
    __tracebackhide__ = True
    if report.same:
        return report
    raise AssertionError("\n".join([otherwise, headline(report), *explained(report)]))


def _exported(module: Any, inputs: Any, sample: int | None) -> "tuple[ModelProto, Graph, dict[str, Any]]":
    """The graph of a PyTorch module, which computes it, and the inputs by their names in the graph."""
    __tracebackhide__ = True
    if kind(module) != "PyTorch module":
        raise UserError(f"the reference is a {kind(module)}: give an ONNX file, a graph, or a PyTorch module")
    from parity.record import export_torch, record_torch

    model = export_torch(module, inputs)
    graph, values = read_onnx(model), record_torch(module, inputs, model)
    _same(judge(graph, values, sample=sample), EXPORT)
    return model, graph, {name: values[name] for name in graph.inputs}


def _by_name(graph: Graph, inputs: Any) -> dict[str, Any]:
    """The inputs by their names in the graph."""
    if not isinstance(inputs, Mapping):
        several: Sequence[Any] = inputs if isinstance(inputs, tuple | list) else (inputs,)
        if len(several) != len(graph.inputs):
            names = ", ".join(graph.inputs)
            raise UserError(f"{graph.name} has the inputs {names}, but {len(several)} were given")
        inputs = dict(zip(graph.inputs, several, strict=True))
    given = {name: np.asarray(one) for name, one in inputs.items()}
    check_inputs(graph, given)
    return given
