"""A graph of three nodes, a wrong tensor of it, and one of any graph: what the search is given."""

from typing import Any

import numpy as np

from parity.arithmetic import Bounded, Looped
from parity.graph import Graph
from parity.judging.causes.mistake import Mistake
from parity.judging.causes.search.stretch import Stretch, between
from parity.judging.causes.search.wrong import Wrong
from parity.judging.question import Question
from parity.judging.verdict import TensorReport
from parity.operators import Operator
from parity.operators.activation import LeakyRelu
from tests.parity.judging.causes.small_graphs import Array, N, drawn, graph_of

X, W = drawn(4, 6), drawn(6, 5, seed=1)
GRAPH = graph_of(
    [N("MatMul", ["x", "w"], ["m"]), N("Relu", ["m"], ["r"]), N("Neg", ["r"], ["y"])], {"w": W}, "x"
)
WIDE = X.astype(np.float64) @ W


def stretch(graph: Graph = GRAPH, *recorded: str, tensor: str = "y") -> Stretch:
    return between(graph, {*graph.inputs, *recorded}, tensor)


def question(one: Stretch, values: dict[str, Array], graph: Graph = GRAPH) -> Question:
    arrays = [graph.constants.get(name, values.get(name)) for name in one.names]
    some = [np.asarray(a) for a in arrays]
    return Question(one, 0, [Bounded(a) for a in some], [Looped(a) for a in some])


def wrong(found: Array, verdict: str = "different", **changed: Any) -> Wrong:
    one = stretch()
    report = TensorReport("y", "y", "Neg", verdict=verdict, **changed)
    return Wrong.of(report, question(one, {"x": X}), found.astype(np.float32), None)


def wrong_in(graph: Graph, found: Array, verdict: str = "different", **inputs: Array) -> Wrong:
    """A wrong y of another graph, of which these inputs are recorded alone."""
    one = between(graph, set(inputs), "y")
    report = TensorReport("y", one.nodes[-1].name, one.nodes[-1].type, verdict=verdict)
    return Wrong.of(report, question(one, inputs, graph), found.astype(np.float32), None)


def mistake(operator: Any, **others: Any) -> Mistake:
    return Mistake("made", "", "", operator, **others)


def last() -> Operator:
    operator = stretch().nodes[2].operator
    assert operator is not None
    return operator


RIGHT = -np.maximum(WIDE, 0)
LEAKY = stretch().with_mistakes({1: mistake(LeakyRelu(alpha=0.5))})
FOUND = -np.where(WIDE > 0, WIDE, WIDE / 2)
