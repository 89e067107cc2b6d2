"""Runs ports on the same digits and judges each layer: rounding, or a different function."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat

import numpy as np
from threadpoolctl import threadpool_limits

from lenet.compare.exact_bits import Right, equal_bits
from lenet.network.architecture import ACTIVATION_SHAPES, CLASSES, LENET, Network
from lenet.network.digits import Digits
from lenet.ports import Arrays, Port
from lenet.ports.calling import PortFailed, calling
from lenet.reference import forward
from lenet.reference.distance import absolute_error, over, ratio
from lenet.reference.half_sums import BIASED, rounding_relus, with_half_sums
from parity.arithmetic import Bounded
from parity.errors import UserError
from parity.judging.causes.of_rounding.of_half_sums import NAME as HALF_SUM

# Digits per call of a port. A call into a framework costs more than a digit. But glibc maps arrays above
# 32 MB (conv1's float32 patches of 428 digits) anew each time, and every page causes a fault.
RUN = 400
CHUNK = 100  # digits judged at once: of 50, the calls cost a tenth more; of 200, few threads have work
QUEUE = 2 * RUN // CHUNK  # chunks waiting to be judged


@dataclass
class LayerReport:
    """The distance of a layer's output from the reference, over all digits.

    Attributes:
        max_abs_error: largest |port − reference|.
        local_ratio: largest error/bound given the port's own input to the layer.
        end_to_end_ratio: largest error/bound given the image.
        values, equal_values: the number of values, and of those that equal the reference rounded to the
            port's dtype.
        worst: (digit, index in the activation, port's value, expected value) of `local_ratio`.
        formula: a less accurate formula for the same function, by whose bounds it was judged; "" for the
            layer's own.
    """

    max_abs_error: float = 0.0
    local_ratio: float = 0.0
    end_to_end_ratio: float = 0.0
    values: int = 0
    equal_values: int = 0
    worst: tuple[int, tuple[int, ...], float, float] | None = None
    formula: str = ""

    @property
    def bit_equal(self) -> float:
        """Share of values that equal the reference rounded to the port's dtype."""
        return self.equal_values / self.values

    def merge(self, other: "LayerReport") -> None:
        """Add the report on other digits."""
        if self.worst is None or other.local_ratio > self.local_ratio:
            self.worst = other.worst
        self.local_ratio = max(self.local_ratio, other.local_ratio)
        self.end_to_end_ratio = max(self.end_to_end_ratio, other.end_to_end_ratio)
        self.max_abs_error = max(self.max_abs_error, other.max_abs_error)
        self.values += other.values
        self.equal_values += other.equal_values
        self.formula = self.formula or other.formula

    def to_json(self) -> dict:
        """As in `lenet compare --json`."""
        return {
            "max_abs_error": self.max_abs_error,
            "local_ratio": self.local_ratio,
            "end_to_end_ratio": self.end_to_end_ratio,
            "bit_equal": self.bit_equal,
        }

    @property
    def different(self) -> bool:
        """Whether any value lies outside its rounding bound."""
        return not (self.local_ratio <= 1 and self.end_to_end_ratio <= 1)


@dataclass
class PortReport:
    """The verdict on a port in a mode.

    Attributes:
        digits, correct, same_predictions: the number of digits, of those that the port classifies as
            labelled, and of those that it classifies as the reference does.
        problem: what it raises, or a wrong name, shape or dtype of its outputs; None if all are right.
        bits_equal: the number of logits that are right to the bit with exact weights; None if not checked.
        layers: {layer: report}, in order of execution; empty if there is a problem.
    """

    name: str
    version: str
    dtype: str
    digits: int = 0
    correct: int = 0
    same_predictions: int = 0
    problem: str | None = None
    bits_equal: int | None = None
    layers: dict[str, LayerReport] = field(default_factory=dict)

    def merge(self, other: "PortReport") -> None:
        """Add what was seen on other digits."""
        self.digits += other.digits
        self.correct += other.correct
        self.same_predictions += other.same_predictions
        self.problem = self.problem or other.problem
        for name, layer in other.layers.items():
            self.layers.setdefault(name, LayerReport()).merge(layer)

    @property
    def accuracy(self) -> float:
        """Share of digits that the port classifies as labelled."""
        return self.correct / self.digits

    @property
    def first_different(self) -> str | None:
        """The first layer, in order of execution, that rounding does not explain."""
        return next((name for name, layer in self.layers.items() if layer.different), None)

    @property
    def worst_layer(self) -> tuple[str, float]:
        """The layer with the largest error/bound, and this ratio; there must be layers."""
        ratios = {name: max(one.local_ratio, one.end_to_end_ratio) for name, one in self.layers.items()}
        name = max(ratios, key=lambda name: ratios[name])
        return name, ratios[name]

    @property
    def verdict(self) -> str:
        """ "rounding", "different", or "less accurate": the same function, by a formula that rounds more."""
        if self.problem or self.first_different:
            return "different"
        return "less accurate" if self.formulas else "rounding"

    @property
    def formulas(self) -> dict[str, str]:
        """{layer: less accurate formula}, for the layers that are computed by one."""
        return {name: layer.formula for name, layer in self.layers.items() if layer.formula}

    def to_json(self) -> dict:
        """As in `lenet compare --json`."""
        return {
            "name": self.name,
            "version": self.version,
            "dtype": self.dtype,
            "accuracy": self.accuracy,
            "same_predictions": self.same_predictions,
            "bits_equal": self.bits_equal,
            "verdict": self.verdict,
            "first_different": self.first_different,
            "problem": self.problem,
            "layers": {name: layer.to_json() for name, layer in self.layers.items()},
        }


@dataclass
class Comparison:
    """Ports judged on the same digits: the numbers of digits and certified digits, and all verdicts."""

    digits: int
    certified: int
    ports: list[PortReport]

    @classmethod
    def of(cls, ports: Sequence[Port], problems: Iterable[str | None] = repeat(None)) -> "Comparison":
        """Nothing seen yet of these ports, but for their problems."""
        reports = [PortReport(port.name, port.version, port.dtype) for port in ports]
        for report, problem in zip(reports, problems, strict=False):
            report.problem = problem
        return cls(0, 0, reports)

    def merge(self, other: "Comparison") -> None:
        """Add what was seen of the same ports on other digits."""
        self.digits += other.digits
        self.certified += other.certified
        for own, theirs in zip(self.ports, other.ports, strict=True):
            own.merge(theirs)

    @property
    def logits(self) -> int:
        """The number of logits that each port returned."""
        return CLASSES * self.digits

    def to_json(self) -> dict:
        """As in `lenet compare --json`."""
        return {
            "digits": self.digits,
            "certified": self.certified,
            "logits": self.logits,
            "ports": [report.to_json() for report in self.ports],
        }


def compare(
    ports: list[Port],
    params: Mapping[str, np.ndarray],
    digits: Digits,
    progress: Callable[[int], None] = lambda done: None,
    right: Right | None = None,
) -> Comparison:
    """Judge every port against the float64 reference, chunk by chunk.

    Ports run one after the other in the calling thread, as frameworks expect. Meanwhile, other threads judge
    the returned values.

    Args:
        ports: opened; `params` are loaded here. All of one dtype.
        params: shared weights.
        digits: at least one digit.
        progress: called with the number of digits judged since the last call.
        right: the right logits of the same digits with exact weights; without it, `bits_equal` is None.

    Raises:
        UserError: there is nothing to compare, or a port refuses the weights.
    """
    if not ports or not len(digits):
        raise UserError("nothing to compare: give at least one installed port and one digit")
    result = Comparison.of(ports)
    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting: deque[Future[Comparison]] = deque()
        for start in range(0, len(digits), RUN):
            run = slice(start, start + RUN)
            outputs = [_outputs(port, params, digits[run].images) for port in ports]
            for job in _jobs(ports, params, digits[run], outputs, start):
                waiting.append(pool.submit(job))
            if right is not None:
                _count_bits(ports, right, run, result)
            while len(waiting) > QUEUE or (waiting and start + RUN >= len(digits)):
                judged = waiting.popleft().result()
                result.merge(judged)
                progress(judged.digits)
    return result


def _count_bits(ports: Iterable[Port], right: Right, run: slice, result: Comparison) -> None:
    """Run the ports with exact weights."""
    for port, report in zip(ports, result.ports, strict=True):
        equal = 0
        with suppress(PortFailed), calling(port):
            port.load(right.params)
            equal = equal_bits(right.logits[run], port.logits(right.images[run]))
        report.bits_equal = equal + (report.bits_equal or 0)


def _outputs(
    port: Port, params: Mapping[str, np.ndarray], images: np.ndarray
) -> tuple[Arrays, np.ndarray] | str:
    """Activations and logits of a port, or what is wrong with them: one broken port stops no other."""
    try:
        with calling(port):
            port.load(params)
            activations, logits = port.activations(images), port.logits(images)
            return outputs_problem(activations, logits, len(images), port.dtype) or (activations, logits)
    except PortFailed as error:
        return error.said


def _part(activations: Arrays, logits: np.ndarray, part: slice) -> tuple[Arrays, np.ndarray]:
    return {name: y[part] for name, y in activations.items()}, logits[part]


def _equal(one: tuple[Arrays, np.ndarray], other: tuple[Arrays, np.ndarray]) -> bool:
    """Whether two ports returned the same values, in every layer."""
    (activations, logits), (others, plain) = one, other
    if not np.array_equal(logits, plain):  # first, because these are few, and nearly always differ
        return False
    return all(np.array_equal(y, others[name]) for name, y in activations.items())


def _jobs(
    ports: list[Port],
    params: Mapping[str, np.ndarray],
    digits: Digits,
    outputs: list[tuple[Arrays, np.ndarray] | str],
    start: int,
) -> Iterator[Callable[[], Comparison]]:
    """The judging of what the ports returned for these digits, chunk by chunk."""
    problems = [found if isinstance(found, str) else None for found in outputs]
    for first in range(0, len(digits), CHUNK):
        part = slice(first, first + CHUNK)
        chunks = [None if isinstance(found, str) else _part(*found, part) for found in outputs]
        result = Comparison.of(ports, problems)
        yield partial(_judge, params, digits[part], chunks, result, start + first)


def outputs_problem(activations: Arrays, logits: np.ndarray, count: int, dtype: str) -> str | None:
    """A wrong name, shape or dtype of a port's outputs, in one line; None if all are right.

    All three must be those of the network: nothing is broadcast or cast to make them agree.
    """
    if activations.keys() != ACTIVATION_SHAPES.keys():
        missing, unknown = (
            ACTIVATION_SHAPES.keys() - activations.keys(),
            activations.keys() - ACTIVATION_SHAPES.keys(),
        )
        return f"activations missing: {sorted(missing)}, unknown: {sorted(unknown)}"
    for name, array in [*activations.items(), ("logits", logits)]:
        shape = (count, *ACTIVATION_SHAPES[name])
        if array.shape != shape or array.dtype != dtype:
            return f"{name} is {array.dtype} {array.shape}, expected {dtype} {shape}"
    return None


def _judge(
    params: Mapping[str, np.ndarray],
    chunk: Digits,
    outputs: list[tuple[Arrays, np.ndarray] | None],
    result: Comparison,
    start: int,
) -> Comparison:
    """`result`, which is empty, for the digits of a chunk."""
    dtype = result.ports[0].dtype
    expected = forward.reference(params, chunk.images, dtype)
    rounded = forward.rounded(expected, dtype)
    best = expected["logits"].value.argmax(axis=1)
    result.digits, result.certified = len(chunk), int(forward.certified(expected["logits"]).sum())
    judged: list[tuple[tuple[Arrays, np.ndarray], PortReport]] = []
    for report, output in zip(result.ports, outputs, strict=True):
        if output and (twin := next((one for theirs, one in judged if _equal(output, theirs)), None)):
            report.merge(twin)  # many ports return the same values: these are judged once
            continue
        report.digits = len(chunk)
        if output:
            judged.append((output, report))
            predictions = output[1].argmax(axis=1)
            report.correct = int((predictions == chunk.labels).sum())
            report.same_predictions = int((predictions == best).sum())
            plain = judge_layers(params, chunk.images, *output, expected, rounded, start)
            report.layers = less_accurate(params, chunk.images, *output, plain, start) or plain
    return result


def less_accurate(
    params: Mapping[str, np.ndarray],
    images: np.ndarray,
    activations: Arrays,
    logits: np.ndarray,
    plain: Mapping[str, LayerReport],
    start: int = 0,
) -> dict[str, LayerReport] | None:
    """The report on each layer if some ReLUs are computed by a formula that rounds, and all else is right.

    Args:
        params, images, activations, logits, start: as in `judge_layers`.
        plain: the report on each layer as it is written.

    Returns:
        None if no ReLU is outside its bound, or one does not have the formula's errors, or a layer is outside
        its bound even so.
    """
    outside = {name for name in BIASED if plain[name].local_ratio > 1}
    if not outside or not outside <= set(rounding_relus(params, activations)):
        return None
    network, dtype = with_half_sums(params, outside), logits.dtype.name
    expected = forward.reference(params, images, dtype, network)
    rounded = forward.rounded(expected, dtype)
    layers = judge_layers(params, images, activations, logits, expected, rounded, start, network)
    if any(layer.different for layer in layers.values()):
        return None
    for name in outside:
        layers[name].formula = HALF_SUM
    return layers


def judge_layers(
    params: Mapping[str, np.ndarray],
    images: np.ndarray,
    activations: Arrays,
    logits: np.ndarray,
    expected: dict[str, Bounded],
    rounded: Arrays,
    start: int = 0,
    network: Network = LENET,
) -> dict[str, LayerReport]:
    """The report on each layer that a port returned for some digits.

    Args:
        params: shared weights.
        images: the images of the digits.
        activations, logits: the port's outputs, in which `outputs_problem` found nothing.
        expected: `lenet.reference.forward.reference` of the same digits.
        rounded: `lenet.reference.forward.rounded` of `expected`, in the port's dtype.
        start: the number of the first digit.
        network: with the same layers, which may be computed by other formulas.
    """
    reports, x = {}, images
    for layer in network.layers:
        y, end_to_end = activations[layer.name], expected[layer.name]
        own = end_to_end if x is images else forward.local(layer, params, x, y.dtype.name)
        reports[layer.name] = _report(y, rounded[layer.name], own, end_to_end, start)
        x = y
    # the plain forward pass may be fused differently from the pass that returns every layer
    alone = float(ratio(logits, expected["logits"]).max())
    reports["logits"].end_to_end_ratio = max(reports["logits"].end_to_end_ratio, alone)
    return reports


def _report(y: np.ndarray, rounded: np.ndarray, own: Bounded, end_to_end: Bounded, start: int) -> LayerReport:
    error = absolute_error(y, end_to_end.value)
    largest = float(error.max())
    whole = over(error, end_to_end.bound, largest)
    if own is end_to_end:
        local = np.fmax(whole, 0, out=whole)
    elif (own.error is None or not own.error.any()) and np.array_equal(y, own.value):
        local = np.zeros((1,) * y.ndim)  # nothing rounds here, and the values are nearly always right
    else:
        local = ratio(y, own)
    digit, *index = (int(i) for i in np.unravel_index(local.argmax(), local.shape))
    return LayerReport(
        max_abs_error=largest,
        local_ratio=float(local[digit, *index]),
        end_to_end_ratio=float(np.fmax.reduce(whole, axis=None, initial=0)),
        values=y.size,
        equal_values=int(np.count_nonzero(y == rounded)),
        worst=(start + digit, tuple(index), float(y[digit, *index]), float(own.value[digit, *index])),
    )
