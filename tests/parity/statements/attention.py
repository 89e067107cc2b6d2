"""Attention as a product, a softmax and a product; and rotations of pairs of values."""

from typing import Any

import numpy as np

from parity.arithmetic import Array
from tests.parity.arithmetic import stated as s
from tests.parity.arithmetic.stated import Stated, known
from tests.parity.examples.example import Example
from tests.parity.statements.arrays import Statement, each, use


def attention(op: Any, q: Array, k: Array, v: Array) -> tuple[Array, ...]:
    """Queries and keys are both multiplied by √scale, which is off by one rounding even if it is exact."""
    batch, heads, queries, depth = q.shape
    factor, group = float(op.scale or 1 / np.sqrt(depth)) ** 0.5, heads // k.shape[1]
    raw = np.empty((batch, heads, queries, k.shape[2]), object)
    y = np.empty((batch, heads, queries, v.shape[3]), object)
    for image, head, query, key in np.ndindex(raw.shape):
        one, other = list(q[image, head, query]), list(k[image, head // group, key])
        raw[image, head, query, key] = s.dot(_times(one, factor), _times(other, factor))
    rows = {
        index: list(raw[index])[: index[2] + 1 if op.is_causal else None] for index in np.ndindex(y.shape[:3])
    }
    # The largest scores are numbers of the format, or one of them is rounded, and then perhaps all are.
    whole = all(row[0].at.holds(_largest(row)) for row in rows.values())
    for (image, head, query), row in rows.items():
        hidden = [row[0].at.exactly(0)] * (k.shape[2] - len(row))
        weights = _shares(row, hidden, whole)
        for column in range(v.shape[3]):
            values = list(v[image, head // group, :, column])
            y[image, head, query, column] = s.dot(weights + hidden, values)
    return y, k, v, raw


def _largest(row: list[Stated]) -> s.Fraction:
    """As float64 has it."""
    return s.Fraction(float(max(x.value for x in row)))


def _times(row: list[Stated], factor: float) -> list[Stated]:
    at = row[0].at
    root = Stated(s.Fraction(factor), s.Fraction(factor * at.form.u), at)
    return [x * root for x in row]


def _shares(scores: list[Stated], hidden: list[Stated], whole: bool) -> list[Stated]:
    """Whatever number is subtracted first, it is the same for all. Zeros of hidden keys are terms, too."""
    at, largest = scores[0].at, _largest(scores)
    shift = at.exactly(largest) if whole else at.rounded(largest)
    powers = [known("exp")(x - shift) for x in scores]
    total = s.total(powers + hidden)
    return [one / total for one in powers]


def rotary(op: Any, x: Array, cos: Array, sin: Array) -> Array:
    """(B, H, S, D): both halves of each row, turned by an angle."""
    half = x.shape[3] // 2
    c, n = cos[:, None], sin[:, None]
    first, second = x[..., :half], x[..., half:]
    real = each(lambda a, b, p, q: p * a - q * b, first, second, c, n)
    imaginary = each(lambda a, b, p, q: q * a + p * b, first, second, c, n)
    return np.concatenate([real, imaginary], -1)


STATEMENTS: dict[str, Statement] = {"Attention": attention, "RotaryEmbedding": rotary}


def _rotary(rng: np.random.Generator) -> list[np.ndarray | None]:
    angles = rng.uniform(-3, 3, (1, 2, 2))
    x = rng.standard_normal((1, 2, 2, 4))
    return [one.astype(np.float32) for one in (x, np.cos(angles), np.sin(angles))]


SMALL: list[Example] = [
    use("Attention", (1, 1, 2, 3), (1, 1, 4, 3), (1, 1, 4, 2)),
    use("Attention", (1, 2, 3, 2), (1, 1, 3, 2), (1, 1, 3, 1), is_causal=1, scale=0.25),
    use("RotaryEmbedding", make=_rotary, data=(0,)),
]
