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


def _of_rows(f: Any) -> Statement:
    """Along an axis; before version 13 of the standard, over all axes from there on."""

    def of(op: Any, x: Array) -> Array:
        if not op.to_the_end:
            return _rows(x, op.axis, f)
        return _rows(x.reshape(*x.shape[: op.axis % x.ndim], -1), -1, f).reshape(x.shape)

    return of


STATEMENTS: dict[str, Statement] = {"Softmax": _of_rows(shares), "LogSoftmax": _of_rows(_logarithms)}
SMALL = [
    *(use(kind, (2, 5)) for kind in STATEMENTS),
    *(use(kind, (3, 2), axis=0) for kind in STATEMENTS),
    *(use(kind, (2, 2, 3), axis=1, to_the_end=True) for kind in STATEMENTS),
]
