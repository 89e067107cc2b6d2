"""Pooling over whole maps: the maximum, the mean or the p-norm of each."""

from abc import abstractmethod
from dataclasses import dataclass
from math import prod
from typing import ClassVar

from parity.arithmetic import Number
from parity.operators.operator import Operator, Points, register, rows
from parity.operators.powers import powers, root


@dataclass(frozen=True)
class _Global(Operator):
    """The base class of pooling over whole maps."""

    def terms(self, x: Number) -> int:
        return prod(x.shape[2:])

    def evaluate(self, x: Number) -> Number:
        return self._reduced(x, tuple(range(2, x.ndim)))

    def sample(self, points: Points, x: Number) -> Number:
        image, channel, *_ = points
        maps = rows(x, tuple(range(2, x.ndim)), (image, channel))
        return self._reduced(maps, (1,)).reshape(-1)

    @abstractmethod
    def _reduced(self, x: Number, axes: tuple[int, ...]) -> Number:
        """x reduced over these axes, which stay with length 1."""


@register
@dataclass(frozen=True)
class GlobalMaxPool(_Global):
    """The largest value of each map."""

    TYPE: ClassVar[str] = "GlobalMaxPool"
    LOSES_NAN: ClassVar[bool] = True

    def _reduced(self, x: Number, axes: tuple[int, ...]) -> Number:
        return x.max(axes)


@register
@dataclass(frozen=True)
class GlobalAveragePool(_Global):
    """The mean of each map."""

    TYPE: ClassVar[str] = "GlobalAveragePool"

    def _reduced(self, x: Number, axes: tuple[int, ...]) -> Number:
        return x.mean(axes)


@register
@dataclass(frozen=True)
class GlobalLpPool(_Global):
    """The p-norm of each map."""

    TYPE: ClassVar[str] = "GlobalLpPool"

    p: int = 2

    def _reduced(self, x: Number, axes: tuple[int, ...]) -> Number:
        return root(powers(x, self.p).sum(axes), self.p)
