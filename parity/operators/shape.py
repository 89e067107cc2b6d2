"""Changes of shape and order: no value is computed, and most results are views that copy nothing."""

from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from parity.arithmetic import Number
from parity.errors import Unjudged
from parity.operators.cast import exactly
from parity.operators.operator import Inputs, Operator, Points, plain_values, register


def axes_of(given: Number | None, attribute: tuple[int, ...] | None, what: str) -> tuple[int, ...] | None:
    """The axes: an input in later versions of the standard, or an attribute; None if none are named."""
    if given is None:
        return attribute
    return tuple(int(axis) for axis in plain_values(given, what).reshape(-1))


@register
@dataclass(frozen=True)
class Reshape(Operator):
    """The same values in a shape given as input; 0 keeps a length, -1 stands for what is left."""

    TYPE: ClassVar[str] = "Reshape"

    allowzero: int = 0

    def evaluate(self, x: Number, shape: Number) -> Number:
        wanted = [int(n) for n in plain_values(shape, "a shape")]
        if not self.allowzero:
            wanted = [n or x.shape[k] for k, n in enumerate(wanted)]
        if -1 in wanted:
            left = prod(n for n in wanted if n != -1)
            wanted[wanted.index(-1)] = x.size // left if left else 0
        return x.reshape(*wanted)

    def gradient(self, which: int, inputs: Inputs, output: Number, cotangent: Number) -> Number:
        return _same_values(inputs, cotangent)


def _same_values(inputs: Inputs, cotangent: Number) -> Number:
    """The cotangent in the shape of the first input."""
    assert inputs[0] is not None
    return cotangent.reshape(*inputs[0].shape)


@register
@dataclass(frozen=True)
class Flatten(Operator):
    """All axes before `axis` merged into one axis, and all from `axis` on into another."""

    TYPE: ClassVar[str] = "Flatten"

    axis: int = 1

    def evaluate(self, x: Number) -> Number:
        if abs(self.axis) > x.ndim:
            raise Unjudged(f"Flatten at axis {self.axis} of a tensor with {x.ndim} axes")
        return x.reshape(prod(x.shape[: self.axis]), prod(x.shape[self.axis :]))

    def gradient(self, which: int, inputs: Inputs, output: Number, cotangent: Number) -> Number:
        return _same_values(inputs, cotangent)


@register
@dataclass(frozen=True)
class Transpose(Operator):
    """x with its axes in another order; by default in reverse order."""

    TYPE: ClassVar[str] = "Transpose"

    perm: tuple[int, ...] | None = None

    def evaluate(self, x: Number) -> Number:
        return x.transpose(*(range(x.ndim)[::-1] if self.perm is None else self.perm))

    def gradient(self, which: int, inputs: Inputs, output: Number, cotangent: Number) -> Number:
        order = tuple(range(output.ndim)[::-1]) if self.perm is None else self.perm
        return cotangent.transpose(*(int(axis) for axis in np.argsort(order)))


@register
@dataclass(frozen=True)
class Squeeze(Operator):
    """x without these axes of length 1; by default without any axis of length 1."""

    TYPE: ClassVar[str] = "Squeeze"

    axes: tuple[int, ...] | None = None

    def evaluate(self, x: Number, axes: Number | None = None) -> Number:
        dropped = axes_of(axes, self.axes, "axes")
        return x.move(lambda a: a.squeeze(dropped))

    def gradient(self, which: int, inputs: Inputs, output: Number, cotangent: Number) -> Number:
        return _same_values(inputs, cotangent)


@register
@dataclass(frozen=True)
class Unsqueeze(Operator):
    """x with new axes of length 1 at these positions of the result."""

    TYPE: ClassVar[str] = "Unsqueeze"

    axes: tuple[int, ...] | None = None

    def evaluate(self, x: Number, axes: Number | None = None) -> Number:
        added = axes_of(axes, self.axes, "axes") or ()
        return x.move(lambda a: np.expand_dims(a, added))

    def gradient(self, which: int, inputs: Inputs, output: Number, cotangent: Number) -> Number:
        return _same_values(inputs, cotangent)


@register
@dataclass(frozen=True)
class Expand(Operator):
    """x repeated along axes of length 1, as in broadcasting."""

    TYPE: ClassVar[str] = "Expand"

    def evaluate(self, x: Number, shape: Number) -> Number:
        wanted = tuple(int(n) for n in plain_values(shape, "a shape"))
        whole = np.broadcast_shapes(x.shape, wanted)
        return x.move(lambda a: np.broadcast_to(a, whole))


@register
@dataclass(frozen=True)
class Slice(Operator):
    """Every step-th value from start to end, on some axes; given as attributes before opset 10."""

    TYPE: ClassVar[str] = "Slice"

    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()
    axes: tuple[int, ...] | None = None

    def evaluate(self, x: Number, *bounds: Number | None) -> Number:
        given = (*bounds, *(None,) * (4 - len(bounds)))
        own = (self.starts, self.ends, self.axes, None)
        names = ("a start", "an end", "axes", "a step")
        starts, ends, axes, steps = (axes_of(*one) for one in zip(given, own, names, strict=True))
        cut = [slice(None)] * x.ndim
        for k, (start, end) in enumerate(zip(starts or (), ends or (), strict=True)):
            axis = axes[k] if axes else k
            cut[axis] = _cut(start, end, steps[k] if steps else 1, x.shape[axis])
        return x.move(lambda a: a[tuple(cut)])


def _cut(start: int, end: int, step: int, size: int) -> slice:
    """The slice, with its bounds clipped to the array; a negative bound counts from the end."""
    start, end = (n + size if n < 0 else n for n in (start, end))
    if step > 0:
        return slice(min(max(start, 0), size), min(max(end, 0), size), step)
    start, end = min(max(start, 0), size - 1), min(max(end, -1), size - 1)
    return slice(start, None if end == -1 else end, step)


def _at(x: Number, index: tuple[Any, ...]) -> Number:
    return x.move(lambda a: a[index])


@register
@dataclass(frozen=True)
class Concat(Operator):
    """Inputs side by side along an axis."""

    TYPE: ClassVar[str] = "Concat"

    axis: int = 1

    def evaluate(self, *parts: Number) -> Number:
        return parts[0].join(parts[1:], self.axis)

    def sample(self, points: Points, *parts: Number) -> Number:
        axis = normalize_axis_index(self.axis, parts[0].ndim)
        starts = np.cumsum([0, *(part.shape[axis] for part in parts)])
        owner = np.searchsorted(starts, points[axis], side="right") - 1
        order = np.argsort(owner, kind="stable")
        seen: list[Number] = []
        for k, part in enumerate(parts):
            mine = tuple(index[order][owner[order] == k] for index in points)
            inside = (*mine[:axis], mine[axis] - starts[k], *mine[axis + 1 :])
            seen.append(_at(part, inside))
        back = np.argsort(order, kind="stable")
        return seen[0].join(seen[1:], 0).move(lambda a: a[back])


@register
@dataclass(frozen=True)
class Split(Operator):
    """Pieces along an axis: of given lengths, or one for each output, of which the last may be shorter."""

    TYPE: ClassVar[str] = "Split"

    axis: int = 0
    num_outputs: int = 0
    split: tuple[int, ...] | None = None

    def with_outputs(self, count: int) -> "Split":
        """Before opset 18, only the number of outputs says how many pieces there are."""
        return self if self.num_outputs or self.split else replace(self, num_outputs=count)

    def evaluate(self, x: Number, split: Number | None = None) -> tuple[Number, ...]:
        lengths = axes_of(split, self.split, "the lengths of a split")
        size = x.shape[self.axis]
        if not lengths:
            lengths = (-(-size // self.num_outputs),) * self.num_outputs
        ends = np.cumsum(lengths)
        before = (slice(None),) * (self.axis % x.ndim)
        return tuple(_at(x, (*before, slice(end - n, end))) for n, end in zip(lengths, ends, strict=True))


@register
@dataclass(frozen=True)
class Tile(Operator):
    """x repeated a given number of times along each axis."""

    TYPE: ClassVar[str] = "Tile"

    def evaluate(self, x: Number, repeats: Number) -> Number:
        times = plain_values(repeats, "the repeats of a Tile")
        return x.move(lambda a: np.tile(a, times))

    def sample(self, points: Points, x: Number, repeats: Number) -> Number:
        inside = tuple(index % size for index, size in zip(points, x.shape, strict=True))
        return x.move(lambda a: a[inside])


@register
@dataclass(frozen=True)
class DepthToSpace(Operator):
    """Channels of (N, C, H, W) as blocks of pixels: (N, C/b², H·b, W·b)."""

    TYPE: ClassVar[str] = "DepthToSpace"

    blocksize: int = 1
    mode: str = "DCR"

    def evaluate(self, x: Number) -> Number:
        n, c, h, w = x.shape
        b = self.blocksize
        if self.mode == "DCR":
            blocks = x.reshape(n, b, b, c // b**2, h, w).transpose(0, 3, 4, 1, 5, 2)
        else:
            blocks = x.reshape(n, c // b**2, b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
        return blocks.reshape(n, c // b**2, h * b, w * b)


@register
@dataclass(frozen=True)
class SpaceToDepth(Operator):
    """Blocks of pixels of (N, C, H, W) as channels: (N, C·b², H/b, W/b)."""

    TYPE: ClassVar[str] = "SpaceToDepth"

    blocksize: int = 1
    mode: str = "DCR"

    def evaluate(self, x: Number) -> Number:
        n, c, h, w = x.shape
        b = self.blocksize
        blocks = x.reshape(n, c, h // b, b, w // b, b)
        order = (0, 3, 5, 1, 2, 4) if self.mode == "DCR" else (0, 1, 3, 5, 2, 4)
        return blocks.transpose(*order).reshape(n, c * b**2, h // b, w // b)


@register
@dataclass(frozen=True)
class Shape(Operator):
    """The lengths of the axes from `start` to `end`."""

    TYPE: ClassVar[str] = "Shape"

    start: int = 0
    end: int | None = None

    def evaluate(self, x: Number) -> Number:
        return exactly(np.array(x.shape[self.start : self.end], np.int64), x)


@register
@dataclass(frozen=True)
class Size(Operator):
    """The number of values."""

    TYPE: ClassVar[str] = "Size"

    def evaluate(self, x: Number) -> Number:
        return exactly(np.array(x.size, np.int64), x)
