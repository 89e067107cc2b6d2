"""Solutions of workshop/13_attention.ipynb, and answers that are not right."""

import numpy as np


def masked_attention(q, k, v, seen):
    """Scores, mask, softmax over the keys, mean of the values."""
    scores = q @ k.swapaxes(-1, -2) / np.float32(np.sqrt(q.shape[-1]))
    scores = np.where(seen, scores, np.float32(-np.inf))
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True) @ v


def scores_gradient(p, dp):
    """The cotangent of a score is its weight times how much dp exceeds its mean under p."""
    return p * (dp - (p * dp).sum(axis=-1, keepdims=True))


def _varied(scale=None, axis=-1, after=False, low=-np.inf, shift=True):
    def answer(q, k, v, seen):
        scores = q @ k.swapaxes(-1, -2) * np.float32(scale(q.shape[-1]) if scale else q.shape[-1] ** -0.5)
        if not after:
            scores = scores + np.where(seen, 0, low).astype(np.float32)
        with np.errstate(all="ignore"):
            e = np.exp(scores - scores.max(axis=axis, keepdims=True) if shift else scores)
            weights = e / e.sum(axis=axis, keepdims=True)
        return (weights * seen if after else weights) @ v

    return answer


def _replaced(low):
    """Hidden scores are replaced by a number that is not low enough."""

    def answer(q, k, v, seen):
        scores = q @ k.swapaxes(-1, -2) / np.float32(np.sqrt(q.shape[-1]))
        scores = np.where(seen, scores, np.float32(low))
        e = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True) @ v

    return answer


WRONG = {
    "masked_attention": [
        (_varied(scale=lambda d: 1), "left out"),
        (_varied(scale=lambda d: 1 / d), "applied twice"),
        (_varied(axis=-2), "axis"),
        (_varied(after=True), "after the softmax"),
        (_varied(low=0), "left out"),
        (_varied(low=-10), "expected"),
        (_varied(low=-1000), "expected"),
        (_varied(low=-2000), "expected"),
        (_replaced(-100), "expected"),
        (_replaced(-1000), "expected"),
        (_varied(shift=False), "overflows"),
        (lambda q, k, v, seen: masked_attention(q, k, v, seen).astype(np.float64), "float64"),
    ],
    "scores_gradient": [
        (lambda p, dp: p * dp, "all weights"),
        (lambda p, dp: p * (1 - p) * dp, "diagonal"),
        (lambda p, dp: p - dp, "cross-entropy"),
        (lambda p, dp: p * (dp - (p * dp).sum(axis=-2, keepdims=True)), "last axis"),
        (lambda p, dp: -scores_gradient(p, dp), "sign"),
    ],
}


ANSWERS = {  # to the predictions: the right guess, and the explanation
    "blank_row": (
        "all rows alike",
        "Its scores are all zero, and the softmax of equal scores is a plain mean. A scalar product measures "
        "no distance: a row of zeros is not near to another.",
    ),
    "largest_without": (
        0.96,
        "Scores of size $\\sqrt d$ leave one key nearly all of the weight. Then the slope of the softmax is "
        "nearly zero, and with it the gradient of queries and keys.",
    ),
    "largest_with": (
        0.25,
        "Divided by $\\sqrt d$, the scores have variance 1 for every $d$, and so the weights stay the same.",
    ),
    "without_places": (
        "rounding",
        "A mean does not depend on the order of its terms, but their sum in float32 does.",
    ),
    "with_places": (
        "different",
        "Each row now carries its place, so shuffled rows are other tokens.",
    ),
    "accuracy_without": (
        42,
        "It sees which patches occur, not where: shuffled patches get the same answers.",
    ),
    "accuracy_with": (
        75,
        "Now a stroke at the top is another token than a stroke at the bottom.",
    ),
    "same_function": (
        [
            "torch: F.scaled_dot_product_attention(x, x, x)",
            "keras.ops.dot_product_attention, axes (N, T, H, D)",
            "jax.nn.dot_product_attention, axes (N, T, H, D)",
        ],
        "The layer of Keras does not divide by $\\sqrt d$; its `use_scale` multiplies by a learnt number. "
        "In PyTorch, heads come before tokens; in JAX and `keras.ops`, tokens come first. With PyTorch's "
        "axes, JAX takes the 28 rows for heads with a single token each: a softmax over one score is 1, so "
        "each token gets its own value.",
    ),
    "allclose_accepts": (
        ["-10 for -inf", "-1e4 for -inf"],
        "A mask of −10 leaves each hidden key a weight of about $e^{-10} = 5 \\cdot 10^{-5}$: the past "
        "sees the future, below the tolerance.",
    ),
    "judge_accepts": (
        ["-1e4 for -inf"],
        "$e^{-10000}$ is zero in float32, so this is the same function, to the bit. The judge knows no "
        "mistake that explains −10, but its values are far outside of the bound.",
    ),
}
