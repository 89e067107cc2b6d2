"""Probes every node of a graph; nodes that are alike are probed once."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from parity.arithmetic import Array
from parity.errors import Unjudged, UserError
from parity.graph import Graph, Node
from parity.judging.probes.examine import NOTHING, examine, is_known
from parity.judging.probes.finding import Finding, ProbeReport
from parity.judging.probes.integer_data import SELECTING
from parity.judging.probes.operand import Operand
from parity.judging.probes.tensor_shapes import Shapes
from parity.judging.walk import MISFITS, check_graph

if TYPE_CHECKING:
    from onnx import ModelProto

RunModel = Callable[["ModelProto", Mapping[str, Array]], Mapping[str, Array]]
Operands = tuple[Operand | None, ...]


def probe(graph: Graph, run: RunModel, *, progress: Callable[[str], None] = lambda node: None) -> ProbeReport:
    """Run every node by itself, on integers and on single products, and say what is wrong.

    Args:
        graph: as `parity.read_onnx` reads it, with a size for every dimension of its inputs.
        run: a function of a model of one node and its inputs by name that returns the outputs by name. A
            UserError that it raises stands in the report, as the reason why a node was not probed; any other
            exception ends the probing.
        progress: called with the name of each node.

    Raises:
        UserError: no graph, or one with an input that has a dimension without a size.
    """
    check_graph(graph)
    shapes, used = Shapes(graph), {*graph.outputs}.union(*(node.inputs for node in graph.nodes))
    findings: dict[Any, Finding] = {}
    for node in graph.nodes:
        progress(node.name)
        operands, reason = _operands(node, shapes)
        key = (node.type, repr(node.operator), reason, *map(_signature, _kept(node, operands)))
        if key in findings:
            findings[key] = replace(findings[key], nodes=(*findings[key].nodes, node.name))
        elif reason:
            findings[key] = Finding((node.name,), node.type, note=reason)
        else:
            made = [name != "" and name in used for name in node.outputs]
            findings[key] = _examined(graph, node, operands, made, run)
    return ProbeReport(tuple(findings.values()))


def _operands(node: Node, shapes: Shapes) -> tuple[Operands, str]:
    """The inputs of a node, or a reason why it cannot be probed."""
    if node.operator is None or node.source is None:
        return (), node.problem or NOTHING
    if not is_known(node.operator):
        return (), NOTHING
    operands = []
    for name in node.inputs:
        one = shapes.operand(name) if name else None
        if name and one is None:
            return (), f"the shape of {name} is not known"
        operands.append(one)
    if operands and all(one is None or one.constant for one in operands):
        return (), "all its inputs are constants"
    return tuple(operands), ""


def _kept(node: Node, operands: Operands) -> list[Operand | None]:
    """The inputs, without the values that a probe replaces."""
    return [
        replace(one, value=None) if one and one.is_float and node.type not in SELECTING else one
        for one in operands
    ]


def _signature(one: Operand | None) -> tuple[Any, ...]:
    """What tells one input from another."""
    if one is None:
        return ()
    return one.shape, one.dtype.name, one.constant, None if one.value is None else one.value.tobytes()


def _examined(graph: Graph, node: Node, operands: Operands, used: list[bool], run: RunModel) -> Finding:
    """The finding at a node, of whose outputs those are looked at that are used."""
    from parity.onnx.one_node import one_node_model

    held = [one is not None and (one.constant or one.value is not None) for one in operands]

    def run_node(inputs: tuple[Array | None, ...]) -> list[Array | None]:
        model = one_node_model(node.source, graph.opsets, inputs, held, used)
        given = {
            f"x{place}": array
            for place, (array, inside) in enumerate(zip(inputs, held, strict=True))
            if array is not None and not inside
        }
        found = run(model, given)
        if lost := [one.name for one in model.graph.output if one.name not in found]:
            raise UserError(f"the runtime returns no {', '.join(lost)}")
        return [found.get(f"y{place}") if inside else None for place, inside in enumerate(used)]

    assert node.operator is not None
    try:
        return examine(node.operator, operands, run_node, node.name)
    except (Unjudged, *MISFITS) as error:
        return Finding((node.name,), node.type, note=f"does not fit its inputs: {error}")
