"""Searches the catalogue for the mistake that explains a wrong tensor.

A mistake is named only if the operator with this mistake is right about every value of the tensor, by both
yardsticks, and if its bound is narrower than the error that it explains.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from parity.arithmetic import Array, Bounded, Looped, Number
from parity.errors import Unjudged
from parity.floats import Format, format_of
from parity.graph import Graph, Node, apply
from parity.judging import walk
from parity.judging.beyond_the_bound import distance, over
from parity.judging.causes.clues import clues
from parity.judging.causes.mistake import Mistake, Seen, mistakes
from parity.judging.question import Question, all_points
from parity.judging.verdict import Cause, Report, TensorReport
from parity.judging.yardsticks import judge_tensor
from parity.operators import Operator
from parity.operators.operator import Points, random_points

TRIED = 64  # values on which a mistake is tried before all are computed
# What NumPy raises where a mistake does not fit the shapes.
MISFITS = (ValueError, IndexError, TypeError, ZeroDivisionError, OverflowError, AssertionError)


@dataclass(frozen=True)
class Stretch(Operator):
    """Nodes between recorded tensors, as one operator.

    Attributes:
        nodes: in order of execution.
        names: of its inputs.
        result: the tensor that it computes.
    """

    TYPE: ClassVar[str] = "stretch"

    nodes: tuple[Node, ...]
    names: tuple[str, ...]
    result: str

    def evaluate(self, *inputs: Number | None) -> Number:
        return self.values(inputs)[self.result]

    def sample(self, points: Points, *inputs: Number | None) -> Number:
        (first, *more), known = self.nodes, dict(zip(self.names, inputs, strict=True))
        if more or first.outputs[0] != self.result:
            return super().sample(points, *inputs)
        assert first.operator is not None
        return first.operator.sample(points, *(known[name] if name else None for name in first.inputs))

    def values(self, inputs: Sequence[Number | None]) -> dict[str, Number]:
        """All tensors by name."""
        values = {name: one for name, one in zip(self.names, inputs, strict=True) if one is not None}
        for node in self.nodes:
            results = apply(node, [values[name] if name else None for name in node.inputs])
            values |= {name: one for name, one in zip(node.outputs, results, strict=False) if name}
        return values


def judge(
    graph: Graph,
    values: Mapping[str, Array],
    *,
    sample: int | None = None,
    progress: Callable[[str], None] = lambda tensor: None,
) -> Report:
    """Judge whether a candidate computes the graph, and name the mistakes that explain where it does not.

    As `parity.judging.judge`, which has the arguments and errors; without a wrong tensor it costs no more.
    """
    report = walk.judge(graph, values, sample=sample, progress=progress)
    with np.errstate(all="ignore"):
        tensors = [_explained(graph, values, one) if _is_wrong(one) else one for one in report.tensors]
    return replace(report, tensors=tuple(tensors))


def _is_wrong(report: TensorReport) -> bool:
    return report.verdict in ("different", "coarse") and not report.misshapen


def _explained(graph: Graph, values: Mapping[str, Array], report: TensorReport) -> TensorReport:
    """The report on a wrong tensor, with the known mistakes that explain it, or else with clues."""
    found = np.asarray(values[report.tensor])
    form = format_of(found)
    if form is None:
        return report
    stretch = between(graph, set(values), report.tensor)
    arrays = [
        np.asarray(graph.constants[name] if name in graph.constants else values[name])
        for name in stretch.names
    ]
    bounded, looped = [Bounded(a, None, form) for a in arrays], [Looped(a, form) for a in arrays]
    question = Question(stretch, 0, bounded, looped)
    right = question.whole()
    if right.shape != found.shape:
        return report
    named = tuple(
        Cause(report.tensor, node.name, one.name, one.explanation, one.remedy, one.case)
        for node, one, operator in _possible(question, found)
        if _explains(replace(question, operator=operator), right, found, report, one.read_off)
    )
    return replace(report, causes=named, clues=() if named else tuple(clues(found, right, form)))


def between(graph: Graph, recorded: set[str], tensor: str) -> Stretch:
    """The nodes that compute a tensor from recorded ones."""
    maker = {name: node for node in graph.nodes for name in node.outputs if name}
    needed: set[int] = set()
    names: dict[str, None] = {}
    stack = [tensor]
    while stack:
        node = maker[stack.pop()]
        if id(node) in needed:
            continue
        needed.add(id(node))
        for name in node.inputs:
            if not name:
                continue
            if name in maker and name not in recorded:
                stack.append(name)
            else:
                names[name] = None
    nodes = tuple(node for node in graph.nodes if id(node) in needed)
    return Stretch(nodes, tuple(names), tensor)


def _array(graph: Graph, values: Mapping[str, Array], name: str) -> Array:
    return np.asarray(graph.constants[name] if name in graph.constants else values[name])


def _possible(question: Question, found: Array) -> Iterator[tuple[Node, Mistake, Operator]]:
    """Each known mistake at each node, with the stretch in which it is made."""
    stretch = question.operator
    assert isinstance(stretch, Stretch)
    values = stretch.values(question.bounded)
    for place, node in enumerate(stretch.nodes):
        assert node.operator is not None
        inputs = [values[name] if name else None for name in node.inputs]
        last = node.outputs[0] == stretch.result
        for mistake in mistakes(node.operator, Seen(inputs, found if last else None)):
            wrong = replace(node, operator=mistake.operator)
            nodes = (*stretch.nodes[:place], wrong, *stretch.nodes[place + 1 :])
            yield node, mistake, replace(stretch, nodes=nodes)


def _explains(wrong: Question, right: Bounded, found: Array, report: TensorReport, read_off: bool) -> bool:
    """Whether the operator with the mistake is right about every value, and the mistake matters."""
    few = all_points(found.shape)
    if found.size > TRIED:
        few = random_points(np.random.default_rng(0), found.shape, TRIED)
    try:
        if not _inside(found[few].ravel(), wrong.at(few), right.format):
            return False
        expected = wrong.whole()
        if expected.shape != found.shape or not _inside(found, expected, right.format):
            return False
        if report.verdict == "different" and not read_off and not _is_narrower(expected, found, right):
            return False
        blank = replace(report, verdict="unjudged", note="", worst=None)
        return judge_tensor(blank, wrong, found).verdict in ("equal", "rounding")
    except (Unjudged, *MISFITS):
        return False


def _is_narrower(expected: Bounded, found: Array, right: Bounded) -> bool:
    """Whether the bound of the operator with the mistake is smaller than an error that it explains.

    A bound that is wider proves nothing.
    """
    error = np.abs(found.astype(np.float64) - right.value.astype(np.float64))
    return bool(((error > right.bound) & (error > expected.bound)).any())


def _inside(found: Array, expected: Bounded, form: Format) -> bool:
    bound = expected.bound
    off = distance(found.astype(np.float64), expected.value.astype(np.float64), bound, form)
    return bool((over(off, bound) <= 1).all())
