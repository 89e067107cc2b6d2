"""Solutions of workshop/18_uncertainty.ipynb, and answers that are not right."""

import numpy as np


def fit_temperature(logits, labels):
    """The loss is convex in 1/T, so its slope has one zero: bisection in log T."""
    z = logits.astype(np.float64)
    low, high = 1e-3, 1e3
    for _ in range(60):
        t = np.sqrt(low * high)
        scaled = z / t
        powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        p = powers / powers.sum(axis=1, keepdims=True)
        rises = (z[np.arange(len(z)), labels] - (p * z).sum(axis=1)).mean() > 0
        low, high = (low, t) if rises else (t, high)
    return np.sqrt(low * high)


def split(p):
    """The entropy of the mean is the sum of both; 0 log 0 is 0."""
    aleatoric = _entropy(p).mean(axis=0)
    return aleatoric, _entropy(p.mean(axis=0)) - aleatoric


def _entropy(p):
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=-1)


def dropout(x, kept, p, training):
    """Inverted dropout: the mean over the masks is x already in training."""
    return np.where(kept, x / np.float32(1 - p), np.float32(0)) if training else x


def _by_grid(logits, labels):
    ts = np.arange(0.5, 3, 0.05)
    losses = []
    for t in ts:
        z = logits / t - (logits / t).max(axis=1, keepdims=True)
        losses.append((np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), labels]).mean())
    return ts[np.argmin(losses)]


def _naive_split(p):
    entropies = -(p * np.log(p)).sum(axis=-1).mean(axis=0)
    return entropies, -(p.mean(axis=0) * np.log(p.mean(axis=0))).sum(axis=-1) - entropies


def _of_2012(x, kept, p, training):
    return np.where(kept, x, np.float32(0)) if training else x * np.float32(1 - p)


def _scaled_twice(x, kept, p, training):
    return dropout(x, kept, p, True) if training else x * np.float32(1 - p)


WRONG = {
    "fit_temperature": [
        (lambda logits, labels: np.float64(1), "the loss still falls"),
        (lambda logits, labels: 1 / fit_temperature(logits, labels), "is 1/T"),
        (_by_grid, "the loss still falls"),
        (lambda logits, labels: -fit_temperature(logits, labels), "positive"),
    ],
    "split": [
        (lambda p: split(p)[::-1], "exchanged"),
        (_naive_split, "0 · log 0"),
        (lambda p: (split(p)[0], sum(split(p))), "subtract"),
        (lambda p: tuple(part / np.log(2) for part in split(p)), "bits"),
        (lambda p: split(p.swapaxes(0, 1)), "shape"),
    ],
    "dropout": [
        (_of_2012, "the rule of 2012: training does not scale"),
        (_scaled_twice, "this scales twice"),
        (lambda x, kept, p, training: dropout(x, ~kept, p, training), "True where a value stays"),
        (lambda x, kept, p, training: dropout(x, kept, 1 - p, training), "p = "),
    ],
}


ANSWERS = {  # to the predictions: the right guess, and the explanation
    "better_calibrated": (
        "the frequencies",
        "Calibration asks whether 11 % sure means right in 11 % of the cases, not whether that is good. "
        "Accuracy and calibration are two measures.",
    ),
    "ece_of_network": (
        5.2,
        "It has learnt its 1,000 digits by heart, and is as sure on the others.",
    ),
    "perfect_200": (
        3.1,
        "In each bin the share of right answers varies by chance, and the absolute value turns every "
        "deviation into an error. Zero is not the value of a perfect network.",
    ),
    "perfect_5000": (
        0.66,
        "The bias falls with the square root of the digits. Compare two networks on the same number of "
        "digits and with the same bins.",
    ),
    "fitted_on_own": (
        "below 1",
        "All of its own digits are right: the surer, the better, without a limit. A temperature needs "
        "held-out digits, as every parameter that is chosen after training.",
    ),
    "gain": (
        5,
        "One number is enough, because the network is too sure everywhere by a similar factor.",
    ),
    "separates_noise": (
        "epistemic",
        "Nothing was learnt there, so each member continues in its own way: they disagree.",
    ),
    "separates_blends": (
        "aleatoric",
        "Two digits in one image: the members agree that it may be either. More members would not help.",
    ),
    "larger_when_rotated": (
        "aleatoric",
        "A rotated digit is not ambiguous; the networks have not learnt it. But the members share what "
        "they have not learnt, and agree to be unsure. The split is a property of this ensemble, not of the "
        "image.",
    ),
    "ece_at_45": (
        30,
        "The temperature was right for upright digits. Calibration is a statement about one distribution of "
        "images. Temperature and ensemble both help a little; neither knows that the images have changed. "
        '(Y. Ovadia et al., "Can You Trust Your Model\'s Uncertainty?", NeurIPS 2019, measured this for many '
        "methods.)",
    ),
    "drops_at_once": (
        ["PyTorch"],
        "A PyTorch module is born in training mode and stays in it until `eval()`. A Keras layer drops "
        "only if it is called with `training=True`, as `fit` does.",
    ),
    "same_bits_half": (
        "yes",
        "1/(1 − p) is 2: nothing rounds.",
    ),
    "same_bits_third": (
        "no",
        "The frameworks round 1/(1 − p) once and multiply; NumPy divides. Both are within the bound of three "
        "roundings.",
    ),
    "notices_2012": (
        ["calibration"],
        "The logits are doubled, up to their biases, as by a temperature of one half. The largest stays "
        "the largest, so that accuracy sees nothing.",
    ),
}
