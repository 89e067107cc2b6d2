"""Graphs of several products, and right candidates for them: what the judge's tests plant faults in."""

import numpy as np

from parity.arithmetic.floats import FLOAT32, FLOAT64, Format
from parity.graph import Declared, Graph, Node
from parity.operators.affine import MatMul

Array = np.ndarray
Arrays = dict[str, Array]


def chain(layers: int, n: int = 64, seed: int = 0, scale: float | None = None) -> Graph:
    """x · w0 · w1 ..., each of n × n: tensors y0, y1, ..."""
    rng = np.random.default_rng(seed)
    size = n**-0.5 if scale is None else scale
    weights = {f"w{k}": (size * rng.standard_normal((n, n))).astype(np.float32) for k in range(layers)}
    names = ["x", *(f"y{k}" for k in range(layers))]
    nodes = tuple(
        Node(f"n{k}", "MatMul", MatMul(), (names[k], f"w{k}"), (names[k + 1],)) for k in range(layers)
    )
    return Graph(nodes, {"x": Declared("float32", ("N", n))}, (names[-1],), weights, name="chain.onnx")


def run(graph: Graph, rows: int = 16, seed: int = 1, form: Format = FLOAT32) -> Arrays:
    """A right candidate: NumPy in float32, or rounding to another format behind each product."""
    n = graph.constants["w0"].shape[0]
    values = {"x": form.round(np.random.default_rng(seed).standard_normal((rows, n)))}
    for node in graph.nodes:
        a, b = values[node.inputs[0]], graph.constants[node.inputs[1]]
        wide = np.float64 if form is FLOAT64 else np.float32
        values[node.outputs[0]] = form.round(a.astype(wide) @ form.round(b).astype(wide))
    return values


def cut(graph: Graph, values: Arrays, form: Format, layer: int = 0) -> Arrays:
    """The same candidate, but that one product has operands of a short format."""
    changed = dict(values)
    node = graph.nodes[layer]
    a, b = (
        form.round(one).astype(np.float32)
        for one in (values[node.inputs[0]], graph.constants[node.inputs[1]])
    )
    changed[node.outputs[0]] = a @ b
    for later in graph.nodes[layer + 1 :]:
        changed[later.outputs[0]] = changed[later.inputs[0]] @ graph.constants[later.inputs[1]]
    return changed


ONE = chain(1)
