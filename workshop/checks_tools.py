"""Self-checks of notebooks 6 to 10; what they are made of is in `workshop.checks`."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lenet import rounding
from workshop.checks import NotRight, called, check, filled_in, same_form

Array = np.ndarray
Answer = Callable[..., Any]

# --- 06 rounding or bug ------------------------------------------------------------------------


@check
def dense_bound(answer: Answer) -> str:
    """γ_{D+1} (|w||x| + |b|) for w (E, D), x (N, D), b (E,)."""
    rng = np.random.default_rng(0)
    w, x, b = rng.standard_normal((7, 400)), rng.standard_normal((5, 400)), rng.standard_normal(7)
    (_, right), *slips = _bounds(w, x, b)
    found = same_form("the bound", called(answer, w, x, b), right)
    # Two float64 evaluations of sums of D + 1 positive terms; eight roundings more for the factors.
    apart = 2 * rounding.gamma(400 + 9, rounding.U64)
    if (np.abs(found - right) <= apart * right).all():
        return "no float32 evaluation of a dense layer leaves this, whatever its order"
    for slip, bound in slips:
        if (np.abs(found - bound) <= apart * bound).all():
            raise NotRight(slip)
    n, e = np.unravel_index(np.argmax(np.abs(found - right)), right.shape)
    raise NotRight(f"the bound of digit {n}, unit {e} is {found[n, e]:.6e}, expected {right[n, e]:.6e}")


def _bounds(w: Array, x: Array, b: Array) -> Iterator[tuple[str, Array]]:
    """The bound of a dense layer, and after it what the usual slips make of it."""
    d, u = w.shape[1], rounding.unit_roundoff("float32")
    sums, g = np.abs(x) @ np.abs(w).T + np.abs(b), rounding.gamma(d + 1, u)
    yield "", g * sums
    yield "|b| is missing: the sum with the bias is rounded, too", g * (sums - np.abs(b))
    yield "|w||x| it is, magnitudes before the sum: errors do not cancel", g * (np.abs(x @ w.T) + np.abs(b))
    yield "|w||x| + |b| it is, magnitudes before the sum: errors do not cancel", g * np.abs(x @ w.T + b)
    yield "u is half the distance from 1 to the next number, 2^-24", rounding.gamma(d + 1, 2 * u) * sums
    yield "that is float64's u, 2^-53; float32's is 2^-24", rounding.gamma(d + 1, rounding.U64) * sums
    yield "that is γ_D: with the bias there is one rounding more", rounding.gamma(d, u) * sums
    yield "that is (D+1)·u, without the denominator 1 − (D+1)·u: it is not quite a bound", (d + 1) * u * sums
    yield "that is one rounding: a product passes through up to D + 1 of them", u * sums


@check
def first_different(answer: Answer) -> str:
    """The first layer of which some value is farther from the expected one than its bound."""
    value, bound = np.linspace(-1, 1, 12).reshape(3, 4), np.full((3, 4), 0.25)
    expected = dict.fromkeys(("conv1", "relu1", "logits"), (value, bound))

    def off(by: float) -> Array:
        y = value.copy()
        y[1, 2] += by
        return y

    for want, wrong, why in (
        (None, {}, "every value is right"),
        (None, {"relu1": value + 0.25 - 2.0**-20}, "every error is below its bound"),
        ("relu1", {"relu1": off(0.5)}, "one value of relu1 is too large by twice its bound"),
        ("relu1", {"relu1": off(-0.5)}, "one value of relu1 is too small: it is the magnitude that counts"),
        ("conv1", {"logits": off(9), "conv1": off(0.5)}, "conv1 is off, too, and comes first"),
        ("logits", {"logits": off(np.nan)}, "a NaN lies within no bound, though `error > bound` is False"),
        ("relu1", {"relu1": off(np.inf)}, "an infinite value lies within no bound"),
    ):
        found = answer(dict.fromkeys(expected, value) | wrong, expected)
        if found is ...:
            filled_in(found, f"{answer.__name__} returns ...: fill in its body")
        if found != want:
            raise NotRight(f"{answer.__name__} says {found!r}, expected {want!r}: {why}")
    if (found := answer({"relu1": value}, {"relu1": (value, 0 * bound)})) is not None:
        raise NotRight(f"{answer.__name__} says {found!r}, expected None: error and bound are both 0")
    return "it names the layer to look at first"
