"""Uses of arithmetic, comparisons, logic and mathematical functions."""

from typing import Any

import numpy as np

from parity.operators import OPERATORS
from tests.parity.examples.activation import values
from tests.parity.examples.example import Example, Make

SHAPE = (3, 4, 5)
PAIR = (SHAPE, (4, 1))


def _of(
    kind: str, make: Make | None = None, data: tuple[int, ...] | None = None, **attributes: Any
) -> Example:
    return Example(OPERATORS[kind].read(attributes, 22), attributes, make or values(SHAPE), data=data)


def _between(low: float, high: float, *shapes: tuple[int, ...]) -> Make:
    """Float32 inputs of these shapes, equally distributed."""

    def make(rng: np.random.Generator) -> list[np.ndarray | None]:
        return [rng.uniform(low, high, shape).astype(np.float32) for shape in shapes or (SHAPE,)]

    return make


def _integers(dtype: str, low: int, high: int, *shapes: tuple[int, ...]) -> Make:
    def make(rng: np.random.Generator) -> list[np.ndarray | None]:
        return [rng.integers(low, high, shape).astype(dtype) for shape in shapes]

    return make


def _power(exponent: Any) -> Make:
    def make(rng: np.random.Generator) -> list[np.ndarray | None]:
        return [rng.uniform(0.1, 4, SHAPE).astype(np.float32), np.asarray(exponent)]

    return make


def _halves(rng: np.random.Generator) -> list[np.ndarray | None]:
    return [(rng.integers(-9, 9, SHAPE) / 2).astype(np.float32)]


def _odd(rng: np.random.Generator) -> list[np.ndarray | None]:
    return [rng.choice([0.0, 1.5, np.inf, -np.inf, np.nan], SHAPE).astype(np.float32)]


def _choice(rng: np.random.Generator) -> list[np.ndarray | None]:
    return [rng.random(SHAPE) < 0.5, *values(SHAPE, (5,))(rng)]


def _dropout(rng: np.random.Generator) -> list[np.ndarray | None]:
    return [*values(SHAPE)(rng), np.array(0.3, np.float32), np.array(False)]


FLOATS = [
    *(_of(kind) for kind in ("Erf", "Sin", "Cos", "Atan", "Sinh", "Cosh", "Asinh", "Abs", "Neg", "Sign")),
    *(_of(kind, _halves) for kind in ("Floor", "Ceil", "Round")),
    _of("Exp", values(SHAPE, scale=10)),
    _of("Log", _between(0.01, 5), ()),
    _of("Sqrt", _between(0, 5), ()),
    _of("Reciprocal", _between(0.1, 5), ()),
    _of("Tan", _between(-1.5, 1.5), ()),
    *(_of(kind, _between(-1, 1), ()) for kind in ("Asin", "Acos", "Atanh")),
    _of("Acosh", _between(1, 9), ()),
    *(_of(kind, values(*PAIR)) for kind in ("Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean")),
    _of("Div", _between(0.5, 3, *PAIR), ()),
    _of("Mod", _between(0.5, 3, *PAIR), (), fmod=1),
    *(_of(kind, values(SHAPE, (5,), (4, 1), (1,))) for kind in ("Max", "Min", "Sum", "Mean")),
    *(_of("Pow", _power(np.float32(n)), ()) for n in (2, 3, 0.5, -0.5, -1, -2, 13, 1.7, 0)),
    _of("Pow", _power(np.int64(3)), ()),
    _of("Pow", _power(np.array([-1.5, -2, 0.3, 4, 9], np.float32)), ()),
    *(_of(kind, _odd, ()) for kind in ("IsNaN", "IsInf")),
    _of("IsInf", _odd, (), detect_negative=0),
    _of("Identity"),
    _of("Dropout", _dropout, (0,)),
    _of("Where", _choice),
    *(_of(kind, values(*PAIR), ()) for kind in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal")),
]
SIGNED = [
    *(_of(kind, _integers("int8", -128, 128, SHAPE)) for kind in ("Abs", "Sign")),
    _of("Neg", _integers("int32", -9, 9, SHAPE)),
    *(_of(kind, _integers("int32", -(2**31), 2**31, *PAIR)) for kind in ("Add", "Sub", "Mul", "Max", "Min")),
    *(_of(kind, _integers("int32", -3, 3, *PAIR)) for kind in ("Equal", "Greater", "LessOrEqual")),
    _of("Div", _integers("int64", 1, 9, *PAIR)),
    _of("Mod", _integers("int64", 1, 9, *PAIR)),
    _of("Pow", _integers("int64", 1, 9, *PAIR)),
    _of("Where", lambda rng: [rng.random(SHAPE) < 0.5, *_integers("int64", -9, 9, SHAPE, (5,))(rng)]),
]
BITS = [
    *(_of(kind, _integers("bool", 0, 2, *PAIR)) for kind in ("And", "Or", "Xor", "Equal")),
    _of("Not", _integers("bool", 0, 2, SHAPE)),
    *(
        _of(kind, _integers("uint8", 0, 256, *PAIR))
        for kind in ("BitwiseAnd", "BitwiseOr", "BitwiseXor", "Min", "Max")
    ),
    _of("BitwiseNot", _integers("uint8", 0, 256, SHAPE)),
    *(
        _of("BitShift", _integers("uint8", 0, 8, *PAIR), direction=direction)
        for direction in ("LEFT", "RIGHT")
    ),
]
EXAMPLES = FLOATS + SIGNED + BITS
