"""Searches the catalogue for the mistake that explains a wrong tensor.

A mistake is named only if the operator with this mistake is right about every value of the tensor, by both
yardsticks, and if its bound is narrower than the error that it explains.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import ClassVar

import numpy as np

from parity.arithmetic import Array, Bounded, Looped, Number
from parity.arithmetic.floats import Format, format_of
from parity.errors import Unjudged
from parity.graph import Graph, Node, apply
from parity.judging import walk
from parity.judging.beyond_the_bound import distance, over
from parity.judging.causes.clues import clues
from parity.judging.causes.mistake import MISFITS, Mistake, Seen, in_one, mistakes
from parity.judging.question import Question
from parity.judging.verdict import Cause, Report, TensorReport
from parity.judging.yardsticks import judge_tensor
from parity.operators import Operator
from parity.operators.operator import Points, random_points

SECONDS = 10.0  # for the mistakes that may explain one tensor; a deep stretch is evaluated anew for each
TRIED = 64  # values on which a mistake is tried before all are computed


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

    def with_mistakes(self, made: Mapping[int, Mistake]) -> "Stretch":
        """The same nodes, some of which make a mistake: by their places."""
        nodes = [
            replace(node, operator=made[place].operator, inputs=made[place].inputs or node.inputs)
            if place in made
            else node
            for place, node in enumerate(self.nodes)
        ]
        return replace(self, nodes=tuple(nodes))

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
        tensors = [
            _explained(graph, values, one, sample) if _is_wrong(one) else one for one in report.tensors
        ]
    return replace(report, tensors=tuple(tensors))


def _is_wrong(report: TensorReport) -> bool:
    return report.verdict in ("different", "coarse") and not report.misshapen


def _explained(
    graph: Graph, values: Mapping[str, Array], report: TensorReport, sample: int | None
) -> TensorReport:
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
    start = monotonic()
    try:
        search = _Search.of(report, Question(stretch, 0, bounded, looped), found, sample)
    except (Unjudged, *MISFITS):
        return report
    once = monotonic() - start  # what each mistake will take, and the plain loops more
    if search.right.shape != search.seen.shape:
        return report
    explaining: list[tuple[Node, Mistake]] = []
    known: list[str] = []
    for node, one, operator in _possible(search.question, found):
        if monotonic() - start + 4 * once > SECONDS:
            known = [f"not every known mistake was tried in {SECONDS:g} s: record tensors in between"]
            break
        if search.explained_by(operator, one.read_off):
            explaining.append((node, one))
    named = [
        Cause(report.tensor, name, one.name, one.explanation, one.remedy, one.case)
        for name in dict.fromkeys(node.name for node, _ in explaining)
        for one in in_one([mistake for node, mistake in explaining if node.name == name])
    ]
    if not named and not search.points:
        known += clues(found, search.right, form)
    return replace(report, causes=tuple(named), clues=tuple(known))


@dataclass(frozen=True)
class _Search:
    """A wrong tensor, of which a mistake must explain every value, or those of a sample.

    Attributes:
        report: the verdict on it.
        question: what it should be; the operator is a stretch.
        found: the candidate's values.
        sample: how many of them are judged; None: all.
        points: where the sample lies; () for all values.
        seen, right: the candidate's values there, and what they should be.
    """

    report: TensorReport
    question: Question
    found: Array
    sample: int | None
    points: Points
    seen: Array
    right: Bounded

    @classmethod
    def of(cls, report: TensorReport, question: Question, found: Array, sample: int | None) -> "_Search":
        """Evaluates the right operators."""
        if sample is None or sample >= found.size:
            return cls(report, question, found, None, (), found, question.whole())
        points = random_points(np.random.default_rng(0), found.shape, sample)
        return cls(report, question, found, sample, points, found[points], question.at(points))

    def explained_by(self, operator: Operator, read_off: bool) -> bool:
        """Whether the stretch with a mistake is right about every value, and the mistake matters."""
        wrong, form = replace(self.question, operator=operator), self.right.format
        assert isinstance(operator, Stretch)
        try:
            if not self.points and self.found.size > TRIED and len(operator.nodes) == 1:
                few = random_points(np.random.default_rng(0), self.found.shape, TRIED)
                if not _inside(self.found[few], wrong.at(few), form):
                    return False
            expected = wrong.at(self.points) if self.points else wrong.whole()
            if expected.shape != self.seen.shape or not _inside(self.seen, expected, form):
                return False
            proves = read_off or self.report.verdict != "different" or self._is_narrower(expected)
            blank = replace(self.report, verdict="unjudged", note="", worst=None)
            right = ("equal", "rounding")
            return proves and judge_tensor(blank, wrong, self.found, self.sample).verdict in right
        except (Unjudged, *MISFITS):
            return False

    def _is_narrower(self, expected: Bounded) -> bool:
        """Whether the bound of the stretch with the mistake is smaller than an error that it explains.

        A bound that is wider proves nothing.
        """
        error = np.abs(self.seen.astype(np.float64) - self.right.value.astype(np.float64))
        return bool(((error > self.right.bound) & (error > expected.bound)).any())


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
    """Each known mistake at each node, then at all nodes at once, with the stretch in which it is made."""
    stretch = question.operator
    assert isinstance(stretch, Stretch)
    before = replace(stretch, nodes=stretch.nodes[:-1])  # the last node computes the tensor itself
    values = before.values(question.bounded)
    made: dict[str, dict[int, Mistake]] = {}  # by name, the mistake at the place of each node
    for place, node in enumerate(stretch.nodes):
        assert node.operator is not None
        inputs = [values[name] if name else None for name in node.inputs]
        last = node.outputs[0] == stretch.result
        seen = Seen(inputs, found if last else None, node, stretch.nodes, values)
        for mistake in mistakes(node.operator, seen):
            made.setdefault(f"{node.type}: {mistake.name}", {})[place] = mistake
            yield node, mistake, stretch.with_mistakes({place: mistake})
    for several in made.values():
        if len(several) > 1:
            first = min(several)
            named = replace(several[first], name=f"{several[first].name}, at {len(several)} nodes")
            yield stretch.nodes[first], named, stretch.with_mistakes(several)


def _inside(found: Array, expected: Bounded, form: Format) -> bool:
    bound = expected.bound
    off = distance(found.astype(np.float64), expected.value.astype(np.float64), bound, form)
    return bool((over(off, bound) <= 1).all())
