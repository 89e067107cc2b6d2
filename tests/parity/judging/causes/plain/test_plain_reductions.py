"""Mistakes of reductions, masks that are added, and rotary embedding, each as plain NumPy makes it."""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from parity.arithmetic.floats import FLOAT32, U64, gamma
from parity.judging.causes.layers.of_rotation import Tables
from tests.parity.judging.causes.plain.layer import Array, Layer, drawn

X = drawn(2, 3, 4)
WIDE = X.astype(np.float64)
Reduce = Callable[..., Array]

# --- reductions --------------------------------------------------------------------------------

KINDS: dict[str, Reduce] = {
    "ReduceMean": np.mean,
    "ReduceSum": np.sum,
    "ReduceMax": np.max,
    "ReduceMin": np.min,
    "ReduceL1": lambda x, axes, keepdims: np.abs(x).sum(axes, keepdims=keepdims),
    "ReduceL2": lambda x, axes, keepdims: np.sqrt((x**2).sum(axes, keepdims=keepdims)),
    "ReduceSumSquare": lambda x, axes, keepdims: (x**2).sum(axes, keepdims=keepdims),
}


@pytest.mark.parametrize("kind", KINDS)
def test_another_reduction(kind):
    one, right = Layer(kind, X, np.array([1]), keepdims=0), KINDS[kind]
    one.returns("", right(WIDE, (1,), keepdims=False))
    for other, function in KINDS.items():
        if other != kind:
            one.returns(f"{other} for {kind}", function(WIDE, (1,), keepdims=False))
    for axes in (*combinations(range(3), 1), *combinations(range(3), 2), (0, 1, 2)):
        if axes != (1,):
            one.returns(f"axes {axes} for (1,)", right(WIDE, axes, keepdims=False))
    one.returns("keepdims=1", right(WIDE, (1,), keepdims=True))
    if kind == "ReduceMean":
        one.returns("mean divided by n - 1", WIDE.sum(1) / 2)
    else:
        assert "mean divided by n - 1" not in one.mistakes


def test_a_mean_of_one_value_is_not_divided_by_zero():
    assert "mean divided by n - 1" not in Layer("ReduceMean", X[:, :1], np.array([1])).mistakes


def test_places_of_the_largest_value():
    x = np.array([[3, 1, 3, 2], [0, 5, 1, 5], [4, 4, 1, 1]], np.float32)
    one = Layer("ArgMax", x, axis=1)
    for name, expected in {
        "": [[0], [1], [0]],
        "of equal values the last one": [[2], [3], [1]],
        "axis 0 for 1": [[2, 1, 0, 1]],
        "keepdims=0": [0, 1, 0],
        "ArgMin for ArgMax": [[1], [0], [2]],
    }.items():
        one.returns(name, np.array(expected))
    last = Layer("ArgMin", x, axis=-1, select_last_index=1, keepdims=0)
    for name, places in {
        "": [1, 0, 3],
        "of equal values the first one": [1, 0, 2],
        "keepdims=1": [[1], [0], [3]],
        "ArgMax for ArgMin": [2, 3, 1],
    }.items():
        last.returns(name, np.array(places))


def test_the_largest_values_in_another_order():
    x = drawn(3, 7)
    one = Layer("TopK", x, np.array([4]), outputs=2)
    order = np.sort(x, 1)
    one.returns("", order[:, :2:-1])
    one.returns("largest=0", order[:, :4])
    one.returns("in ascending order", order[:, 3:])


def test_running_sums():
    one = Layer("CumSum", X, np.array(1))
    one.returns("", WIDE.cumsum(1))
    one.returns("exclusive=1", WIDE.cumsum(1) - WIDE)
    one.returns("reverse=1", WIDE[:, ::-1].cumsum(1)[:, ::-1])
    for axis in range(3):
        one.returns(f"summed along axis {axis}", WIDE.cumsum(axis))


# --- masks that are added or chosen by ---------------------------------------------------------

SCORES = drawn(2, 4, 4)
S = SCORES.astype(np.float64)
CAUSAL = np.tri(4, dtype=bool)
LOW = np.float32(-1e4)


def mask(seen: Array) -> Array:
    return np.where(seen, np.float32(0), LOW)


@pytest.mark.parametrize("place", [0, 1])
def test_a_causal_mask_that_is_added(place):
    inputs = (mask(CAUSAL), SCORES) if place == 0 else (SCORES, mask(CAUSAL))
    one = Layer("Add", *inputs)
    for name, expected in {
        "": S + mask(CAUSAL),
        "mask inverted": S + mask(~CAUSAL),
        "mask added as 0 and 1: 1 where keys are seen": S + CAUSAL,
        "mask added as 0 and 1: 1 where keys are hidden": S + ~CAUSAL,
        "mask multiplied, not added": S * CAUSAL,
        "causal mask off by one: queries do not see themselves": S + mask(np.tri(4, k=-1, dtype=bool)),
        "causal mask off by one: queries see the next key": S + mask(np.tri(4, k=1, dtype=bool)),
        "mask transposed": S + mask(CAUSAL.T),
    }.items():
        one.returns(name, expected)


def test_a_causal_mask_of_more_keys_than_queries_lies_in_a_corner():
    scores, left = drawn(2, 3, 5), np.tri(3, 5, dtype=bool)
    right = np.tri(3, 5, 2, dtype=bool)
    for seen, name, other in (
        (left, "causal mask aligned at the bottom right", right),
        (right, "causal mask aligned at the top left", left),
    ):
        one = Layer("Add", scores, mask(seen))
        one.returns(name, scores.astype(np.float64) + mask(other))
        assert "mask transposed" not in one.mistakes
    padding = np.broadcast_to(np.arange(5) < 3, (3, 5))
    assert not [name for name in Layer("Add", scores, mask(padding)).mistakes if "causal" in name]


def test_a_number_so_low_that_it_swallows_scores():
    """Inverted, this mask hides all keys of the first query: the sum is the low number itself."""
    seen = np.array([[True, True, True], [True, False, False], [False, True, False]])
    scores = drawn(3, 3)
    low = np.float32(-1e9)
    one = Layer("Add", scores, np.where(seen, np.float32(0), low))
    expected = np.where(seen, scores.astype(np.float64) + low, scores)
    expected[0] = low
    one.returns("mask inverted", expected)


@pytest.mark.parametrize(
    "other",
    [
        np.zeros((4, 4), np.float32),
        np.full((4, 4), LOW),
        np.where(CAUSAL, np.float32(0.5), LOW),
        np.where(CAUSAL, 0, -9999),
        mask(CAUSAL)[1, 1],
    ],
    ids=["hides nothing", "hides all", "other numbers", "integers", "one number"],
)
def test_what_is_no_mask(other):
    scores = SCORES if other.dtype.kind == "f" else SCORES.astype(int)
    assert not [name for name in Layer("Add", scores, np.asarray(other)).mistakes if "mask" in name]


def test_a_choice_by_a_mask():
    one = Layer("Where", CAUSAL, SCORES, np.array(LOW))
    for name, expected in {
        "condition inverted": np.where(CAUSAL, LOW, S),
        "mask transposed": np.where(CAUSAL.T, S, LOW),
        "mask ignored": S,
    }.items():
        one.returns(name, expected)
    assert "condition ignored: the second choice everywhere" not in one.mistakes
    turned = Layer("Where", CAUSAL, np.array(LOW), SCORES)
    turned.returns("condition ignored: the second choice everywhere", S)
    row = Layer("Where", CAUSAL[:1], SCORES, np.array(LOW))
    assert "mask transposed" not in row.mistakes


@pytest.mark.parametrize(
    ("low", "others"),
    [(-1e4, {"zeros": 0.0, "NaN": np.nan}), (-np.inf, {"zeros": 0.0, "uniform": 0.25})],
)
def test_rows_in_which_all_is_hidden(low, others):
    scores = SCORES.copy()
    scores[1, 2] = low
    one = Layer("Softmax", scores)
    powers = np.exp(S - S.max(-1, keepdims=True))
    right = powers / powers.sum(-1, keepdims=True)
    rows = {name for name in one.mistakes if "rows" in name}
    assert rows == {f"fully masked rows are {word}" for word in others}
    for word, value in others.items():
        expected = right.copy()
        expected[1, 2] = value
        one.returns(f"fully masked rows are {word}", expected)


# --- rotary embedding --------------------------------------------------------------------------

STEPS, SIZE = 5, 8
H = drawn(2, 3, STEPS, SIZE)


def frequencies(base: float, half: int) -> Array:
    return base ** (-np.arange(half) / half)


def tables(angles: Array) -> dict[str, Any]:
    return {"cos": np.cos(angles), "sin": np.sin(angles)}


def turned(x: Array, cos: Array, sin: Array, *, neighbours: Any = False) -> Array:
    x = x.astype(np.float64)
    half = x.shape[-1] // 2
    one, other = (x[..., 0::2], x[..., 1::2]) if neighbours else (x[..., :half], x[..., half:])
    pair = one * cos - other * sin, one * sin + other * cos
    return np.stack(pair, -1).reshape(x.shape) if neighbours else np.concatenate(pair, -1)


PLACES = np.arange(STEPS)[:, None]
ANGLES = PLACES * frequencies(1e4, SIZE // 2)


def rotary(**attributes: Any) -> Layer:
    given = [np.broadcast_to(a, (2, STEPS, SIZE // 2)).astype(np.float32) for a in tables(ANGLES).values()]
    return Layer("RotaryEmbedding", H, *given, opset=23, **attributes)


def test_pairs_that_are_taken_and_turned_otherwise():
    one, table = rotary(), tables(ANGLES)
    pairs = turned(H, **table, neighbours=True)
    for name, expected in {
        "": turned(H, **table),
        "interleaved 1 for 0": pairs,
        "pairs of neighbours, written as two halves": np.concatenate([pairs[..., ::2], pairs[..., 1::2]], -1),
        "sign of the sine: turned the other way": turned(H, table["cos"], -table["sin"]),
        "cosine and sine exchanged": turned(H, table["sin"], table["cos"]),
        "rotary embedding missing": H,
    }.items():
        one.returns(name, expected)
    rotary(interleaved=1).returns("interleaved 0 for 1", turned(H, **table))


def test_other_tables():
    one, own = rotary(), frequencies(1e4, 4)
    one.returns("positions one too large", turned(H, **tables((PLACES + 1) * own)))
    one.returns("positions one too small", turned(H, **tables((PLACES - 1) * own)))
    for base in (5e5, 1e6, 1e5, 1e3, 100.0, 2e6, 5e6, 8e6, 1.5e5):
        expected = turned(H, **tables(PLACES * frequencies(base, 4)))
        one.returns(f"base {base:g} for 10000 (rope_theta)", expected)
    short = own.astype(np.float16).astype(np.float64)
    name = "rounded to float16 before the cosine and the sine"
    one.returns(f"frequencies {name}", turned(H, **tables(PLACES * short)))
    one.returns(f"positions {name}", turned(H, **tables(ANGLES)))  # small integers stay
    for part in (4, 2):
        rest = H[..., part:]
        for words, used in {
            "frequencies of its own": frequencies(1e4, part // 2),
            "the first frequencies": own[: part // 2],
        }.items():
            first = turned(H[..., :part], **tables(PLACES * used))
            said = f"only {part} of {SIZE} values of a head are turned, by {words}"
            one.returns(said, np.concatenate([first, rest], -1))


def test_what_two_tables_hold():
    some = Tables.of(*(a.astype(np.float32) for a in tables(ANGLES).values()))
    assert some is not None
    assert (some.count, some.base()) == (STEPS, 1e4)
    # An angle is off by |cos| times the sine's error and |sin| times the cosine's: by 2u of it at most.
    np.testing.assert_allclose(
        some.frequencies, frequencies(1e4, 4), rtol=2 * FLOAT32.u + gamma(8, U64), atol=0
    )
    assert Tables.of(*tables(ANGLES[:1]).values()) is None
    assert Tables.of(drawn(5, 4), drawn(5, 4, seed=1)) is None
    uneven = Tables.of(*tables(PLACES * np.array([1, 0.5, 0.3, 0.01])).values())
    assert uneven is not None
    assert uneven.base() is None
    assert Tables(5, np.array([1.0])).base() is None
    assert Tables(5, np.array([1.0, -0.5])).base() is None
    assert Tables(5, np.array([1.0, 1.5])).base() is None
    assert Tables(5, np.array([1.0, 0.5])).base() == 4
