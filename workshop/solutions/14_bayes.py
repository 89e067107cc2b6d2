"""Solutions of workshop/14_bayes.ipynb, and answers that are not right."""

import numpy as np


def dense_of(theta, pi):
    """x log θ + (1 − x) log(1 − θ), ordered by x."""
    return np.log(theta) - np.log1p(-theta), np.log1p(-theta).sum(axis=1) + np.log(pi)


def map_gradient(W, x, labels, variance):
    """The gradient of the mean cross-entropy, and the prior's share of one digit."""
    z = x @ W.T
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(x)), labels] -= 1
    return p.T @ x / len(x) + W / (len(x) * variance)


def _pull(share):
    """The right gradient, but with another factor of W."""

    def answer(W, x, labels, variance):
        right = map_gradient(W, x, labels, variance)
        return right - W / (len(x) * variance) + share(len(x), variance) * W

    return answer


WRONG = {
    "dense_of": [
        (lambda theta, pi: (np.log(theta), dense_of(theta, pi)[1]), "white pixel"),
        (lambda theta, pi: (dense_of(theta, pi)[0], np.log(pi)), "without ink"),
        (lambda theta, pi: (dense_of(theta, pi)[0], np.log1p(-theta).sum(axis=1)), "lacks log π"),
        (lambda theta, pi: (theta, pi), "logarithms"),
        (lambda theta, pi: (dense_of(theta, pi)[0].T, dense_of(theta, pi)[1]), "shape"),
        (lambda theta, pi: tuple(one * (1 + 1e-9) for one in dense_of(theta, pi)), "expected"),
    ],
    "map_gradient": [
        (_pull(lambda n, variance: 0), "prior is missing"),
        (_pull(lambda n, variance: 1 / variance), "not one for each digit"),
        (_pull(lambda n, variance: variance / n), "pull harder"),
        (_pull(lambda n, variance: 2 / (n * variance)), "not 2 W"),
        (_pull(lambda n, variance: 1 / (10 * variance)), "number of classes"),
        (lambda W, x, labels, variance: len(x) * map_gradient(W, x, labels, variance), "not divided by N"),
        (lambda W, x, labels, variance: map_gradient(W, x, labels, variance) * (1 + 1e-9), "expected"),
    ],
}


ANSWERS = {  # to the predictions: the right guess, and the explanation
    "accuracy": (
        76,
        "Its samples show what it believes: each pixel by itself, so strokes fall apart.",
    ),
    "mean_confidence": (
        98,
        "Neighbouring pixels tell the same thing, but it counts each of them as new evidence.",
    ),
    "outside_the_bound": (
        0,
        "It is the same function. Without log π about as many digits are right, and only the bound shows "
        "the mistake.",
    ),
    "accuracy_fitted": (
        84,
        "The cross-entropy asks only which class it is, and corrects for evidence that is counted again and "
        "again; counting cannot.",
    ),
    "impossible": (
        74,
        "Among 784 pixels some is black where none of the class was, and one factor of 0 is enough.",
    ),
    "maximum": (
        "at infinity",
        "Some value of $f$ separates these four digits. A steeper curve then fits better, without end; only "
        "the prior holds it.",
    ),
    "narrower": (
        4,
        "Each digit adds about as much curvature to the logarithm of the posterior, and the width is one "
        "over the root of it: $\\sqrt{16}$.",
    ),
    "end_at_map": (
        ["torch SGD", "torch Adam"],
        "Both add λ·w to the gradient, and stop where the sum is zero. AdamW shrinks the weights beside a "
        "gradient that it has divided by its own size, and stops elsewhere.",
    ),
    "times_variance": (
        10,
        "Keras shrinks w by η λ w beside the momentum, which makes the gradient's part 1 / (1 − 0.9) times "
        "larger: the decay counts a tenth.",
    ),
}
