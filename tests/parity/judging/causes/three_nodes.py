"""A graph of three nodes, a wrong tensor of it, and one of any graph: what the search is given."""

from typing import Any

import numpy as np

from parity.arithmetic import Bounded, Looped
from parity.graph import Graph
from parity.judging.causes.mistake import Mistake
from parity.judging.causes.search.hypotheses import Made
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


def operator_of(place: int) -> Operator:
    operator = stretch().nodes[place].operator
    assert operator is not None
    return operator


def one_made(name: str, operator: Operator, place: int = 1, **more: Any) -> Made:
    """One mistake at a node of the three."""
    one = Mistake(name, f"What {name} is.", f"Repair {name}.", operator, f"owner/{name}#1", **more)
    own = stretch()
    return Made((own.nodes[place],), (one,), own.with_mistakes({place: one}), (place,), place)


def leaky(x: Array, slope: float) -> Array:
    """With a slope in float32, as the operator has it."""
    return np.where(x > 0, x, np.float64(np.float32(slope)) * x)


RIGHT = -np.maximum(WIDE, 0)
LEAKY = stretch().with_mistakes({1: mistake(LeakyRelu(alpha=0.5))})
FOUND = -leaky(WIDE, 0.5)
