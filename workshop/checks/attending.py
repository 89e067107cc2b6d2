"""Self-checks of notebook 13."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import parity
from parity.arithmetic import Bounded
from parity.arithmetic.floats import U64, gamma
from parity.graph import Declared, Graph, Node
from parity.operators.affine import MatMul
from parity.operators.elementwise import Add, Mul
from parity.operators.softmax import Softmax
from workshop.checks.marking import NotRight, called, check, same_form, within

Array = np.ndarray
Answer = Callable[..., Any]


def chain(seen: Array, d: int) -> Graph:
    """Attention of Q to the transposed keys Kt and V, of size d, with a mask: as a graph for `parity`."""
    constants = {
        "scale": np.array(d**-0.5, np.float32),
        "mask": np.where(seen, 0, -np.inf).astype(np.float32),
    }
    nodes = (
        Node("scores", "MatMul", MatMul(), ("Q", "Kt"), ("scores",)),
        Node("scaled", "Mul", Mul(), ("scores", "scale"), ("scaled",)),
        Node("masked", "Add", Add(), ("scaled", "mask"), ("masked",)),
        Node("weights", "Softmax", Softmax(axis=-1), ("masked",), ("weights",)),
        Node("Y", "MatMul", MatMul(), ("weights", "V"), ("Y",)),
    )
    inputs = dict.fromkeys(("Q", "Kt", "V"), Declared("float32", (None, None, None, None)))
    return Graph(nodes, inputs, ("Y",), constants)


@check
def masked_attention(answer: Answer) -> str:
    """Check attention by `parity`, with several masks, and with large scores."""
    ratios = []
    for q, k, v, seen in _cases():
        queries, size = q.shape[-2:]
        y = called(answer, q.copy(), k.copy(), v.copy(), seen.copy())
        y = same_form(answer.__name__, y, np.zeros((2, 3, queries, 5), np.float32))
        if np.abs(q).max() > 10 and not np.isfinite(y).all():
            raise NotRight("for large scores exp overflows: subtract the largest score of each query first")
        values = {"Q": q, "Kt": k.swapaxes(-1, -2), "V": v, "Y": y}
        (found,) = parity.judge(chain(seen, size), values).tensors
        if found.wrong:
            causes = [f"{one.name}. {one.explanation} {one.remedy}" for one in found.causes[:1]]
            raise NotRight(" ".join([f"{found.worst}", *causes]))
        ratios.append(found.ratio)
    return f"the same function, up to rounding, {len(ratios)} times: at most {max(ratios):.2f} of the bound"


def _cases() -> Iterator[tuple[Array, Array, Array, Array]]:
    """(q, k, v, seen): any mask, a causal one, large scores, and a hidden score far above the visible one."""
    rng = np.random.default_rng(0)
    for queries, keys, size, factor in ((6, 9, 8, 1), (7, 7, 12, 1), (5, 8, 16, 12)):
        q, k, v = (
            rng.standard_normal((2, 3, n, m)).astype(np.float32)
            for n, m in ((queries, size), (keys, size), (keys, 5))
        )
        seen = np.tri(queries, keys, dtype=bool) if queries == keys else rng.random((queries, keys)) < 0.6
        seen[:, 0] = True
        yield q * np.float32(factor), k * np.float32(factor), v, seen
    s = rng.standard_normal((2, 3, 1, 4))
    s *= 20 * np.sqrt(5) / np.linalg.norm(s, axis=-1, keepdims=True)  # scores of ±20² · 5 / √4
    q = np.tile(s, (1, 1, 6, 1)).astype(np.float32)
    k = q.copy()
    k[..., 0, :] *= -1  # the first query sees this key alone, at −1,000
    yield q, k, rng.standard_normal((2, 3, 6, 5)).astype(np.float32), np.tri(6, dtype=bool)


@check
def scores_gradient(answer: Answer) -> str:
    """Check the gradient of a softmax, by the formula and its bound.

    A product with dp, one with p, the sum of n terms and a difference, in this order or by the Jacobian: at
    most n + 4 roundings for each term p_i dp_i and p_i p_j dp_j.
    """
    rng = np.random.default_rng(0)
    for shape in ((2, 4, 6), (3, 5)):
        e = np.exp(rng.standard_normal(shape))
        p, dp = e / e.sum(axis=-1, keepdims=True), rng.standard_normal(shape)
        inner = (p * dp).sum(axis=-1, keepdims=True)
        size = p * (np.abs(dp) + (p * np.abs(dp)).sum(axis=-1, keepdims=True))
        expected = Bounded(p * (dp - inner), 2 * gamma(shape[-1] + 4, U64) * size)
        ds = same_form(answer.__name__, called(answer, p.copy(), dp.copy()), p)
        for wrong, why in (
            (p * dp, "each score changes all weights of its query: subtract the mean of dp under p"),
            (
                p * (1 - p) * dp,
                "p(1 − p) is the diagonal of the Jacobian alone; the other entries are −p_i p_j",
            ),
            (p - dp, "p minus the target is the gradient of softmax and cross-entropy together"),
            (
                p * (dp - (p * dp).sum(axis=-2, keepdims=True)),
                "the sum runs over the keys of a query, the last axis",
            ),
            (-expected.value, "the sign is wrong"),
        ):
            if np.allclose(ds, wrong) and not np.allclose(ds, expected.value):
                raise NotRight(why)
        within("ds", ds, expected)
    return "the gradient by the scores, within its rounding bound"
