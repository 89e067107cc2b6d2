"""Each wrong loss by itself: plain NumPy computes it, and complex steps differentiate what NumPy computes."""

from collections.abc import Callable

import numpy as np
import pytest

from lenet.diagnose.mistakes import loss as catalogue
from lenet.diagnose.mistakes.wrong_backward import Loss, LossCall, right_loss
from parity.arithmetic import Bounded
from parity.arithmetic.floats import U64, gamma

Array = np.ndarray
Formula = Callable[[Array, Array], Array]  # logits, which may be complex, and labels, to the loss
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 10, 6)
WIDE = 6 * RNG.standard_normal((6, 10))  # some probabilities are below 1e-7
WIDE[1, LABELS[1]] = 40  # whose probability is clipped at the upper end
SHARES = RNG.random((6, 10)) * 0.7 + 0.15  # for losses that take logits for probabilities
MISTAKES = {one.kind.name: one for one in catalogue.FAMILY.mistakes}
STEP = 1e-30  # of a complex step: its square is nothing


def log_softmax(z: Array, axis: int = 1) -> Array:
    shifted = z - z.real.max(axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


def own(values: Array, k: Array) -> Array:
    return values[np.arange(len(k)), k]


def cross_entropy(log_p: Array, k: Array) -> Array:
    return -own(log_p, k).mean()


def clip(p: Array, low: float, high: float) -> Array:
    """Constant where it is clipped, so that no complex step passes."""
    return np.where(p.real < low, low, np.where(p.real > high, high, p))


def hot(k: Array) -> Array:
    return np.eye(10)[k]


def right(z: Array, k: Array) -> Array:
    return cross_entropy(log_softmax(z), k)


def clipped(eps: float) -> Formula:
    return lambda z, k: cross_entropy(np.log(clip(np.exp(log_softmax(z)), eps, 1 - eps)), k)


def normalized_again(eps: float) -> Formula:
    return lambda z, k: right(np.log(clip(np.exp(log_softmax(z)), eps, 1 - eps)), k)


def raised(eps: float) -> Formula:
    return lambda z, k: cross_entropy(np.log(np.exp(log_softmax(z)) + eps), k)


def squared(factor: float) -> Formula:
    return lambda z, k: factor * ((np.exp(log_softmax(z)) - hot(k)) ** 2).sum() / len(k)


def binary(factor: float) -> Formula:
    return lambda z, k: factor * (np.log(1 + np.exp(z)) - z * hot(k)).sum() / len(k)


def smoothed(z: Array, k: Array) -> Array:
    return -((0.9 * hot(k) + 0.01) * log_softmax(z)).sum() / len(k)


def probabilities(z: Array, k: Array) -> Array:
    return right(np.log(clip(z, 1e-7, 1 - 1e-7)), k)


def shares(z: Array, k: Array) -> Array:
    return cross_entropy(np.log(clip(z / z.sum(axis=1, keepdims=True), 1e-7, 1 - 1e-7)), k)


Case = tuple[Formula, Formula, Array]  # the loss, that of which the cotangent is the derivative, logits


def both(formula: Formula, z: Array = WIDE) -> Case:
    return formula, formula, z


def in_the_loss(formula: Formula) -> Case:
    """Wrong in the loss alone: the cotangent is the right one."""
    return formula, right, WIDE


FORMULAS: dict[str, Case] = {
    "softmax applied twice": both(lambda z, k: right(np.exp(log_softmax(z)), k)),
    "maximum over the batch in softmax": both(lambda z, k: right(z - z.real.max(axis=0, keepdims=True), k)),
    "softmax over the batch": both(lambda z, k: cross_entropy(log_softmax(z, 0), k)),
    "softmax without its shift": both(right),
    "probabilities below FLT_MIN raised to it in the loss": both(right),
    "probability without its logarithm": both(lambda z, k: -own(np.exp(log_softmax(z)), k).mean()),
    "logits taken for log-probabilities": both(lambda z, k: -own(z, k).mean()),
    "logarithm of a softmax that is zero": both(right),
    "label smoothing": both(smoothed),
    "squared error of the probabilities, averaged over digits and classes": both(squared(0.1)),
    "squared error of the probabilities, summed over classes": both(squared(1.0)),
    "squared error of the probabilities, halved": both(squared(0.5)),
    "binary cross-entropy of each class, averaged over digits and classes": both(binary(0.1)),
    "binary cross-entropy of each class, summed over classes": both(binary(1.0)),
    "logits taken for probabilities": both(probabilities, SHARES),
    "logits taken for probabilities, divided by their sum": both(shares, SHARES),
}
for _eps in (1e-7, 1e-8, 1e-10, 1e-12, 1e-15):
    FORMULAS |= {
        f"probabilities clipped at {_eps:g} in the loss": in_the_loss(clipped(_eps)),
        f"probabilities clipped at {_eps:g}": both(clipped(_eps)),
        f"probabilities clipped at {_eps:g} and normalised again": both(normalized_again(_eps)),
        f"{_eps:g} added to probabilities in the loss": in_the_loss(raised(_eps)),
        f"{_eps:g} added to probabilities": both(raised(_eps)),
    }
SLOPED = "p(1 − p) left in the cotangent of the logits"  # which is the derivative of nothing


def derivative(formula: Formula, z: Array, k: Array) -> Array:
    found = np.empty(z.shape)
    for place in np.ndindex(*z.shape):
        moved = z.astype(complex)
        moved[place] += STEP * 1j
        found[place] = formula(moved, k).imag / STEP
    return found


def of_mistake(name: str, logits: Bounded, dtype: str = "float32") -> Loss:
    return MISTAKES[name].changes["loss"](right_loss)(LossCall(logits, LABELS, dtype))


def off(found: Array, expected: Bounded) -> float:
    """The largest error in units of the bound."""
    error, bound = np.abs(found - expected.value), expected.bound
    assert (error <= bound).all(where=bound == 0)
    return float(np.max(np.divide(error, bound, out=np.zeros_like(bound), where=bound > 0)))


def test_every_wrong_loss_has_a_formula():
    assert MISTAKES.keys() == FORMULAS.keys() | {SLOPED}


@pytest.mark.parametrize("name", FORMULAS)
def test_the_loss_and_its_cotangent_are_those_of_the_formula(name):
    formula, derived, z = FORMULAS[name]
    found = of_mistake(name, Bounded(z), "float64")
    assert off(formula(z, LABELS), found.value) <= 1
    assert off(derivative(derived, z, LABELS), found.d) <= 1
    many = gamma(2**12, U64)  # ten classes and six digits: so many roundings are not made
    assert found.value.bound <= many * (1 + np.abs(z).max())
    assert found.d.bound.max() <= many * np.abs(z).max()


def test_a_slope_that_is_left_in_multiplies_the_right_cotangent():
    p = np.exp(log_softmax(WIDE))
    found = of_mistake(SLOPED, Bounded(WIDE), "float64")
    assert off(derivative(right, WIDE, LABELS) * p * (1 - p), found.d) <= 1
    assert off(right(WIDE, LABELS), found.value) <= 1


@pytest.mark.parametrize("name", FORMULAS)
def test_errors_of_the_logits_are_carried(name):
    """Logits that are moved by their errors give values within the bounds, and some that come near to one."""
    formula, derived, z = FORMULAS[name]
    rng, error = np.random.default_rng(1), np.full(z.shape, 1e-5)
    found = of_mistake(name, Bounded(z, error))
    largest = [0.0, 0.0]
    for _ in range(16):
        moved = z + error * rng.choice([-1, 1], z.shape)
        shares = off(formula(moved, LABELS), found.value), off(derivative(derived, moved, LABELS), found.d)
        largest = [max(pair) for pair in zip(largest, shares, strict=True)]
    assert max(largest) <= 1
    assert max(largest) >= 0.1


@pytest.mark.parametrize(("name", "factor"), [("halved", 0.5), ("summed over classes", 1.0)])
def test_the_bound_of_a_squared_error_is_that_of_probabilities_that_all_err(name, factor):
    """No wider than if each probability is off by its bound, in the worse direction."""
    logits = Bounded(WIDE, np.full(WIDE.shape, 1e-5))
    found = of_mistake(f"squared error of the probabilities, {name}", logits, "float64").value
    p = catalogue.probabilities(LossCall(logits, LABELS, "float64"))
    off = np.abs(p.value - hot(LABELS))
    worst = factor * ((off + p.bound) ** 2 - off**2).sum() / len(LABELS)
    assert worst <= found.bound <= worst + gamma(2**12, U64) * len(LABELS)


def test_the_cotangent_is_unknown_where_rounding_decides_whether_a_logit_is_clipped():
    z = SHARES.copy()
    z[2, 3] = 1e-7
    found = of_mistake("logits taken for probabilities", Bounded(z, np.full(z.shape, 1e-5)))
    assert np.argwhere(np.isinf(found.d.bound)).tolist() == [[2, 3]]
