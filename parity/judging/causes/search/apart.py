"""Which inputs would tell two mistakes apart that explain the same values."""

from dataclasses import replace

import numpy as np

from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import format_of
from parity.errors import Unjudged
from parity.graph import Graph
from parity.judging.beyond_the_bound import distance
from parity.judging.causes.mistake import MISFITS
from parity.judging.causes.search.candidates import Clock
from parity.judging.causes.search.stretch import Stretch
from parity.judging.question import Question
from parity.operators import Operator

SAME = "no random values"
# What is drawn, as a factor of normal values. Tiny ones show formats, small ones an ε, large ones a slope.
SCALES = {"normal values": 1.0, "normal values times 100": 100.0, "normal values times 1e-6": 1e-6}


def told_apart(question: Question, one: Operator, other: Operator, graph: Graph, clock: Clock) -> str:
    """Which random inputs of the same shapes give two operators different results, in words.

    SAME if none of those drawn do; "" if there is no time to see, or nothing to draw.
    """
    stretch = question.operator
    assert isinstance(stretch, Stretch)
    own = [
        place
        for place, name in enumerate(stretch.names)
        if name not in graph.constants and _is_float(question.bounded[place])
    ]
    names = " and ".join(stretch.names[place] for place in own[:3]) or "its inputs"
    for words, scale in SCALES.items():
        if clock.is_out():
            return ""
        if own and _differ(_drawn(question, own, scale), one, other):
            return f"random {words} of {names}"
    return SAME if own else ""


def _is_float(x: Bounded | None) -> bool:
    return x is not None and format_of(x.value) is not None


def _drawn(question: Question, places: list[int], scale: float) -> Question:
    rng = np.random.default_rng(0)
    inputs = list(question.bounded)
    for place in places:
        x = inputs[place]
        assert x is not None
        inputs[place] = replace(x, value=(scale * rng.standard_normal(x.shape)).astype(x.value.dtype))
    return replace(question, bounded=inputs)


def _differ(question: Question, one: Operator, other: Operator) -> bool:
    """Whether two results differ by more than the rounding of both."""
    try:
        a, b = (replace(question, operator=operator).whole() for operator in (one, other))
    except (Unjudged, *MISFITS):
        return False
    if a.shape != b.shape:
        return True
    return bool((_off(a, b) > a.bound + b.bound).any())


def _off(a: Bounded, b: Bounded) -> Array:
    left, right = (x.value.astype(np.float64) for x in (a, b))
    return distance(left, right, a.bound, a.format)
