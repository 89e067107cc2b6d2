"""Mistakes of rotary embedding: which values are a pair, and by which angle it is turned."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from parity.arithmetic import Array, Number
from parity.arithmetic.floats import BFLOAT16, FLOAT16, FLOAT32
from parity.judging.causes.mistake import Changed, Mistake, Seen, first, made_in
from parity.operators import Operator
from parity.operators.attention import RotaryEmbedding

BASES = (1e4, 5e5, 1e6, 1e5, 1e3, 100.0, 2e6, 5e6, 8e6, 1.5e5)
ROUNDINGS = 8  # of an angle: of the base's power, of the product, of the tables that are read, of the cosine


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


# --- the tables --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tables:
    """The cosines and sines of p · f for positions p = 0, 1, ... and frequencies f.

    Attributes:
        count: of positions.
        frequencies: (D/2,) in float64.
    """

    count: int
    frequencies: Array

    @classmethod
    def of(cls, cos: Array, sin: Array) -> "Tables | None":
        """What two tables (..., S, D/2) hold; None if it is something else."""
        c, s = (one.reshape(-1, *one.shape[-2:])[0].astype(np.float64) for one in (cos, sin))
        if len(c) < 2:
            return None
        tables = cls(len(c), np.arctan2(s[1], c[1]))
        angles = np.arange(len(c))[:, None] * tables.frequencies
        off = max(np.abs(np.cos(angles) - cos).max(), np.abs(np.sin(angles) - sin).max())
        return tables if off < 1e-2 else None

    def base(self) -> float | None:
        """b, if frequency number i is b^(-2i/D)."""
        half = len(self.frequencies)
        if half < 2 or not 0 < self.frequencies[-1] < 1:
            return None
        base = float(f"{self.frequencies[-1] ** (-half / (half - 1)):.5g}")
        return base if np.allclose(powers(base, half), self.frequencies, 1e-4, 0) else None


def powers(base: float, half: int) -> Array:
    """(half,): the frequencies of rotary embedding."""
    result: Array = base ** (-np.arange(half) / half)
    return result


def with_tables(operator: Operator, positions: Array, frequencies: Array) -> Changed:
    """The operator with the tables of other angles, which are rounded as a port rounds them."""
    angles = positions[:, None].astype(np.float64) * frequencies
    short = positions.astype(np.float32)[:, None] * frequencies.astype(np.float32)

    def table(x: Number | None, of: np.ufunc) -> Number:
        assert x is not None
        shape = (*x.shape[:-2], *angles.shape)
        error = ROUNDINGS * FLOAT32.u * (np.abs(angles) + 1)
        return x.like(*(np.broadcast_to(a, shape) for a in (of(angles), error, of(short))))

    def before(inputs: list[Number | None]) -> list[Number | None]:
        return [inputs[0], table(inputs[1], np.cos), table(inputs[2], np.sin), *inputs[3:]]

    return Changed(operator, before)


@made_in("RotaryEmbedding")
def of_tables(operator: RotaryEmbedding, seen: Seen) -> Iterator[Mistake]:
    cos, sin = first(seen.inputs[1:]), first(seen.inputs[2:])
    tables = Tables.of(cos.comparable, sin.comparable)
    if tables is None:
        return
    places, own, base = np.arange(tables.count), tables.frequencies, tables.base()
    for name, step in {"one too large": 1, "one too small": -1}.items():
        yield Mistake(
            f"positions {name}",
            "The first position is 0.",
            "Count from 0.",
            with_tables(operator, places + step, own),
        )
    for form in (BFLOAT16, FLOAT16):
        for what, angles in {
            "positions": (form.round(places.astype(np.float64)).astype(np.float64), own),
            "frequencies": (places, form.round(own).astype(np.float64)),
        }.items():
            yield Mistake(
                f"{what} rounded to {form.name} before the cosine and the sine",
                f"The angles are products of positions and frequencies; the {what} went through {form.name}.",
                "Compute the tables in float32.",
                with_tables(operator, *angles),
            )
    if base is None:
        return
    for other in BASES:
        if other != base:
            yield Mistake(
                f"base {other:g} for {base:g} (rope_theta)",
                "The frequencies are powers of another base: 1e4 in most models, 5e5 in Llama 3.",
                f"Pass {base:g}.",
                with_tables(operator, places, powers(other, len(own))),
            )
    size = 2 * len(own)
    for part in (size // 2, size // 4) if not operator.rotary_embedding_dim else ():
        partial = replace(operator, rotary_embedding_dim=part)
        for words, used in {
            "frequencies of its own": powers(base, part // 2),
            "the first frequencies": own[: part // 2],
        }.items():
            if part >= 2:
                yield Mistake(
                    f"only {part} of {size} values of a head are turned, by {words}",
                    "The others stay as they are (partial_rotary_factor, rotary_pct).",
                    "Turn all values.",
                    with_tables(partial, places, used),
                )
