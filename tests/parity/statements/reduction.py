"""Sums, products and norms over axes, and running sums."""

from collections.abc import Callable
from typing import Any

import numpy as np

from parity.arithmetic import Array
from parity.operators.reduction import ReduceLogSumExp
from tests.parity.arithmetic import stated as s
from tests.parity.arithmetic.stated import Stated, known
from tests.parity.examples.example import Example
from tests.parity.statements.arrays import Statement, each, over, use, zero_like
from tests.parity.statements.pooling import norm


def _reduced(f: Callable[[list[Stated]], Stated]) -> Statement:
    def of(op: Any, x: Array, axes: Array | None = None) -> Array:
        given = op.axes if axes is None else axes.tolist()
        named = given or ([] if op.noop_with_empty_axes else list(range(x.ndim)))
        y = over(f, x, named) if len(named) else each(lambda v: f([v]), x)
        return y if op.keepdims else y.squeeze(tuple(axis % x.ndim for axis in named))

    return of


def log_sum_exp(op: Any, x: Array, axes: Array | None = None) -> Array:
    """The largest value, a number of the file, is subtracted and added; or it is not."""
    direct = type(op) is not ReduceLogSumExp

    def one(row: list[Stated]) -> Stated:
        if direct:
            return known("log")(s.total([known("exp")(v) for v in row]))
        pivot = max(row, key=lambda v: v.value)
        return known("log")(s.total([known("exp")(v - pivot) for v in row])) + pivot

    return _reduced(one)(op, x, axes)


def cum_sum(op: Any, x: Array, axis: Array) -> Array:
    along = int(axis) % x.ndim
    lines = np.moveaxis(x, along, -1)
    lines = lines[..., ::-1] if op.reverse else lines
    y = np.empty(lines.shape, object)
    for index in np.ndindex(lines.shape[:-1]):
        row = list(lines[index])
        y[index] = s.running([zero_like(x), *row[:-1]] if op.exclusive else row)
    return np.moveaxis(y[..., ::-1] if op.reverse else y, -1, along)


def range_(op: Any, start: Array, limit: Array, delta: Array) -> Array:
    """All steps added up."""
    first, last, step = (one.item() for one in (start, limit, delta))
    count = -((first.value - last.value) // step.value)
    return np.array(s.running([first, *[step] * (count - 1)]), object)


def scatter(op: Any, x: Array, indices: Array, updates: Array) -> Array:
    """Each value with all of its updates: their sum or product; untouched, the value itself."""
    terms = each(lambda v: [v], x)
    for index, update in np.ndenumerate(updates):
        place = list(index)
        place[op.axis] = indices[index]
        terms[tuple(place)].append(update)
    return _scattered(op, terms)


def scatter_nd(op: Any, x: Array, indices: Array, updates: Array) -> Array:
    """An index names a value, or a slice of them."""
    terms = each(lambda v: [v], x)
    for index in np.ndindex(indices.shape[:-1]):
        for rest in np.ndindex(updates.shape[indices.ndim - 1 :]):
            terms[(*indices[index], *rest)].append(updates[(*index, *rest)])
    return _scattered(op, terms)


def _scattered(op: Any, terms: Array) -> Array:
    """Without a reduction, a copy of the last update."""
    if op.reduction == "none":
        return each(lambda some: some[-1], terms)
    reductions: dict[str, Callable[[list[Stated]], Stated]] = {
        "add": s.total,
        "mul": s.multiplied,
        "max": s.largest,
        "min": lambda some: -s.largest([-x for x in some]),
    }
    return each(lambda some: reductions[op.reduction](some) if len(some) > 1 else some[0].flushed(), terms)


STATEMENTS: dict[str, Statement] = {
    "ReduceSum": _reduced(s.total),
    "ReduceMean": _reduced(s.mean),
    "ReduceMax": _reduced(s.largest),
    "ReduceMin": _reduced(lambda row: -s.largest([-x for x in row])),
    "ReduceProd": _reduced(s.multiplied),
    "ReduceL1": _reduced(lambda row: norm(1, row)),
    "ReduceL2": _reduced(lambda row: norm(2, row)),
    "ReduceSumSquare": _reduced(lambda row: s.total([x * x for x in row])),
    "ReduceLogSum": _reduced(lambda row: known("log")(s.total(row))),
    "ReduceLogSumExp": log_sum_exp,
    "CumSum": cum_sum,
    "Range": range_,
    "ScatterElements": scatter,
    "ScatterND": scatter_nd,
}


def _positive(rng: np.random.Generator) -> list[np.ndarray | None]:
    return [np.abs(rng.standard_normal((2, 5))).astype(np.float32), np.array([1])]


def _range(rng: np.random.Generator) -> list[np.ndarray | None]:
    start, delta = rng.uniform(0.05, 1, 2).astype(np.float32)
    return [np.array(start), np.array(start + np.float32(6.5) * delta), np.array(delta)]


ANY = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2")
SMALL: list[Example] = [
    *(use(kind, (2, 5), [1]) for kind in (*ANY, "ReduceSumSquare", "ReduceLogSumExp")),
    *(use(kind, (2, 2, 2), [0, -1], keepdims=0) for kind in ANY),
    *(use(kind, (2, 3), axes=(1,)) for kind in (*ANY, "ReduceLogSumExp")),
    *(use(kind, (4,), noop_with_empty_axes=1) for kind in (*ANY, "ReduceSumSquare", "ReduceLogSumExp")),
    use("ReduceLogSumExp", (2, 3), [0], keepdims=0),
    use("ReduceSum", (8,)),
    use("ReduceSum", (3, 1), [1]),
    use("ReduceLogSum", make=_positive, data=()),
    use("CumSum", (2, 6), np.array(1)),
    use("CumSum", (5,), np.array(0), exclusive=1, reverse=1),
    use("Range", make=_range, data=()),
    *(
        use("ScatterElements", (5,), [0, 2, 2, 0, 0], (5,), reduction=how)
        for how in ("add", "mul", "max", "min")
    ),
    use("ScatterElements", (2, 3), [[2, 0], [1, 0]], (2, 2), axis=1),
    *(use("ScatterND", (3, 2), [[0], [2], [0]], (3, 2), reduction=how) for how in ("mul", "max", "min")),
    use("ScatterND", (3, 2), [[0, 1], [2, 0]], (2,)),
    use("ScatterND", (3, 2), [[0], [2], [0]], (3, 2), reduction="add"),
]
