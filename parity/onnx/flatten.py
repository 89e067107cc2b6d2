"""Turns a model into one flat list of nodes, in an order in which they can be evaluated.

The model's functions are written out, an If with a constant condition is replaced by the branch that it
takes, and nodes are sorted.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from heapq import heappop, heappush

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto, inliner

from parity.errors import UserError

MOST = 2**20  # nodes after functions are written out; more nodes mean an attack or a damaged file
Key = tuple[str, str, str]  # domain, type, overload


def standard(domain: str) -> str:
    """The name of a domain. The standard's domain has two names, of which this returns the empty one."""
    return "" if domain == "ai.onnx" else domain


def key(node: NodeProto) -> Key:
    """The domain, type and overload of a node, which identify the function that it calls."""
    return standard(node.domain), node.op_type, node.overload


def inlined(model: ModelProto, name: str) -> ModelProto:
    """The model with its functions written out where they are called, as far as `onnx.inliner` can.

    Raises:
        UserError: a function calls itself, or there are too many nodes.
    """
    if not model.functions:
        return model
    bodies = {(standard(one.domain), one.name, one.overload): one.node for one in model.functions}
    open_calls: set[Key] = set()

    @cache
    def size(called: Key) -> int:
        if called in open_calls:
            raise UserError(f"{name}: the function {called[1]} calls itself")
        if len(open_calls) > 200:
            raise UserError(f"{name}: functions call one another more than 200 deep")
        open_calls.add(called)
        total = count(bodies[called])
        open_calls.remove(called)
        return total

    def count(nodes: Sequence[NodeProto]) -> int:
        return sum(size(key(node)) if key(node) in bodies else 1 for node in every(nodes))

    for called in bodies:
        size(called)
    if count(model.graph.node) > MOST:
        raise UserError(f"{name}: has more than {MOST:,} nodes after its functions are written out")
    try:
        return inliner.inline_local_functions(model)
    except Exception as error:  # its C++ code has no exception type of its own
        raise UserError(f"{name}: its functions cannot be written out: {error}") from error


def every(nodes: Sequence[NodeProto]) -> Iterator[NodeProto]:
    """All nodes, including those of subgraphs."""
    for node in nodes:
        yield node
        for graph in subgraphs(node):
            yield from every(graph.node)


def subgraphs(node: NodeProto) -> list[GraphProto]:
    """The graphs within a node: the branches of an If, the body of a Loop."""
    graphs = [one.g for one in node.attribute if one.type == AttributeProto.GRAPH]
    return graphs + [graph for one in node.attribute for graph in one.graphs]


def reads(node: NodeProto) -> set[str]:
    """Names of all tensors that a node needs, including those that its subgraphs use from the outer graph."""
    names = set(node.input)
    for graph in subgraphs(node):
        inside = {one.name for one in (*graph.input, *graph.initializer)}
        inside |= {output for inner in graph.node for output in inner.output}
        needed = {one.name for one in graph.output}.union(*(reads(inner) for inner in graph.node))
        names |= needed - inside
    return names - {""}


def in_order(nodes: Sequence[NodeProto], given: set[str], name: str) -> list[NodeProto]:
    """Nodes, each after the nodes that make its inputs; the order of the file is kept if it is right.

    Raises:
        UserError: two nodes make one tensor, no node makes it, or nodes need each other in a circle.
    """
    makers = Counter(output for node in nodes for output in node.output if output)
    for tensor, count in makers.items():
        if count > 1 or tensor in given:
            raise UserError(f"{name}: the tensor {tensor!r} is made twice")
    for node in nodes:
        for tensor in sorted(reads(node)):
            if tensor not in makers and tensor not in given:
                raise UserError(f"{name}: {node.op_type} {node.name!r} needs {tensor!r}, which nothing makes")
    return _sorted(nodes, name)


def _sorted(nodes: Sequence[NodeProto], name: str) -> list[NodeProto]:
    """Sort nodes: of all nodes whose inputs are ready, the first in the file comes next."""
    maker = {output: place for place, node in enumerate(nodes) for output in node.output if output}
    before = [{maker[tensor] for tensor in reads(node) if tensor in maker} for node in nodes]
    behind: list[list[int]] = [[] for _ in nodes]
    for place, makers in enumerate(before):
        for one in makers:
            behind[one].append(place)
    missing = [len(makers) for makers in before]
    ready = [place for place, count in enumerate(missing) if not count]
    ordered = []
    while ready:
        place = heappop(ready)
        ordered.append(nodes[place])
        for follower in behind[place]:
            missing[follower] -= 1
            if not missing[follower]:
                heappush(ready, follower)
    if len(ordered) < len(nodes):
        stuck = nodes[next(place for place, count in enumerate(missing) if count)]
        raise UserError(
            f"{name}: nodes need one another in a circle, {stuck.op_type} {stuck.name!r} among them"
        )
    return ordered


def without_ifs(
    nodes: Sequence[NodeProto], condition: Callable[[str], bool | None], taken: set[str]
) -> tuple[list[NodeProto], list[TensorProto | tuple[str, SparseTensorProto]]]:
    """Replace each If whose condition is known by the branch that it takes.

    Args:
        nodes: those of one graph.
        condition: a function that returns the value of a tensor, or None if it is not a constant.
        taken: names that are in use; an inner tensor with one of these names gets a new name.

    Returns:
        the nodes, and the constants of the branches.
    """
    flat: list[NodeProto] = []
    constants: list = []
    for node in nodes:
        chosen = condition(node.input[0]) if node.op_type == "If" and node.input else None
        branches = {one.name: one.g for one in node.attribute if one.type == AttributeProto.GRAPH}
        branch = branches.get("then_branch" if chosen else "else_branch")
        if standard(node.domain) or chosen is None or branch is None:
            flat.append(node)
            continue
        inner, weights = _branch(node, branch, taken)
        deeper, more = without_ifs(inner, condition, taken)
        flat += deeper
        constants += [*weights, *more]
    return flat, constants


def _branch(node: NodeProto, branch: GraphProto, taken: set[str]) -> tuple[list[NodeProto], list]:
    """The nodes and constants of a branch, whose outputs get the names of the outputs of the If."""
    made = [name for inner in branch.node for name in inner.output if name]
    made += [one.name for one in branch.initializer] + [one.values.name for one in branch.sparse_initializer]
    names = {name: fresh(name, node.name or next(iter(node.output), "If"), taken) for name in made}
    passed = []
    for output, wanted in zip(branch.output, node.output, strict=False):
        if output.name in made and output.name not in passed and names[output.name] not in node.output:
            names[output.name] = wanted
            passed.append(output.name)
    nodes = [_renamed(inner, names) for inner in branch.node]
    for output, wanted in zip(branch.output, node.output, strict=False):
        source = names.get(output.name, output.name)
        if source != wanted:  # a tensor of the outer graph, or one that is returned twice
            nodes.append(NodeProto(op_type="Identity", input=[source], output=[wanted], name=f"{wanted}/If"))
    weights: list = []
    for one in branch.initializer:
        copy = TensorProto()
        copy.CopyFrom(one)
        copy.name = names[one.name]
        weights.append(copy)
    weights += [(names[one.values.name], one) for one in branch.sparse_initializer]
    return nodes, weights


def fresh(name: str, prefix: str, taken: set[str]) -> str:
    """The name, or a similar name that is not taken yet; it is added to `taken`."""
    found = name
    while found in taken:
        found = f"{prefix}/{found}"
    taken.add(found)
    return found


def _renamed(node: NodeProto, names: dict[str, str]) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    _rename(copy, names)
    return copy


def _rename(node: NodeProto, names: dict[str, str]) -> None:
    node.input[:] = [names.get(name, name) for name in node.input]
    node.output[:] = [names.get(name, name) for name in node.output]
    for graph in subgraphs(node):
        hidden = {one.name for one in (*graph.input, *graph.initializer)}
        seen = {old: new for old, new in names.items() if old not in hidden}
        for inner in graph.node:
            _rename(inner, seen)
        for output in graph.output:
            output.name = seen.get(output.name, output.name)
