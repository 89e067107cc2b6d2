"""Steps through a sequence: sums of products over inputs and states, then functions and a few operations."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from parity.arithmetic import Array
from tests.parity.arithmetic import stated as s
from tests.parity.arithmetic.stated import Stated, known
from tests.parity.examples.example import Example
from tests.parity.statements.arrays import Statement, use

Row = list[Stated]
STEPS, BATCH, INPUTS, HIDDEN = 2, 1, 2, 2


def tanh_of_rnn(x: Stated) -> Stated:
    """onnxruntime's is 2 u off beside, however small the value."""
    return x.function(lambda v: s.real.of("tanh", v), 4, 2)


class _Products:
    """W·x + Wb and R·h + Rb, each with the roundings of both: an implementation may add them up at once."""

    def __init__(self, w: Array, r: Array, b: Array | None) -> None:
        self.w, self.r, self.b = w[0], r[0], None if b is None else b[0]
        self.count = self.w.shape[1] + self.r.shape[1] + (0 if b is None else 2)

    def into(self, gate: int, x: Row) -> Row:
        return self._rows(self.w, gate, x, 0)

    def again(self, gate: int, h: Row) -> Row:
        return self._rows(self.r, gate, h, len(self.w))

    def _rows(self, weights: Array, gate: int, x: Row, offset: int) -> Row:
        hidden = self.r.shape[1]
        rows = range(gate * hidden, (gate + 1) * hidden)
        bias = [None if self.b is None else self.b[offset + row] for row in rows]
        return [s.dot(x, list(weights[row]), one, self.count) for row, one in zip(rows, bias, strict=True)]


def _clipped(op: Any, x: Stated) -> Stated:
    return s.minimum(s.maximum(x, -op.clip), op.clip) if op.clip else x


def _walk(op: Any, x: Array, states: list[Array | None], step: Callable[..., list[Row]]) -> tuple[Array, ...]:
    """Y, and each state at the end."""
    steps, batch, _ = x.shape
    y = np.empty((steps, 1, batch, op.hidden_size), object)
    ends = [np.empty((1, batch, op.hidden_size), object) for _ in states]
    for image in range(batch):
        zeros = [Stated(Fraction(0), Fraction(0), x.flat[0].at, recorded=True)] * op.hidden_size
        now = [zeros if one is None else list(one[0, image]) for one in states]
        for t in range(steps):
            now = step(list(x[t, image]), *now)
            y[t, 0, image] = now[0]
        for array, one in zip(ends, now, strict=True):
            array[0, image] = one
    return y, *ends


def rnn(op: Any, x: Array, w: Array, r: Array, b: Any = None, lengths: Any = None, h: Any = None) -> Any:
    products = _Products(w, r, b)

    def step(seen: Row, old: Row) -> list[Row]:
        parts = zip(products.into(0, seen), products.again(0, old), strict=True)
        return [[tanh_of_rnn(_clipped(op, p + q)) for p, q in parts]]

    return _walk(op, x, [h], step)


def gru(op: Any, x: Array, w: Array, r: Array, b: Any = None, lengths: Any = None, h: Any = None) -> Any:
    products = _Products(w, r, b)

    def gate(k: int, seen: Row, old: Row) -> Row:
        parts = zip(products.into(k, seen), products.again(k, old), strict=True)
        return [known("sigmoid")(_clipped(op, p + q)) for p, q in parts]

    def step(seen: Row, old: Row) -> list[Row]:
        update, reset = gate(0, seen, old), gate(1, seen, old)
        if op.linear_before_reset:
            again = [p * q for p, q in zip(reset, products.again(2, old), strict=True)]
        else:
            again = products.again(2, [p * q for p, q in zip(reset, old, strict=True)])
        parts = zip(products.into(2, seen), again, strict=True)
        new = [known("tanh")(_clipped(op, p + q)) for p, q in parts]
        return [[(1 - z) * c + z * before for z, c, before in zip(update, new, old, strict=True)]]

    return _walk(op, x, [h], step)


def lstm(
    op: Any,
    x: Array,
    w: Array,
    r: Array,
    b: Any = None,
    lengths: Any = None,
    h: Any = None,
    c: Any = None,
    peepholes: Any = None,
) -> Any:
    products = _Products(w, r, b)
    peeps = None if peepholes is None else peepholes[0].reshape(3, -1)

    def step(seen: Row, old: Row, cell: Row) -> list[Row]:
        i, o, f, g = (
            [p + q for p, q in zip(products.into(k, seen), products.again(k, old), strict=True)]
            for k in range(4)
        )
        if peeps is not None:
            i, f = (
                [v + weight * state for v, weight, state in zip(one, peeps[k], cell, strict=True)]
                for k, one in ((0, i), (2, f))
            )
        i = [known("sigmoid")(_clipped(op, v)) for v in i]
        f = [1 - v for v in i] if op.input_forget else [known("sigmoid")(_clipped(op, v)) for v in f]
        g = [known("tanh")(_clipped(op, v)) for v in g]
        now = [keep * state + new * v for keep, state, new, v in zip(f, cell, i, g, strict=True)]
        if peeps is not None:
            o = [v + weight * state for v, weight, state in zip(o, peeps[1], now, strict=True)]
        o = [known("sigmoid")(_clipped(op, v)) for v in o]
        return [[v * known("tanh")(state) for v, state in zip(o, now, strict=True)], now]

    return _walk(op, x, [h, c], step)


STATEMENTS: dict[str, Statement] = {"RNN": rnn, "GRU": gru, "LSTM": lstm}


def _use(
    kind: str, bias: bool = True, start: bool = True, peepholes: bool = False, **attributes: Any
) -> Example:
    gates, states = {"RNN": (1, 1), "GRU": (3, 1), "LSTM": (4, 2)}[kind]
    state = (1, BATCH, HIDDEN) if start else None
    return use(
        kind,
        (STEPS, BATCH, INPUTS),
        (1, gates * HIDDEN, INPUTS),
        (1, gates * HIDDEN, HIDDEN),
        (1, 2 * gates * HIDDEN) if bias else None,
        None,
        *(state for _ in range(states)),
        *([(1, 3 * HIDDEN)] if peepholes else []),
        hidden_size=HIDDEN,
        **attributes,
    )


SMALL = [
    *(_use(kind) for kind in STATEMENTS),
    *(_use(kind, bias=False, start=False) for kind in STATEMENTS),
    _use("GRU", linear_before_reset=1),
    _use("LSTM", peepholes=True, clip=0.5),
    _use("LSTM", input_forget=1),
]
