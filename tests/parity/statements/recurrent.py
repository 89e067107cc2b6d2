"""Steps through a sequence: sums of products over inputs and states, then functions and a few operations."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from parity.arithmetic import Array
from tests.parity.arithmetic import stated as s
from tests.parity.arithmetic.stated import Stated, known
from tests.parity.examples.example import Example
from tests.parity.statements.arrays import Statement, use

Row = list[Stated]
Curve = Callable[[Stated], Stated]
Step = Callable[..., list[Row]]  # of an input and the states: the next states
STEPS, BATCH, INPUTS, HIDDEN = 2, 1, 2, 2


def tanh_of_rnn(x: Stated) -> Stated:
    """onnxruntime's is 2 u off beside, however small the value."""
    return x.function(lambda v: s.real.of("tanh", v), 4, 2)


# Activation → its number of parameters, and its formula.
ACTIVATIONS: dict[str, tuple[int, Callable[..., Stated]]] = {
    "Sigmoid": (0, known("sigmoid")),
    "Tanh": (0, known("tanh")),
    "Relu": (0, lambda x: s.maximum(x, 0)),
    "Softsign": (0, known("softsign")),
    "Softplus": (0, known("softplus")),
    "LeakyRelu": (1, lambda x, a: s.maximum(x, 0) + s.minimum(x, 0) * a),
    "Elu": (1, lambda x, a: s.maximum(x, 0) + known("expm1")(s.minimum(x, 0)) * a),
    "Affine": (2, lambda x, a, b: x * a + b),
    "ScaledTanh": (2, lambda x, a, b: known("tanh")(x * b) * a),
    "HardSigmoid": (2, lambda x, a, b: s.minimum(s.maximum(x * a + b, 0), 1)),
}


def _curves(op: Any, usual: list[str], own: dict[str, Curve]) -> Iterator[Curve]:
    """The activations; parameters are listed only for those that have any."""
    alphas, betas = iter(op.activation_alpha), iter(op.activation_beta)
    for name in op.activations or usual * (2 if op.direction == "bidirectional" else 1):
        count, formula = ACTIVATIONS[name]
        numbers = [next(one) for one in (alphas, betas)[:count]]
        formula = own.get(name, formula)
        yield lambda x, f=formula, more=numbers: f(x, *more)  # type: ignore[misc]


class _Products:
    """W·x + Wb and R·h + Rb, each with the roundings of both: an implementation may add them up at once."""

    def __init__(self, w: Array, r: Array, b: Array | None) -> None:
        self.w, self.r, self.b = w, r, b
        self.count = self.w.shape[1] + self.r.shape[1] + (0 if b is None else 2)

    def into(self, gate: int, x: Row) -> Row:
        return self._rows(self.w, gate, x, 0)

    def again(self, gate: int, h: Row) -> Row:
        return self._rows(self.r, gate, h, len(self.w))

    def both(self, gate: int, x: Row, h: Row) -> Row:
        return [p + q for p, q in zip(self.into(gate, x), self.again(gate, h), strict=True)]

    def _rows(self, weights: Array, gate: int, x: Row, offset: int) -> Row:
        hidden = self.r.shape[1]
        rows = range(gate * hidden, (gate + 1) * hidden)
        bias = [None if self.b is None else self.b[offset + row] for row in rows]
        return [s.dot(x, list(weights[row]), one, self.count) for row, one in zip(rows, bias, strict=True)]


def _clipped(op: Any, x: Stated) -> Stated:
    return s.minimum(s.maximum(x, -op.clip), op.clip) if op.clip else x


def _walk(
    op: Any, x: Array, lengths: Array | None, states: list[Array | None], steps: list[Step]
) -> tuple[Array, ...]:
    """Y, zero where a sequence has ended, and each state at its end. There is a step for each direction."""
    if op.layout:
        x, states = x.transpose(1, 0, 2), [one if one is None else one.transpose(1, 0, 2) for one in states]
    count, batch, _ = x.shape
    zero = Stated(Fraction(0), Fraction(0), x.flat[0].at, recorded=True)
    y = np.full((count, len(steps), batch, op.hidden_size), zero.at.exactly(0), object)
    ends = [np.empty((len(steps), batch, op.hidden_size), object) for _ in states]
    for k, step in enumerate(steps):
        for image in range(batch):
            now = [[zero] * op.hidden_size if one is None else list(one[k, image]) for one in states]
            order = list(range(count if lengths is None else lengths[image]))
            for t in order[::-1] if op.direction == "reverse" or k else order:
                now = step(list(x[t, image]), *now)
                y[t, k, image] = now[0]
            for array, one in zip(ends, now, strict=True):
                array[k, image] = one
    if op.layout:
        return y.transpose(2, 0, 1, 3), *(end.transpose(1, 0, 2) for end in ends)
    return y, *ends


def rnn(op: Any, x: Array, w: Array, r: Array, b: Any = None, lengths: Any = None, h: Any = None) -> Any:
    curves = list(_curves(op, ["Tanh"], {"Tanh": tanh_of_rnn}))

    def step(k: int) -> Step:
        products, f = _Products(w[k], r[k], None if b is None else b[k]), curves[k]
        return lambda seen, old: [[f(_clipped(op, v)) for v in products.both(0, seen, old)]]

    return _walk(op, x, lengths, [h], [step(k) for k in range(len(w))])


def gru(op: Any, x: Array, w: Array, r: Array, b: Any = None, lengths: Any = None, h: Any = None) -> Any:
    curves = list(_curves(op, ["Sigmoid", "Tanh"], {}))

    def direction(k: int) -> Step:
        products, (f, g) = _Products(w[k], r[k], None if b is None else b[k]), curves[2 * k : 2 * k + 2]

        def step(seen: Row, old: Row) -> list[Row]:
            update, reset = ([f(_clipped(op, v)) for v in products.both(one, seen, old)] for one in (0, 1))
            if op.linear_before_reset:
                again = [p * q for p, q in zip(reset, products.again(2, old), strict=True)]
            else:
                again = products.again(2, [p * q for p, q in zip(reset, old, strict=True)])
            parts = zip(products.into(2, seen), again, strict=True)
            new = [g(_clipped(op, p + q)) for p, q in parts]
            return [[(1 - z) * c + z * before for z, c, before in zip(update, new, old, strict=True)]]

        return step

    return _walk(op, x, lengths, [h], [direction(k) for k in range(len(w))])


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
    curves = list(_curves(op, ["Sigmoid", "Tanh", "Tanh"], {}))

    def direction(k: int) -> Step:
        products = _Products(w[k], r[k], None if b is None else b[k])
        gate, new_value, output = curves[3 * k : 3 * k + 3]
        peeps = None if peepholes is None else peepholes[k].reshape(3, -1)

        def with_peep(one: Row, row: int, cell: Row) -> Row:
            if peeps is None:
                return one
            return [v + weight * state for v, weight, state in zip(one, peeps[row], cell, strict=True)]

        def step(seen: Row, old: Row, cell: Row) -> list[Row]:
            i, o, f, g = (products.both(one, seen, old) for one in range(4))
            i = [gate(_clipped(op, v)) for v in with_peep(i, 0, cell)]
            f = [gate(_clipped(op, v)) for v in with_peep(f, 2, cell)]
            f = [1 - v for v in i] if op.input_forget else f
            g = [new_value(_clipped(op, v)) for v in g]
            now = [keep * state + new * v for keep, state, new, v in zip(f, cell, i, g, strict=True)]
            o = [gate(_clipped(op, v)) for v in with_peep(o, 1, now)]
            return [[v * output(state) for v, state in zip(o, now, strict=True)], now]

        return step

    return _walk(op, x, lengths, [h, c], [direction(k) for k in range(len(w))])


STATEMENTS: dict[str, Statement] = {"RNN": rnn, "GRU": gru, "LSTM": lstm}
GATES_AND_STATES = {"RNN": (1, 1), "GRU": (3, 1), "LSTM": (4, 2)}


def _use(
    kind: str,
    bias: bool = True,
    start: bool = True,
    peepholes: bool = False,
    lengths: list[int] | None = None,
    **attributes: Any,
) -> Example:
    gates, states = GATES_AND_STATES[kind]
    batch, directions = len(lengths or [0] * BATCH), 1 + (attributes.get("direction") == "bidirectional")
    first = (batch, directions) if attributes.get("layout") else (directions, batch)
    return use(
        kind,
        (batch, STEPS, INPUTS) if attributes.get("layout") else (STEPS, batch, INPUTS),
        (directions, gates * HIDDEN, INPUTS),
        (directions, gates * HIDDEN, HIDDEN),
        (directions, 2 * gates * HIDDEN) if bias else None,
        np.array(lengths, np.int32) if lengths else None,
        *((*first, HIDDEN) if start else None for _ in range(states)),
        *([(directions, 3 * HIDDEN)] if peepholes else []),
        hidden_size=HIDDEN,
        **attributes,
    )


def _curve(name: str, *numbers: float) -> Example:
    alpha, beta = (tuple(numbers[k : k + 1]) for k in (0, 1))
    return _use("RNN", activations=(name,), activation_alpha=alpha, activation_beta=beta)


SMALL = [
    *(_use(kind) for kind in STATEMENTS),
    *(_use(kind, bias=False, start=False) for kind in STATEMENTS),
    *(_use(kind, direction="reverse", lengths=[1, 2]) for kind in STATEMENTS),
    *(_use(kind, direction="bidirectional", layout=1) for kind in STATEMENTS),
    _use("GRU", linear_before_reset=1),
    _use("LSTM", peepholes=True, clip=0.5),
    _use("LSTM", input_forget=1),
    *(_use(kind, clip=0.8) for kind in ("RNN", "GRU")),
    _use(
        "GRU", activations=("HardSigmoid", "LeakyRelu"), activation_alpha=(0.3, 0.4), activation_beta=(0.45,)
    ),
    _use(
        "LSTM", activations=("HardSigmoid", "Tanh", "Relu"), activation_alpha=(0.3,), activation_beta=(0.45,)
    ),
    *(_curve(name) for name in ("Relu", "Sigmoid", "Softsign", "Softplus")),
    _curve("LeakyRelu", 0.125),
    _curve("Elu", 0.75),
    *(_curve(name, 0.3, 0.6) for name in ("Affine", "ScaledTanh", "HardSigmoid")),
]
