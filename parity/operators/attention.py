"""Attention: scaled products of queries and keys, softmax, weighted sums of values; and rotary embedding.

Softmax does not change when the same number is subtracted from all its arguments. So whichever number an
implementation subtracts before exp (the maximum of a row, or of a block of it), it adds only one rounding.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from parity.arithmetic import Array, Number
from parity.arithmetic.floats import FLOAT32
from parity.errors import Unjudged
from parity.operators import functions as known
from parity.operators.interpolation import choose, own
from parity.operators.operator import Operator, finite, plain_values, register

# Values of softmax_precision that are not coarser than the inputs: not given (0), float32 (1), float64 (11).
FINE = (0, 1, 11)


@dataclass(frozen=True)
class _Mask:
    """Which keys each query sees, and what is added to their scores: (B or 1, H or 1, Q, K)."""

    allowed: Array
    bias: Number | None


@register
@dataclass(frozen=True)
class Attention(Operator):
    """softmax(Q·K' · scale + mask)·V for each head. Returns Y, past and new keys and values, and scores.

    A query that sees no key gets zeros, as the standard and ONNX's reference evaluator say; implementations
    that divide zero by zero there return NaN.
    """

    TYPE: ClassVar[str] = "Attention"

    is_causal: int = 0
    kv_num_heads: int = 0
    left_window_size: int = -1
    q_num_heads: int = 0
    qk_matmul_output_mode: int = 0
    right_window_size: int = -1
    scale: float = 0.0
    softcap: float = 0.0
    softmax_precision: int = 0

    def shared(self, q: Number, k: Number, v: Number, *rest: Number | None) -> int:
        """The softmax weights of one query are the same for all values of a head."""
        return max(1, v.shape[-1] // (self.kv_num_heads or 1) if v.ndim == 3 else v.shape[-1])

    def tells_nan(self, q: Number, k: Number, v: Number, *rest: Number | None) -> bool:
        """Only queries, keys and values must be finite; the mask may be infinite."""
        return finite(q, k, v)

    def evaluate(self, q: Number, k: Number, v: Number, *rest: Number | None) -> tuple[Number, ...]:
        more: list[Number | None] = [*rest, None, None, None, None]
        mask, past_k, past_v, lengths = more[:4]
        if self.softmax_precision not in FINE and own(q).dtype.name in ("float32", "float64"):
            raise Unjudged(f"Attention with softmax_precision {self.softmax_precision}")
        flat = q.ndim == 3
        if flat:
            q, k, v = (
                self._heads(q, self.q_num_heads),
                self._heads(k, self.kv_num_heads),
                self._heads(v, self.kv_num_heads),
            )
        if past_k is not None and past_v is not None:
            k, v = past_k.join([k], 2), past_v.join([v], 2)
        before = 0 if past_k is None else past_k.shape[2]
        seen = self._mask(q, k, mask, before, lengths)
        groups = q.shape[1] // k.shape[1]
        keys, values = (one.move(lambda a: np.repeat(a, groups, 1)) if groups > 1 else one for one in (k, v))

        raw = self._scores(q, keys)
        capped = (raw * (1 / self.softcap)).apply(known.TANH) * self.softcap if self.softcap else raw
        scores = capped if seen.bias is None else capped + seen.bias
        weights = softmax(scores, np.broadcast_to(seen.allowed, scores.shape))
        y = weights.dot(values.wide())
        if flat:
            y = y.move(lambda a: a.transpose(0, 2, 1, 3).reshape(a.shape[0], a.shape[2], -1))
        shown = {0: raw, 1: capped, 2: scores, 3: weights}.get(self.qk_matmul_output_mode)
        if shown is None:
            raise Unjudged(f"qk_matmul_output_mode {self.qk_matmul_output_mode}")
        if self.qk_matmul_output_mode == 2:
            # Implementations add -inf there, or a very low finite number.
            hidden = shown.like(np.full(shown.shape, -FLOAT32.largest), np.full(shown.shape, np.inf))
            shown = choose(np.broadcast_to(~seen.allowed, shown.shape).astype(np.int64), shown, hidden)
        return y, k, v, shown

    def _heads(self, x: Number, heads: int) -> Number:
        """(B, S, H·D) to (B, H, S, D)."""
        batch, length, _ = x.shape
        return x.reshape(batch, length, heads, -1).transpose(0, 2, 1, 3)

    def _scores(self, q: Number, k: Number) -> Number:
        """Q·K' · scale. An implementation may multiply both factors by √scale, or one of them by scale."""
        root = float(self.scale or 1 / np.sqrt(q.shape[-1])) ** 0.5
        form = getattr(q, "format", FLOAT32)
        factor = q.like(np.array(root), np.array(root * form.u))
        return (q * factor).dot((k * factor).move(lambda a: a.swapaxes(-1, -2)))

    def _mask(self, q: Number, k: Number, mask: Number | None, before: int, lengths: Number | None) -> _Mask:
        queries, keys = q.shape[2], k.shape[2]
        # The position of each query among the keys, (B or 1, 1, Q, 1).
        offset = np.full((1, 1, 1, 1), before)
        allowed = np.ones((1, 1, queries, keys), bool)
        at = np.arange(keys)
        if lengths is not None:
            spans = plain_values(lengths, "nonpad_kv_seqlen").reshape(-1, 1, 1, 1)
            allowed = allowed & (at < spans)
            offset = spans - queries
        place = offset + np.arange(queries)[:, None]
        if self.is_causal:
            allowed = allowed & (at <= place)
        if self.left_window_size >= 0:
            allowed = allowed & (at >= place - self.left_window_size)
        if self.right_window_size >= 0:
            allowed = allowed & (at <= place + self.right_window_size)
        if mask is None:
            return _Mask(allowed, None)
        missing = keys - mask.shape[-1]
        given = own(mask)
        full = mask.move(lambda a: np.pad(a, ((0, 0),) * (a.ndim - 1) + ((0, missing),)))
        shown = given if given.dtype == bool else ~np.isneginf(given.astype(np.float64))
        shown = np.pad(shown, ((0, 0),) * (shown.ndim - 1) + ((0, missing),))
        allowed = allowed & _four(shown)
        if given.dtype == bool:
            return _Mask(allowed, None)
        finite = full.move(lambda a: np.where(_four(shown), _four(a), 0))
        return _Mask(allowed, finite if own(finite).any() else None)


def _four(a: Array) -> Array:
    """The array with new axes in front, so that it has four."""
    return a.reshape((1,) * (4 - a.ndim) + a.shape)


def softmax(scores: Number, allowed: Array) -> Number:
    """Softmax of the allowed scores along the last axis; zeros where none is allowed."""
    values = np.where(allowed, own(scores), -np.inf)
    shift = values.max(-1, keepdims=True, initial=-np.inf)
    shift = np.where(np.isfinite(shift), shift, 0.0)
    powers = (scores - scores.like(shift)).apply(known.EXP).move(lambda a: np.where(allowed, a, 0))
    total = powers.sum((powers.ndim - 1,))
    empty = np.asarray(~allowed.any(-1, keepdims=True), np.int64)
    total = choose(empty, total, total.like(np.ones(total.shape)))
    return powers / total


@register
@dataclass(frozen=True)
class RotaryEmbedding(Operator):
    """Rotate pairs of values of each head by an angle for their position; its cosine and sine are inputs."""

    TYPE: ClassVar[str] = "RotaryEmbedding"

    interleaved: int = 0
    num_heads: int = 0
    rotary_embedding_dim: int = 0

    def evaluate(self, x: Number, cos: Number, sin: Number, ids: Number | None = None) -> Number:
        shape = x.shape
        # (B, S, H, D)
        x = x.transpose(0, 2, 1, 3) if x.ndim == 4 else x.reshape(*shape[:2], self.num_heads, -1)
        turned = self.rotary_embedding_dim or x.shape[-1]
        half = turned // 2
        if ids is not None:
            at = plain_values(ids, "position_ids of RotaryEmbedding")
            cos, sin = cos.move(lambda a: a[at]), sin.move(lambda a: a[at])
        cos, sin = cos.move(lambda a: a[:, :, None]), sin.move(lambda a: a[:, :, None])
        if self.interleaved:
            first, second = x.move(lambda a: a[..., 0:turned:2]), x.move(lambda a: a[..., 1:turned:2])
        else:
            first, second = x.move(lambda a: a[..., :half]), x.move(lambda a: a[..., half:turned])
        real = cos * first - sin * second
        imaginary = sin * first + cos * second
        y = real.join([imaginary], -1)
        if self.interleaved:
            order = np.arange(turned).reshape(2, half).T.ravel()
            y = y.move(lambda a: a[..., order])
        if turned < x.shape[-1]:
            y = y.join([x.move(lambda a: a[..., turned:]).wide()], -1)
        return y.transpose(0, 2, 1, 3) if len(shape) == 4 else y.reshape(*shape)
