"""The inputs on which a port is judged, and the record of the values that it returned.

The inputs avoid everything that hides mistakes. Constant weights or images hide every permutation, a
single channel hides the order of channels, a batch of 1 hides a mix-up of digits, and the empty margin of
MNIST hides the padding of a convolution: half of the digits here are rolled over the edge. Each set of
weights reveals other mistakes:

- `random`: normal weights and biases, no two alike;
- `trained`: the shared weights, with their confident logits;
- `exact`: trained weights and images on a dyadic grid, where no sum of the forward pass rounds
  (`lenet.reference.certificate`). All bounds are zero, so the logits alone tell any two mistakes apart,
  and the bounds of the gradients contain only the roundings of the backward pass. Ties in pooling windows
  are frequent, so the rule for ties shows;
- `fine`: few nonzero weights, with 12 bits in conv1. Still no sum rounds, and the operands of every layer
  need more bits than TF32 or bfloat16 have. All activations are scaled by 2^-24, which float32 can represent
  and float16 cannot. That distinguishes TF32 from float16, which has as many significant bits;
- `subnormal`: `exact` scaled by 2^-128, below the smallest normal float32. It only leads to a note, because
  frameworks may set such numbers to zero, and some do;
- `loud`: the weights of `exact` with logits 64 times as large and many wrong labels: a softmax without
  the shift overflows, a probability that underflows has no logarithm, and a clipped probability shows;
- `near`: `exact` with nearly equal pixels for equal ones, so that np.isclose in pooling shows;
- `sure`: the same with the most probable labels, where only a softmax without the shift overflows;
- `again`: the input of `exact` once more. No order of summation changes it, so another answer is random;
- `one` and `many`: digits of `exact`, alone and several times in a batch of 37. Each must have the answer
  that it has among 16.

The training run has momentum, a large weight decay, a learning-rate drop and a short last batch. Its
weights after the first layer are positive, so no sum cancels before the logits, and the worst case of
rounding stays far below every term of the update.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import prod

import numpy as np

from lenet.network import weights
from lenet.network.architecture import CLASSES, PARAM_SHAPES
from lenet.network.digits import Digits, test_set
from lenet.network.recipe import Batch, Recipe, initial_params
from lenet.ports import Arrays, Port, Unsupported
from lenet.reference.exact import EXACT, coarsen
from lenet.reference.forward import reference
from parity.arithmetic.floats import FORMATS

Activations = Callable[[Arrays, np.ndarray], Mapping[str, np.ndarray]]
Gradients = Callable[[Arrays, np.ndarray, np.ndarray], tuple[float | None, Mapping[str, np.ndarray]]]
Train = Callable[[Arrays, list[Batch], Recipe], Mapping[str, np.ndarray]]

DIGITS = 16  # in the batch of a probe
MANY = 37  # digits of the probe `many`: odd, and more than 32
LARGE = 8.0  # gives values above 6, where ReLU6 cuts off, from the first layer on
SUBNORMAL = 2.0**-128  # the smallest normal float32 is 2^-126, the weights of conv1 are below 1
SIGNS = 0.75  # share of positive weights, so that not every unit is zero after ReLU
FAINT = 2.0**-24  # the smallest positive float16
FIRST = ("exact", "again")  # what a port is asked first
ROOM = 256.0  # unit roundoffs of the largest value: more than another order of summation changes
NEAR = 2.0**-18  # np.isclose takes 1e-5 of a value for nothing
LOUD = 64.0  # exp overflows in float64 for logits above 710; those of the exact weights reach 20


@dataclass(frozen=True)
class Probe:
    """A set of weights and a batch of digits.

    Attributes:
        name: "random", "trained" and so on; see above.
        params: shared weights, float32.
        images, labels: (N, 1, 28, 28) float32 and (N,) int64. The labels need not be true.
        forward: whether the port is asked for activations.
        backward: whether it is asked for loss and gradients.
        judged: whether wrong activations are a mistake; otherwise they only lead to a note.
        twins: for each digit its place in `exact`, to whose answers this probe's are compared; () for none.
    """

    name: str
    params: Arrays
    images: np.ndarray
    labels: np.ndarray
    forward: bool = True
    backward: bool = False
    judged: bool = True
    twins: tuple[int, ...] = ()


@dataclass(frozen=True)
class Course:
    """A short training run: its initial parameters (with zero velocity), batches and recipe."""

    start: Arrays
    batches: tuple[Batch, ...]
    recipe: Recipe


@dataclass(frozen=True)
class Probes:
    """All inputs that a port is run on."""

    probes: tuple[Probe, ...]
    course: Course

    @property
    def asked(self) -> tuple[Probe, ...]:
        """The probes for which the port is asked for activations, in this order: `exact` comes first, and
        again, because a random answer is found at once."""
        return self._ordered([probe for probe in self.probes if probe.forward])

    @property
    def forward(self) -> tuple[Probe, ...]:
        """The probes whose activations are judged."""
        return tuple(one for one in self.probes if one.forward and one.judged and not one.twins)

    @property
    def backward(self) -> tuple[Probe, ...]:
        """The probes for which the port is asked for loss and gradients, in this order."""
        return self._ordered([probe for probe in self.probes if probe.backward])

    def named(self, name: str) -> Probe | None:
        """The probe of this name; None if there is none."""
        return next((probe for probe in self.probes if probe.name == name), None)

    @staticmethod
    def _ordered(probes: list[Probe]) -> tuple[Probe, ...]:
        return tuple(
            sorted(probes, key=lambda one: FIRST.index(one.name) if one.name in FIRST else len(FIRST))
        )


@dataclass
class Observed:
    """The values that a port returned on the probes. Any part may be missing, but not all.

    Attributes:
        dtype: the type that the port claims to compute in, "float32" or "float64".
        activations: {probe: {layer: array}}, for any layers of `lenet.network.architecture.LAYERS`. Arrays
            are kept as they were returned: a wrong shape is evidence, not an error.
        gradients: {probe: (loss or None, {parameter: array})}, perhaps for some parameters only.
        trajectory: the parameters after the first step, after the second, and so on; None without training.
        first_step_again: the parameters after the first step of a second run; None without one.
    """

    dtype: str = "float32"
    activations: dict[str, Arrays] = field(default_factory=dict)
    gradients: dict[str, tuple[float | None, Arrays]] = field(default_factory=dict)
    trajectory: list[Arrays] | None = None
    first_step_again: Arrays | None = None


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
            the parameters. It is called on the first batch, on the first two, and so on, and on the first
            once more.
        dtype: the type that the port claims to compute in.

    A function that returns something else for the same input is asked no more, nor are those after it.
    """
    seen = Observed(dtype)
    for probe in probes.asked:
        seen.activations[probe.name] = _arrays(activations(_copy(probe.params), probe.images.copy()))
        if is_random(seen.activations, dtype):
            return seen
    for probe in probes.backward if gradients else ():
        assert gradients is not None
        loss, found = gradients(_copy(probe.params), probe.images.copy(), probe.labels.copy())
        seen.gradients[probe.name] = None if loss is None else float(loss), _arrays(found)
        if is_random({name: arrays for name, (_, arrays) in seen.gradients.items()}, dtype):
            return seen
    if train is not None:
        steps = [_trained(train, probes.course, 1)]
        seen.first_step_again = _trained(train, probes.course, 1)
        if not is_random(dict(zip(FIRST, (steps[0], seen.first_step_again), strict=True)), dtype):
            steps += [_trained(train, probes.course, k + 1) for k in range(1, len(probes.course.batches))]
        seen.trajectory = steps
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


def alike(one: np.ndarray, two: np.ndarray | None, dtype: str) -> bool:
    """Whether two arrays are equal, up to `ROOM` roundings of their largest value; NaN is equal to NaN."""
    if two is None or one.shape != two.shape:
        return False
    if np.array_equal(one, two, equal_nan=one.dtype.kind == "f"):
        return True
    a, b = one.astype(np.float64), two.astype(np.float64)
    with np.errstate(invalid="ignore"):
        off = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        return bool(off.max(initial=0) <= ROOM * FORMATS[dtype].u * np.abs(a[np.isfinite(a)]).max(initial=0))


def observe_port(probes: Probes, port: Port) -> Observed:
    """Run a port of the registry on every probe: forward, and backward and training if it has them."""

    def activations(params: Arrays, images: np.ndarray) -> Arrays:
        port.load(params)
        return port.activations(images)

    def gradients(params: Arrays, images: np.ndarray, labels: np.ndarray) -> tuple[float, Arrays]:
        port.load(params)
        return port.gradients(images, labels)

    with np.errstate(all="ignore"):  # a planted mistake may overflow; the diagnosis reports it
        try:
            seen = observe(probes, activations, gradients, dtype=port.dtype)
        except Unsupported:
            return observe(probes, activations, dtype=port.dtype)
        course = probes.course
        port.load(course.start)
        seen.trajectory = [port.params() for _ in port.train(course.batches, course.recipe)]
    return seen


@cache
def standard() -> Probes:
    """The probes that every port is judged on: always the same, and read-only."""
    digits = test_set()
    batch, other = _batch(digits[:DIGITS]), _batch(digits[DIGITS : 2 * DIGITS])
    exact = weights.read(EXACT)
    coarse = coarsen(batch.images)
    loud = exact | {name: exact[name] * np.float32(LOUD) for name in ("logits.weight", "logits.bias")}
    labels = _often_wrong(batch.labels)
    found = Probes(
        (
            Probe("random", random_params(7, first=LARGE), batch.images, batch.labels),
            Probe("trained", weights.read(), other.images, other.labels),
            Probe("fine", scaled(fine_params(13), FAINT), coarse, labels),
            Probe("subnormal", scaled(exact, SUBNORMAL), coarse, labels, judged=False),
            Probe("exact", exact, coarse, labels, backward=True),
            Probe("loud", loud, coarse, labels, forward=False, backward=True),
            Probe("sure", loud, coarse, _most_probable(loud, coarse), forward=False, backward=True),
            Probe("again", exact, coarse, labels, backward=True, twins=tuple(range(DIGITS))),
            Probe("near", exact, _nearly(coarse), labels, forward=False, backward=True),
            *(_other_batch(name, exact, coarse, labels, twins) for name, twins in _other_batches().items()),
        ),
        course(digits[2 * DIGITS :]),
    )
    for probe in found.probes:
        _freeze([probe.images, probe.labels, *probe.params.values()])
    _freeze(found.course.start.values())
    return found


def other_batches(probes: Probes) -> list[Probe]:
    """The probes of other sizes, which are asked last."""
    return [probe for probe in probes.asked if probe.twins and probe.name not in FIRST]


def _other_batches() -> dict[str, tuple[int, ...]]:
    """The digits of `exact` in the batches of other sizes, in another order."""
    order = np.random.default_rng(17).permutation(MANY) % DIGITS
    return {"one": (3,), "many": tuple(order.tolist())}


def _other_batch(
    name: str, params: Arrays, images: np.ndarray, labels: np.ndarray, twins: tuple[int, ...]
) -> Probe:
    places = list(twins)
    return Probe(name, params, images[places], labels[places], twins=twins)


def _nearly(images: np.ndarray) -> np.ndarray:
    """Images whose equal pixels differ by less than np.isclose sees, and by more than float32 rounds."""
    return images + np.random.default_rng(19).integers(0, 2, images.shape).astype(np.float32) * np.float32(
        NEAR
    )


def _most_probable(params: Arrays, images: np.ndarray) -> np.ndarray:
    """The label with the largest logit, for each image."""
    return reference(params, images, "float64")["logits"].value.argmax(axis=1)


def scaled(params: Arrays, factor: float) -> Arrays:
    """Weights that make every activation `factor` times as large."""
    first = {name: w for name, w in params.items() if name == "conv1.weight" or name.endswith("bias")}
    return params | {name: w * np.float32(factor) for name, w in first.items()}


def fine_params(seed: int) -> Arrays:
    """Three weights of ±1 for each output, but in conv1 two weights of 12 bits; biases of 12 bits.

    With 4-bit pixels, sums after conv1 have at most 17 bits, and each layer adds log2(3): at most 24 bits.
    """
    rng, params = np.random.default_rng(seed), dict[str, np.ndarray]()
    for name, shape in PARAM_SHAPES.items():
        if name.endswith("bias"):
            params[name] = rng.integers(-(2**11), 2**11, shape).astype(np.float32) * np.float32(2.0**-12)
            continue
        first = name == "conv1.weight"
        rows = np.zeros((shape[0], prod(shape[1:])), np.float32)
        for row in rows:
            taps = rng.choice(rows.shape[1], 2 if first else 3, replace=False)
            sizes = 2 * rng.integers(2**10, 2**11, len(taps)) + 1 if first else np.full(len(taps), 2**12)
            signs = np.where(rng.random(len(taps)) < SIGNS, 1, -1)
            row[taps] = (signs * sizes).astype(np.float32) * np.float32(2.0**-12)
        params[name] = rows.reshape(shape)
    return params


def random_params(seed: int, first: float = 1.0) -> Arrays:
    """Normal weights of variance 2 / fan-in, in the first layer multiplied by `first`, and normal biases, so
    that a missing bias shows."""
    params, rng = initial_params(seed), np.random.default_rng(seed + 1)
    for name, shape in PARAM_SHAPES.items():
        if name.endswith("bias"):
            params[name] = (0.2 * rng.standard_normal(shape)).astype(np.float32)
    params["conv1.weight"] *= np.float32(first)
    return params


def course(digits: Digits) -> Course:
    """Three epochs, each with a short last batch; the rate drops in the middle of the second epoch."""
    recipe = Recipe(
        seed=3, epochs=3, batch_size=8, learning_rate=0.05, momentum=0.9, weight_decay=0.125, schedule="drop"
    )
    start = {name: np.abs(w) for name, w in random_params(5).items()}
    for name in ("conv2.weight", "fc1.weight", "fc2.weight"):  # each row sums to about 1
        start[name] *= np.float32(1 / np.sqrt(prod(start[name].shape[1:])))
    start["logits.weight"] *= np.random.default_rng(9).choice(np.array([-1, 1], np.float32), (CLASSES, 84))
    sizes = 3 * (8, 8, 3)
    ends = np.cumsum(sizes)
    batches = tuple(
        Batch(digits.images[end - size : end], digits.labels[end - size : end], recipe.rate(k, len(sizes)))
        for k, (size, end) in enumerate(zip(sizes, ends, strict=True))
    )
    return Course(start, batches, recipe)


def _batch(digits: Digits) -> Digits:
    """The digits, every second of them rolled over the right and the lower edge to fill the border."""
    images = digits.images.copy()
    images[::2] = np.roll(images[::2], (9, 5), axis=(2, 3))
    return Digits(images, digits.labels)


def _often_wrong(labels: np.ndarray) -> np.ndarray:
    """The labels, with every third of them changed to another class, which has a small probability."""
    moved = labels.copy()
    moved[::3] = (moved[::3] + 1 + np.arange(len(moved[::3])) % (CLASSES - 1)) % CLASSES
    return moved


def _arrays(found: Mapping[str, object]) -> Arrays:
    return {name: np.array(array) for name, array in found.items()}


def _copy(params: Arrays) -> Arrays:
    return {name: array.copy() for name, array in params.items()}


def _freeze(arrays: Iterable[np.ndarray] | Sequence[np.ndarray]) -> None:
    for array in arrays:
        array.setflags(write=False)
