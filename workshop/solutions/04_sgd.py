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
