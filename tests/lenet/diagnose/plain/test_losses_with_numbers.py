"""Losses with a number in them, and clipped gradients: errors that are carried in stay within the bounds."""

from collections.abc import Callable

import numpy as np
import pytest

from lenet.diagnose.mistakes.read_off import limits, other_losses
from lenet.diagnose.mistakes.wrong_backward import LossCall, right_loss
from lenet.diagnose.mistakes.wrong_forward import Changes
from parity.arithmetic import Bounded
from parity.arithmetic.floats import FLOAT32, FLOAT64, gamma
from tests.lenet.diagnose.plain.backward import Loss
from tests.lenet.diagnose.plain.losses import focal, smoothed, tempered, weighted
from tests.lenet.diagnose.plain.network import Array
from tests.parity.operators.one_node import check_inside

RNG = np.random.default_rng(0)
Z, LABELS = 3 * RNG.standard_normal((6, 10)), RNG.integers(0, 10, 6)
FACTORS = np.array([0.5, 0.0, 2.0, -1.0, 0.25, 1.0]) / 6
CASES: dict[str, tuple[Callable[[], Changes], Loss]] = {
    "smoothed": (lambda: other_losses.smoothed(0.3), smoothed(0.3)),
    "weighted": (lambda: other_losses.weighted(lambda call: FACTORS), weighted(lambda k: FACTORS)),
    "focal, 2": (lambda: other_losses.focal(2.0, 0.25), focal(2.0, 0.25)),
    "focal, 0.5": (lambda: other_losses.focal(0.5), focal(0.5, 1.0)),
    "cold": (lambda: other_losses.tempered(0.5), tempered(0.5)),
    "warm": (lambda: other_losses.tempered(4.0), tempered(4.0)),
}


def off(found: Array, expected: Bounded) -> float:
    """The largest error in units of the bound."""
    error, bound = np.atleast_1d(np.abs(found - expected.value)), np.atleast_1d(expected.bound)
    assert (error <= bound).all()
    return float(np.divide(error, bound, out=0 * error, where=bound > 0).max())


@pytest.mark.parametrize("name", CASES)
def test_a_loss_with_a_number_is_that_of_plain_numpy(name):
    make, plain = CASES[name]
    value, d = plain(Z, LABELS)
    for dtype, u in (("float64", FLOAT64.u), ("float32", FLOAT32.u)):
        found = make()["loss"](right_loss)(LossCall(Bounded(Z), LABELS, dtype))
        check_inside(found.value, np.asarray(value))
        check_inside(found.d, d)
        many = gamma(2**12, u)  # ten classes and six digits need a few dozen: it shows what is far wider
        assert found.value.bound <= many * (1 + np.abs(Z).max())
        assert found.d.bound.max() <= many * np.abs(Z).max()


@pytest.mark.parametrize("name", CASES)
def test_errors_of_the_logits_are_carried(name):
    make, plain = CASES[name]
    rng, error = np.random.default_rng(1), np.full(Z.shape, 1e-5)
    found = make()["loss"](right_loss)(LossCall(Bounded(Z, error), LABELS, "float64"))
    largest = [0.0, 0.0]
    for _ in range(16):
        value, d = plain(Z + error * rng.choice([-1, 1], Z.shape), LABELS)
        largest = [
            max(pair)
            for pair in zip(largest, (off(np.asarray(value), found.value), off(d, found.d)), strict=True)
        ]
    # Logits that err in the worst directions are seldom drawn: this shows a bound that is far too wide.
    assert min(largest) >= 0.05


@pytest.mark.parametrize(("form", "power"), [(lambda w: w, 2), (np.sign, 1)])
def test_a_penalty_adds_to_the_loss_and_to_the_gradients(form, power):
    w = {"fc2.weight": RNG.standard_normal((84, 120)), "fc2.bias": RNG.standard_normal(84)}
    changes = other_losses.penalised(("fc2.weight", "fc2.bias"), 0.25, -0.5, form, power)
    assert changes.keys() == {"loss", "fc2.weight", "fc2.bias"}
    call = LossCall(Bounded(Z), LABELS, "float64", w)
    found, right = changes["loss"](right_loss)(call), right_loss(call)
    size = 0.5 * sum((np.abs(a) ** power).sum() for a in w.values())
    check_inside(found.value, right.value.value - size)
    assert found.value.bound <= right.value.bound + gamma(2**14, FLOAT64.u) * 2 * size  # 10,164 terms
    assert np.array_equal(found.d.value, right.d.value)
    assert np.array_equal(found.d.bound, right.d.bound)
    assert other_losses.penalised(("fc2.bias",), 0.25, 0.0, form, power).keys() == {"fc2.bias"}
    assert other_losses.penalised(("fc2.bias",), 0.0, 0.5, form, power).keys() == {"loss"}


def norm(arrays: dict[str, Array]) -> float:
    return float(np.sqrt(sum((a**2).sum() for a in arrays.values())))


CLIPS: dict[str, tuple[limits.Clip, Callable[[dict[str, Array]], dict[str, Array]]]] = {
    "all": (limits.by_norm, lambda g: {n: a * min(1, 2 / norm(g)) for n, a in g.items()}),
    "each": (limits.by_own_norm, lambda g: {n: a * min(1, 2 / norm({n: a})) for n, a in g.items()}),
    "values": (limits.by_value, lambda g: {n: np.clip(a, -2, 2) for n, a in g.items()}),
}


@pytest.mark.parametrize("name", CLIPS)
def test_clipped_gradients_carry_their_errors(name):
    clip, plain = CLIPS[name]
    rng = np.random.default_rng(2)
    g = {"long": 3 * rng.standard_normal(4), "short": 0.2 * rng.standard_normal(3)}
    errors = {n: np.full(a.shape, 1e-3) for n, a in g.items()}
    for unsure in (0.0, 1.0):
        found = clip({n: Bounded(a, unsure * errors[n]) for n, a in g.items()}, 2.0, FLOAT64.u)
        largest = 0.0
        for _ in range(64):
            moved = plain(
                {n: a + 0.999 * unsure * errors[n] * rng.choice([-1, 1], a.shape) for n, a in g.items()}
            )
            largest = max(largest, *(off(moved[n], found[n]) for n in g))
        assert largest >= 0.3 * unsure  # as above: few errors are drawn in the worst directions
    if name != "values":  # to first order: the value errs, and the norm by which it is divided
        long = {"long": g["long"]} if name == "each" else g
        share = norm({n: errors[n] for n in long}) / norm(long)
        worst = 2 / norm(long) * (errors["long"] + np.abs(g["long"]) * (share + limits.ADDED / norm(long)))
        assert (found["long"].bound >= worst * (1 - 1e-9)).all()
        assert (found["long"].bound <= worst * (1 + 2 * share)).all()
    short = clip({"short": Bounded(g["short"], errors["short"])}, 2.0, FLOAT64.u)["short"]
    assert np.array_equal(short.value, g["short"])  # what is below the limit stays as it is
    assert (short.bound <= 1.001 * errors["short"]).all()
    barely = {"long": Bounded(np.array([2.0, 1e-4]), np.full(2, 1e-2))}  # may be above the limit
    found = clip(barely, 2.0, FLOAT64.u)
    assert (found["long"].bound >= 1e-2).all()
