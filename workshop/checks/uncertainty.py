"""Self-checks of notebook 18."""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from lenet.network import weights
from lenet.network.digits import test_set
from lenet.ports import open_port
from parity.arithmetic import Bounded
from parity.arithmetic.floats import U64, gamma
from workshop.checks.marking import NotRight, NotYet, called, check, same, same_form, within

Array = np.ndarray
Answer = Callable[..., Any]
ours = importlib.import_module("workshop.solutions.18_uncertainty")
NEAR = 1e-6  # a temperature is right if the loss has its minimum within this relative distance


@check
def fit_temperature(answer: Answer) -> str:
    """Check a temperature by the slope of the loss on both sides, which changes its sign at the minimum.

    The loss is convex in 1/T, so that it has one minimum.
    """
    labels, network = test_set()[:2000].labels, open_port("numpy:fast")
    network.load(weights.read())
    z = network.logits(test_set()[:2000].images).astype(np.float64)
    for scale in (1.0, 0.2, 30.0):
        found = float(same_form("the temperature", called(answer, scale * z, labels), np.float64(1)))
        if not (np.isfinite(found) and found > 0):
            raise NotRight(f"the temperature is {found:g}: it must be positive")
        towards = _falls(scale * z, labels, found)
        if towards and not _falls(scale * z, labels, 1 / found):
            raise NotRight(f"{found:.6f} is 1/T: the logits are divided by the temperature")
        if towards:
            raise NotRight(f"at T = {found:.6f} the loss still falls towards a {towards} temperature")
    return f"the loss is least at your temperature, up to {NEAR:g} of it, for three scales of the logits"


def _falls(z: Array, labels: Array, t: float) -> str:
    """Where the loss of z / t falls, "higher" or "lower"; nothing if its minimum is nearer than NEAR."""
    below, above = (_slope(z / (t * (1 + by)), labels) for by in (-NEAR, NEAR))
    return "lower" if below > 0 else "higher" if above < 0 else ""


def _slope(scaled: Array, labels: Array) -> float:
    """T · d loss / d T from the logits z / T: the mean of (z_y − Σ p z) / T."""
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    p = powers / powers.sum(axis=1, keepdims=True)
    return float((scaled[np.arange(len(labels)), labels] - (p * scaled).sum(axis=1)).mean())


@check
def split(answer: Answer) -> str:
    """Check the parts of the entropy within their rounding bound, for positive numbers and with zeros."""
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(10, 0.3), (5, 40))
    sure = np.eye(3)[[[0, 1], [0, 2]]]  # (2, 2, 3): the same answer twice, then two sure answers
    for what, given in (("", p), (" of sure answers", sure)):
        right = ours.split(given)
        with np.errstate(all="ignore"):  # a NaN is told below
            found = same_form(answer.__name__, called(answer, given.copy()), right)
        for name, other, why in [] if what else _slips(given):
            if all(np.allclose(one, slip) for one, slip in zip(found, other, strict=True)):
                raise NotRight(f"{name}: {why}")
        if any(np.isnan(one).any() for one in found):
            raise NotRight("it returns NaN for a probability of 0: 0 · log 0 counts as 0")
        for name, one, value in zip(("aleatoric", "epistemic"), found, right, strict=True):
            within(f"{name}{what}", one, Bounded(value, np.full(value.shape, _entropy_bound(given))))
    return "both parts are within the rounding bound, also where a probability is 0"


def _entropy_bound(p: Array) -> float:
    """How far two float64 evaluations of either part may be from each other.

    An entropy over K classes is at most log K. Each of its terms has the rounding of the mean over M members
    (M additions and a division), of the logarithm (two units), of the product, and of K additions. The
    rounding of the mean moves the logarithm too, by M + 1 units of p, and Σ p is 1. The difference of two
    entropies rounds once more, and two evaluations may err in opposite directions: 2 · 2 of these.
    """
    members, _, classes = p.shape
    return 4 * gamma(members + classes + 6, U64) * (np.log(classes) + 1)


def _slips(p: Array) -> list[tuple[str, tuple[Array, Array], str]]:
    aleatoric, epistemic = ours.split(p)
    total = aleatoric + epistemic
    return [
        ("the two parts are exchanged", (epistemic, aleatoric), "the mean of entropies is the aleatoric one"),
        ("these are the total and the aleatoric part", (total, aleatoric), "subtract to get the epistemic"),
        ("this is in bits", (aleatoric / np.log(2), epistemic / np.log(2)), "use the natural logarithm"),
        ("the epistemic part is the total", (aleatoric, total), "subtract the mean of the entropies"),
    ]


@check
def dropout(answer: Answer) -> str:
    """Check dropout to the bit: 1 − p is a power of two, so that nothing rounds."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 8)).astype(np.float32)
    for p in (0.5, 0.75, 0.0):
        kept = rng.random(x.shape) >= p
        scaled = np.where(kept, x / np.float32(1 - p), np.float32(0))
        found = same_form(answer.__name__, called(answer, x.copy(), kept.copy(), p, True), x)
        for wrong, why in (
            (np.where(kept, x, np.float32(0)), "this is the rule of 2012: training does not scale"),
            (np.where(kept, x * np.float32(1 - p), np.float32(0)), "you multiply by 1 − p; divide by it"),
            (np.where(kept, np.float32(0), x / np.float32(1 - p)), "kept is True where a value stays"),
        ):
            if p and np.array_equal(found, wrong):
                raise NotRight(f"p = {p}: {why}")
        same(f"p = {p}, in training,", found, scaled)
        found = same_form(answer.__name__, called(answer, x.copy(), kept.copy(), p, False), x)
        if p and np.array_equal(found, x * np.float32(1 - p)):
            raise NotRight(f"p = {p}: this scales twice: behind scaled training, testing changes nothing")
        same(f"p = {p}, outside training,", found, x)
    return "the values of PyTorch and Keras with this mask, to the bit"


def split_of(answer: Answer) -> Answer:
    """The participant's split; as long as it is a stub, the solution's, and it says so."""
    try:
        called(answer, np.full((1, 1, 2), 0.5))
    except NotYet as reason:
        print(f"until your split is complete, the solution's is used below ({reason})")
        return ours.split
    print("your split is used below")
    return answer
