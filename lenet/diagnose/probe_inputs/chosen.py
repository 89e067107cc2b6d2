"""Makes the probes that every port is judged on."""

from collections.abc import Iterable, Sequence
from functools import cache
from math import prod

import numpy as np

from lenet.diagnose.probe_inputs.asked import Course, Probe, Probes
from lenet.network import weights
from lenet.network.architecture import CLASSES, PARAM_SHAPES
from lenet.network.digits import Digits, test_set
from lenet.network.recipe import Batch, Recipe, initial_params
from lenet.ports import Arrays
from lenet.reference.exact import EXACT, coarsen
from lenet.reference.forward import reference

DIGITS = 16  # in the batch of a probe
MANY = 37  # digits of the probe `many`: odd, and more than 32
LARGE = 8.0  # gives values above 6, where ReLU6 cuts off, from the first layer on
SUBNORMAL = 2.0**-128  # the smallest normal float32 is 2^-126, the weights of conv1 are below 1
SIGNS = 0.75  # share of positive weights, so that not every unit is zero after ReLU
FAINT = 2.0**-24  # the smallest positive float16
NEAR = 2.0**-18  # np.isclose takes 1e-5 of a value for nothing
LOUD = 64.0  # exp overflows in float64 for logits above 710; those of the exact weights reach 20


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


def _freeze(arrays: Iterable[np.ndarray] | Sequence[np.ndarray]) -> None:
    for array in arrays:
        array.setflags(write=False)
