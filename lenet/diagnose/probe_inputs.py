"""The inputs on which a port is judged, and the record of what it returned.

What hides mistakes is left out. Constant weights or images hide every permutation, one channel hides the
order of channels, batch 1 hides what mixes digits, and the empty margin of MNIST hides how a convolution
pads: half of the digits here are rolled over the edge. The sets of weights see different things:

- `random`: normal weights and biases, no two alike;
- `trained`: the shared weights, with their confident logits;
- `exact`: trained weights and images on a dyadic grid, where no sum of the forward pass rounds
  (`lenet.reference.certificate`). The bound is zero whatever lies between, so that a mistake anywhere
  is told from any other by the logits alone, and the gradients' bounds hold only what the backward
  pass rounds. Ties in pooling windows are frequent: their rule is seen;
- `fine`: few weights, and those of conv1 of 12 bits, so that still no sum rounds, and every layer's operands
  need more bits than TF32 or bfloat16 have. All of it times 2^-24, which float32 takes as easily and
  float16 does not, so that TF32, whose products are as coarse as float16's, is told from it;
- `subnormal`: the same times 2^-128, below float32's smallest normal number, for a note alone: frameworks
  may take such numbers for zero, and some do;
- `loud`: the same with logits 64 times as large and labels that are often wrong, where a softmax without
  its shift overflows and a clipped probability shows.

The training run has momentum, a large weight decay, a learning-rate drop and a short last batch, and
starts from weights of which those after the first layer are positive: no sum cancels before the logits,
so that the worst case of rounding stays far below any term of the step.
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

Activations = Callable[[Arrays, np.ndarray], Mapping[str, np.ndarray]]
Gradients = Callable[[Arrays, np.ndarray, np.ndarray], tuple[float | None, Mapping[str, np.ndarray]]]
Train = Callable[[Arrays, list[Batch], Recipe], Mapping[str, np.ndarray]]

DIGITS = 16  # in the batch of a probe
LARGE = 8.0  # values beyond 6, where ReLU6 ends, from the first layer on
SUBNORMAL = 2.0**-128  # the smallest normal float32 is 2^-126, the weights of conv1 are below 1
SIGNS = 0.75  # of the few weights are positive, that not every unit is shut
FAINT = 2.0**-24  # the smallest positive float16
LOUD = 64.0  # exp overflows in float64 from a logit of 710 on: the exact logits reach 20


@dataclass(frozen=True)
class Probe:
    """One set of weights and one batch.

    Attributes:
        name: "random", "trained", "fine", "subnormal", "exact" or "loud".
        params: shared weights, float32.
        images, labels: (N, 1, 28, 28) float32 and (N,) int64. The labels need not be true.
        forward: whether activations are asked for.
        backward: whether loss and gradients are.
        judged: whether the activations must be right; a note is made of the others.
    """

    name: str
    params: Arrays
    images: np.ndarray
    labels: np.ndarray
    forward: bool = True
    backward: bool = False
    judged: bool = True


@dataclass(frozen=True)
class Course:
    """A short training run: where it starts (the velocity is zero there), its batches and its recipe."""

    start: Arrays
    batches: tuple[Batch, ...]
    recipe: Recipe


@dataclass(frozen=True)
class Probes:
    """Everything that a port is run on."""

    probes: tuple[Probe, ...]
    course: Course

    @property
    def asked(self) -> tuple[Probe, ...]:
        """The probes on which activations are asked for."""
        return tuple(probe for probe in self.probes if probe.forward)

    @property
    def forward(self) -> tuple[Probe, ...]:
        """Those of them on which activations are judged."""
        return tuple(probe for probe in self.asked if probe.judged)

    @property
    def backward(self) -> tuple[Probe, ...]:
        """Those on which loss and gradients are asked for."""
        return tuple(probe for probe in self.probes if probe.backward)


@dataclass
class Observed:
    """What a port returned on the probes; everything but some activation may be missing.

    Attributes:
        dtype: what the port claims to compute in, "float32" or "float64".
        activations: by probe, then by layer: any of the names of `lenet.network.architecture.LAYERS`, as
            handed out (a wrong shape is evidence, not an error).
        gradients: by probe: (loss or None, {parameter: array}), perhaps of some parameters only.
        trajectory: the parameters after the first step, after the second, …; None if it does not train.
    """

    dtype: str = "float32"
    activations: dict[str, Arrays] = field(default_factory=dict)
    gradients: dict[str, tuple[float | None, Arrays]] = field(default_factory=dict)
    trajectory: list[Arrays] | None = None


def observe(
    probes: Probes,
    activations: Activations,
    gradients: Gradients | None = None,
    train: Train | None = None,
    dtype: str = "float32",
) -> Observed:
    """Run a port, given as plain functions, on every probe.

    Args:
        activations: (params, images) to {layer: array}; some layers, or only "logits".
        gradients: (params, images, labels) to (mean loss or None, {parameter: gradient}).
        train: (params, batches, recipe) to the parameters after one step for each batch, from a
            velocity of zero. It is called on the first batch, on the first two, and so on.
        dtype: what the port claims to compute in.
    """
    seen = Observed(dtype)
    for probe in probes.asked:
        seen.activations[probe.name] = _arrays(activations(_copy(probe.params), probe.images.copy()))
    for probe in probes.backward if gradients else ():
        assert gradients is not None
        loss, found = gradients(_copy(probe.params), probe.images.copy(), probe.labels.copy())
        seen.gradients[probe.name] = None if loss is None else float(loss), _arrays(found)
    if train is not None:
        course, steps = probes.course, list[Arrays]()
        for k in range(len(course.batches)):
            own = [Batch(b.images.copy(), b.labels.copy(), b.rate) for b in course.batches[: k + 1]]
            steps.append(_arrays(train(_copy(course.start), own, course.recipe)))
        seen.trajectory = steps
    return seen


def observe_port(probes: Probes, port: Port) -> Observed:
    """Run a port of the registry on every probe, as far as it goes."""

    def activations(params: Arrays, images: np.ndarray) -> Arrays:
        port.load(params)
        return port.activations(images)

    def gradients(params: Arrays, images: np.ndarray, labels: np.ndarray) -> tuple[float, Arrays]:
        port.load(params)
        return port.gradients(images, labels)

    with np.errstate(all="ignore"):  # a planted mistake may overflow: that is for the diagnosis to say
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
    """The probes that every port is judged on; deterministic, and nobody may write into them."""
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
        ),
        course(digits[2 * DIGITS :]),
    )
    for probe in found.probes:
        _freeze([probe.images, probe.labels, *probe.params.values()])
    _freeze(found.course.start.values())
    return found


def scaled(params: Arrays, factor: float) -> Arrays:
    """Weights of a network whose every activation is `factor` times as large."""
    first = {name: w for name, w in params.items() if name == "conv1.weight" or name.endswith("bias")}
    return params | {name: w * np.float32(factor) for name, w in first.items()}


def fine_params(seed: int) -> Arrays:
    """Three weights of ±1 for each output, two of conv1 of 12 bits each, and biases of 12 bits.

    With pixels of 4 bits, sums have at most 17 bits behind conv1 and log2(3) more behind each layer: 24.
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
    """Normal weights of variance 2 / fan-in, those of the first layer times `first`, and normal biases:
    a missing bias must show."""
    params, rng = initial_params(seed), np.random.default_rng(seed + 1)
    for name, shape in PARAM_SHAPES.items():
        if name.endswith("bias"):
            params[name] = (0.2 * rng.standard_normal(shape)).astype(np.float32)
    params["conv1.weight"] *= np.float32(first)
    return params


def course(digits: Digits) -> Course:
    """Three epochs, each with a short last batch; the rate drops within the second, not at a border."""
    recipe = Recipe(
        seed=3, epochs=3, batch_size=8, learning_rate=0.05, momentum=0.9, weight_decay=0.125, schedule="drop"
    )
    start = {name: np.abs(w) for name, w in random_params(5).items()}
    for name in ("conv2.weight", "fc1.weight", "fc2.weight"):  # rows sum to about 1: averages go through
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
    """Every second digit rolled over the right and the lower edge, so that the border is not empty."""
    images = digits.images.copy()
    images[::2] = np.roll(images[::2], (9, 5), axis=(2, 3))
    return Digits(images, digits.labels)


def _often_wrong(labels: np.ndarray) -> np.ndarray:
    """Every third label moved on by one class or more, to where the probability is small."""
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
