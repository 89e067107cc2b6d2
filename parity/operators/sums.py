"""Sums of products at some points of a matrix product or a convolution."""

from collections.abc import Callable

import numpy as np

from parity.arithmetic import Array, Number

LARGEST = 2**22  # number of values that are copied at once
SHARED = 24  # this many sums by one matrix product cost as much as one sum of scattered values
Keys = Callable[[Array], Number]


def sums_at(
    row_of: Array,
    column_of: Array,
    rows: Keys,
    columns: Keys,
    bias: Callable[[Array, Array], Number] | None = None,
    products: int | None = None,
) -> Number:
    """(M,): for each point, the sum of products of one row and one column.

    Every row and column is copied once. If points share rows and columns, all products of these rows and
    columns are computed, although not all are needed, because one matrix product is fast.

    Args:
        row_of, column_of: (M,), the numbers of the row and of the column of each point.
        rows: a function of (K,) row numbers that returns these rows, (K, n).
        columns: a function of (K,) column numbers that returns these columns, (n, K).
        bias: a function of row and column numbers, which broadcast, that returns one more term of each sum.
        products: how many of the n products are not zero by construction; by default all.
    """
    some_rows, row = np.unique(row_of, return_inverse=True)
    some_columns, column = np.unique(column_of, return_inverse=True)
    count = len(row_of)
    shared = len(some_rows) * len(some_columns) <= SHARED * count
    one = columns(some_columns[:1])  # as long as a row, and sooner copied where rows are patches
    laid_out = len(some_rows) + len(some_columns) + (0 if shared else 2 * count)
    if count > 1 and one.size * laid_out > LARGEST:
        order = np.argsort(row_of if len(some_rows) > len(some_columns) else column_of, kind="stable")
        halves = order[: count // 2], order[count // 2 :]
        first, second = (
            sums_at(row_of[half], column_of[half], rows, columns, bias, products) for half in halves
        )
        back = np.empty_like(order)
        back[order] = np.arange(count)
        return first.join([second], 0).move(lambda a: a[back])
    left, right = rows(some_rows), columns(some_columns)
    if shared:
        more = None if bias is None else bias(some_rows[:, None], some_columns[None])
        return left.dot(right, more, products).move(lambda a: a[row, column])
    left = left.move(lambda a: a[row][:, None, :])
    right = right.move(lambda a: a.T[column][:, :, None])
    more = None if bias is None else bias(row_of, column_of).reshape(-1, 1, 1)
    return left.dot(right, more, products).reshape(-1)
