"""Mistakes in adding a bias, and in what a layer returns: a factor, another function behind it."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from parity.arithmetic import Array, Number
from parity.judging.causes.mistake import Changed, Mistake, Seen, given, made_in, with_input
from parity.operators.activation import Relu, Sigmoid
from parity.operators.affine import Conv, ConvTranspose, Gemm
from parity.operators.softmax import LogSoftmax, Softmax

ORDERS: tuple[tuple[str, str, str, Callable[[Array], Array]], ...] = (
    (
        "first bias for every output",
        "The first output's bias is added to every output.",
        "Add bias[o] to output o: shape (1, O, 1, 1) for maps.",
        lambda b: np.full_like(b, b[0]),
    ),
    (
        "bias shifted by one output",
        "Every output has its neighbour's bias.",
        "Keep the biases' order.",
        lambda b: np.roll(b, 1),
    ),
)


@made_in("Conv", "ConvTranspose", "Gemm")
def orders(operator: Conv | ConvTranspose | Gemm, seen: Seen) -> Iterator[Mistake]:
    b = given(seen.inputs, 2)
    if b is None or b.ndim != 1:
        return
    for name, explanation, remedy, change in ORDERS:
        yield Mistake(
            name,
            explanation,
            remedy,
            with_input(operator, 2, lambda one, change=change: one.move(change)),  # type: ignore[misc]
            "amoudgl/pygoturn#12",
        )


# --- what is returned --------------------------------------------------------------------------


def factor(operator: Any, name: str, value: float) -> Mistake:
    """The output times a number."""
    return Mistake(
        f"output {name}",
        f"The layer's output is {value:g} times what it should be.",
        "Look for a scale factor in the code; at test time, dropout must not change values.",
        Changed(operator, after=lambda y, inputs: y * value),
        "kbreininger/tutorial-dlframework#3",
    )


@made_in("Conv", "ConvTranspose", "Gemm")
def factors(operator: Any, seen: Seen) -> Iterator[Mistake]:
    yield factor(operator, "doubled", 2.0)
    yield factor(operator, "halved", 0.5)


TWICE = "tflearn/tflearn#562"
END = "End with the last dense layer; softmax belongs to the loss."


def _one_hot(y: Number) -> Number:
    """1 at the largest value of each row, 0 elsewhere; off by 1 where rounding may make it another one."""
    lead = y - y.max((1,))
    sure = ((lead.comparable == 0) | ~lead.doubtful).all(axis=1, keepdims=True)
    largest = np.eye(y.shape[1])[y.comparable.argmax(axis=1)]
    return y.like(largest, np.where(sure, 0.0, 1.0) + np.zeros(y.shape))


AFTERWARDS: tuple[tuple[str, str, str, Callable[[Number], Any], str], ...] = (
    (
        "ReLU on the result",
        "ReLU is applied to the result of the last layer, which may be negative, or the next ReLU overwrote "
        "it in place.",
        "End with the last dense layer: no activation. Copy a result before a ReLU in place.",
        Relu().evaluate,
        "intel/ipex-llm#2411",
    ),
    (
        "softmax in the model",
        "The model returns probabilities instead of logits; a loss on logits then applies softmax twice.",
        END,
        Softmax(axis=1).evaluate,
        TWICE,
    ),
    (
        "softmax over the batch in the model",
        "The model applies softmax, and over the items of the batch.",
        "End with the last dense layer; the loss applies softmax, over the classes (axis 1).",
        Softmax(axis=0).evaluate,
        TWICE,
    ),
    (
        "log-softmax in the model",
        "The model returns logarithms of probabilities instead of logits.",
        END,
        LogSoftmax(axis=1).evaluate,
        TWICE,
    ),
    (
        "sigmoid on the result",
        "A sigmoid is applied to the result of the last layer.",
        "End with the last dense layer: no activation.",
        Sigmoid().evaluate,
        TWICE,
    ),
    (
        "one-hot classes for logits",
        "The model returns the class of the largest logit as a row of zeros with a one.",
        "End with the last dense layer: no argmax, no one-hot.",
        _one_hot,
        TWICE,
    ),
)


@made_in("Gemm")
def ends(gemm: Gemm, seen: Seen) -> Iterator[Mistake]:
    for name, explanation, remedy, function, case in AFTERWARDS:
        yield Mistake(
            name,
            explanation,
            remedy,
            Changed(gemm, after=lambda y, inputs, function=function: function(y)),  # type: ignore[misc]
            case,
        )
