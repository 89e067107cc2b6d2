"""Judges what a candidate returned against the graph that it should compute, tensor by tensor.

Each recorded tensor is judged from the recorded tensors before it: the operators between are evaluated in
float64 from the candidate's own values, so that an error made earlier is not held against a later tensor.
Where nothing was recorded between, the bound is carried through the whole stretch.

Two yardsticks decide. The worst case is a proof: a value outside it is another function. It grows with the
number of terms and lets coarse arithmetic pass; the plain loop, evaluated in the candidate's format from the
same tensors, does not. The error of both is compared as a root mean square over the tensor's values.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from math import prod
from zlib import crc32

import numpy as np

from parity.arithmetic import Array, Bounded, Looped, Number
from parity.errors import Unjudged, UserError
from parity.floats import FLOAT32, FLOAT64, Format, equal_bits, format_of
from parity.graph import Declared, Graph, Node, apply
from parity.operators import Operator
from parity.operators.operator import Points
from parity.verdict import Report, TensorReport, Worst

LOOPED = 4096  # values of a tensor on which the plain loop is run
GATHERED = 2**22  # input values that a sample lays out at once
ROOM = 1.25  # beside the plain loop, for libraries that do add up like it
DEVIATIONS = 5  # of the ratio of two right implementations, which scatters by about 1/√N over N values


@dataclass(frozen=True)
class _State:
    """What is known of a tensor while the graph is followed.

    Attributes:
        bounded: its value and the candidate's possible distance from it; no error where it was recorded.
        looped: what plain loops make of it.
        sources: the recorded tensors that it was computed from.
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
    """Whether a candidate computes the graph, and where it first does not.

    Args:
        graph: the reference.
        values: what the candidate was given and what it returned, by the graph's names: all inputs, and any
            other tensors. Read one at a time; may load lazily.
        sample: judge so many values of each tensor, chosen at random by its name; None: all.
        progress: called with each tensor's name when it has been judged.

    Raises:
        UserError: a name that the graph has not, a missing input, a wrong dtype, a wrong shape of an input.
    """
    check_names(graph, values)
    walk = _Walk(graph, values, sample)
    reports = []
    for node in graph.nodes:
        for report in walk.visit(node):
            reports.append(report)
            progress(report.tensor)
    return Report(tuple(reports), dict(walk.unjudged), graph.outputs, sample)


def check_names(graph: Graph, values: Mapping[str, Array]) -> None:
    """Refuse names that the graph has not.

    Raises:
        UserError: the first such name, with the nearest that there are.
    """
    known = {*graph.inputs, *graph.tensors, *graph.constants}
    for name in values:
        if name not in known:
            near = get_close_matches(name, known, 3, 0.4)
            hint = f"; the nearest: {', '.join(near)}" if near else ""
            raise UserError(f"{graph.name} has no tensor {name!r}{hint}")


class _Walk:
    """The state of `judge`: every tensor that is still needed."""

    def __init__(self, graph: Graph, values: Mapping[str, Array], sample: int | None) -> None:
        self.graph, self.values, self.sample = graph, values, sample
        self.unjudged: Counter[str] = Counter()
        self.states: dict[str, _State | str] = {}  # a string says why nothing is known
        self.recorded = {name for name in graph.tensors if name in values}
        self.uses = _uses(graph, self.recorded)

    def visit(self, node: Node) -> list[TensorReport]:
        """Judge what was recorded of a node's outputs, and keep what later nodes need."""
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
        except Unjudged as reason:
            self.unjudged[node.type] += 1
            for name in node.outputs:
                self.states[name] = f"{name} is not known: {reason}"
            reports = [TensorReport(name, node.name, node.type, note=str(reason)) for name in seen]
        for name, array in seen.items():
            if name in self.uses:
                self.states[name] = given(array, name)
        return reports

    def _judged(self, node: Node, seen: Mapping[str, Array]) -> list[TensorReport]:
        if node.operator is None:
            raise Unjudged(node.problem or node.type)
        states = [self._state(name) if name else None for name in node.inputs]
        formats = [format_of(array) for array in seen.values()]
        known = [state.bounded.format for state in states if state is not None]
        form = next((one for one in formats if one), next(iter(known), FLOAT32))
        bounded = [None if state is None else replace(state.bounded, format=form) for state in states]
        looped = [None if state is None else replace(state.looped, format=form) for state in states]
        sources = tuple(dict.fromkeys(name for state in states if state for name in state.sources))
        unrecorded = [name for name in node.outputs if name in self.uses and name not in seen]
        self._compute(node, unrecorded, bounded, looped, sources)
        places = [(node.outputs.index(name), name, array) for name, array in seen.items()]
        return [
            _report(node, output, name, array, bounded, looped, sources, self.sample)
            for output, name, array in places
        ]

    def _compute(
        self,
        node: Node,
        names: list[str],
        bounded: list[Bounded | None],
        looped: list[Looped | None],
        sources: tuple[str, ...],
    ) -> None:
        """Keep what was not recorded, as computed from what was."""
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
        array = self.values[name]
        check_kind(name, array, declared)
        if not fits_shape(array.shape, declared.shape):
            raise UserError(f"{name} has shape {list(array.shape)}, but the graph declares {declared}")
        return array

    def _recorded(self, name: str) -> Array:
        array = self.values[name]
        check_kind(name, array, self.graph.declared.get(name, Declared()))
        return array

    def _release(self, name: str) -> None:
        if name in self.uses:
            self.uses[name] -= 1
            if self.uses[name] == 0:
                self.states.pop(name, None)


def given(array: Array, *sources: str) -> _State:
    """A tensor whose values the candidate has itself."""
    form = format_of(array) or FLOAT32
    return _State(Bounded(array, None, form), Looped(array, form), sources)


def check_kind(name: str, array: Array, declared: Declared) -> None:
    """Refuse an array that is of another kind than declared: no float for an integer, no object.

    Another float format is no mistake: the candidate is judged in the one that it has.
    """
    is_float = format_of(array) is not None
    if (
        array.dtype.hasobject
        and array.dtype.kind != "T"
        and declared.dtype not in ("object", "str", "StringDType128")
    ):
        raise UserError(f"{name} holds Python objects, not numbers: record arrays of numbers")
    if declared.dtype and is_float != (declared.dtype.startswith(("float", "bfloat"))):
        raise UserError(f"{name} is {array.dtype}, but the graph declares {declared}")


def fits_shape(shape: tuple[int, ...], declared: tuple[int | str | None, ...] | None) -> bool:
    """Whether a shape is one that was declared."""
    if declared is None:
        return True
    pairs = zip(shape, declared, strict=False)
    return len(shape) == len(declared) and all(n == m for n, m in pairs if isinstance(m, int))


def _uses(graph: Graph, recorded: set[str]) -> dict[str, int]:
    """How many nodes read each tensor on the way to one that was recorded."""
    uses: Counter[str] = Counter()
    for node in reversed(graph.nodes):
        if any(name in recorded or name in uses for name in node.outputs):
            uses.update({name for name in node.inputs if name})
    return dict(uses)


# --- one tensor --------------------------------------------------------------------------------


def _report(
    node: Node,
    output: int,
    name: str,
    seen: Array,
    bounded: list[Bounded | None],
    looped: list[Looped | None],
    sources: tuple[str, ...],
    sample: int | None,
) -> TensorReport:
    """The verdict on one output, by the first of the operator's forms under which it is right."""
    assert node.operator is not None
    blank = TensorReport(name, node.name, node.type, sources)
    best: TensorReport | None = None
    for operator in node.operator.forms():
        report = _compared(blank, operator, output, seen, bounded, looped, sample)
        if best is None or (report.verdict in ("equal", "rounding") and report.verdict != best.verdict):
            best = report
        if report.verdict in ("equal", "rounding"):
            break
    assert best is not None
    return best


def _compared(
    blank: TensorReport,
    operator: Operator,
    output: int,
    seen: Array,
    bounded: list[Bounded | None],
    looped: list[Looped | None],
    sample: int | None,
) -> TensorReport:
    rng = np.random.default_rng(crc32(blank.tensor.encode()))
    chosen = sample is not None and sample < seen.size and output == 0
    if chosen:
        assert sample is not None
        points = _points(rng, seen.shape, sample)
        expected, found = _bounded(sampled(operator, points, bounded)), seen[points]
    else:
        expected = _whole(operator, output, bounded)
        if expected.shape != seen.shape:
            note = f"shape {list(seen.shape)}, expected {list(expected.shape)}"
            return replace(blank, verdict="different", ratio=np.inf, values=seen.size, note=note)
        found, points = seen, ()
    form = format_of(seen)
    if form is None:
        return _exact(blank, found, expected, points)
    index: Points | slice
    if chosen:
        index = slice(0, LOOPED)
        few = tuple(axis[index] for axis in points)
    else:
        index = few = _points(rng, seen.shape, LOOPED) if seen.size > LOOPED else _all_points(seen.shape)
    loop = _loop(operator, output, few, looped) if form is not FLOAT64 and seen.size else None
    shared = operator.shared(*bounded)
    return _float(blank, found, expected, points, form, loop, index, shared)


def _points(rng: np.random.Generator, shape: tuple[int, ...], count: int) -> Points:
    return tuple(rng.integers(0, size, count) for size in shape)


def _all_points(shape: tuple[int, ...]) -> Points:
    """All points of a tensor; a scalar has one, without any index."""
    return tuple(np.unravel_index(np.arange(prod(shape)), shape)) if shape else ()


def _whole(operator: Operator, output: int, inputs: list[Bounded | None]) -> Bounded:
    result = operator.evaluate(*inputs)
    return _bounded(result[output] if isinstance(result, tuple) else result)


def _bounded(x: Number) -> Bounded:
    assert isinstance(x, Bounded)
    return x


def _loop(operator: Operator, output: int, points: Points, inputs: list[Looped | None]) -> Array:
    if output == 0:
        return sampled(operator, points, inputs).value  # type: ignore[attr-defined]
    result = operator.evaluate(*inputs)
    assert isinstance(result, tuple)
    return result[output].value[points]  # type: ignore[attr-defined]


def sampled(operator: Operator, points: Points, inputs: list) -> Number:
    """The operator at these points, so many at a time that what they gather stays small."""
    if not points:
        return operator.evaluate(*inputs).reshape(1)  # type: ignore[union-attr]
    count = max(1, GATHERED // max(operator.terms(*inputs), 1))
    parts = [
        operator.sample(tuple(axis[start : start + count] for axis in points), *inputs)
        for start in range(0, len(points[0]), count)
    ]
    return parts[0].join(parts[1:], 0) if len(parts) > 1 else parts[0]


def _exact(blank: TensorReport, found: Array, expected: Bounded, points: Points) -> TensorReport:
    """Integers, booleans, strings: equal, or as far off as an undecided rounding before allows."""
    same = np.asarray(found == expected.value)
    report = replace(blank, values=found.size, equal=int(same.sum()))
    if same.all():
        return replace(report, verdict="equal")
    if found.dtype.kind not in "biu":
        return replace(report, verdict="different", ratio=np.inf)
    apart = np.abs(found.astype(np.float64) - expected.value.astype(np.float64))
    ratio = _over(apart, expected.bound)
    place, worst = _worst(ratio, found, expected.value, points)
    verdict = "rounding" if ratio.flat[place] <= 1 else "different"
    return replace(
        report, verdict=verdict, ratio=float(ratio.flat[place]), max_abs_error=float(apart.max()), worst=worst
    )


def _float(
    blank: TensorReport,
    found: Array,
    expected: Bounded,
    points: Points,
    form: Format,
    loop: Array | None,
    index: Points | slice,
    shared: int,
) -> TensorReport:
    """Both yardsticks on an array of floats."""
    right, bound = expected.value.astype(np.float64, copy=False), expected.bound
    rounded = form.round(right)
    same = equal_bits(found, rounded)
    report = replace(blank, values=found.size, equal=int(same.sum()))
    if same.all():
        report = replace(report, verdict="equal")
        if not found.size:
            return report
    error = _error(found.astype(np.float64), right, bound, form)
    ratio = np.where(same & (error == 0), 0.0, _over(error, bound))
    place, worst = _worst(ratio, found, right, points)
    largest = float(ratio.flat[place])
    finite = np.isfinite(error)
    report = replace(
        report,
        ratio=largest,
        max_abs_error=float(error.max(initial=0, where=finite)) if finite.all() else np.inf,
        worst=worst,
        note=_overflow(found, right, form),
        proven=bool(np.median(_over(bound, np.abs(right))) < 1) if found.size else True,
    )
    limit, loop_ratio, blind = _plain(found, right, form, loop, index, shared)
    with np.errstate(all="ignore"):
        nearest = np.where(right == 0, np.inf, (bound + error) / np.abs(right))
    report = replace(
        report, loop_ratio=loop_ratio, blind_below=min(blind, float(np.nanmin(nearest, initial=np.inf)))
    )
    if report.verdict == "equal":
        return report
    if not largest <= 1:
        return replace(report, verdict="different")
    if loop_ratio > limit:
        return replace(report, verdict="coarse")
    if not report.blind_below < 1:
        return replace(
            report, verdict="undecided", note="record more tensors before it, or more values of it"
        )
    return replace(report, verdict="rounding")


def _plain(
    found: Array, right: Array, form: Format, loop: Array | None, index: Points | slice, shared: int
) -> tuple[float, float, float]:
    """The largest right ratio to the plain loop, the ratio found, and the relative change that it would show.

    The loop counts as no more accurate than one rounding of each value, which every implementation makes.
    """
    if loop is None:
        return np.inf, np.nan, np.inf
    seen, true = found[index].astype(np.float64).ravel(), right[index].ravel()
    good = np.isfinite(true) & np.isfinite(seen) & (np.abs(true) <= form.largest)
    if not good.any():
        return np.inf, np.nan, np.inf
    plain = loop.astype(np.float64).ravel()[good]
    seen, true = seen[good], true[good]
    slack = np.where(np.isfinite(plain), np.abs(plain - true), np.abs(true))
    size = _rms(true)
    yardstick = max(_rms(slack), form.u * size, form.smallest)
    limit = ROOM * float(np.exp(DEVIATIONS / np.sqrt(max(len(true) / shared, 1))))
    return limit, _rms(seen - true) / yardstick, limit * yardstick / size if size else np.inf


def _rms(x: Array) -> float:
    largest = float(np.abs(x).max(initial=0))
    return largest * float(np.sqrt(np.mean((x / largest) ** 2))) if largest else 0.0


def _error(found: Array, right: Array, bound: Array, form: Format) -> Array:
    """|found − right|; 0 for equal infinities and NaNs, and for an overflow that is due."""
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(found - right)
        alike = (found == right) | (np.isnan(found) & np.isnan(right))
        beyond = np.abs(right) + bound > form.largest
        overflowed = np.isinf(found) & beyond & (np.sign(found) == np.sign(right))
    error = np.where(alike | overflowed, 0.0, error)
    return np.where(np.isnan(error), np.inf, error)


def _over(error: Array, bound: Array) -> Array:
    """error / bound; 0 where there is no error, infinite where none may be."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = error / bound
    quotient = np.where(error == 0, 0.0, quotient)
    return np.where(np.isnan(quotient), np.where(np.isinf(bound), 0.0, np.inf), quotient)


def _worst(ratio: Array, found: Array, right: Array, points: Points) -> tuple[int, Worst]:
    place = int(ratio.argmax())
    inside = np.unravel_index(place, ratio.shape)
    index = tuple(int(axis[place]) for axis in points) if points else tuple(int(i) for i in inside)
    return place, Worst(index, float(found[inside]), float(right[inside]))


def _overflow(found: Array, right: Array, form: Format) -> str:
    """One line on values that are not finite."""
    odd = ~np.isfinite(found)
    if not odd.any():
        return ""
    infinite, nan = int(np.isinf(found).sum()), int(np.isnan(found).sum())
    due = int((odd & ~(np.abs(right) <= form.largest)).sum())
    what = " and ".join(f"{n} {word}" for n, word in ((infinite, "infinite"), (nan, "NaN")) if n)
    return f"{what} of {found.size} values in {form.name}; {due} of them are so in the reference"
