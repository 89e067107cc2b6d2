"""Shares of rows: e^x over Σ e^x, from the differences to the largest value."""

from typing import Any

import numpy as np

from parity.arithmetic import Array
from tests.parity.arithmetic import stated as s
from tests.parity.arithmetic.stated import Stated, known
from tests.parity.statements.arrays import Statement, use


def _rows(x: Array, axis: int, f: Any) -> Array:
    lines = np.moveaxis(x, axis, -1)
    y = np.empty(lines.shape, object)
    for index in np.ndindex(lines.shape[:-1]):
        y[index] = f(list(lines[index]))
    return np.moveaxis(y, -1, axis)


def shares(row: list[Stated]) -> list[Stated]:
    pivot = s.largest(row)
    powers = [known("exp")(x - pivot) for x in row]
    size = s.total(powers)
    return [one / size for one in powers]


def _logarithms(row: list[Stated]) -> list[Stated]:
    pivot = s.largest(row)
    shifted = [x - pivot for x in row]
    size = known("log")(s.total([known("exp")(x) for x in shifted]))
    return [x - size for x in shifted]


STATEMENTS: dict[str, Statement] = {
    "Softmax": lambda op, x: _rows(x, op.axis, shares),
    "LogSoftmax": lambda op, x: _rows(x, op.axis, _logarithms),
}
SMALL = [
    *(use(kind, (2, 5)) for kind in STATEMENTS),
    *(use(kind, (3, 2), axis=0) for kind in STATEMENTS),
]
