"""Attention as a product, a softmax and a product; and rotations of pairs of values."""

from typing import Any

import numpy as np

from parity.arithmetic import Array
from tests.parity.arithmetic import stated as s
from tests.parity.arithmetic.stated import Stated, known
from tests.parity.examples.example import Example, Make
from tests.parity.statements.arrays import Statement, each, use


def attention(
    op: Any,
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    past_k: Array | None = None,
    past_v: Array | None = None,
    lengths: Array | None = None,
) -> tuple[Array, ...]:
    """Queries and keys are both multiplied by √scale, which is off by one rounding even if it is exact."""
    flat = q.ndim == 3
    if flat:
        q, k, v = _heads(q, op.q_num_heads), _heads(k, op.kv_num_heads), _heads(v, op.kv_num_heads)
    before = 0
    if past_k is not None and past_v is not None:
        before = past_k.shape[2]
        k, v = np.concatenate([past_k, k], 2), np.concatenate([past_v, v], 2)
    batch, heads, queries, depth = q.shape
    factor, group = float(op.scale or 1 / np.sqrt(depth)) ** 0.5, heads // k.shape[1]
    raw = np.empty((batch, heads, queries, k.shape[2]), object)
    y: Array = np.empty((batch, heads, queries, v.shape[3]), object)
    for image, head, query, key in np.ndindex(raw.shape):
        one, other = list(q[image, head, query]), list(k[image, head // group, key])
        raw[image, head, query, key] = s.dot(_times(one, factor), _times(other, factor))
    scores = raw
    if op.softcap:
        scores = each(lambda x: known("tanh")(x * (1 / op.softcap)) * op.softcap, raw)
    capped, shown = scores, np.ones(raw.shape, bool)
    if mask is not None and mask.dtype == bool:
        shown = np.broadcast_to(mask, raw.shape)
    elif mask is not None:
        scores = scores + mask
    seen = {}
    for index in np.ndindex(y.shape[:3]):
        keys = k.shape[2] if lengths is None else int(lengths[index[0]])
        place = index[2] + (before if lengths is None else keys - queries)
        seen[index] = [key for key in _seen(op, place, keys) if shown[index][key]]
    rows = {index: [scores[index][key] for key in keys] for index, keys in seen.items()}
    # The largest scores are numbers of the format, or one of them is rounded, and then perhaps all are.
    whole = all(row[0].at.holds(_largest(row)) for row in rows.values())
    zero = raw.flat[0].at.exactly(0)
    shares = np.full(raw.shape, zero, object)
    for index, row in rows.items():
        shares[index][seen[index]] = _shares(row, [zero] * (k.shape[2] - len(row)), whole)
    for image, head, query, column in np.ndindex(y.shape):
        values = list(v[image, head // group, :, column])
        y[image, head, query, column] = s.dot(list(shares[image, head, query]), values)
    if flat:
        y = y.transpose(0, 2, 1, 3).reshape(batch, queries, -1)
    return y, k, v, {0: raw, 1: capped, 2: scores, 3: shares}[op.qk_matmul_output_mode]


def _heads(x: Array, heads: int) -> Array:
    """(B, S, H·D) to (B, H, S, D)."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def _seen(op: Any, query: int, keys: int) -> list[int]:
    """The keys that a query sees."""
    last = query if op.is_causal else keys
    first = query - op.left_window_size if op.left_window_size >= 0 else 0
    last = min(last, query + op.right_window_size) if op.right_window_size >= 0 else last
    return [key for key in range(keys) if first <= key <= last]


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


def rotary(op: Any, x: Array, cos: Array, sin: Array, places: Array | None = None) -> Array:
    """(B, H, S, D), or (B, S, H·D): both halves of each row, or its pairs, turned by an angle.

    With places, the angles are those of a table.
    """
    cos, sin = (cos, sin) if places is None else (cos[places], sin[places])
    given = x.shape
    if x.ndim == 3:
        x = _heads(x, op.num_heads)
    turned, y = op.rotary_embedding_dim or x.shape[3], each(lambda v: v.flushed(), x)
    c, n = cos[:, None], sin[:, None]
    parts = (slice(0, turned // 2), slice(turned // 2, turned))
    if op.interleaved:
        parts = (slice(0, turned, 2), slice(1, turned, 2))
    first, second = (x[..., part] for part in parts)
    y[..., parts[0]] = each(lambda a, b, p, q: p * a - q * b, first, second, c, n)
    y[..., parts[1]] = each(lambda a, b, p, q: q * a + p * b, first, second, c, n)
    return y if len(given) == 4 else y.transpose(0, 2, 1, 3).reshape(given)


STATEMENTS: dict[str, Statement] = {"Attention": attention, "RotaryEmbedding": rotary}


def _rotary(*shape: int, places: list[list[int]] | None = None) -> Make:
    def make(rng: np.random.Generator) -> list[np.ndarray | None]:
        angles = rng.uniform(-3, 3, (1, 2, 2))
        x = rng.standard_normal(shape)
        angles = angles if places is None else rng.uniform(-3, 3, (4, 2))
        given = [one.astype(np.float32) for one in (x, np.cos(angles), np.sin(angles))]
        return [*given, None if places is None else np.array(places)]

    return make


SMALL: list[Example] = [
    use("Attention", (1, 1, 2, 3), (1, 1, 4, 3), (1, 1, 4, 2)),
    use("Attention", (1, 2, 3, 2), (1, 1, 3, 2), (1, 1, 3, 1), is_causal=1, scale=0.25),
    use("Attention", (1, 3, 2), (1, 3, 1), (1, 3, 1), q_num_heads=2, kv_num_heads=1, qk_matmul_output_mode=3),
    use("Attention", (1, 1, 2, 2), (1, 1, 3, 2), (1, 1, 3, 1), softcap=4.0, qk_matmul_output_mode=1),
    use("Attention", (1, 1, 3, 2), (1, 1, 3, 2), (1, 1, 3, 1), left_window_size=1, right_window_size=0),
    use("Attention", (1, 1, 2, 2), (1, 1, 3, 2), (1, 1, 3, 1), (2, 3), right_window_size=1),
    use("Attention", (1, 1, 2, 2), (1, 1, 1, 2), (1, 1, 1, 1), None, (1, 1, 2, 2), (1, 1, 2, 1), is_causal=1),
    use("Attention", (1, 1, 2, 2), (1, 1, 3, 2), (1, 1, 3, 1), (2, 3), softcap=2.0, qk_matmul_output_mode=2),
    use("Attention", (1, 1, 2, 2), (1, 1, 3, 2), (1, 1, 3, 1), np.array([[True, False, True]])),
    use("Attention", (2, 1, 1, 2), (2, 1, 3, 2), (2, 1, 3, 1), None, None, None, [2, 3], is_causal=1),
    use("RotaryEmbedding", make=_rotary(1, 2, 2, 4), data=(0,)),
    use("RotaryEmbedding", make=_rotary(1, 1, 2, 4, places=[[3, 1]]), data=(0,)),
    use("RotaryEmbedding", make=_rotary(1, 2, 8), data=(0,), num_heads=2, interleaved=1),
    use("RotaryEmbedding", make=_rotary(1, 1, 2, 6), data=(0,), rotary_embedding_dim=4),
]
