"""Solutions of workshop/02_softmax.ipynb, and answers that are not right."""

import numpy as np


def cross_entropy(z, labels):
    """−log p_y = log Σ exp(z − max z) − (z_y − max z), and (p − [k = label]) / N."""
    rows = np.arange(len(labels))
    shifted = z - z.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    totals = powers.sum(axis=1, keepdims=True)
    loss = (np.log(totals[:, 0]) - shifted[rows, labels]).mean()
    dz = powers / totals
    dz[rows, labels] -= 1
    return loss, dz / z.dtype.type(len(labels))


def constant(labels):
    """p − frequency = 0: p is the frequency, and its logarithm one choice of logits."""
    return np.log(np.bincount(labels) / len(labels))


def _as_written(z, labels):
    rows, powers = np.arange(len(labels)), np.exp(z)
    p = powers / powers.sum(axis=1, keepdims=True)
    loss = -np.log(p[rows, labels]).mean()
    p[rows, labels] -= 1
    return loss, p / z.dtype.type(len(labels))


def _summed(z, labels):
    loss, dz = cross_entropy(z, labels)
    return loss * z.dtype.type(len(labels)), dz * z.dtype.type(len(labels))


def _gradient_summed(z, labels):
    loss, dz = cross_entropy(z, labels)
    return loss, dz * z.dtype.type(len(labels))


def _over_the_batch(z, labels):
    rows, shifted = np.arange(len(labels)), z - z.max(axis=0, keepdims=True)
    totals = np.exp(shifted).sum(axis=1, keepdims=True)
    dz = np.exp(shifted) / totals
    dz[rows, labels] -= 1
    return (np.log(totals[:, 0]) - shifted[rows, labels]).mean(), dz / z.dtype.type(len(labels))


WRONG = {
    "cross_entropy": [
        (_as_written, "softmax without its shift"),
        (_summed, "summed over the batch"),
        (_gradient_summed, "gradients summed over the batch"),
        (_over_the_batch, "loss differs"),
        (lambda z, labels: cross_entropy(z, labels)[0], "expected a tuple of 2"),
    ],
    "constant": [
        (lambda labels: np.bincount(labels) / len(labels), "gradient"),
        (lambda labels: np.zeros(10), "gradient"),
        (lambda labels: np.log(np.bincount(labels) / len(labels))[1:], "shape"),
    ],
}


ANSWERS = {  # to the predictions: the right guess, and the explanation
    "p_changes": (
        "no",
        "Only differences of logits count.",
    ),
    "free": (
        9,
        "This is the rank of ∂p/∂z; the tenth number is arbitrary. So two networks whose logits differ by "
        "a constant are the same model, and a comparison by logits would not show this. (Our ports share "
        "their weights, so their logits must agree.)",
    ),
    "knows_nothing": (
        2.3,
        "It is the logarithm of ten. If the first loss of a training run is far from it, there is a bug "
        "before training begins.",
    ),
    "knows_frequencies": (
        "lower",
        "Slightly: the classes are nearly equally frequent. The entropy of the labels is never above the "
        "logarithm of their number.",
    ),
    "network_is": (
        "too sure",
        "The best temperature is a little above 1. Larger logits always lower the loss of digits that are "
        "classified correctly, and most training digits are. (Here the temperature was chosen on the test "
        "digits; to report a result, choose it on other digits.)",
    ),
    "overflow": (
        88.7,
        "The logarithm of the largest float32.",
    ),
    "returns": (
        "nan",
        "Infinity divided by infinity. Subtracting the maximum changes nothing in exact arithmetic, and "
        "every exponential is then between 0 and 1. This fixes the softmax.",
    ),
    "wrong_somewhere": (
        ["naive", "shifted", "clipped"],
        "The clipped loss is the most dangerous: it gives no infinity, no NaN and no warning. It is flat "
        "where the network is most wrong, so its gradient is zero there, and the network learns nothing "
        "from its worst digits.",
    ),
    "within_bound": (
        "yes",
        "24 bits are enough for a loss; more bits do not prevent overflow.",
    ),
}
