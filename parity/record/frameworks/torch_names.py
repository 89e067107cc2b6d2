"""Which tensor of an exported graph is what a PyTorch module returns, from the exporter's own metadata.

The exporter writes at each node in which modules it was traced. A tensor that is made inside of a module and
used outside of it is one that the module returns.
"""

import ast
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, ValueInfoProto

from parity.record.own_names import own_name, split

SCOPES = "pkg.torch.onnx.name_scopes"  # written by torch.onnx: paths of the modules, then the operator
CALLS = "parity.module_calls"  # written by export_torch: the same with the number of each call
Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Returned:
    """A tensor that leaves a module.

    Attributes:
        name: its name in the graph.
        shape: its sizes; None for a size that is not fixed, or for a shape that is not declared.
    """

    name: str
    shape: Shape | None


@dataclass(frozen=True)
class Traced:
    """What a graph tells of the modules that it was exported from.

    Attributes:
        returned: {own name of a call, "layer1.0.relu@1": the tensors that leave it}.
        calls: the own names of all calls, in order of execution. Two calls of which one follows the other
            directly are one, unless `exact`.
        exact: whether the numbers of the calls were written by the exporter.
    """

    returned: dict[str, tuple[Returned, ...]]
    calls: tuple[str, ...]
    exact: bool


def traced(model: ModelProto) -> Traced:
    """The tensors that leave each module of an exported graph."""
    graph = model.graph
    exact = any(one.key == CALLS for node in graph.node for one in node.metadata_props)
    within = list(_written(graph.node) if exact else _counted(graph.node))
    users: dict[str, list[int]] = {}
    for index, node in enumerate(graph.node):
        for name in _inputs(node):
            users.setdefault(name, []).append(index)
    outputs = {one.name for one in graph.output}
    shapes = {one.name: _shape(one) for one in (*graph.value_info, *graph.output)}
    computed = _computed(graph)
    found: dict[str, list[Returned]] = {}
    for index, node in enumerate(graph.node):
        for name in node.output:
            if name not in computed:
                continue
            for call in within[index]:
                leaves = name in outputs or any(call not in within[user] for user in users.get(name, ()))
                if leaves:
                    found.setdefault(call, []).append(Returned(name, shapes.get(name)))
    calls = tuple(dict.fromkeys(call for node in within for call in node))
    return Traced({call: tuple(tensors) for call, tensors in found.items()}, calls, exact)


def module_names(model: ModelProto) -> dict[str, str]:
    """{path of a PyTorch module: the tensor that it returns} in a graph that was exported from it.

    For the `names` of a port in another framework whose layers have the names of these modules. A module of
    which several tensors leave is left out.
    """
    return {path: found[0].name for path, found in traced(model).returned.items() if len(found) == 1}


def same_calls(told: Traced, seen: Iterable[str], aliases: Mapping[str, str]) -> dict[str, str]:
    """{own name of a call that was seen: that of the same call in the graph}, where this is certain.

    Args:
        told: the calls in the graph.
        seen: the calls that were seen; a module with several paths is called by its first one.
        aliases: {other path of such a module: its first path}.
    """
    theirs: dict[str, list[str]] = {}
    ours: dict[str, list[str]] = {}
    for call in told.calls:
        path = split(call)[0]
        theirs.setdefault(aliases.get(path, path), []).append(call)
    for call in seen:
        ours.setdefault(split(call)[0], []).append(call)
    found: dict[str, str] = {}
    for path, calls in ours.items():
        if told.exact and path not in aliases.values():
            found |= {call: call for call in calls}
        elif len(calls) == len(theirs.get(path, ())):
            found |= dict(zip(calls, theirs[path], strict=True))
    return found


def plain(path: str) -> str:
    """The path of a module without the wrappers of torch.compile."""
    return ".".join(part for part in path.split(".") if part != "_orig_mod")


def scopes(node: NodeProto) -> list[str]:
    """The paths of the modules in which a node was traced, outermost first, without the whole module."""
    text = next((one.value for one in node.metadata_props if one.key == SCOPES), "[]")
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    paths = [one for one in found if isinstance(one, str)][:-1] if isinstance(found, list) else []
    return list(dict.fromkeys(path for one in paths if (path := plain(one))))


def _written(nodes: Sequence[NodeProto]) -> Iterator[frozenset[str]]:
    """The calls in which each node was traced, as export_torch writes them."""
    for node in nodes:
        text = next((one.value for one in node.metadata_props if one.key == CALLS), "[]")
        yield frozenset(json.loads(text))


def _counted(nodes: Sequence[NodeProto]) -> Iterator[frozenset[str]]:
    """The calls in which each node was traced: a module that comes back later is called again."""
    calls: Counter[str] = Counter()
    before: dict[str, str] = {}
    for node in nodes:
        now = {}
        for path in scopes(node):
            if path not in before:
                before[path] = own_name(path, calls[path])
                calls[path] += 1
            now[path] = before[path]
        before = now
        yield frozenset(now.values())


def _computed(graph: GraphProto) -> set[str]:
    """The tensors that depend on an input or a weight; the others are constants, such as shapes."""
    found = {one.name for one in (*graph.input, *graph.initializer)}
    for node in graph.node:
        if any(name in found for name in _inputs(node)):
            found.update(node.output)
    return found - {""}


def _inputs(node: NodeProto) -> Iterator[str]:
    """The tensors that a node reads, also inside of its branches."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            for inner in attribute.g.node:
                yield from _inputs(inner)
            yield from (one.name for one in attribute.g.output)


def _shape(value: ValueInfoProto) -> Shape | None:
    if not value.type.tensor_type.HasField("shape"):
        return None
    return tuple(
        dim.dim_value if dim.HasField("dim_value") else None for dim in value.type.tensor_type.shape.dim
    )
