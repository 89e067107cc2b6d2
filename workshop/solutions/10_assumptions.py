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
