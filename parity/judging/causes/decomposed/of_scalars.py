"""Numbers that an operator applies, and that may be any: an ε, a slope, a temperature, a factor.

The common wrong ones are listed with each operator. Here each is a family of operators by the number, which
`parity.judging.causes.search.read_off` reads off the candidate's values.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Any

import numpy as np

from parity.arithmetic import Number
from parity.judging.causes.decomposed.of_operands import SMALL
from parity.judging.causes.layers.of_normalization import WITH_EPSILON
from parity.judging.causes.mistake import Changed, with_input
from parity.operators import Operator
from parity.operators.activation import LeakyRelu

EPSILON = "Another ε is added to the variance, or to the sum below a root."
OTHER = "Another number is used, which is read off from the candidate's values."


@dataclass(frozen=True)
class Scalar:
    """A number that an operator applies.

    Attributes:
        right: the number of the reference.
        operator: the operator that applies another number.
        named: what a mistake is called in which another number is applied.
        explanation: what was done instead.
        starts: where the search for the number begins.
        positive: whether it is above 0, and may be smaller or larger by powers of ten.
    """

    right: float
    operator: Callable[[float], Operator]
    named: Callable[[float], str]
    explanation: str = OTHER
    starts: tuple[float, ...] = (1.0,)
    positive: bool = True


ATTRIBUTES: dict[str, dict[str, tuple[float, ...]]] = {  # of an operator, and where the search begins
    "Elu": {"alpha": (1.0,)},
    "Celu": {"alpha": (1.0,)},
    "Swish": {"alpha": (1.0,)},
    "com.microsoft.QuickGelu": {"alpha": (1.0,)},
    "HardSigmoid": {"alpha": (0.2,), "beta": (0.5,)},
    "LRN": {"alpha": (1e-4, 1e-2), "beta": (0.75,), "bias": (1.0,)},
}


def scalars(operator: Any, inputs: Sequence[Number | None]) -> Iterator[Scalar]:
    """The numbers that an operator applies to these inputs."""
    kind = operator.TYPE
    if kind in (*WITH_EPSILON, "SimplifiedLayerNormalization"):
        yield _attribute(operator, "epsilon", (1e-5, 1e-3, 1e-7), EPSILON)
    for name, starts in ATTRIBUTES.get(kind, {}).items():
        yield _attribute(operator, name, starts, OTHER)
    if kind in ("LeakyRelu", "Relu"):
        right = float(getattr(operator, "alpha", 0.0))
        words = "leaky ReLU ({:g}) for ReLU" if kind == "Relu" else f"slope alpha {{:g}} for {right:g}"
        yield Scalar(right, lambda a: LeakyRelu(alpha=a), words.format, starts=(right,), positive=False)
    elif kind in ("Softmax", "LogSoftmax"):
        yield Scalar(
            1.0,
            lambda t: Changed(operator, lambda inputs: [_times(inputs[0], 1 / t)]),
            lambda t: _temperature(kind, t),
            "The scores are divided by another number (a temperature) before the softmax, or another number "
            "than e is raised to them.",
        )
    elif kind == "Softplus":
        yield Scalar(
            1.0,
            lambda b: Changed(operator, lambda inputs: [_times(inputs[0], b)], lambda y, _: _times(y, 1 / b)),
            "softplus with beta {:g}".format,
            "log(1 + exp(beta x)) / beta.",
        )
    elif kind in ("Add", "Mul", "Div"):
        yield from _constants(operator, inputs)


def _attribute(operator: Any, name: str, starts: tuple[float, ...], explanation: str) -> Scalar:
    right = float(getattr(operator, name))
    return Scalar(
        right,
        lambda number: replace(operator, **{name: number}),
        lambda number: f"{name} {number:g} for {right:g}",
        explanation,
        starts,
    )


def _constants(operator: Operator, inputs: Sequence[Number | None]) -> Iterator[Scalar]:
    """A constant that is multiplied by, divided by, or, as an ε, added."""
    for place in (1,) if operator.TYPE == "Div" else (0, 1):
        x = inputs[place]
        if x is None or x.size != 1 or x.comparable.dtype.kind != "f" or getattr(x, "error", 0) is not None:
            continue
        right = float(x.comparable.reshape(-1)[0])
        if not np.isfinite(right) or right <= 0 or (operator.TYPE == "Add" and right >= SMALL):
            continue
        role = {"Add": "epsilon", "Mul": "factor", "Div": "divisor"}[operator.TYPE]
        yield Scalar(
            right,
            lambda c, place=place: with_input(  # type: ignore[misc]
                operator, place, lambda one: one.like(np.full(one.shape, c))
            ),
            lambda c, role=role, right=right: f"{role} {c:g} for {right:.6g}",  # type: ignore[misc]
            EPSILON if role == "epsilon" else OTHER,
            (right,),
        )


def _times(x: Number | None, factor: float) -> Number:
    assert x is not None
    return x * factor


def _temperature(kind: str, t: float) -> str:
    for known in (2.0, 10.0):
        if abs(t * log(known) - 1) < 1e-5:
            return f"{kind} to the base {known:g}, not e"
    return f"temperature {t:g}: {kind} of its input times {1 / t:.6g}"
