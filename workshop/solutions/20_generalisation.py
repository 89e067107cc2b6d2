"""Solutions of workshop/20_generalisation.ipynb, and answers that are not right."""

import numpy as np


def for_inverted(w, b):
    """w(1 − x) = Σw − wx."""
    return -w, b + w.sum(axis=1)


def wilson(right, n, z):
    """The shares p with |share − p| ≤ z √(p(1 − p)/n): the two roots of a quadratic."""
    share = right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return middle - half, middle + half


def _wald(right, n, z):
    half = z * np.sqrt(right / n * (1 - right / n) / n)
    return right / n - half, right / n + half


def _around_the_share(right, n, z):
    low, high = wilson(right, n, z)
    return right / n - (high - low) / 2, right / n + (high - low) / 2


WRONG = {
    "for_inverted": [
        (lambda w, b: (w, b), "the old weights"),
        (lambda w, b: (-w, b), "the sum of the weights"),
        (lambda w, b: (-w, -b), "only the weights"),
        (lambda w, b: (-w, b - w.sum(axis=1)), "wrong sign"),
        (lambda w, b: (-w, b + w.mean(axis=1)), "expected"),
    ],
    "wilson": [
        (_wald, "no width"),
        (_around_the_share, "moves towards 1/2"),
        (lambda right, n, z: wilson(right, n, z)[::-1], "exchanged"),
        (lambda right, n, z: wilson(right, n, z * z), "low"),
        (lambda right, n, z: wilson(right, n, z)[0], "two numbers"),
        (lambda right, n, z: np.round(wilson(right, n, z), 9), "expected"),
    ],
}


ANSWERS = {  # to the predictions: the right guess, and the explanation
    "solvable": (
        ["upright", "exchanged"],
        "Inverting turns f(x) into a constant minus f(x): with the right bias, the sign changes, as the "
        "third task wants. The second wants the same sign for both.",
    ),
    "most": (
        0.77,
        "f(x) + f(1 − x) is the same for all images. If it is positive, every 0 is wrong in one of its two "
        "versions; if not, every 1. No training helps: the model cannot say it.",
    ),
    "wald_covers": (
        0.78,
        "In a fifth of these tests all 200 are right: the interval is then 100 % ± 0, and certain to miss.",
    ),
    "digits_needed": (
        160_000,
        "The width falls with the square root of the digits. MNIST's 10,000 cannot tell these two; "
        "the same digits for both networks, compared in pairs, can tell more.",
    ),
    "better_wrong_labels": (
        "2 epochs",
        "First the network learns what many digits share, then the labels that fit nothing. Stopping early "
        "is an assumption too.",
    ),
    "better_right_labels": (
        "40 epochs",
        "With true labels, learning by heart does no harm here.",
    ),
    "worse": (
        "no",
        "More parameters than values to fit, and no more errors than before. The number of parameters alone "
        "does not say how much a network can go wrong.",
    ),
    "best_of_1000": (
        0.2,
        "The best of many is chosen for its luck. The digits that choose cannot tell how good the chosen is.",
    ),
    "public": (
        0.7,
        "Each answer of the board tells a little about its labels, and the vote adds it all up.",
    ),
    "private": (
        0.5,
        "Nothing was learnt about digits: no image was ever opened.",
    ),
    "leak": (
        10,
        "Four of five copies on the test side have their twin on the training side. Split first, by what was "
        "written, then augment.",
    ),
    "all_within": (
        "yes",
        "Each step is judged from PyTorch's own weights before it. What a model assumes does not depend on "
        "the framework.",
    ),
    "same_bits": (
        "no",
        "The sums over 784 pixels and 50 digits are added up in another order.",
    ),
}
