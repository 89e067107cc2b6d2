"""Solutions of workshop/04_sgd.ipynb, and answers that are not right."""

import numpy as np


def step(w, v, g, rate, momentum, decay):
    """v ← μ·v + g + λ·w, w ← w − η·v."""
    v = momentum * v + g + decay * w
    return w - rate * v, v


def largest_rate(product, size):
    """Power iteration until the Rayleigh quotient stands still."""
    v = np.random.default_rng(0).standard_normal(size)
    largest = before = 0.0
    for _ in range(10_000):
        v /= np.linalg.norm(v)
        moved = product(v)
        before, largest, v = largest, v @ moved, moved
        if abs(largest - before) <= 1e-12 * largest:
            break
    return 2 / largest


def _rate_inside(w, v, g, rate, momentum, decay):
    v = momentum * v + rate * (g + decay * w)
    return w - v, v


def _nesterov(w, v, g, rate, momentum, decay):
    g = g + decay * w
    v = momentum * v + g
    return w - rate * (g + momentum * v), v


def _decoupled(w, v, g, rate, momentum, decay):
    v = momentum * v + g
    return w - rate * v - rate * decay * w, v


def _no_momentum(w, v, g, rate, momentum, decay):
    return step(w, 0 * v, g, rate, momentum, decay)


WRONG = {
    "step": [
        (_rate_inside, "learning rate inside the velocity"),
        (_nesterov, "Nesterov momentum"),
        (_decoupled, "decoupled weight decay"),
        (_no_momentum, "momentum missing"),
        (lambda w, v, g, rate, momentum, decay: w - rate * g, "expected a tuple of 2"),
    ],
    "largest_rate": [
        (lambda product, size: 1 / (2 / largest_rate(product, size)), "expected"),
        (lambda product, size: 2 / np.linalg.norm(product(np.ones(size) / np.sqrt(size))), "expected"),
    ],
}


ANSWERS = {  # to the predictions: the right guess, and the explanation
    "limit": (
        0.2,
        r"Without momentum it converges if and only if $|1 - \eta\lambda| < 1$ for all $\lambda$: $\eta < "
        r"2/\lambda_{\max}$. The steepest direction determines the limit, the flattest direction the time.",
    ),
    "fastest": (
        0.18,
        r"There the steepest and the flattest direction shrink equally fast: $\eta = 2 / (\lambda_{\max} + "
        r"\lambda_{\min})$.",
    ),
    "limit_with_momentum": (
        0.32,
        r"It is $2(1+\mu)/\lambda_{\max}$, and the best rate of convergence depends on "
        r"$\sqrt{\lambda_{\max}/\lambda_{\min}}$ instead of $\lambda_{\max}/\lambda_{\min}$.",
    ),
    "curvature": (
        8,
        "(At the initial weights there is no Hessian: all biases are zero, so the ReLUs of blank paper "
        "are exactly at their corner.)",
    ),
    "allowed_rate": (
        0.25,
        "",
    ),
    "factor_below": (
        0.8,
        "The sign alternates: $1 - 1.8 = -0.8$.",
    ),
    "factor_above": (
        1.2,
        "The limit was measured before the run, only from the shape of the loss. It answers the question "
        "as long as the weights stay near. In a longer run, the limit changes with the weights.",
    ),
    "learn": (
        ["μ = 0.0, η = 0.1", "μ = 0.9, η = 0.01", "μ = 0.9, η = 0.1"],
        "The others are too slow for so few steps, or too fast.",
    ),
    "diverging_ends": (
        "at log 10",
        "A diverging run need not end in NaN: a single large step can close every ReLU of a layer for "
        "every digit. Then all gradients before that layer are exactly zero, the layers after it see only "
        "a bias, and the loss stays there for ever. If you see 2.3, lower the rate before you look for a "
        "bug.",
    ),
    "way": (
        1.5,
        "The noise of the minibatches and the steep directions make it longer than a straight line, but "
        "it does not wander about.",
    ),
}
