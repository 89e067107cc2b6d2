"""Softmax cross-entropy in NumPy against 50 decimal digits and against difference quotients.

Its rounding in float64, for N rows of K logits that spread over s, with exp and log to 4 ulp (8u):
the shifted logits carry u·s; each exponential then u·s + 8u of itself, their total K·u more, its
logarithm that much absolutely and 8u·log K of its own; taking off the label's shifted logit adds u·s
and u of the difference (at most s + log K); the mean adds N·u of that. A probability carries the
error of two exponentials and of the total, its quotient and the two operations that follow.
"""

from decimal import Decimal, localcontext
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from lenet_numpy.layers import softmax_cross_entropy, softmax_cross_entropy_backward
from tests.helpers import Array, derivatives, frozen

U = 2.0**-53
SECOND_ORDER = 1.01  # covers the terms in u²
STEP = 2.0**-16  # of the difference quotients: makes their two errors about equal

sizes = st.integers(1, 5)
seeds = st.integers(0, 2**32 - 1)


def loss_error(n: int, k: int, s: float) -> float:
    """Bound on the rounding error of the loss, absolute."""
    return U * (2 * s + 8 + k + 8 * log(k) + (n + 1) * (s + log(k))) * SECOND_ORDER


def gradient_error(n: int, k: int, s: float) -> float:
    """Bound on the rounding error of each element of the gradient, absolute."""
    return U * (2 * (s + 8) + k + 2) / n * SECOND_ORDER


def precise(logits: Array, labels: Array) -> tuple[Decimal, list[Decimal]]:
    """Loss and gradient (in row order) with 50 digits, from their definitions: nothing is shifted."""
    loss, gradient = Decimal(0), []
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        exponentials = [Decimal(z).exp() for z in row]
        probabilities = [e / sum(exponentials) for e in exponentials]
        loss -= probabilities[label].ln() / len(labels)
        gradient += [(p - (k == label)) / len(labels) for k, p in enumerate(probabilities)]
    return loss, gradient


def test_equal_logits_cost_log_k():
    loss, cache = softmax_cross_entropy(frozen([[3, 3, 3, 3]] * 2), np.array([1, 3]))
    assert abs(loss - log(4)) <= loss_error(2, 4, 0)
    by_hand = [[1 / 8, -3 / 8, 1 / 8, 1 / 8], [1 / 8, 1 / 8, 1 / 8, -3 / 8]]
    assert_array_equal(softmax_cross_entropy_backward(cache), by_hand)


@given(sizes, sizes, st.sampled_from([1, 30, 1e4]), seeds)
def test_loss_and_gradient_against_50_digits(n, k, scale, seed):
    rng = np.random.default_rng(seed)
    logits, labels = frozen(rng.uniform(-scale, scale, (n, k))), rng.integers(0, k, n)
    loss, cache = softmax_cross_entropy(logits, labels)
    gradient = softmax_cross_entropy_backward(cache).ravel().tolist()
    with localcontext(prec=50):
        exact_loss, exact_gradient = precise(logits, labels)
        assert abs(Decimal(float(loss)) - exact_loss) <= loss_error(n, k, 2 * scale)
        for value, exact in zip(gradient, exact_gradient, strict=True):
            assert abs(Decimal(value) - exact) <= gradient_error(n, k, 2 * scale)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logits_of_ten_thousand_overflow_nowhere(dtype):
    """exp(10⁴) has 4,343 digits. What is right is exact here: one term is 1, the others vanish."""
    logits = frozen([[1e4, -1e4, 0], [-1e4, 1e4, 0]], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        loss, cache = softmax_cross_entropy(logits, np.array([0, 0]))
        gradient = softmax_cross_entropy_backward(cache)
    assert loss == (0 + 2e4) / 2
    assert_array_equal(gradient, np.array([[0, 0, 0], [-0.5, 0.5, 0]], dtype), strict=True)


@given(sizes, sizes, seeds)
def test_gradient_equals_every_difference_quotient(n, k, seed):
    """Logits are sixteenths, so that z ± h rounds nothing; two errors remain, 2·10⁻⁹ at most together.

    Taylor: h²/6 times the third derivative along z_k, p(1 − p)(1 − 2p)/N ≤ 1/(6·√3·N) < 0.1/N.
    Rounding: that of the loss on both sides over 2h, and u for the quotient itself (at most 1).
    """
    rng = np.random.default_rng(seed)
    logits, labels = frozen(rng.integers(-64, 65, (n, k)) / 16), rng.integers(0, k, n)
    gradient = softmax_cross_entropy_backward(softmax_cross_entropy(logits, labels)[1])
    quotients = derivatives(lambda z: softmax_cross_entropy(z, labels)[0], logits, STEP)
    s = 8 + 2 * STEP
    bound = STEP**2 / 6 * 0.1 / n + loss_error(n, k, s) / STEP + U + gradient_error(n, k, s)
    assert bound < 2e-9
    assert np.abs(gradient - quotients).max() <= bound


@given(seeds)
def test_gradient_equals_the_difference_quotient_along_a_random_direction(seed):
    """As above, along d in {−1, 0, 1}.

    The third derivative is the third central moment of d under p, averaged over the rows: d lies
    within 2 of its mean and has variance at most 1, so that it is at most 2. ⟨gradient, d⟩ sums N·K
    terms whose magnitudes add up to at most 2, and so does the quotient stay below 2.
    """
    rng, n, k = np.random.default_rng(seed), 3, 5
    logits, labels = frozen(rng.integers(-64, 65, (n, k)) / 16), rng.integers(0, k, n)
    d = rng.integers(-1, 2, (n, k))
    gradient = softmax_cross_entropy_backward(softmax_cross_entropy(logits, labels)[1])
    ahead, behind = (softmax_cross_entropy(logits + t * d, labels)[0] for t in (STEP, -STEP))
    s = 8 + 2 * STEP
    summed = n * k * gradient_error(n, k, s) + n * k * U * 2
    bound = STEP**2 / 6 * 2 + loss_error(n, k, s) / STEP + 2 * U + summed
    assert bound < 2e-9
    assert abs((gradient * d).sum() - (ahead - behind) / (2 * STEP)) <= bound


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept_and_arguments_are_left_alone(dtype):
    """Arguments are read-only; a second backward finds the cache as the first did."""
    loss, cache = softmax_cross_entropy(frozen([[1, 2], [3, 5]], dtype), frozen([0, 1], "int64"))
    first, again = softmax_cross_entropy_backward(cache), softmax_cross_entropy_backward(cache)
    assert loss.dtype == first.dtype == dtype
    assert_array_equal(first, again, strict=True)
