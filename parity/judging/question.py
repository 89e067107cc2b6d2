"""What one recorded tensor should be: the operator that computes it, and its inputs in two arithmetics."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from parity.arithmetic import Array, Bounded, Looped, Number
from parity.arithmetic.floats import Format
from parity.arithmetic.plain_loop import ORDERS
from parity.errors import Unjudged
from parity.operators import Operator
from parity.operators.operator import Points

GATHERED = 2**22  # input values that a sample lays out at once


@dataclass(frozen=True)
class Question:
    """What one output of a node should be.

    Attributes:
        operator: of the node.
        output: which of its outputs.
        bounded: its inputs, with the candidate's possible distance from them.
        looped: the same inputs, as plain loops make them.
    """

    operator: Operator
    output: int
    bounded: Sequence[Bounded | None]
    looped: Sequence[Looped | None]

    def whole(self) -> Bounded:
        """Every value."""
        return _as_bounded(_output(self.operator, self.output, self.bounded))

    def at(self, points: Points) -> Bounded:
        """The values at these points alone."""
        return _as_bounded(self._sampled(points, self.bounded))

    def loops(self, points: Points) -> list[Array]:
        """What plain loops return there: from the first term to the last, backwards, and in no order."""
        found = []
        for order in ORDERS:
            inputs = [None if x is None else replace(x, order=order) for x in self.looped]
            one = self._sampled(points, inputs)
            assert isinstance(one, Looped)
            found.append(one.value.astype(np.float64).ravel())
        return found

    def _sampled(self, points: Points, inputs: Sequence[Number | None]) -> Number:
        if self.output == 0:
            return sampled(self.operator, points, inputs)
        return _output(self.operator, self.output, inputs).move(lambda a: a[points])

    def without_errors(self) -> Iterator["Question"]:
        """The question of each of two candidates: with exact inputs, and with those that plain loops make."""
        for inputs in (self.bounded, self.looped):
            yield replace(self, bounded=[_exact(x) for x in inputs])

    def inverted(self, found: Array, form: Format) -> "Question | None":
        """The question to which `found` must be the answer if it is one at all; None if any output is one."""
        inputs = self.operator.inputs_of(found, form) if self.output == 0 else None
        if inputs is None:
            return None
        return replace(self, bounded=[Bounded(x, None, form) for x in inputs])

    @property
    def carries_errors(self) -> bool:
        """Whether a candidate's own inputs may be others than those that are known."""
        return any(x is not None and x.error is not None for x in self.bounded)

    def tells_nan(self) -> bool:
        """Whether every implementation returns NaN where the formula does."""
        return self.operator.tells_nan(*self.bounded)

    def offset(self, points: Points) -> Array | float:
        """That part of the values there which does not grow with the weights: a bias."""
        part = self.operator.offset(points, *self.bounded) if self.output == 0 and points else None
        return 0.0 if part is None else _as_bounded(part).value.astype(np.float64)


def sampled(operator: Operator, points: Points, inputs: Sequence[Number | None]) -> Number:
    """The operator's first output at these points, so many at a time that what they gather stays small."""
    if not points:
        return _output(operator, 0, inputs).reshape(1)
    count = max(1, GATHERED // max(operator.gathered(*inputs), 1))
    parts = [
        operator.sample(tuple(axis[start : start + count] for axis in points), *inputs)
        for start in range(0, len(points[0]), count)
    ]
    return parts[0].join(parts[1:], 0) if len(parts) > 1 else parts[0]


def _output(operator: Operator, output: int, inputs: Sequence[Number | None]) -> Number:
    result = operator.evaluate(*inputs)
    outputs = result if isinstance(result, tuple) else (result,)
    if output >= len(outputs):
        raise Unjudged(f"output {output} of {operator.TYPE}")
    return outputs[output]


def _exact(x: Bounded | Looped | None) -> Bounded | None:
    return None if x is None else Bounded(x.value, None, x.format)


def _as_bounded(x: Number) -> Bounded:
    assert isinstance(x, Bounded)
    return x


def all_points(shape: tuple[int, ...]) -> Points:
    """All points of a tensor; a scalar has one, without any index."""
    return tuple(np.unravel_index(np.arange(prod(shape)), shape)) if shape else ()
