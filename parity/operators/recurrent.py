"""Layers that step through a sequence: LSTM, GRU, RNN.

If a candidate recorded Y, each step is judged from the recorded value of the step before, so that its
bound does not grow with the length of the sequence. If it recorded only the last state, the bound grows
from step to step, faster than errors do; if it becomes larger than the values, only the plain loop
decides.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from parity.arithmetic import Array, Number
from parity.errors import Unjudged
from parity.operators import functions as known
from parity.operators.operator import Operator, plain_values, register

Activation = Callable[[Number], Number]

NONE = float("nan")  # a parameter for which implementations have different defaults

# The defaults of alpha and beta (None if an activation has no such parameter), and the formula.
Described = tuple[float | None, float | None, Callable[[Number, float, float], Number]]
ACTIVATIONS: dict[str, Described] = {
    "sigmoid": (None, None, lambda x, a, b: x.apply(known.SIGMOID)),
    "tanh": (None, None, lambda x, a, b: x.apply(known.TANH)),
    "relu": (None, None, lambda x, a, b: x.maximum(0.0)),
    "softsign": (None, None, lambda x, a, b: x.apply(known.SOFTSIGN)),
    "softplus": (None, None, lambda x, a, b: x.apply(known.SOFTPLUS)),
    "affine": (NONE, NONE, lambda x, a, b: x * a + b),
    "leakyrelu": (0.01, None, lambda x, a, b: x.maximum(0.0) + x.minimum(0.0) * a),
    "elu": (1.0, None, lambda x, a, b: x.maximum(0.0) + x.minimum(0.0).apply(known.EXPM1) * a),
    "scaledtanh": (NONE, NONE, lambda x, a, b: (x * b).apply(known.TANH) * a),
    "hardsigmoid": (0.2, 0.5, lambda x, a, b: (x * a + b).maximum(0.0).minimum(1.0)),
}


@dataclass(frozen=True)
class _Layer:
    """One direction of a layer: its weights, and its sequence in the order of the steps."""

    into: Number  # (T, B, G·H), W·x + Wb at every step
    r: Number  # (H, G·H)
    bias: Number | None  # (G·H), Rb
    lengths: Array | None  # (B,)
    reverse: bool
    products: int  # in one gate: a sum over inputs and hidden values, with two biases

    @property
    def hidden(self) -> int:
        return self.r.shape[0]

    def again(self, h: Number, first: int, last: int) -> Number:
        """(B, ...): the gates `first` to `last` of the recurrent product R·h + Rb."""
        part = slice(first * self.hidden, last * self.hidden)
        bias = None if self.bias is None else self.bias.move(lambda a: a[part])
        return h.dot(self.r.move(lambda a: a[:, part]), bias, self.products)

    def gates(self, step: int, first: int, last: int) -> Number:
        """(B, ...): the same gates of the input's product W·x + Wb at a step."""
        return self.into.move(lambda a: a[step, :, first * self.hidden : last * self.hidden])

    def kept(self, step: int, new: Number, old: Number) -> Number:
        """`new`, but `old` for sequences that have ended."""
        if self.lengths is None or step < self.lengths.min():
            return new
        rows = np.arange(len(self.lengths)) + len(self.lengths) * (step >= self.lengths)
        return new.join([old], 0).move(lambda a: a[rows])


@dataclass(frozen=True, eq=False)
class Recorded:
    """What a candidate returned as Y."""

    y: Array


@dataclass(frozen=True)
class Recurrent(Operator):
    """The base class of the three layers. x is (T, B, I); with layout 1 it is (B, T, I)."""

    GATES: ClassVar[int]
    DEFAULT: ClassVar[tuple[str, ...]]  # activations
    SPECIAL: ClassVar[Mapping[str, Described]] = {}  # activations with another accuracy in this layer

    activation_alpha: tuple[float, ...] = ()
    activation_beta: tuple[float, ...] = ()
    activations: tuple[str, ...] = ()
    clip: float = 0.0
    direction: str = "forward"
    hidden_size: int = 0
    layout: int = 0
    recorded: "Recorded | None" = None  # Y as the candidate returned it

    @classmethod
    def read(cls, attributes: Mapping[str, Any], opset: int) -> Self:
        if "recorded" in attributes:
            raise Unjudged(f"{cls.TYPE} with attribute recorded")
        return super().read(attributes, opset)

    def beside(self, recorded: Mapping[int, Array]) -> Self:
        return replace(self, recorded=Recorded(recorded[0])) if 0 in recorded else self

    def shared(self, *inputs: Number | None) -> int:
        """The number of steps, because errors of one step reach all later steps."""
        x = inputs[0]
        assert x is not None
        return x.shape[1 if self.layout else 0]

    def _run(self, inputs: Sequence[Number | None], states: int, step: "_Step") -> tuple[Number, ...]:
        """Y and the last value of each state.

        Args:
            inputs: x, W, R, B, sequence lengths, initial states, and an input that only `step` uses.
            states: how many states there are.
            step: computes the next states.
        """
        given: list[Number | None] = [*inputs, *[None] * (8 - len(inputs))]
        x, w, r, b, lengths, *rest = given
        assert x is not None
        assert w is not None
        assert r is not None
        if self.layout:
            x = x.transpose(1, 0, 2)
        directions = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}.get(
            self.direction
        )
        if directions is None:
            raise Unjudged(f"{self.TYPE} with direction {self.direction}")
        spans = None if lengths is None else plain_values(lengths, f"sequence_lens of {self.TYPE}")
        outputs, lasts = [], []
        for k, reverse in enumerate(directions):
            layer = self._layer(k, reverse, x, w, r, b, spans)
            start = [self._initial(one, k, x, layer.hidden) for one in rest[:states]]
            y, last = self._walk(layer, start, step, self._chosen(k, len(directions)), k)
            outputs.append(y)
            lasts.append(last)
        y = outputs[0].join(outputs[1:], 1)  # (T, directions, B, H)
        ends = [one[0].join(list(one[1:]), 0) for one in zip(*lasts, strict=True)]
        if self.layout:
            return (y.transpose(2, 0, 1, 3), *(end.transpose(1, 0, 2) for end in ends))
        return (y, *ends)

    def _layer(
        self,
        k: int,
        reverse: bool,
        x: Number,
        w: Number,
        r: Number,
        b: Number | None,
        lengths: Array | None,
    ) -> _Layer:
        steps, batch, size = x.shape
        if lengths is not None and (lengths == steps).all():
            lengths = None
        if reverse:
            order = _backwards(steps, batch, lengths)
            x = x.move(lambda a: np.take_along_axis(a, order[:, :, None], 0))
        half = self.GATES * r.shape[-1]
        products = size + r.shape[-1] + (0 if b is None else 2)
        bias = None if b is None else b.move(lambda a: a[k, :half])
        again = None if b is None else b.move(lambda a: a[k, half:])
        flat = x.wide().reshape(steps * batch, size)
        into = flat.dot(w.move(lambda a: a[k].T).wide(), bias, products).reshape(steps, batch, half)
        return _Layer(into, r.move(lambda a: a[k].T).wide(), again, lengths, reverse, products)

    def _initial(self, given: Number | None, k: int, x: Number, hidden: int) -> Number:
        """(B, H): a state before the first step, zero where none is given."""
        if given is None:
            return x.like(np.zeros((x.shape[1], hidden)))
        return given.move(lambda a: a[:, k] if self.layout else a[k])

    def _walk(
        self, layer: _Layer, states: list[Number], step: "_Step", functions: list[Activation], k: int
    ) -> tuple[Number, list[Number]]:
        """(T, 1, B, H), the first state after each step; and each state at the end, (1, B, H)."""
        seen = []
        steps = layer.into.shape[0]
        before = self._before(layer, k)
        for t in range(steps):
            known = states
            if before is not None and t > 0:
                known = [layer.kept(t - 1, states[0].like(before[t - 1]), states[0]), *states[1:]]
            new = step(layer, t, known, functions, k)
            states = [layer.kept(t, one, old) for one, old in zip(new, states, strict=True)]
            seen.append(layer.kept(t, states[0], new[0].move(np.zeros_like)).move(lambda a: a[None, None]))
        y = seen[0].join(seen[1:], 0)
        if layer.reverse:
            order = _backwards(steps, y.shape[2], layer.lengths)
            y = y.move(lambda a: np.take_along_axis(a, order[:, None, :, None], 0))
        return y, [one.move(lambda a: a[None]) for one in states]

    def _before(self, layer: _Layer, k: int) -> Array | None:
        """(T, B, H): what the candidate returned at each step of direction k, in the order of the steps."""
        if self.recorded is None:
            return None
        steps, batch, _ = layer.into.shape
        y = (
            self.recorded.y.transpose(1, 2, 0, 3)
            if self.layout and self.recorded.y.ndim == 4
            else self.recorded.y
        )
        if (
            y.ndim != 4
            or (y.shape[0], *y.shape[2:]) != (steps, batch, layer.hidden)
            or not np.isfinite(y).all()
        ):
            return None
        one = y[:, k]
        if layer.reverse:
            one = np.take_along_axis(one, _backwards(steps, batch, layer.lengths)[:, :, None], 0)
        return one

    def _chosen(self, k: int, directions: int) -> list[Activation]:
        """The activations of a direction. Parameters are listed only for activations that have any."""
        names = self.activations or self.DEFAULT * directions
        alphas, betas = iter(self.activation_alpha), iter(self.activation_beta)
        found: list[Activation] = []
        for name in names:
            if name.lower() not in ACTIVATIONS:
                raise Unjudged(f"{self.TYPE} with activation {name}")
            alpha, beta, formula = {**ACTIVATIONS, **self.SPECIAL}[name.lower()]
            a = 0.0 if alpha is None else next(alphas, alpha)
            b = 0.0 if beta is None else next(betas, beta)
            if np.isnan(a) or np.isnan(b):
                raise Unjudged(f"{self.TYPE} with activation {name} without its parameters")
            found.append(lambda x, f=formula, a=a, b=b: f(x, a, b))  # type: ignore[misc]
        count = len(self.DEFAULT)
        return found[k * count : (k + 1) * count]

    def _clipped(self, x: Number) -> Number:
        """The argument of an activation, clipped if the attribute `clip` is set."""
        return x.maximum(-self.clip).minimum(self.clip) if self.clip else x


_Step = Callable[[_Layer, int, list[Number], list[Activation], int], list[Number]]


def _backwards(steps: int, batch: int, lengths: Array | None) -> Array:
    """(T, B): the steps of each sequence from its end to its beginning; steps after its end stay in place."""
    order = np.broadcast_to(np.arange(steps)[:, None], (steps, batch))
    ends = np.full(batch, steps) if lengths is None else lengths
    return np.where(order < ends, ends - 1 - order, order)


def _split(gates: Number, count: int) -> list[Number]:
    size = gates.shape[-1] // count
    return [gates.move(lambda a, k=k: a[..., k * size : (k + 1) * size]) for k in range(count)]  # type: ignore[misc]


@register
@dataclass(frozen=True)
class RNN(Recurrent):
    """h = f(W·x + R·h + Wb + Rb)."""

    TYPE: ClassVar[str] = "RNN"
    LOSES_NAN: ClassVar[bool] = True
    GATES: ClassVar[int] = 1
    DEFAULT: ClassVar[tuple[str, ...]] = ("Tanh",)
    SPECIAL: ClassVar[Mapping[str, Described]] = {
        "tanh": (None, None, lambda x, a, b: x.apply(known.TANH_OF_RNN))
    }

    def evaluate(self, *inputs: Number | None) -> tuple[Number, ...]:
        return self._run(inputs, 1, self._step)

    def _step(
        self, layer: _Layer, t: int, states: list[Number], functions: list[Activation], k: int
    ) -> list[Number]:
        return [functions[0](self._clipped(layer.gates(t, 0, 1) + layer.again(states[0], 0, 1)))]


@register
@dataclass(frozen=True)
class GRU(Recurrent):
    """h = (1 - z)·c + z·h with gates z and r. c uses R·(r·h) or, with `linear_before_reset`, r·(R·h)."""

    TYPE: ClassVar[str] = "GRU"
    LOSES_NAN: ClassVar[bool] = True
    GATES: ClassVar[int] = 3
    DEFAULT: ClassVar[tuple[str, ...]] = ("Sigmoid", "Tanh")

    linear_before_reset: int = 0

    def evaluate(self, *inputs: Number | None) -> tuple[Number, ...]:
        return self._run(inputs, 1, self._step)

    def _step(
        self, layer: _Layer, t: int, states: list[Number], functions: list[Activation], k: int
    ) -> list[Number]:
        (h,), (f, g) = states, functions
        z, r = _split(f(self._clipped(layer.gates(t, 0, 2) + layer.again(h, 0, 2))), 2)
        again = r * layer.again(h, 2, 3) if self.linear_before_reset else layer.again(r * h, 2, 3)
        candidate = g(self._clipped(layer.gates(t, 2, 3) + again))
        return [(1 - z) * candidate + z * h]


@register
@dataclass(frozen=True)
class LSTM(Recurrent):
    """c = f·c + i·g, h = o·tanh(c), with gates i, o, f and new values g. With peepholes, the gates use c too.

    `clip` limits the arguments of the gates and of g, but not c, as in onnxruntime.
    """

    TYPE: ClassVar[str] = "LSTM"
    LOSES_NAN: ClassVar[bool] = True
    GATES: ClassVar[int] = 4
    DEFAULT: ClassVar[tuple[str, ...]] = ("Sigmoid", "Tanh", "Tanh")

    input_forget: int = 0

    def evaluate(self, *inputs: Number | None) -> tuple[Number, ...]:
        peepholes = inputs[7] if len(inputs) > 7 else None

        def step(
            layer: _Layer, t: int, states: list[Number], functions: list[Activation], k: int
        ) -> list[Number]:
            return self._step(layer, t, states, functions, self._peeps(peepholes, k))

        return self._run(inputs, 2, step)

    def _peeps(self, peepholes: Number | None, k: int) -> list[Number] | None:
        return None if peepholes is None else _split(peepholes.move(lambda a: a[k]), 3)

    def _step(
        self,
        layer: _Layer,
        t: int,
        states: list[Number],
        functions: list[Activation],
        peeps: list[Number] | None,
    ) -> list[Number]:
        (h, c), (gate, candidate, output) = states, functions
        i, o, f, g = _split(layer.gates(t, 0, 4) + layer.again(h, 0, 4), 4)
        if peeps is not None:
            i, f = i + peeps[0] * c, f + peeps[2] * c
        i = gate(self._clipped(i))
        f = 1 - i if self.input_forget else gate(self._clipped(f))
        c = f * c + i * candidate(self._clipped(g))
        o = gate(self._clipped(o if peeps is None else o + peeps[1] * c))
        return [o * output(c), c]
