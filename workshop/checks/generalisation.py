"""Self-checks of notebook 20."""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from lenet.network.digits import test_set
from lenet.reference.exact import coarsen
from parity.arithmetic import Bounded
from parity.arithmetic.floats import U64, gamma
from workshop.checks.marking import NotRight, NotYet, called, check, same_form, within

Array = np.ndarray
Answer = Callable[..., Any]
ours = importlib.import_module("workshop.solutions.20_generalisation")
ROUNDINGS = 16  # of Wilson's formula, in any order: 13 operations and a root; the constants are exact


@check
def for_inverted(answer: Answer) -> str:
    """Check weights for inverted images to the bit: whole weights, coarse pixels, nothing rounds."""
    rng = np.random.default_rng(0)
    x = coarsen(test_set()[:50].images).reshape(50, -1).astype(np.float64)
    w = rng.integers(-4, 5, (10, 784)).astype(np.float64)
    b = rng.integers(-9, 10, 10).astype(np.float64)
    new_w, new_b = same_form(answer.__name__, called(answer, w.copy(), b.copy()), (w, b))
    right, found = x @ w.T + b, (1 - x) @ new_w.T + new_b
    if np.array_equal(found, right):
        return "the logits of inverted digits are those of the digits, to the bit"
    for wrong_w, wrong_b, why in (
        (w, b, "these are the old weights"),
        (-w, b, "the bias must take up the sum of the weights: w(1 − x) = Σw − wx"),
        (-w, -b, "only the weights change their sign; the bias takes up their sum"),
        (-w, b - w.sum(axis=1), "the sum of the weights has the wrong sign in the bias"),
    ):
        if np.array_equal(new_w, wrong_w) and np.array_equal(new_b, wrong_b):
            raise NotRight(why)
    n, k = np.argwhere(found != right)[0]
    raise NotRight(f"logit {k} of digit {n}, inverted, is {found[n, k]:g}, expected {right[n, k]:g}")


@check
def wilson(answer: Answer) -> str:
    """Check an interval within the rounding bound of its formula, for shares from 0 to 1."""
    z = 2.0
    for right, n in ((990, 1000), (50, 100), (10, 10), (0, 10), (1, 3), (9924, 10_000)):
        share = right / n
        found = _two_numbers(called(answer, right, n, z))
        middle = (share + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        plain = z * np.sqrt(share * (1 - share) / n)
        for low, high, why in (
            (share - plain, share + plain, "this is share ± z·σ, Wald's: at 100 % it has no width"),
            (middle - plain, middle + plain, "the middle is right, the half width is Wald's"),
            (share - half, share + half, "the half width is right; its middle moves towards 1/2"),
            (middle + half, middle - half, "low and high are exchanged"),
        ):
            if np.allclose(found, (low, high)) and not np.allclose(found, (middle - half, middle + half)):
                raise NotRight(f"{right} of {n}: {why}")
        # Each of the two terms is positive and is rounded at most ROUNDINGS times, in the answer and here.
        bound = np.float64(2 * gamma(ROUNDINGS, U64) * (middle + half))
        within(f"{right} of {n}: low", found[0], Bounded(np.asarray(middle - half), np.asarray(bound)))
        within(f"{right} of {n}: high", found[1], Bounded(np.asarray(middle + half), np.asarray(bound)))
    return "Wilson's interval, within the rounding of its formula, also for 0 % and 100 %"


def _two_numbers(found: Any) -> tuple[np.float64, np.float64]:
    """The ends of an interval, from a pair or an array; `max(0, …)` may have made an end an integer."""
    try:
        low, high = (np.float64(one) for one in found)
    except (TypeError, ValueError):
        raise NotRight("return two numbers, (low, high)") from None
    return low, high


def wilson_or_ours(answer: Answer) -> Answer:
    """The participant's interval; as long as it is a stub, the solution's, and it says so."""
    try:
        called(answer, 1, 2, 2.0)
    except NotYet as reason:
        print(f"until your interval is complete, the solution's is used below ({reason})")
        return ours.wilson
    print("your interval is used below")
    return answer
