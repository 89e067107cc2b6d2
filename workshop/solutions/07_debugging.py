"""Solutions of workshop/07_debugging.ipynb."""

import numpy as np


def flatten_of_a(pool2):
    """In H, W, C order, as a channels-last framework has it; these weights want C, H, W."""
    return pool2.transpose(0, 2, 3, 1).reshape(len(pool2), -1)


def operand_of_b(x):
    """TF32: 11 significant bits, to nearest, ties to even."""
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.rint(np.ldexp(mantissa, 11)), exponent - 11).astype(np.float32)


def between(ratios):
    """The last layer whose gradients are wrong, and the one behind it; None if all are right."""
    layers = list(dict.fromkeys(name.partition(".")[0] for name in ratios))
    wrong = [layer for layer in layers if not max(ratios[f"{layer}.weight"], ratios[f"{layer}.bias"]) <= 1]
    if not wrong:
        return None
    last = layers.index(wrong[-1])
    return layers[last], layers[last + 1]


def _toward_zero(x):
    return (x.view(np.int32) & np.int32(-(2**13))).view(np.float32)


def _cut(x, bits):
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits).astype(np.float32)


def _first(ratios):
    layers = list(dict.fromkeys(name.partition(".")[0] for name in ratios))
    wrong = [layer for layer in layers if ratios[f"{layer}.weight"] > 1]
    return (wrong[0], layers[layers.index(wrong[0]) + 1]) if wrong else None


WRONG = {
    "flatten_of_a": [
        (lambda pool2: pool2.reshape(len(pool2), -1), "the right network's order"),
        (lambda pool2: pool2.transpose(0, 3, 2, 1).reshape(len(pool2), -1), "not A's"),
        (lambda pool2: np.zeros((len(pool2), 400), np.float32), "not the values of pool2"),
        (lambda pool2: pool2.transpose(0, 2, 3, 1), "shape"),
    ],
    "operand_of_b": [
        (lambda x: x.copy(), "is what it was"),
        (lambda x: _cut(x, 10), "10 significant bits"),
        (lambda x: _cut(x, 12), "12 significant bits"),
        (_toward_zero, "11 significant bits"),
        (lambda x: x.astype(np.float16), "float16"),
    ],
    "between": [
        (_first, "expected ('conv2', 'fc1')"),
        (lambda ratios: ("conv1", "conv2"), "expected None"),
    ],
}


ANSWERS = {  # to the predictions: the right guess, and the explanation
    "less_accurate": (
        ["A"],
        "A is at the level of chance. B would pass most test suites. C shows no error.",
    ),
    "outside_in_A": (
        ["flatten"],
        "The later layers are right, given their wrong input.",
    ),
    "outside_in_B": (
        ["conv1", "conv2"],
        "Not the dense layers: B's mistake is one of convolutions.",
    ),
    "bits": (
        11,
        "float32 has 24. So B keeps 10 bits behind the leading one, as TF32 and float16 do.",
    ),
    "wrong_gradients": (
        ["conv1", "conv2"],
        "The backward pass runs from the logits to `conv1`: every layer that it reaches later computes "
        "its gradients from a wrong cotangent. A window that is averaged also stays the sum of its parts, "
        "so a bias may be nearly right.",
    ),
}
