"""Sampling at computed places: GridSample, and AffineGrid, which computes the places.

Of 16-bit numbers, some implementations compute places in float32, others (PyTorch) in these 16 bits, and are
then off by parts of a pixel: two forms of the operator.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from parity.arithmetic import Array, Bounded, Number
from parity.arithmetic.floats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, U64, Format
from parity.errors import Unjudged
from parity.operators.interpolation import LINEAR, Places, cubic, gathered, own, taps
from parity.operators.operator import Operator, Points, plain_values, register

# Names of the modes before version 20 of the standard.
MODES = {"bilinear": "linear", "bicubic": "cubic"}
FAR = 0.5  # pixels: a place that may be further off may lie between any neighbours


@dataclass(frozen=True)
class _Placed(Operator):
    """An operator that computes places.

    Attributes:
        in_float32: whether it computes them in float32 where its values have 16 bits.
    """

    in_float32: bool = field(default=False, kw_only=True)

    def forms(self) -> tuple[Operator, ...]:
        return replace(self, in_float32=True), replace(self, in_float32=False)

    @property
    def form_name(self) -> str:
        return "places in float32" if self.in_float32 else "places in the format of the values"

    def format_for(self, x: Number) -> Format:
        """The format in which places are computed."""
        own = getattr(x, "format", FLOAT32)
        return own if own is FLOAT64 or (own in (FLOAT16, BFLOAT16) and not self.in_float32) else FLOAT32


@register
@dataclass(frozen=True)
class GridSample(_Placed):
    """x (N, C, ...), sampled at the places of a grid (N, out..., d): from -1 to 1, the last axis of x first.

    Outside x the values are zero, those of the border, or a mirror image. In mode cubic this applies to
    each neighbour, as in PyTorch and onnxruntime; ONNX's reference evaluator moves the place itself, which
    gives other results at a border.
    """

    TYPE: ClassVar[str] = "GridSample"
    LOSES_NAN: ClassVar[bool] = True

    align_corners: int = 0
    mode: str = "linear"
    padding_mode: str = "zeros"

    @classmethod
    def read(cls, attributes: Mapping[str, Any], opset: int) -> "GridSample":
        mode = attributes.get("mode", "linear")
        return super().read({**attributes, "mode": MODES.get(mode, mode)}, opset)

    def terms(self, x: Number, grid: Number) -> int:
        return int({"nearest": 2, "linear": 4, "cubic": 6}.get(self.mode, 1) ** (x.ndim - 2))

    def evaluate(self, x: Number, grid: Number) -> Number:
        shape = (x.shape[0], x.shape[1], *grid.shape[1:-1])
        # Places are sampled for all channels at once.
        image, *out = (axis.ravel() for axis in np.indices((shape[0], *shape[2:])))
        count = max(1, 2**22 // max(self.terms(x, grid) * x.shape[1], 1))
        parts = [
            self._at(image[k : k + count], tuple(axis[k : k + count] for axis in out), None, x, grid)
            for k in range(0, max(len(image), 1), count)
        ]
        y = parts[0].join(parts[1:], 0) if len(parts) > 1 else parts[0]  # (N·out, C)
        return y.move(lambda a: np.moveaxis(a.reshape(shape[0], *shape[2:], shape[1]), -1, 1))

    def sample(self, points: Points, x: Number, grid: Number) -> Number:
        image, channel, *out = points
        return self._at(image, tuple(out), channel[:, None], x, grid).reshape(-1)

    def _at(self, image: Array, out: Points, channel: Array | None, x: Number, grid: Number) -> Number:
        """(M, C): the output at these places, in these channels or in all of them."""
        if self.mode not in ("nearest", "linear", "cubic"):
            raise Unjudged(f"GridSample in mode {self.mode}")
        if self.padding_mode not in ("zeros", "border", "reflection"):
            raise Unjudged(f"GridSample with padding_mode {self.padding_mode}")
        d = x.ndim - 2
        channels = np.arange(x.shape[1])[None] if channel is None else channel
        places = [
            self._places(grid.move(lambda g, k=k: g[(image, *out, d - 1 - k)]), x.shape[2 + k])  # type: ignore[misc]
            for k in range(d)
        ]
        lead = (image.reshape(-1, *(1,) * (d + 1)), channels.reshape(*channels.shape, *(1,) * d))
        near = [replace(one, error=one.error.clip(max=FAR)) for one in places]
        y = self._nearest(x, lead, near) if self.mode == "nearest" else self._between(x, lead, near)
        far = np.any([one.error >= FAR for one in places], axis=0)
        return _anything(y, far) if isinstance(y, Bounded) and far.any() else y

    def _between(self, x: Number, lead: tuple[Array, Array], places: list[Places]) -> Number:
        """(M, C): the value between the neighbours, one axis after the other."""
        d = len(places)
        kernel = LINEAR if self.mode == "linear" else cubic(-0.75)
        along = [taps(x, one, kernel) for one in places]
        at_once = 2**d - 1 + d if self.mode == "linear" else 4 * d
        along[0] = taps(x, places[0], kernel, products=at_once)
        y = self._seen(x, lead, [one.index for one in along])
        for one in along:
            count, lanes, tap, *others = y.shape
            y = y.move(lambda a, s=(count, lanes, tap): np.moveaxis(a, 2, -1).reshape(s[0], -1, s[2]))  # type: ignore[misc]
            y = one.contract(y).reshape(count, lanes, *others)
        return y

    def _nearest(self, x: Number, lead: tuple[Array, Array], places: list[Places]) -> Number:
        """The nearest neighbour; or another one, if the uncertain place may be closer to it."""
        pairs = []
        for one in places:
            index = np.rint(one.value)
            low, high = np.rint(one.value - one.error), np.rint(one.value + one.error)
            pairs.append(np.stack([index, np.where(high > index, high, low)], 1).astype(np.int64))
        y = self._seen(x, lead, pairs)
        for _ in places:
            y = y.move(lambda a: a[:, :, 0]).either(y.move(lambda a: a[:, :, 1]))
        return y

    def _seen(self, x: Number, lead: tuple[Array, Array], index: list[Array]) -> Number:
        """(M, C, T...): x at these neighbours, (M, T) for each axis; padding where a neighbour is outside."""
        d = len(index)
        inside, where = np.ones((1,) * (d + 2), bool), []
        for k, one in enumerate(index):
            size = x.shape[2 + k]
            if self.padding_mode == "reflection":
                one = self._reflected(one.astype(np.float64), size)
            shape = (len(one), 1, *(-1 if k == i else 1 for i in range(d)))
            inside = inside & ((one >= 0) & (one < size)).reshape(shape)
            where.append(one.clip(0, size - 1).astype(np.int64).reshape(shape))
        y = gathered(x, (*lead, *where))
        return y.move(lambda a: np.where(inside, a, 0)) if self.padding_mode == "zeros" else y

    def _places(self, g: Number, size: int) -> Places:
        """(M,) places on an axis of this size, for coordinates from -1 to 1."""
        form = self.format_for(g)
        u, one = form.u, form.dtype.type
        at = own(g).astype(np.float64)
        half = (size - 1) / 2 if self.align_corners else size / 2
        middle = (size - 1) / 2
        exact = at * half + middle
        plain = (form.round(at) + one(1)) * one(half) - one(half - middle)
        # Either g·h + m or (g + 1)·h − (h − m), and then the distance to a neighbour: each operation rounds.
        # h and m do not: where they are too long for the format, the error is FAR without them. 4u stands for
        # products of these roundings.
        error = np.abs(at) * half + 2 * np.abs(at + 1) * half + 2 * np.abs(exact) + 1
        error = u * (1 + 4 * u) * error
        error = error + U64 * (np.abs(at) * half + 2 * np.abs(exact) + 1)  # `exact` is rounded too
        if isinstance(g, Bounded) and g.error is not None:
            error = error + g.error * half
        if not np.isfinite(exact).all():
            raise Unjudged("GridSample at places that are not finite")
        pads = self.mode == "linear" and self.padding_mode != "zeros"
        if pads and self.padding_mode == "reflection":
            error = error + 3 * u * (np.abs(exact) + size)
            exact, plain = self._reflected(exact, size), self._reflected(plain.astype(np.float64), size)
        if pads:
            beyond, exact = exact, exact.clip(0, size - 1)
            plain = plain.clip(0, size - 1)
            error = np.maximum(error - np.abs(beyond - exact), 0)
        return Places(exact, error, plain)

    def _reflected(self, place: Array, size: int) -> Array:
        """The place, mirrored at both ends until it lies inside."""
        low, high = (0.0, size - 1.0) if self.align_corners else (-0.5, size - 0.5)
        span = high - low
        if span == 0:
            return np.zeros_like(place)
        off = np.abs(place - low)
        turns = np.floor(off / span)
        rest = off - turns * span
        return np.where(turns % 2 == 0, low + rest, high - rest)


def _anything(y: Bounded, rows: Array) -> Bounded:
    """(M, C): the same with nothing known of these rows."""
    return Bounded(y.value, np.where(rows[:, None], np.inf, y.bound), y.format)


@register
@dataclass(frozen=True)
class AffineGrid(_Placed):
    """A grid for GridSample: theta (N, d, d + 1) times places (..., 1) of an output of size (N, C, ...)."""

    TYPE: ClassVar[str] = "AffineGrid"

    align_corners: int = 0

    def shared(self, theta: Number, size: Number) -> int:
        """Places along one axis are the same for all places along the others."""
        return max(plain_values(size, "size of AffineGrid").tolist()[2:])

    def evaluate(self, theta: Number, size: Number) -> Number:
        n, _, *out = plain_values(size, "size of AffineGrid").tolist()
        lines = [self._line(length, self.format_for(theta)) for length in reversed(out)]
        base, off, plain = (
            _rows([getattr(one, name) for one in lines], out) for name in ("value", "error", "plain")
        )
        grid = theta.dot(theta.like(_with(base, 1), _with(off, 0), _with(plain, 1)))
        return grid.move(lambda a: a.swapaxes(1, 2).reshape(n, *out, len(out)))

    def _line(self, length: int, form: Format) -> Places:
        """(length,): the coordinates along one axis, (2j + 1)/n − 1, or 2j/(n − 1) − 1."""
        step, one = np.arange(length, dtype=np.float64), form.dtype.type
        few = form.round(step)
        if not self.align_corners:
            line, plain = (2 * step + 1 - length) / length, (one(2) * few + one(1)) / one(length) - one(1)
        elif length > 1:
            line, plain = (2 * step + 1 - length) / (length - 1), few * (one(2) / one(length - 1)) - one(1)
        else:
            line, plain = step, few  # the middle
        terms = 3 + (length > 2**form.digits)  # then j is rounded, too
        error = (form.u * (1 + 4 * form.u) + U64) * (terms * np.abs(line + 1) + np.abs(line) + 2)
        return Places(line, error, plain)


def _rows(lines: list[Array], out: list[int]) -> Array:
    """(d, places): the coordinates of each place, from those along each axis. The last comes first."""
    shapes = [[-1 if k == axis else 1 for k in range(len(out))] for axis in range(len(out) - 1, -1, -1)]
    return np.stack(
        [np.broadcast_to(one.reshape(s), out).ravel() for one, s in zip(lines, shapes, strict=True)]
    )


def _with(rows: Array, last: int) -> Array:
    """The same rows and one more, of one number."""
    return np.concatenate([rows, np.full_like(rows[:1], last)])
