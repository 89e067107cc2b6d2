"""Normalization to mean 0 and variance 1, or to length 1, over a batch, a map, a row or some channels."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from parity.arithmetic import Array, Number
from parity.errors import Unjudged
from parity.operators.functions import NORM, inverse_norm, inverse_root, reciprocal
from parity.operators.moments import (
    WAYS,
    Formed,
    Moments,
    Rowwise,
    Standardization,
    either,
    standardized,
    stated,
    variance,
)
from parity.operators.operator import Operator, Points, at, register
from parity.operators.powers import power_by_logarithm, powers

LEAST = 1e-9  # what MeanVarianceNormalization adds to a standard deviation


def _by_channel(parameter: Number, ndim: int) -> Number:
    """(C,) reshaped to lie on axis 1 of `ndim` axes."""
    return parameter.reshape(-1, *(1,) * (ndim - 2))


@register
@dataclass(frozen=True)
class InstanceNormalization(Standardization):
    """Normalization over each map of each image, with one scale and one bias for each channel."""

    TYPE: ClassVar[str] = "InstanceNormalization"

    def row_axes(self, x: Number) -> tuple[int, ...]:
        return tuple(range(2, x.ndim))

    def spread(self, x: Number, parameter: Number) -> Number:
        return _by_channel(parameter, x.ndim)


@register
@dataclass(frozen=True)
class GroupNormalization(Standardization):
    """Normalization over all maps of a group of channels.

    There is one scale and one bias for each channel; before opset 21, for each group.
    """

    TYPE: ClassVar[str] = "GroupNormalization"

    num_groups: int = 1
    stash_type: int = 1  # the format of the moments, which is never shorter than the input's

    def view(self, x: Number) -> tuple[int, ...]:
        return (x.shape[0], self.num_groups, x.shape[1] // self.num_groups, *x.shape[2:])

    def row_axes(self, x: Number) -> tuple[int, ...]:
        return tuple(range(2, x.ndim + 1))

    def spread(self, x: Number, parameter: Number) -> Number:
        return parameter.reshape(self.num_groups, -1, *(1,) * (x.ndim - 2))


@register
@dataclass(frozen=True)
class LayerNormalization(Standardization):
    """Normalization over all axes from `axis` on. Also returns the mean and 1 / sqrt(variance + ε)."""

    TYPE: ClassVar[str] = "LayerNormalization"

    axis: int = -1
    stash_type: int = 1

    def row_axes(self, x: Number) -> tuple[int, ...]:
        return tuple(range(normalize_axis_index(self.axis, x.ndim), x.ndim))

    def evaluate(self, *inputs: Any) -> tuple[Number, ...]:
        return self.outputs(*inputs)


@register
@dataclass(frozen=True)
class RMSNormalization(Rowwise):
    """x / sqrt(mean of squares + ε) · scale, over all axes from `axis` on."""

    TYPE: ClassVar[str] = "RMSNormalization"

    axis: int = -1
    epsilon: float = 1e-5
    stash_type: int = 1

    def row_axes(self, x: Number) -> tuple[int, ...]:
        return tuple(range(normalize_axis_index(self.axis, x.ndim), x.ndim))

    def moments(self, x: Number, axes: tuple[int, ...]) -> Moments:
        return (((x * x).mean(axes) + stated(x, self.epsilon)).apply(inverse_root(self.epsilon)),)

    def result(self, x: Number, moments: Moments, scale: Number | None, bias: Number | None) -> Number:
        y = x * moments[0]
        return y if scale is None else y * scale


@register
@dataclass(frozen=True)
class LpNormalization(Rowwise):
    """x divided by its p-norm along one axis; 0 where the norm is 0."""

    TYPE: ClassVar[str] = "LpNormalization"

    axis: int = -1
    p: int = 2

    def row_axes(self, x: Number) -> tuple[int, ...]:
        return (normalize_axis_index(self.axis, x.ndim),)

    def moments(self, x: Number, axes: tuple[int, ...]) -> Moments:
        return (powers(x, self.p).sum(axes).apply(inverse_norm(self.p)),)

    def result(self, x: Number, moments: Moments, scale: Number | None, bias: Number | None) -> Number:
        return x * moments[0]


@register
@dataclass(frozen=True)
class MeanVarianceNormalization(Formed):
    """(x − mean) / (standard deviation + 10^-9), by default over batch and maps."""

    TYPE: ClassVar[str] = "MeanVarianceNormalization"

    axes: tuple[int, ...] = (0, 2, 3)

    def row_axes(self, x: Number) -> tuple[int, ...]:
        return tuple(sorted(normalize_axis_index(axis, x.ndim) for axis in self.axes))

    def moments(self, x: Number, axes: tuple[int, ...]) -> Moments:
        mean = x.mean(axes)
        if self.form.one_pass is None:
            return mean, either(self._inverse(x, mean, axes, False), self._inverse(x, mean, axes, True))
        return mean, self._inverse(x, mean, axes, self.form.one_pass)

    def _inverse(self, x: Number, mean: Number, axes: tuple[int, ...], one_pass: bool) -> Number:
        deviation = variance(x, mean, axes, one_pass).apply(NORM)
        least = np.full((1,) * x.ndim, LEAST)
        added = x.like(least, least)  # its error equals its value, because onnxruntime leaves it out
        return (deviation + added).apply(reciprocal(0.0 if one_pass else LEAST))


@register
@dataclass(frozen=True)
class BatchNormalization(Standardization):
    """Normalization of each channel over batch and maps. Mean and variance are inputs, except in training.

    With `training_mode`, the running mean and variance are returned too: momentum · old + (1 − momentum) ·
    new. The new variance is a sum that is divided by the number of values n, not by n − 1.
    """

    TYPE: ClassVar[str] = "BatchNormalization"

    momentum: float = 0.9
    spatial: int = 1  # until opset 8; 0 means a mean, variance, scale and bias for each value of an image
    training_mode: int = 0

    def with_outputs(self, count: int) -> Operator:
        if count > 1 and not self.training_mode:
            raise Unjudged("BatchNormalization that trains, before opset 14")
        return self

    def forms(self) -> tuple[Operator, ...]:
        return super().forms() if self.training_mode else tuple(replace(self, form=way) for way in WAYS[:2])

    @property
    def form_name(self) -> str:
        return str(self.form) if self.training_mode else f"the result is {self.form.result}"

    def row_axes(self, x: Number) -> tuple[int, ...]:
        return (0, *range(2, x.ndim))

    def spread(self, x: Number, parameter: Number) -> Number:
        return _by_channel(parameter, x.ndim) if self.spatial else parameter

    def evaluate(self, *inputs: Any) -> Number | tuple[Number, ...]:
        x, *parameters = inputs
        if not self.training_mode:
            return self._inference(x, *(self.spread(x, one) for one in parameters))
        if not self.spatial:
            raise Unjudged("BatchNormalization that trains without `spatial`")
        scale, bias, old_mean, old_variance = parameters
        y, mean, _ = self.outputs(x, scale, bias)
        new = variance(x, mean, self.row_axes(x), self.form.one_pass)
        kept = stated(old_mean, self.momentum)
        running = (
            old * kept + one.reshape(-1) * (1 - kept) for old, one in ((old_mean, mean), (old_variance, new))
        )
        return y, *running

    def sample(self, points: Points, *inputs: Any) -> Number:
        x, *parameters = inputs
        if self.training_mode:
            return super().sample(points, *inputs[:3])
        given = (at(self.spread(x, one), x.shape, points) for one in parameters)
        return self._inference(x.move(lambda a: a[points]), *given)

    def _inference(self, x: Number, scale: Number, bias: Number, mean: Number, spread: Number) -> Number:
        inverse = (spread + stated(spread, self.epsilon)).apply(inverse_root())
        return standardized(x, mean, inverse * scale, bias, self.form.shifted)


@register
@dataclass(frozen=True)
class LRN(Operator):
    """x / (bias + alpha/size · Σx²)^beta, the sum over `size` neighbouring channels.

    The kernels of Caffe and onnxruntime keep a running sum: each step adds one channel and subtracts
    another, so the error grows with the number of channels. TensorFlow's kernel computes the power with exp
    and log, whose error grows with the sum; all other kernels stay within that bound.

    Attributes:
        form: "window" if each window is summed by itself, "running" for a running sum, "" for either.
    """

    TYPE: ClassVar[str] = "LRN"
    OWN: ClassVar[tuple[str, ...]] = ("form",)

    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 1.0
    size: int = 1
    form: str = ""

    def forms(self) -> tuple[Operator, ...]:
        return replace(self, form="window"), replace(self, form="running")

    @property
    def form_name(self) -> str:
        return f"{self.form} sums over the channels"

    def terms(self, x: Number) -> int:
        return min(self.size, x.shape[1])

    def gathered(self, x: Number) -> int:
        return x.shape[1]

    def shared(self, x: Number) -> int:
        return self.terms(x) if self.form == "window" else x.shape[1]

    def evaluate(self, x: Number) -> Number:
        return x / power_by_logarithm(self._bases(x), stated(x, self.beta))

    def sample(self, points: Points, x: Number) -> Number:
        image, channel, *place = points
        columns = x.move(lambda a: np.moveaxis(a, 1, -1)[image, *place])  # (M, C)
        bases = self._bases(columns).move(lambda a: a[np.arange(len(channel)), channel])
        return x.move(lambda a: a[points]) / power_by_logarithm(bases, stated(bases, self.beta))

    def _bases(self, x: Number) -> Number:
        """bias + alpha/size · Σx², for each channel along axis 1."""
        before = (self.size - 1) // 2
        widths = ((0, 0), (before, self.size - 1 - before), *((0, 0),) * (x.ndim - 2))
        squares = (x * x).move(lambda a: np.pad(a, widths))
        if self.form == "window":
            return self._windows(x, squares)
        if self.form == "running":
            return self._running(x, squares)
        return either(self._windows(x, squares), self._running(x, squares))

    def _windows(self, x: Number, squares: Number) -> Number:
        starts, channels = range(self.size), x.shape[1]
        taps = squares.move(lambda a: np.stack([a[:, k : k + channels] for k in starts]))
        scaled = (taps.sum((0,)) * stated(x, self.alpha)).divided(self.size)
        return scaled.reshape(*x.shape) + stated(x, self.bias)

    def _running(self, x: Number, squares: Number) -> Number:
        scaled = (squares * stated(x, self.alpha)).divided(self.size)
        total = scaled.move(partial(_channels, start=0, stop=self.size)).sum((1,)) + stated(x, self.bias)
        totals = [total]
        for c in range(1, x.shape[1]):
            last = c + self.size - 1
            total = total + scaled.move(partial(_channels, start=last, stop=last + 1))
            total = total - scaled.move(partial(_channels, start=c - 1, stop=c))
            totals.append(total)
        return totals[0].join(totals[1:], 1)


def _channels(a: Array, start: int, stop: int) -> Array:
    return a[:, start:stop]
