"""Mistakes of rotary embedding: which values are a pair, and by which angle it is turned."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from parity.arithmetic import Array, Number
from parity.judging.causes.mistake import Changed, Mistake, Seen, first, given, made_in
from parity.operators.attention import RotaryEmbedding


@made_in("RotaryEmbedding")
def pairs(operator: RotaryEmbedding, seen: Seen) -> Iterator[Mistake]:
    now = operator.interleaved
    texts = (
        "values half a head apart (GPT-NeoX, Llama in transformers)",
        "neighbouring values (GPT-J, Llama)",
    )
    turned = replace(operator, interleaved=1 - now)
    yield Mistake(
        f"interleaved {1 - now} for {now}",
        f"A pair is taken from {texts[1 - now]}, not from {texts[now]}.",
        f"Pass interleaved={now}, or reorder the weights of the projection.",
        turned,
    )
    size = operator.rotary_embedding_dim
    if not size:

        def halves(a: Array) -> Array:
            heads = a.reshape(*a.shape[:2], operator.num_heads, -1) if a.ndim == 3 else a
            return np.concatenate([heads[..., 0::2], heads[..., 1::2]], -1).reshape(a.shape)

        yield Mistake(
            "pairs of neighbours, written as two halves",
            "A pair is taken from neighbouring values, and its results are stored half a head apart.",
            "Read and write pairs in the same way.",
            Changed(replace(operator, interleaved=1), after=lambda y, _: y.move(halves)),
        )


@made_in("RotaryEmbedding")
def angles(operator: RotaryEmbedding, seen: Seen) -> Iterator[Mistake]:
    yield Mistake(
        "sign of the sine: turned the other way",
        "Each pair is turned by the negative angle.",
        "Compute x1·cos - x2·sin and x1·sin + x2·cos.",
        Changed(operator, lambda inputs: [*inputs[:2], -first(inputs[2:]), *inputs[3:]]),
    )
    yield Mistake(
        "cosine and sine exchanged",
        "The two tables are passed in another order.",
        "Pass cos, then sin.",
        Changed(operator, lambda inputs: [inputs[0], inputs[2], inputs[1], *inputs[3:]]),
    )
    yield Mistake(
        "rotary embedding missing",
        "The values are not turned.",
        "Apply it to queries and keys.",
        Changed(operator, after=lambda y, inputs: first(inputs)),
    )
    for name, step in {"one too large": 1, "one too small": -1}.items():
        yield Mistake(
            f"positions {name}",
            "The first position is 0.",
            "Count from 0.",
            Changed(operator, lambda inputs, step=step: _moved(inputs, step)),  # type: ignore[misc]
        )


def _moved(inputs: list[Number | None], step: int) -> list[Number | None]:
    """The inputs for other positions."""
    x, cos, sin, ids = *inputs[:3], given(inputs, 3)
    assert cos is not None
    assert sin is not None
    if ids is not None:
        places = ids.comparable + step
        if places.min() < 0 or places.max() >= cos.shape[0]:
            raise IndexError("a position outside of the table")
        return [x, cos, sin, ids.like(places)]
    if not (cos.comparable[:, 0] == 1).all():
        raise IndexError("the first angle is not 0")
    c, s = (one.move(lambda a: a[:, 1:2]) for one in (cos, sin))  # of one step
    s = s if step > 0 else -s
    return [x, cos * c - sin * s, sin * c + cos * s]
