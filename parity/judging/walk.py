"""Judges the values of a candidate against the graph that it should compute, tensor by tensor.

Each recorded tensor is judged from the recorded tensors before it: the operators between them are evaluated
in float64 from the candidate's own values, so earlier errors do not count. If tensors between were not
recorded, the bound is carried through all these operators.

`parity.judging.yardsticks` judges each tensor.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches

import numpy as np

from parity.arithmetic import Array, Bounded, Looped
from parity.arithmetic.floats import FLOAT32, FORMATS, equal_bits, format_of
from parity.errors import Unjudged, UserError
from parity.graph import Declared, Graph, Node, apply, fits_shape
from parity.judging.question import Question
from parity.judging.verdict import Report, TensorReport
from parity.judging.yardsticks import judge_tensor, wrong_shape

# What NumPy raises where inputs do not fit an operator: in a damaged file, or behind a wrong shape.
MISFITS = (ValueError, IndexError, TypeError, ZeroDivisionError, OverflowError)


@dataclass(frozen=True)
class _State:
    """The state of a tensor while the graph is followed.

    Attributes:
        bounded: its value and the bound on the candidate's error; zero if it was recorded.
        looped: its values in plain loops.
        sources: the recorded tensors from which it was computed.
    """

    bounded: Bounded
    looped: Looped
    sources: tuple[str, ...]


def judge(
    graph: Graph,
    values: Mapping[str, Array],
    *,
    sample: int | None = None,
    progress: Callable[[str], None] = lambda tensor: None,
) -> Report:
    """Judge whether a candidate computes the graph, and find the first tensor at which it does not.

    Args:
        graph: the reference.
        values: {name in the graph: array} of the candidate: all inputs, and any other tensors. Arrays are
            read one at a time, so the mapping may load lazily.
        sample: the number of values to judge per tensor, chosen at random by its name; None for all.
        progress: called with the name of each judged tensor.

    Raises:
        UserError: no graph, an unknown name, a missing input, a wrong dtype, or an input with a wrong shape.
    """
    check_graph(graph)
    check_names(graph, values)
    walk = _Walk(graph, values, sample)
    if not walk.recorded:
        raise UserError(f"nothing to judge: no value is recorded of a tensor that {graph.name} computes")
    reports = []
    with np.errstate(all="ignore"):  # NaN, infinity and overflow are judged, not warned of
        for node in graph.nodes:
            for report in walk.visit(node):
                reports.append(report)
                progress(report.tensor)
    return Report(tuple(reports), dict(walk.unjudged), graph.outputs, sample)


def check_graph(graph: object) -> None:
    """Refuse what is no graph: a model as ONNX loads it, or the path of one.

    Raises:
        UserError: what to do.
    """
    if not isinstance(graph, Graph):
        kind = type(graph).__name__
        raise UserError(f"the reference is of type {kind}, not a graph: read it with parity.read_onnx")


def check_names(graph: Graph, values: Mapping[str, Array]) -> None:
    """Refuse names that the graph does not have.

    Raises:
        UserError: the first such name, with the nearest known names.
    """
    known = {*graph.inputs, *graph.tensors, *graph.constants}
    for name in values:
        if name not in known:
            raise UserError(f"{graph.name} has no tensor {name!r}{nearest(name, known)}")
        if name in graph.constants and not same_weight(graph.constants[name], values[name]):
            raise UserError(f"{name} is a weight of {graph.name}, but was recorded with other values")


def same_weight(own: Array, recorded: Array) -> bool:
    """Whether a recorded weight equals the graph's, to the bit."""
    alike = own.dtype == recorded.dtype and own.shape == recorded.shape
    return alike and bool(equal_bits(own, recorded).all())


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the known names like it."""
    near = get_close_matches(name, list(known), 3, 0.4)
    return f"; the nearest: {', '.join(near)}" if near else ""


class _Walk:
    """The state of `judge`: all tensors that are still needed."""

    def __init__(self, graph: Graph, values: Mapping[str, Array], sample: int | None) -> None:
        self.graph, self.values, self.sample = graph, values, sample
        self.unjudged: Counter[str] = Counter()
        self.states: dict[str, _State | str] = {}  # a string is the reason why the tensor is unknown
        self.recorded = {name for name in graph.tensors if name in values}
        self.uses = _uses(graph, self.recorded)

    def visit(self, node: Node) -> list[TensorReport]:
        """Judge the recorded outputs of a node, and keep the tensors that later nodes need."""
        if not any(name in self.recorded or name in self.uses for name in node.outputs):
            return []
        reports = self._outputs(node)
        for name in set(node.inputs):
            self._release(name)
        return reports

    def _outputs(self, node: Node) -> list[TensorReport]:
        seen = {name: self._recorded(name) for name in node.outputs if name in self.recorded}
        try:
            reports = self._judged(node, seen)
        except (Unjudged, *MISFITS) as error:
            reason = error if isinstance(error, Unjudged) else f"{node.type} does not fit its inputs: {error}"
            self.unjudged[node.type] += 1
            for name in node.outputs:
                self.states[name] = f"{name} is not known: {reason}"
            reports = [TensorReport(name, node.name, node.type, note=str(reason)) for name in seen]
        misshapen = {one.tensor for one in reports if one.misshapen}
        for name, array in seen.items():
            if name in self.uses:
                known = f"{name} was recorded in another shape" if name in misshapen else given(array, name)
                self.states[name] = known
        return reports

    def _judged(self, node: Node, seen: Mapping[str, Array]) -> list[TensorReport]:
        if node.operator is None:
            raise Unjudged(node.problem or node.type)
        beside = {place: seen[name] for place, name in enumerate(node.outputs) if name in seen}
        operator = node.operator.beside(beside)
        node = replace(node, operator=operator)
        states = [self._state(name) if name else None for name in node.inputs]
        formats = [format_of(array) for array in seen.values()]
        known = [state.bounded.format for state in states if state is not None]
        form = next((one for one in formats if one), next(iter(known), FLOAT32))
        bounded = [None if state is None else replace(state.bounded, format=form) for state in states]
        looped = [None if state is None else replace(state.looped, format=form) for state in states]
        sources = tuple(dict.fromkeys(name for state in states if state for name in state.sources))
        unrecorded = [name for name in node.outputs if name in self.uses and name not in seen]
        self._compute(node, unrecorded, bounded, looped, sources)
        reports = []
        for name, array in seen.items():
            blank = TensorReport(name, node.name, node.type, sources)
            question = Question(operator, node.outputs.index(name), bounded, looped)
            reports.append(self._misshapen(blank, array) or judge_tensor(blank, question, array, self.sample))
        return reports

    def _misshapen(self, blank: TensorReport, seen: Array) -> TensorReport | None:
        """The verdict on a tensor whose shape differs from the declared shape, if only a sample is judged.

        Without a sample, the operator itself determines the shape.
        """
        declared = self.graph.declared.get(blank.tensor, Declared())
        whole = self.sample is None or self.sample >= seen.size
        return (
            None
            if whole or fits_shape(seen.shape, declared.shape)
            else wrong_shape(blank, seen, str(declared))
        )

    def _compute(
        self,
        node: Node,
        names: list[str],
        bounded: list[Bounded | None],
        looped: list[Looped | None],
        sources: tuple[str, ...],
    ) -> None:
        """Keep outputs that were not recorded, computed from recorded tensors."""
        if not names:
            return
        both = zip(apply(node, list(bounded)), apply(node, list(looped)), strict=True)
        for name, (value, plain) in zip(node.outputs, both, strict=False):
            if name in names:
                assert isinstance(value, Bounded)
                assert isinstance(plain, Looped)
                self.states[name] = _State(value, plain, sources)

    def _state(self, name: str) -> _State:
        if name in self.graph.constants:
            return given(self.graph.constants[name])
        if name not in self.states and name in self.graph.inputs:
            self.states[name] = given(self._input(name), name)
        state = self.states[name]
        if isinstance(state, str):
            raise Unjudged(state)
        return state

    def _input(self, name: str) -> Array:
        declared = self.graph.inputs[name]
        if name not in self.values:
            raise UserError(f"{self.graph.name} needs the input {name!r} ({declared}), which is not given")
        array = as_array(name, self.values[name])
        check_kind(name, array, declared)
        if not fits_shape(array.shape, declared.shape):
            raise UserError(f"{name} has shape {list(array.shape)}, but the graph declares {declared}")
        return array

    def _recorded(self, name: str) -> Array:
        array = as_array(name, self.values[name])
        check_kind(name, array, self.graph.declared.get(name, Declared()))
        return array

    def _release(self, name: str) -> None:
        if name in self.uses:
            self.uses[name] -= 1
            if self.uses[name] == 0:
                self.states.pop(name, None)


def given(array: Array, *sources: str) -> _State:
    """A recorded tensor, with the candidate's own values."""
    form = format_of(array) or FLOAT32
    return _State(Bounded(array, None, form), Looped(array, form), sources)


def as_array(name: str, values: object) -> Array:
    """A recorded tensor as NumPy has it; tensors of frameworks are converted where NumPy can.

    Raises:
        UserError: it cannot.
    """
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{name} is no array: {error}") from error


def check_kind(name: str, array: Array, declared: Declared) -> None:
    """Refuse an array of another kind than declared: a float for an integer, or objects.

    Another float format is allowed: the candidate is judged in its own format.
    """
    is_float = format_of(array) is not None
    text = declared.dtype in ("object", "str", "StringDType128") or array.dtype.kind == "T"
    if array.dtype.hasobject and not text:
        raise UserError(f"{name} holds Python objects, not numbers: record arrays of numbers")
    if declared.dtype and is_float != (declared.dtype in FORMATS):
        raise UserError(f"{name} is {array.dtype}, but the graph declares {declared}")


def _uses(graph: Graph, recorded: set[str]) -> dict[str, int]:
    """{tensor: number of nodes that read it on the way to a recorded tensor}."""
    uses: Counter[str] = Counter()
    for node in reversed(graph.nodes):
        if any(name in recorded or name in uses for name in node.outputs):
            uses.update({name for name in node.inputs if name})
    return dict(uses)
