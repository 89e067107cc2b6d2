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
