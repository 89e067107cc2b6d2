"""Mistakes of softmax and of attention, each as plain NumPy makes it."""

from typing import Any

import numpy as np
import pytest

from tests.parity.judging.causes.plain.layer import Array, Layer, drawn

HEADS, QUERIES, SIZE = 3, 5, 4
Q, K, V = (drawn(2, HEADS, QUERIES, SIZE, seed=seed) for seed in range(3))


def shares(scores: Array, axis: int | tuple[int, ...] = -1) -> Array:
    with np.errstate(invalid="ignore"):
        powers = np.exp(scores - scores.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def attention(
    q: Array = Q, k: Array = K, v: Array = V, scale: float = SIZE**-0.5, added: Array | float = 0.0
) -> Array:
    return shares(q.astype(np.float64) @ k.swapaxes(-1, -2) * scale + added) @ v


def hidden(seen: Array) -> Array:
    return np.where(seen, 0, -np.inf)


# --- softmax -----------------------------------------------------------------------------------

X = drawn(2, 3, 4, 4)


def test_softmax_along_something_else():
    one, x = Layer("Softmax", X), X.astype(np.float64)
    low = np.triu(np.full((4, 4), -1e9), 1)
    for name, expected in {
        "Softmax applied twice": shares(shares(x)),
        "axis 0 for -1": shares(x, 0),
        "axis 1 for -1": shares(x, 1),
        "axis 2 for -1": shares(x, 2),
        "softmax over all axes": shares(x, (0, 1, 2, 3)),
        "LogSoftmax for Softmax": np.log(shares(x)),
        "sigmoid for Softmax": 1 / (1 + np.exp(-x)),
        "causal mask added": shares(x + low),
        "queries and keys exchanged": shares(x.swapaxes(-1, -2)),
    }.items():
        one.returns(name, expected)
    middle = Layer("Softmax", X, axis=2)
    middle.returns("softmax over all axes from the axis on", shares(x, (2, 3)))
    assert "causal mask added" not in middle.mistakes
    first = Layer("Softmax", X, axis=0)
    assert "softmax over all axes" not in first.mistakes  # they are those from the axis on


def test_log_softmax():
    one, x = Layer("LogSoftmax", X), X.astype(np.float64)
    one.returns("axis 1 for -1", np.log(shares(x, 1)))
    one.returns("Softmax for LogSoftmax", shares(x))


def test_an_old_softmax_flattens_to_two_axes():
    one, x = Layer("Softmax", X, axis=1, opset=11), X.astype(np.float64)
    one.returns("", shares(x, (1, 2, 3)))
    for axis in range(4):
        one.returns(f"axis {axis} alone for all axes from 1 on (before opset 13)", shares(x, axis))
    one.returns("softmax over all axes", shares(x, (0, 1, 2, 3)))
    assert "softmax over all axes from the axis on" not in one.mistakes
    assert "causal mask added" not in one.mistakes


def test_a_causal_mask_of_fewer_queries_than_keys_ends_at_the_last_key():
    x = drawn(2, 3, 5)
    seen = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]])
    one = Layer("Softmax", x)
    one.returns("causal mask added", shares(np.where(seen, x.astype(np.float64), -1e9)))
    assert "queries and keys exchanged" not in one.mistakes
    more = drawn(2, 5, 3)
    seen = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1], [1, 1, 1], [1, 1, 1]])
    Layer("Softmax", more).returns("causal mask added", shares(np.where(seen, more.astype(np.float64), -1e9)))


def test_scores_that_are_masked_already_get_no_causal_mask():
    x = X + np.triu(np.full((4, 4), -1e9, np.float32), 1)
    assert "causal mask added" not in Layer("Softmax", x).mistakes


@pytest.mark.parametrize("shape", [(4, 4), (2, 1, 4), (2, 4, 1)])
def test_what_is_no_matrix_of_scores_gets_no_mask(shape):
    assert "causal mask added" not in Layer("Softmax", drawn(*shape)).mistakes


# --- scales ------------------------------------------------------------------------------------


def test_another_scale():
    one = Layer("Attention", Q, K, V, opset=23)
    for name, scale in {
        "": SIZE**-0.5,
        "scale missing": 1,
        "scale 1/d for 1/sqrt(d)": 1 / SIZE,
        "scale of all heads together: 1/sqrt(H·d) for 1/sqrt(d)": (HEADS * SIZE) ** -0.5,
        "scale multiplied, not divided: sqrt(d)": SIZE**0.5,
    }.items():
        one.returns(name, attention(scale=scale))
    assert "scale applied twice" not in one.mistakes  # 1/sqrt(4), twice, is 1/d
    given = Layer("Attention", Q, K, V, opset=23, scale=0.75)
    given.returns("scale applied twice", attention(scale=0.75**2))
    given.returns("scale 1/d for 1/sqrt(d)", attention(scale=1 / SIZE))


def test_heads_that_lie_beside_each_other_have_the_same_scale():
    def joined(a: Array) -> Array:
        return a.swapaxes(1, 2).reshape(2, QUERIES, HEADS * SIZE)

    heads: dict[str, Any] = {"q_num_heads": HEADS, "kv_num_heads": HEADS}
    one = Layer("Attention", joined(Q), joined(K), joined(V), opset=23, **heads)
    one.returns("", joined(attention()))
    one.returns("scale 1/d for 1/sqrt(d)", joined(attention(scale=1 / SIZE)))
    name = "scale of all heads together: 1/sqrt(H·d) for 1/sqrt(d)"
    one.returns(name, joined(attention(scale=(HEADS * SIZE) ** -0.5)))


def test_a_limit_that_is_ignored():
    one = Layer("Attention", Q, K, V, opset=23, softcap=0.5)
    one.returns("softcap ignored", attention())
    scores = Q.astype(np.float64) @ K.swapaxes(-1, -2) * SIZE**-0.5
    one.returns("", shares(0.5 * np.tanh(scores / 0.5)) @ V)


def test_inputs_that_are_exchanged():
    one = Layer("Attention", Q, K, V, opset=23)
    one.returns("queries and keys exchanged", attention(K, Q, V))
    one.returns("keys and values exchanged", attention(Q, V, K))
    one.returns("queries and values exchanged", attention(V, K, Q))


# --- causal masks ------------------------------------------------------------------------------

ROWS = np.arange(QUERIES)[:, None]


def test_a_causal_mask_that_is_none_or_another():
    k, v = drawn(2, HEADS, 7, SIZE, seed=5), drawn(2, HEADS, 7, SIZE, seed=6)
    columns = np.arange(7)
    one = Layer("Attention", Q, k, v, is_causal=1, opset=23)
    one.returns("", attention(Q, k, v, added=hidden(columns <= ROWS)))
    one.returns("causal mask missing", attention(Q, k, v))
    aligned = "causal mask aligned at the bottom right, not at the top left"
    one.returns(aligned, attention(Q, k, v, added=hidden(columns <= ROWS + 2)))
    off = "causal mask off by one: queries"
    one.returns(f"{off} see the next key", attention(Q, k, v, added=hidden(columns <= ROWS + 1)))
    first = (columns == 0) & (ROWS == 0)
    name = f"{off} do not see themselves, except for the first, which sees nothing else"
    one.returns(name, attention(Q, k, v, added=hidden((columns < ROWS) | first)))
    nothing = attention(Q, k, v, added=hidden((columns < ROWS) | first))
    nothing[:, :, 0] = 0
    one.returns(f"{off} do not see themselves", nothing)


def test_a_causal_mask_that_should_not_be_there():
    k, v = drawn(2, HEADS, 7, SIZE, seed=5), drawn(2, HEADS, 7, SIZE, seed=6)
    one = Layer("Attention", Q, k, v, opset=23)
    one.returns("causal mask added", attention(Q, k, v, added=hidden(np.arange(7) <= ROWS)))
    name = "causal mask added, aligned at the bottom right"
    one.returns(name, attention(Q, k, v, added=hidden(np.arange(7) <= ROWS + 2)))
    assert not [name for name in one.mistakes if "off by one" in name]


@pytest.mark.parametrize("kind", [bool, np.float32])
def test_a_causal_mask_beside_another_one(kind):
    """The diagonal is hidden by one, what the other hides stays hidden."""
    seen = np.ones((QUERIES, QUERIES), bool)
    seen[2:, 1] = False
    mask = seen if kind is bool else np.where(seen, 0.25, -np.inf).astype(np.float32)
    other = hidden(seen) if kind is bool else mask
    one = Layer("Attention", Q, K, V, mask, is_causal=1, opset=23)
    one.returns("", attention(added=other + hidden(np.arange(QUERIES) <= ROWS)))
    name = "causal mask off by one: queries see the next key"
    one.returns(name, attention(added=other + hidden(np.arange(QUERIES) <= ROWS + 1)))


# --- masks -------------------------------------------------------------------------------------

SEEN = np.tri(QUERIES, dtype=bool) & (np.arange(QUERIES) != 1)


def test_a_boolean_mask():
    one = Layer("Attention", Q, K, V, SEEN, opset=23)
    one.returns("", attention(added=hidden(SEEN)))
    one.returns("mask ignored", attention())
    one.returns("boolean mask inverted", attention(added=hidden(~SEEN)))
    one.returns("mask added as 0 and 1: 1 where keys are seen", attention(added=SEEN))
    one.returns("mask added as 0 and 1: 1 where keys are hidden", attention(added=~SEEN))


def test_a_mask_of_numbers():
    mask = np.where(SEEN, 0.5, -np.inf).astype(np.float32)
    one = Layer("Attention", Q, K, V, mask, opset=23)
    one.returns("", attention(added=mask))
    one.returns("mask ignored", attention())
    one.returns("mask inverted", attention(added=hidden(~SEEN)))
    one.returns("mask added as 0 and 1: 1 where keys are seen", attention(added=SEEN))
    one.returns("mask added as 0 and 1: 1 where keys are hidden", attention(added=~SEEN))


def test_a_mask_that_hides_nothing_is_not_inverted():
    one = Layer("Attention", Q, K, V, np.ones((QUERIES, QUERIES), bool), opset=23)
    assert "mask ignored" in one.mistakes
    assert not [name for name in one.mistakes if "inverted" in name or "added as" in name or "rows" in name]


@pytest.mark.parametrize("kind", [bool, np.float32])
def test_queries_that_see_no_key(kind):
    seen = np.tri(QUERIES, k=-1, dtype=bool)  # the first sees none
    mask = seen if kind is bool else np.where(seen, 0.5, -np.inf).astype(np.float32)
    one = Layer("Attention", Q, K, V, mask, opset=23)
    right = attention(added=hidden(seen))
    right[:, :, 0] = 0
    one.returns("", right)
    mean, none = right.copy(), right.copy()
    mean[:, :, 0] = V.astype(np.float64).mean(2)
    none[:, :, 0] = np.nan
    one.returns("fully masked rows uniform", mean)
    one.returns("fully masked rows NaN", none)
    for name in ("uniform", "NaN"):
        found = one.mistakes[f"fully masked rows {name}"]
        assert found.remedy == "Return zeros for a query that sees no key."
        assert found.case == "microsoft/onnxscript#2479"
    for other in (
        Layer("Attention", Q, K, V, mask, opset=23, is_causal=1),
        Layer("Attention", Q, K, V, SEEN, opset=23),
    ):
        assert not [name for name in other.mistakes if "rows" in name]
