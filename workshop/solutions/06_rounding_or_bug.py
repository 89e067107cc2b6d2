"""Solutions of workshop/06_rounding_or_bug.ipynb."""

import numpy as np


def dense_bound(w, x, b):
    """γ_{D+1} (|w||x| + |b|): w (E, D), x (N, D), b (E,) to (N, E)."""
    k, u = w.shape[1] + 1, 2.0**-24
    return k * u / (1 - k * u) * (np.abs(x) @ np.abs(w).T + np.abs(b))


def first_different(activations, expected):
    """The first layer with a value outside its bound, or None."""
    for layer, (value, bound) in expected.items():
        inside = np.abs(activations[layer] - value) <= bound  # False for a NaN
        if not inside.all():
            return layer
    return None


def _bound(w, x, b, *, k=1, u=2.0**-24, bias=True, signed=False):
    k = w.shape[1] + k
    products = np.abs(x @ w.T) if signed else np.abs(x) @ np.abs(w).T
    return k * u / (1 - k * u) * (products + bias * np.abs(b))


def _over(activations, expected):
    for layer, (value, bound) in expected.items():
        if (np.abs(activations[layer] - value) > bound).any():
            return layer
    return None


def _any_order(activations, expected):
    return next((layer for layer in reversed(expected) if _over(activations, {layer: expected[layer]})), None)


def _signed(activations, expected):
    for layer, (value, bound) in expected.items():
        if not (activations[layer] - value <= bound).all():
            return layer
    return None


def _strict(activations, expected):
    for layer, (value, bound) in expected.items():
        if not (np.abs(activations[layer] - value) < bound).all():
            return layer
    return None


WRONG = {
    "dense_bound": [
        (lambda w, x, b: _bound(w, x, b, bias=False), "|b| is missing"),
        (lambda w, x, b: _bound(w, x, b, signed=True), "magnitudes before the sum"),
        (lambda w, x, b: _bound(w, x, b, u=2.0**-23), "2^-24"),
        (lambda w, x, b: _bound(w, x, b, u=2.0**-53), "float64"),
        (lambda w, x, b: _bound(w, x, b, k=0), "one rounding more"),
        (lambda w, x, b: 401 * 2.0**-24 * (np.abs(x) @ np.abs(w).T + np.abs(b)), "denominator"),
        (lambda w, x, b: 3 * _bound(w, x, b), "expected"),
        (lambda w, x, b: _bound(w, x, b).T, "shape"),
        (lambda w, x, b: _bound(w, x, b).astype(np.float32), "float32"),
    ],
    "first_different": [
        (_over, "NaN"),
        (_any_order, "comes first"),
        (_signed, "magnitude"),
        (_strict, "both 0"),
        (lambda activations, expected: "conv1", "every value is right"),
    ],
}


ANSWERS = {  # to the predictions: the right guess, and the explanation
    "sums_are_equal": (
        "no",
        "Addition of floating-point numbers is not associative.",
    ),
    "largest_delta_in_u": (
        1,
        "The bound is nearly attained: half of the distance between two numbers, relative to the smaller "
        "one.",
    ),
    "different_sums": (
        24,
        "",
    ),
    "largest_error": (
        3e-06,
        "Random roundings mostly cancel: the error stays far below the bound. An order made for it comes "
        "nearer.",
    ),
    "used": (
        0.2,
        "The bound is the worst case; roundings of both signs mostly cancel.",
    ),
    "more_in": (
        "conv1",
        "The more terms, the better they cancel, while the bound grows with their number.",
    ),
    "times_larger": (
        1,
        "The errors of the right port and of the wrong one are of one size, so none of the usual "
        "tolerances on the logits separates the two.",
    ),
    "outside": (
        ["conv1"],
        "The bug is outside the bound at `conv1`, where nothing rounds on blank paper; the rounding error "
        "is inside everywhere. The logits, judged from the image, show neither: the worst case of five "
        "layers is too wide, and so is the bound of `conv1` where there is ink.",
    ),
    "of_bad_order": (
        2000,
        "Nothing rounds, so the order does not matter.",
    ),
    "of_batch_norm": (
        "some",
        "A different function may round to the same value in places; one wrong bit is enough to refuse the "
        "port.",
    ),
}
