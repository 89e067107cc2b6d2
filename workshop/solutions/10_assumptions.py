"""Solutions of workshop/10_assumptions.ipynb, and answers that are not right."""

import numpy as np


def rearranged_fc1(w, order):
    """Column k meets the value that stood at order[k]."""
    return w[:, order]


def score(logits):
    """log Σ exp z, the "energy" of W. Liu et al., 2020: softmax' denominator, which softmax divides away."""
    largest = logits.max(axis=1)
    return largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1))


def _probability(logits):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (e / e.sum(axis=1, keepdims=True)).max(axis=1)


WRONG = {
    "rearranged_fc1": [
        (lambda w, order: w, "as they were"),
        (lambda w, order: w[:, np.argsort(order)], "inverse order"),
        (lambda w, order: w[:, ::-1].copy(), "expected"),
        (lambda w, order: w.T, "shape"),
    ],
    "score": [
        (_probability, "not better"),
        (lambda logits: -score(logits), "the wrong way round"),
        (lambda logits: np.zeros(len(logits), np.float32), "not better"),
        (lambda logits: logits, "shape"),
    ],
}


ANSWERS = {  # to the predictions: the right guess, and the explanation
    "pixels": (
        5,
        "The convolutions do not mind, but `fc1` has a weight for each place.",
    ),
    "degrees": (
        45,
        "Nothing in the network knows rotations.",
    ),
    "shift_1": (
        "relu1",
        "A pooling of stride 2 keeps even shifts only.",
    ),
    "shift_2": (
        "relu2",
        "",
    ),
    "shift_4": (
        "pool2",
        "Up to here, the network handles shifts *before* any training (a dash means that the shift is no "
        "multiple of the stride). `fc1` has a weight for each place; it must learn shifts from the "
        "training digits.",
    ),
    "on_noise": (
        0.25,
        "Here the network is unsure, as it should be. Nothing guarantees that:",
    ),
    "on_letters": (
        0.9,
        "Confidence is not knowledge: the softmax only compares ten classes with each other.",
    ),
    "lenet_loses": (
        15,
        "LeNet is better on digits because of an assumption: neighbouring pixels belong together. After "
        "shuffling, this assumption is false.",
    ),
    "better_shuffled": (
        "dense",
        "It assumes nothing about places and hardly changes. This is *inductive bias*: a network need not "
        "learn what it assumes, but a few digits are not enough to overcome a wrong assumption.",
    ),
    "learns_by_heart": (
        "yes",
        "The loss on training digits says nothing about other digits.",
    ),
    "on_others": (
        0.1,
        "Only held-out digits tell.",
    ),
}
