"""Self-checks of notebook 14."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lenet.reference.backward import cross_entropy
from parity.arithmetic import Bounded
from parity.arithmetic.floats import FLOAT64, U64, gamma
from workshop.checks.marking import NotRight, called, check, same_form, within

Array = np.ndarray
Answer = Callable[..., Any]


@check
def dense_of(answer: Answer) -> str:
    """Check naive Bayes as a dense layer, by its weights and its bias.

    Two logarithms of at most 4 roundings each (or one of a quotient, whose argument is rounded twice, for
    which a logarithm is off by as much absolutely) and a difference; the bias adds D + 1 of them up.
    """
    rng = np.random.default_rng(0)
    for d in (12, 40):
        theta, pi = rng.uniform(0.05, 0.95, (10, d)), rng.dirichlet(np.full(10, 5.0))
        log, log_white, log_pi = np.log(theta), np.log1p(-theta), np.log(pi)
        w, b = log - log_white, log_white.sum(axis=1) + log_pi
        found = same_form(
            answer.__name__, called(answer, theta.copy(), pi.copy()), (np.zeros((10, d)), np.zeros(10))
        )
        for wrong, why in (
            ((log, b), "a white pixel has a probability too: its logarithm is to be taken away"),
            ((w, log_pi), "the bias lacks the sum of log(1 − θ): what an image without ink has"),
            ((w, b - log_pi), "the bias lacks log π: how frequent each class is"),
            ((w, log_white.sum(axis=1) + pi), "the bias has π itself, not its logarithm"),
            ((theta, pi), "probabilities multiply; logits add: take logarithms"),
        ):
            if all(np.allclose(one, other) for one, other in zip(found, wrong, strict=True)):
                raise NotRight(why)
        weight_size, bias_size = np.abs(log) + np.abs(log_white) + 2, np.abs(log_white) + 1
        within("the weight", found[0], Bounded(w, 2 * gamma(8, U64) * weight_size))
        size = bias_size.sum(axis=1) + np.abs(log_pi)
        within("the bias", found[1], Bounded(b, 2 * gamma(d + 8, U64) * size))
    return "the logits of this layer are log π p(x | class), within the rounding of the logarithms"


@check
def map_gradient(answer: Answer) -> str:
    """Check a gradient with a Gaussian prior, within twice the bound of the reference: for any order."""
    rng = np.random.default_rng(0)
    for n, d, variance in ((25, 6, 0.5), (12, 9, 4.0)):
        w, x, labels = rng.standard_normal((10, d)), rng.standard_normal((n, d)), rng.integers(0, 10, n)
        logits = Bounded(x, None, FLOAT64).dot(Bounded(w.T, None, FLOAT64))
        _, cotangent = cross_entropy(logits, labels, "float64")
        of_loss = cotangent.transpose(1, 0).dot(Bounded(x, None, FLOAT64))
        right = of_loss + Bounded(w, None, FLOAT64) / (n * variance)
        found = same_form(answer.__name__, called(answer, w.copy(), x.copy(), labels.copy(), variance), w)
        g = of_loss.value
        for wrong, why in (
            (g, "the prior is missing: its part is W / (N σ²)"),
            (g + w / variance, "the prior is not divided by N: it is one belief, not one for each digit"),
            (g + w * variance / n, "multiplied by the variance: a narrow prior must pull harder"),
            (g + 2 * w / (n * variance), "the derivative of W² / 2 is W, not 2 W"),
            (g + w / (10 * variance), "divided by the number of classes; N is the number of digits"),
            (g - w / (n * variance), "the prior pushes away from zero: its sign is wrong"),
            (n * right.value, "not divided by N"),
        ):
            if np.allclose(found, wrong) and not np.allclose(found, right.value):
                raise NotRight(why)
        within("the gradient", found, Bounded(right.value, 2 * right.bound))
    return "the gradient of −log posterior, divided by N, within its rounding bound"
