"""The values that a port returned on the probes, and how it is asked for them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from lenet.diagnose.probe_inputs.asked import FIRST, Course, Probes
from lenet.network.recipe import Batch, Recipe
from lenet.ports import Arrays, Port, Unsupported
from parity.arithmetic.floats import FORMATS

Activations = Callable[[Arrays, np.ndarray], Mapping[str, np.ndarray]]
Gradients = Callable[[Arrays, np.ndarray, np.ndarray], tuple[float | None, Mapping[str, np.ndarray]]]
Train = Callable[[Arrays, list[Batch], Recipe], Mapping[str, np.ndarray]]

ROOM = 256.0  # unit roundoffs of the largest value: more than another order of summation changes


@dataclass
class Observed:
    """The values that a port returned on the probes. Any part may be missing, but not all.

    Attributes:
        dtype: the type that the port claims to compute in, "float32" or "float64".
        activations: {probe: {layer: array}}, for any layers of `lenet.network.architecture.LAYERS`. Arrays
            are kept as they were returned: a wrong shape is evidence, not an error.
        gradients: {probe: (loss or None, {parameter: array})}, perhaps for some parameters only.
        trajectory: the parameters after the first step, after the second, and so on; None without training.
        first_step_again, last_step_again: the parameters after the first step, and after the last one, of a
            second run; None without one.
    """

    dtype: str = "float32"
    activations: dict[str, Arrays] = field(default_factory=dict)
    gradients: dict[str, tuple[float | None, Arrays]] = field(default_factory=dict)
    trajectory: list[Arrays] | None = None
    first_step_again: Arrays | None = None
    last_step_again: Arrays | None = None


def observe(
    probes: Probes,
    activations: Activations,
    gradients: Gradients | None = None,
    train: Train | None = None,
    dtype: str = "float32",
) -> Observed:
    """Run a port on every probe. The port is given as plain functions.

    Args:
        activations: takes (params, images), returns {layer: array} for some layers, at least "logits".
        gradients: takes (params, images, labels), returns (mean loss or None, {parameter: gradient}).
        train: takes (params, batches, recipe), makes a step for each batch from zero velocity, and returns
            the parameters. It is called on the first batch, on the first once more, on the first two, and
            so on, and on all of them once more.
        dtype: the type that the port claims to compute in.

    A function that returns something else for the same input is asked no more, nor are those after it.
    """
    seen = Observed(dtype, _forward(probes, activations, dtype))
    if is_random(seen.activations, dtype):
        return seen
    seen.gradients = _backward(probes, gradients, dtype) if gradients else {}
    if is_random({name: arrays for name, (_, arrays) in seen.gradients.items()}, dtype):
        return seen
    if train is not None:
        steps = [_trained(train, probes.course, 1)]
        seen.first_step_again = _trained(train, probes.course, 1)
        if not is_random(dict(zip(FIRST, (steps[0], seen.first_step_again), strict=True)), dtype):
            every = len(probes.course.batches)
            steps += [_trained(train, probes.course, k + 1) for k in range(1, every)]
            seen.last_step_again = _trained(train, probes.course, every)
        seen.trajectory = steps
    return seen


def _forward(probes: Probes, activations: Activations, dtype: str) -> dict[str, Arrays]:
    seen: dict[str, Arrays] = {}
    for probe in probes.asked:
        seen[probe.name] = _arrays(activations(_copy(probe.params), probe.images.copy()))
        if is_random(seen, dtype):
            break
    return seen


def _backward(probes: Probes, gradients: Gradients, dtype: str) -> dict[str, tuple[float | None, Arrays]]:
    seen: dict[str, tuple[float | None, Arrays]] = {}
    for probe in probes.backward:
        loss, found = gradients(_copy(probe.params), probe.images.copy(), probe.labels.copy())
        seen[probe.name] = None if loss is None else float(loss), _arrays(found)
        if is_random({name: arrays for name, (_, arrays) in seen.items()}, dtype):
            break
    return seen


def _trained(train: Train, course: Course, steps: int) -> Arrays:
    own = [Batch(b.images.copy(), b.labels.copy(), b.rate) for b in course.batches[:steps]]
    return _arrays(train(_copy(course.start), own, course.recipe))


def is_random(answers: Mapping[str, Arrays], dtype: str) -> bool:
    """Whether two answers to the same question, `exact` and `again`, are different."""
    if not all(name in answers for name in FIRST):
        return False
    one, two = (answers[name] for name in FIRST)
    return any(not alike(array, two.get(name), dtype) for name, array in one.items())


def alike(one: np.ndarray, two: np.ndarray | None, dtype: str, steps: int = 1) -> bool:
    """Whether two arrays are equal, up to `ROOM` roundings of their largest value in each of the steps from
    which they come; NaN is equal to NaN."""
    if two is None or one.shape != two.shape:
        return False
    if np.array_equal(one, two, equal_nan=one.dtype.kind == "f"):
        return True
    a, b = one.astype(np.float64), two.astype(np.float64)
    with np.errstate(invalid="ignore"):
        off = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        room = steps * ROOM * FORMATS[dtype].u
        return bool(off.max(initial=0) <= room * np.abs(a[np.isfinite(a)]).max(initial=0))


def functions_of(port: Port) -> tuple[Activations, Gradients]:
    """A port of the registry as the functions `activations` and `gradients` of somebody's own file."""

    def activations(params: Arrays, images: np.ndarray) -> Arrays:
        port.load(params)
        return port.activations(images)

    def gradients(params: Arrays, images: np.ndarray, labels: np.ndarray) -> tuple[float, Arrays]:
        port.load(params)
        return port.gradients(images, labels)

    return activations, gradients


class Raised(Exception):
    """A port of the registry raised an exception, which is the `__cause__`.

    Attributes:
        during: the function that raised it: "activations", "gradients" or "train".
        observed: the values that the functions before it returned.
    """

    def __init__(self, during: str, observed: Observed) -> None:
        super().__init__(during)
        self.during, self.observed = during, observed


def observe_port(probes: Probes, port: Port) -> Observed:
    """Run a port of the registry on every probe: forward, and backward and training if it has them.

    Raises:
        Raised: the port raised an exception.
    """
    activations, gradients = functions_of(port)
    seen, during, course = Observed(port.dtype), "activations", probes.course
    try:
        with np.errstate(all="ignore"):  # a planted mistake may overflow; the diagnosis reports it
            seen.activations = _forward(probes, activations, port.dtype)
            during = "gradients"
            if is_random(seen.activations, port.dtype):
                return seen
            seen.gradients = _backward(probes, gradients, port.dtype)
            during = "train"
            port.load(course.start)
            seen.trajectory = [port.params() for _ in port.train(course.batches, course.recipe)]
    except Unsupported:
        if during == "activations":
            raise
    except Exception as error:
        raise Raised(during, seen) from error
    return seen


def _arrays(found: Mapping[str, object]) -> Arrays:
    return {name: np.array(array) for name, array in found.items()}


def _copy(params: Arrays) -> Arrays:
    return {name: array.copy() for name, array in params.items()}
