"""Solutions of workshop/15_optimizers.ipynb, and answers that are not right."""

import numpy as np


def reordered_maps(params, order):
    """Rows of conv2, and blocks of 25 columns of fc1."""
    new = dict(params)
    new["conv2.weight"], new["conv2.bias"] = params["conv2.weight"][order], params["conv2.bias"][order]
    new["fc1.weight"] = params["fc1.weight"].reshape(120, 16, 25)[:, order].reshape(120, 400)
    return new


def adam(w, m, v, g, t, rate):
    """Algorithm 1 of the paper."""
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g**2
    m_hat, v_hat = m / (1 - 0.9**t), v / (1 - 0.999**t)
    return w - rate * m_hat / (np.sqrt(v_hat) + 1e-8), m, v


def _maps(params, order, *, bias=True, columns=True, channels_last=False):
    new = reordered_maps(params, order)
    if not bias:
        new["conv2.bias"] = params["conv2.bias"]
    if not columns:
        new["fc1.weight"] = params["fc1.weight"]
    if channels_last:
        new["fc1.weight"] = params["fc1.weight"].reshape(120, 25, 16)[:, :, order].reshape(120, 400)
    return new


def _adam(w, m, v, g, t, rate, *, form=""):
    _, m, v = adam(w, m, v, g, t, rate)
    if form == "Keras":
        return w - rate * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-8), m, v
    first, second = (1.0, 1.0) if form == "uncorrected" else (1 - 0.9**t, 1 - 0.999**t)
    root = np.sqrt(v / second + 1e-8) if form == "inside" else np.sqrt(v / second) + 1e-8
    return w - rate * m / first / root, m, v


def _in_place(params, order):
    params.update(reordered_maps(params, order))
    return params


WRONG = {
    "reordered_maps": [
        (_in_place, "changes its arguments"),
        (lambda params, order: dict(params), "no other order"),
        (lambda params, order: reordered_maps(params, np.argsort(order)), "inverse order"),
        (lambda params, order: _maps(params, order, columns=False), "still reads the old order"),
        (lambda params, order: _maps(params, order, bias=False), "conv2"),
        (lambda params, order: _maps(params, order, channels_last=True), "fc1"),
    ],
    "adam": [
        (lambda *args: _adam(*args, form="Keras"), "Keras"),
        (lambda *args: _adam(*args, form="inside"), "inside the root"),
        (lambda *args: _adam(*args, form="uncorrected"), "without the corrections"),
        (lambda w, m, v, g, t, rate: adam(w, m, v, g, t + 1, rate), "step 1: w"),
        (lambda w, m, v, g, t, rate: adam(w, m, v, g, t, rate * (1 + 1e-10)), "step 1: w"),
        (lambda w, m, v, g, t, rate: adam(w, m, v, g, t, rate)[0], "expected a tuple of 3"),
        (lambda w, m, v, g, t, rate: adam(w, m / (1 - 0.9**t), v, g, t, rate), "step 2: m"),
    ],
}


ANSWERS = {  # to the predictions: the right guess, and the explanation
    "same_ends": (
        ["the loss", "the probabilities"],
        "There is one minimum of the function, and every start finds it. The weights of two starts differ.",
    ),
    "zero_eigenvalues": (
        17,
        "If the same number is added to the ten weights of an input, softmax does not change: one "
        "direction for "
        "each of the 17 inputs. None of the eigenvalues is negative beyond rounding.",
    ),
    "digits_of_twins": (
        342,
        "6! · 16! · 120! · 84! orders, each a minimum as good as the trained one.",
    ),
    "same_bits": (
        ["exact"],
        "The twin adds the same products in another order. Where no sum rounds, the order does not matter.",
    ),
    "right_half_way": (
        0.35,
        "The mean of two different features is neither of them. Both ends are minima with a hill between "
        "them, so the loss "
        "is not convex.",
    ),
    "right_undone": (
        0.992,
        'The hill came from the order alone. (S. Ainsworth et al., "Git Re-Basin: Merging Models modulo '
        'Permutation Symmetries", 2023, ask how much of the hill between two separate runs does.)',
    ),
    "first_adam": (
        0.001,
        "In the first step m/(1 − β₁) is g and √(v/(1 − β₂)) is |g|: Adam moves every weight by η, "
        "whatever its "
        "gradient, if that is not near ε.",
    ),
    "torch_over_keras": (
        31.6,
        "The first step is η / √(1 − ρ): 0.01 / √0.01 = 0.1 in PyTorch (ρ = 0.99), 0.001 / √0.1 = 0.0032 "
        "in Keras "
        "(ρ = 0.9). The mean of squares starts at zero and is not corrected.",
    ),
    "algorithm_1": (
        ["torch", "optax"],
        "Keras computes the second form with its ε as ε̂: it adds it to √v, which is small in the first "
        "steps.",
    ),
    "torch_epsilon": (
        3.2e-6,
        r"$10^{-7} / \sqrt{1 - 0.999} = 3.2 \cdot 10^{-6}$: in the first step, Keras' default is 316 "
        r"times PyTorch's "
        "default of 1e-8.",
    ),
    "within_bound": (
        3,
        "The same formula, in three orders of evaluation.",
    ),
    "keras_in_u": (
        114,
        "Keras and optax compute 1 − β₂ᵗ in float32. 0.999 is rounded, and the difference 0.001 has the same "
        "absolute error, so that its relative error is up to a thousand times as large; the root halves it.",
    ),
    "torch_in_u": (
        5,
        "PyTorch computes the corrections with Python's numbers, in float64.",
    ),
    "decay_torch": (
        0.001,
        "The decay is in the gradient. Adam divides it by its own size: the step is η, whatever λ is. "
        "`AdamW` has "
        "the other meaning.",
    ),
    "decay_keras": (
        2e-5,
        "η · λ · w: the decay does not go through the quotient. (It is the meaning in every optimizer of "
        "Keras.)",
    ),
    "apart_by_default": (
        0.13,
        "Weights with small gradients move by η in PyTorch and by less in Keras. Both runs learn.",
    ),
    "apart_aligned": (
        7e-4,
        "Here only roundings differ, but they grow from step to step.",
    ),
}
