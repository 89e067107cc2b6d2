"""Activations and gates, as several nodes."""

import numpy as np

from parity.operators.functions import erf
from tests.parity.judging.causes.case import Array, Case, N, drawing

drawn = drawing(0)


def tanh_form(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def erf_form(x: Array) -> Array:
    return 0.5 * x * (1 + erf(x.astype(np.float64) / np.sqrt(2)))


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


GELU = Case(
    [
        N("Div", ["x", "root"], ["a"]),
        N("Erf", ["a"], ["e"]),
        N("Add", ["e", "one"], ["p"]),
        N("Mul", ["x", "half"], ["h"]),
        N("Mul", ["h", "p"], ["y"]),
    ],
    {"root": 2**0.5, "one": 1.0, "half": 0.5},
    drawn(4, 32, scale=2),
    erf_form,
    {
        "Gelu by the tanh approximation": tanh_form,
        "quick GELU, x·sigmoid(1.702x) for Gelu": lambda x: x * sigmoid(1.702 * x),
        "ReLU for Gelu": lambda x: np.maximum(x, 0),
        "factor 0.5 left out": lambda x: 2 * erf_form(x),
        "divisor 1.41421 left out": lambda x: 0.5 * x * (1 + erf(x.astype(np.float64))),
    },
)
GELU_BY_TANH = Case(
    [
        N("Pow", ["x", "three"], ["c"]),
        N("Mul", ["c", "cube"], ["cc"]),
        N("Add", ["x", "cc"], ["i"]),
        N("Mul", ["i", "slope"], ["z"]),
        N("Tanh", ["z"], ["t"]),
        N("Add", ["one", "t"], ["p"]),
        N("Mul", ["x", "p"], ["xp"]),
        N("Mul", ["half", "xp"], ["y"]),
    ],
    {"three": 3.0, "cube": 0.044715, "slope": (2 / np.pi) ** 0.5, "one": 1.0, "half": 0.5},
    drawn(4, 32, scale=2),
    tanh_form,
    {"Gelu by the error function, not by tanh": erf_form},
)
SILU = Case(
    [N("Sigmoid", ["x"], ["s"]), N("Mul", ["x", "s"], ["y"])],
    {},
    drawn(4, 32, scale=2),
    lambda x: x * sigmoid(x),
    {
        "hard swish for Swish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
        "no activation for Swish": lambda x: x,
    },
)
# --- gates and tables ----------------------------------------------------------------------------

TABLE = drawn(1, 3, 1, 1)


def gate(x: Array) -> Array:
    return 1 / (1 + np.exp(-x.mean((2, 3), keepdims=True)))


GATED = Case(
    [
        N("ReduceMean", ["x", "last"], ["m"]),
        N("Sigmoid", ["m"], ["g"]),
        N("Mul", ["x", "g"], ["p"]),
        N("Add", ["p", "table"], ["y"]),
    ],
    {"last": np.array([2, 3]), "table": TABLE},
    drawn(2, 3, 4, 4),
    lambda x: x * gate(x) + TABLE,
    {
        "Add for Mul": lambda x: x + gate(x) + TABLE,
        "Mul for Add": lambda x: x * gate(x) * TABLE,
        "1 + g for the factor g": lambda x: x * (1 + gate(x)) + TABLE,
        "table in reverse order along axis 1": lambda x: x * gate(x) + TABLE[:, ::-1],
    },
)
