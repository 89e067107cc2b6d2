"""Uses of Attention and RotaryEmbedding."""

from collections.abc import Callable
from typing import Any

import numpy as np

from parity.operators.attention import Attention, RotaryEmbedding
from tests.parity.examples.example import Example

B, HQ, HK, Q, K, D, DV = 2, 6, 2, 4, 7, 8, 5
Draw = Callable[..., np.ndarray]


def _use(
    *rest: Callable[[np.random.Generator], np.ndarray] | None,
    flat: bool = False,
    opset: int = 24,
    **node: Any,
) -> Example:
    def make(rng: np.random.Generator) -> list[np.ndarray | None]:
        def draw(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape).astype(np.float32)

        if flat:
            made = [draw(B, Q, HQ * D), draw(B, K, HK * D), draw(B, K, HK * DV)]
        else:
            made = [draw(B, HQ, Q, D), draw(B, HK, K, D), draw(B, HK, K, DV)]
        return [*made, *(None if one is None else one(rng) for one in rest)]

    return Example(Attention(**node), node, make, opset, data=(0, 1, 2))


def _normal(*shape: int) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: rng.standard_normal(shape).astype(np.float32)


def _partly_hidden(rng: np.random.Generator) -> np.ndarray:
    """A float mask, one row of it hidden from the first query of the first image on."""
    mask = rng.standard_normal((B, 1, Q, K)).astype(np.float32)
    mask[rng.random(mask.shape) > 0.7] = -np.inf
    mask[0, 0, 1] = -np.inf
    return mask


def _lengths(*lengths: int) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: np.array(lengths)


def _rotary(shape: tuple[int, ...], half: int, ids: bool, **node: Any) -> Example:
    def make(rng: np.random.Generator) -> list[np.ndarray | None]:
        length = shape[2] if len(shape) == 4 else shape[1]
        angles = rng.uniform(-3, 3, (10, half) if ids else (shape[0], length, half))
        made = [
            rng.standard_normal(shape).astype(np.float32),
            np.cos(angles).astype(np.float32),
            np.sin(angles).astype(np.float32),
        ]
        return [*made, rng.integers(0, 10, (shape[0], length))] if ids else [*made]

    return Example(RotaryEmbedding(**node), node, make, 23)


PAST = (_normal(B, HK, 3, D), _normal(B, HK, 3, DV))

EXAMPLES = [
    _use(),
    _use(scale=0.3, softcap=2.0),
    _use(is_causal=1),
    _use(flat=True, q_num_heads=HQ, kv_num_heads=HK),
    _use(_normal(Q, K)),
    _use(lambda rng: rng.random((Q, K)) > 0.3),
    _use(_partly_hidden),
    *(_use(_normal(Q, K + 3), *PAST, qk_matmul_output_mode=mode, is_causal=1) for mode in range(4)),
    _use(None, None, None, _lengths(5, 7)),
    _use(None, None, None, _lengths(5, 3), is_causal=1),
    _use(opset=25, left_window_size=1, right_window_size=1),
    _rotary((2, 3, 4, 8), 4, True),
    _rotary((2, 3, 4, 8), 4, False, interleaved=1),
    _rotary((2, 4, 24), 2, True, num_heads=3, rotary_embedding_dim=4),
]
