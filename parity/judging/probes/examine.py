"""Probes one operator: runs it on integers and on single products, and says what is wrong."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import FLOAT32, FORMATS, U64, Format, format_of, gamma
from parity.errors import Unjudged, UserError
from parity.graph import Declared, Graph, Node
from parity.judging.causes import judge
from parity.judging.probes import integer_data, single_products
from parity.judging.probes.coarse_part import lost_digits
from parity.judging.probes.finding import Finding
from parity.judging.probes.operand import NoProbe, Operand, Operands, Probe
from parity.judging.verdict import TensorReport, Worst
from parity.judging.walk import MISFITS
from parity.operators import Operator

SEED = 0
REPEATED = 4  # draws of single products where no integers apply, so that they alone show the semantics
NOTHING = "no probe"  # the note of an operator that has none
# Operands in bfloat16 are off by 2^-9 each, and so is a result: together by less than this. What is further
# off is no coarse arithmetic.
COARSEST = 2.0**-7
TYPICAL = (
    0.7  # the quantile of errors that tells the digits: a quarter are of small numbers, which float16 cuts
)
SHORT = ("TF32", "bfloat16", "float16")  # a cause that names one of them is a matter of precision
INEXACT = (
    "sums of small integers are not exact: a fast algorithm (Winograd, FFT), or sums in a very short format"
)
Outputs = Sequence[Array | None]  # None: an output that nothing uses
Run = Callable[[tuple[Array | None, ...]], Outputs]  # the inputs of a node to its outputs


def probe_operator(
    operator: Operator,
    shapes: Sequence[tuple[int, ...] | Array | None],
    run: Callable[..., Array],
    *,
    dtype: str = "float32",
) -> Finding:
    """Probe a framework's own operator.

    Args:
        operator: what it should compute: `parity.operators.affine.Conv(pads=(1, 1, 1, 1))`, say.
        shapes: the shape of each input; an array for one whose values are fixed (axes, indices); None for one
            that is not given.
        run: a function of the inputs, which are arrays (or None), that returns the output.
        dtype: of the inputs that are floats.

    Raises:
        UserError: the shapes do not fit the operator.
    """
    operands = [
        None
        if one is None
        else Operand(one.shape, one.dtype, one, True)
        if isinstance(one, np.ndarray)
        else Operand(tuple(one), np.dtype(dtype), constant=place > 0)
        for place, one in enumerate(shapes)
    ]
    try:
        return examine(operator, operands, lambda inputs: [np.asarray(run(*inputs))], operator.TYPE)
    except MISFITS as error:
        raise UserError(f"{operator.TYPE} does not fit these shapes: {error}") from error


def examine(operator: Operator, operands: Operands, run: Run, name: str) -> Finding:
    """What the probes find at one operator.

    Args:
        operator: what should be computed.
        operands: its inputs.
        run: computes the outputs; a UserError says why it cannot.
        name: of the node.
    """
    shapes = tuple(one.shape for one in operands if one is not None)
    finding = Finding((name,), operator.TYPE, shapes)
    subject = _Subject(operator, operands, run)
    notes: list[str] = []
    try:
        for check, probe in _probes(operator, operands, notes):
            finding = check(subject, probe, finding)
            if finding.verdict == "wrong" or finding.worst is not None:
                break
    except UserError as error:
        return replace(finding, semantics="", precision="", note=str(error))
    if finding.precision == "right" and not finding.semantics:  # the products were right in every digit
        finding = replace(finding, semantics="right")
    if not finding.probed:
        return replace(finding, note="; ".join(dict.fromkeys(notes)) if is_known(operator) else NOTHING)
    return replace(finding, note="; ".join(dict.fromkeys(one for one in (finding.note, *notes) if one)))


def _probes(operator: Operator, operands: Operands, notes: list[str]) -> Iterator[tuple["Check", Probe]]:
    """Each probe with what judges it; where one does not apply, the reason is added to the notes."""
    repeated = 1
    try:
        yield _integers, integer_data.probe(operator, operands, np.random.default_rng(SEED))
    except (NoProbe, Unjudged) as reason:
        notes.append(str(reason))
        repeated = REPEATED
    try:
        for seed in range(SEED, SEED + repeated):
            yield _single, single_products.probe(operator, operands, np.random.default_rng(seed))
    except (NoProbe, Unjudged) as reason:
        notes.append(str(reason))


def is_known(operator: Operator) -> bool:
    """Whether there is a probe for operators of this type."""
    return operator.TYPE in integer_data.MAKERS or operator.TYPE in single_products.MAKERS


@dataclass(frozen=True)
class _Subject:
    """What is probed."""

    operator: Operator
    operands: Operands
    run: Run

    def expected(self, probe: Probe, form: Format) -> list[Bounded]:
        return _evaluated(self.operator, probe.inputs, form)

    def explained(self, probe: Probe, found: Outputs) -> TensorReport | None:
        """The verdict of `parity judge` on the first wrong output, with its causes."""
        names = [f"x{place}" if a is not None else "" for place, a in enumerate(probe.inputs)]
        given = {name: a for name, a in zip(names, probe.inputs, strict=True) if a is not None}
        held = {
            name
            for name, one in zip(names, self.operands, strict=True)
            if one is not None and (one.constant or one.value is not None)
        }
        outputs = tuple(f"y{place}" for place in range(len(found)))
        node = Node("node", self.operator.TYPE, self.operator, tuple(names), outputs)
        graph = Graph(
            (node,),
            {name: Declared(a.dtype.name, a.shape) for name, a in given.items() if name not in held},
            outputs,
            {name: a for name, a in given.items() if name in held},
        )
        recorded = {name: a for name, a in given.items() if name not in held}
        made = zip(outputs, found, strict=True)
        return judge(graph, recorded | {name: one for name, one in made if one is not None}).first


Check = Callable[[_Subject, Probe, Finding], Finding]


def _evaluated(operator: Operator, inputs: Sequence[Array | None], form: Format) -> list[Bounded]:
    result = operator.evaluate(*(None if a is None else Bounded(a, None, form) for a in inputs))
    return [one for one in (result if isinstance(result, tuple) else (result,)) if isinstance(one, Bounded)]


def _sizes(operator: Operator, inputs: Sequence[Array | None], form: Format) -> list[Bounded]:
    """The sum of the terms' magnitudes for each result."""
    sizes = [a if a is None or format_of(a) is None else np.abs(a) for a in inputs]
    return _evaluated(integer_data.magnitudes(operator), sizes, form)


def _format(operands: Operands) -> Format:
    return next((FORMATS[one.dtype.name] for one in operands if one is not None and one.is_float), FLOAT32)


# --- the two probes ----------------------------------------------------------------------------


def _integers(subject: _Subject, probe: Probe, finding: Finding) -> Finding:
    """The semantics: right if no result is off by half the grid on which all results lie.

    Where an operator rounds nothing (a maximum, say), it must not be off at all.
    """
    form, found, inexact = _format(subject.operands), subject.run(probe.inputs), None
    for one, right in zip(found, subject.expected(probe, form), strict=False):
        if one is None:
            continue
        if one.shape != right.shape:
            return _misshapen(finding, one, right)
        whole = _nearest(probe, right, form)
        error = _distance(one, whole)
        if (error >= probe.grid / 2).any() or (error.any() and not right.bound.any()):
            wrong = replace(finding, semantics="wrong", worst=_worst(one, whole, error))
            return _with_causes(wrong, subject.explained(probe, found))
        if (error > (right.bound if probe.roundings is None else 0)).any():
            inexact = _worst(one, whole, error)
    if inexact is None:
        return replace(finding, semantics="right")
    if probe.roundings is None:  # a factor may be slightly off, as a variance that was divided by n − 1
        named = _with_causes(finding, subject.explained(probe, found))
        if named.causes and not any(form in one.name for one in named.causes for form in SHORT):
            return replace(named, semantics="wrong", worst=inexact)
    return replace(finding, semantics="right", precision="coarse", note=INEXACT)


def _single(subject: _Subject, probe: Probe, finding: Finding) -> Finding:
    """The precision: right if every product is rounded as often as it must be."""
    form, found = _format(subject.operands), subject.run(probe.inputs)
    several = probe.roundings is not None and probe.roundings > 1
    expected = subject.expected(probe, form)
    sizes = _sizes(subject.operator, probe.inputs, form) if several else expected  # one rounds the result
    for one, right, size in zip(found, expected, sizes, strict=False):
        if one is None:
            continue
        if one.shape != right.shape:
            return _misshapen(finding, one, right)
        error = _distance(one, right.value if probe.roundings != 0 else _nearest(probe, right, form))
        magnitude = np.abs(size.value.astype(np.float64))
        if not (error > _allowed(probe, right, magnitude, form)).any():
            continue
        relative = error / np.where(magnitude > 0, magnitude, magnitude.max(initial=0) or 1.0)
        largest, most = float(relative.max()), float(np.quantile(relative[relative > 0], TYPICAL))
        digits = -float(np.log2(most))
        worst = _worst(one, right.value, error)
        semantic = largest > COARSEST and not finding.semantics
        if semantic:
            failed = replace(finding, worst=worst, semantics="wrong")
        else:
            failed = replace(finding, worst=worst, precision="coarse", digits=digits)
        failed = _with_causes(failed, subject.explained(probe, found))
        return failed if semantic or failed.causes else replace(failed, clues=_lost(subject, probe))
    coarse = finding.precision == "coarse"
    return replace(finding, precision="coarse" if coarse else "right")


def _nearest(probe: Probe, right: Bounded, form: Format) -> Array:
    """What a right implementation returns where it rounds nothing: the reference is as good as float64."""
    if probe.roundings is None and probe.grid:
        return np.asarray(np.rint(right.value / probe.grid) * probe.grid)
    return form.round(right.value) if format_of(right.value) is not None else right.value


def _lost(subject: _Subject, probe: Probe) -> tuple[str, ...]:
    """Lines on the part of a coarse sum of products in float32 that loses digits."""
    if subject.operator.TYPE not in integer_data.PRODUCTS or _format(subject.operands) is not FLOAT32:
        return ()
    return lost_digits(subject.operator, probe.inputs, lambda a: np.asarray(subject.run(tuple(a))[0]))


def _allowed(probe: Probe, right: Bounded, magnitude: Array, form: Format) -> Array:
    """The worst case of so many roundings; and what the reference itself may be off by in float64."""
    if probe.roundings is None:
        return right.bound
    return (gamma(probe.roundings, form.u) + 4 * U64 * (probe.roundings > 0)) * magnitude


def _misshapen(finding: Finding, found: Array, right: Bounded) -> Finding:
    note = f"shape {list(found.shape)}, expected {list(right.shape)}"
    return replace(finding, semantics="wrong", note=note)


def _with_causes(finding: Finding, report: TensorReport | None) -> Finding:
    if report is None:
        return finding
    return replace(finding, causes=report.causes, clues=report.clues)


def _distance(found: Array, right: Array) -> Array:
    """|found − right|; infinite for a NaN."""
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(found.astype(np.float64) - right.astype(np.float64))
    return np.where(np.isnan(error), np.inf, error)


def _worst(found: Array, right: Array, error: Array) -> Worst:
    place = np.unravel_index(int(error.argmax()), error.shape)
    index = tuple(int(one) for one in place)
    return Worst(index, float(found[index]), float(right[index]))
