"""Mistakes of the loss outside its formula: a wrong average, or wrong labels."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lenet.diagnose.mistakes.base import Family, Kind, case
from lenet.diagnose.mistakes.wrong_backward import Loss
from lenet.diagnose.mistakes.wrong_forward import after, before
from parity.arithmetic import Array, Bounded

FAMILY = Family()
LOSS = ("loss",)
REDUCTION = case("PreferredAI/cornac", 537)
DIVIDED = case("bhanML/Co-teaching", 4)

# --- averaging ---------------------------------------------------------------------------------


def scaled(loss: Loss, value: float, d: float, u: float) -> Loss:
    """Loss and cotangent multiplied by a factor each, with the rounding of that product."""
    return Loss(_times(loss.value, value, u), _times(loss.d, d, u))


def _times(a: Bounded, factor: float, u: float) -> Bounded:
    value = factor * a.value
    error = abs(factor) * a.bound
    return Bounded(value, error if factor == 1 else (error + 2 * u * (np.abs(value) + error)) * (1 + 1e-12))


Factor = Callable[[int], float]
ONE: Factor = lambda n: 1.0  # noqa: E731 (a table of functions reads better than five named ones)
N: Factor = lambda n: float(n)  # noqa: E731
PER_N: Factor = lambda n: 1 / n  # noqa: E731
AVERAGES: tuple[tuple[str, str, str, Factor, Factor], ...] = (
    (
        "loss summed over the batch",
        "The losses of the batch are summed; they must be averaged.",
        REDUCTION,
        N,
        N,
    ),
    (
        "loss divided by the batch size twice",
        "The mean is divided by the batch size once more.",
        DIVIDED,
        PER_N,
        PER_N,
    ),
    (
        "gradients summed over the batch",
        "The loss is the mean over the batch, but the gradients are those of the sum: 1/N is missing.",
        REDUCTION,
        ONE,
        N,
    ),
    (
        "gradients divided by the batch size twice",
        "The gradients are divided by N twice, the loss once.",
        case("LBANN/lbann", 1022),
        ONE,
        PER_N,
    ),
    (
        "loss reported as a sum",
        "The returned loss is the sum over the batch; the gradients are those of the mean.",
        case("pytorch/pytorch", 10148),
        N,
        ONE,
    ),
    (
        "loss reported divided twice",
        "The returned loss is divided by N twice; the gradients are right.",
        DIVIDED,
        PER_N,
        ONE,
    ),
    (
        "loss averaged over the classes",
        "The mean is taken over N × 10 entries; it must be taken over N losses.",
        REDUCTION,
        lambda n: 0.1,
        lambda n: 0.1,
    ),
    (
        "loss in bits",
        "The logarithm has base 2.",
        REDUCTION,
        lambda n: 1 / np.log(2),
        lambda n: 1 / np.log(2),
    ),
    (
        "loss reported in bits",
        "The logarithm has base 2 in the loss only; the gradients are right.",
        REDUCTION,
        lambda n: 1 / np.log(2),
        ONE,
    ),
    ("loss in decimal logarithms", "The logarithm has base 10.", REDUCTION, lambda n: 1 / np.log(10), ONE),
    ("loss negated", "The loss has the wrong sign.", REDUCTION, lambda n: -1.0, lambda n: -1.0),
    ("gradients negated", "The gradients have the wrong sign.", REDUCTION, ONE, lambda n: -1.0),
    ("loss doubled", "Loss and gradients are twice too large.", REDUCTION, lambda n: 2.0, lambda n: 2.0),
    (
        "loss halved",
        "Loss and gradients are half of what they should be.",
        REDUCTION,
        lambda n: 0.5,
        lambda n: 0.5,
    ),
)
for _name, _text, _case, _value, _d in AVERAGES:
    FAMILY.add(
        LOSS,
        Kind(_name, _text, "Average over the batch once: reduction='mean', and dlogits / N.", _case),
        after(
            lambda loss, call, v=_value, d=_d: scaled(loss, v(len(call.labels)), d(len(call.labels)), call.u)
        ),
    )

# --- labels ------------------------------------------------------------------------------------

SHIFTED = case("pytorch/vision", 2630)
LABELS: tuple[tuple[str, str, Callable[[Array], Array]], ...] = (
    ("labels too large by one", "Every label is too large by one; 9 becomes 0.", lambda k: (k + 1) % 10),
    ("labels too small by one", "Every label is too small by one; 0 becomes 9.", lambda k: (k - 1) % 10),
    ("labels of the neighbour", "Every digit has the label of the digit before it.", lambda k: np.roll(k, 1)),
    (
        "labels of the next digit",
        "Every digit has the label of the digit after it.",
        lambda k: np.roll(k, -1),
    ),
    ("labels in reverse order", "The labels are in reverse order.", lambda k: k[::-1]),
    (
        "first label for the whole batch",
        "Every digit has the label of the first digit.",
        lambda k: np.full_like(k, k[0]),
    ),
)
for _name, _text, _change in LABELS:
    FAMILY.add(
        LOSS,
        Kind(_name, _text, "Use labels from 0 to 9, in the order of the images.", SHIFTED),
        before(lambda call, change=_change: replace(call, labels=change(call.labels))),
    )
