"""Mistakes that the candidate's values show or rule out, before they are tried; and what proves a mistake."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from parity.arithmetic import Bounded
from parity.judging.causes.mistake import Seen
from parity.judging.causes.search.wrong import Wrong
from tests.parity.judging.causes.plain.layer import Array, Layer, drawn
from tests.parity.judging.causes.three_nodes import FOUND, RIGHT, leaky, wrong

X = 3 * drawn(4, 20)
WIDE = X.astype(np.float64)
ZEROS = np.zeros(X.shape, np.float32)

# --- activations -------------------------------------------------------------------------------


def of_slope(slope: float) -> Array:
    return leaky(WIDE, slope).astype(np.float32)


def slopes(layer: Layer) -> list[str]:
    return [name for name in layer.mistakes if name.startswith(("slope ", "leaky ", "one slope"))]


def test_a_slope_is_read_off_from_negative_values():
    assert slopes(Layer("LeakyRelu", X, alpha=0.2, found=of_slope(0.37)))[0] == "slope alpha 0.37 for 0.2"
    assert slopes(Layer("Relu", X, found=of_slope(0.37)))[0] == "leaky ReLU (0.37) for ReLU"
    assert (
        slopes(Layer("PRelu", X, np.array(0.5, np.float32), found=of_slope(0.37)))[0]
        == "one slope 0.37 for all values"
    )
    layer = Layer("LeakyRelu", X, alpha=0.2, found=of_slope(0.37))
    layer.returns("slope alpha 0.37 for 0.2", np.where(WIDE > 0, WIDE, 0.37 * WIDE))


@pytest.mark.parametrize(
    ("found", "x"),
    [(of_slope(0.37)[:2], X), (of_slope(0.37), np.abs(X)), (of_slope(0.0), X), (of_slope(1.0), X)],
)
def test_other_values_show_no_slope(found, x):
    """Of another shape; where nothing is negative; 0 and 1, which are no slopes."""
    listed = [f"slope alpha {alpha:g} for 0.2" for alpha in (0.01, 0.1, 0.3, -0.2)]
    assert slopes(Layer("LeakyRelu", x, alpha=0.2, found=found)) == listed


def test_the_absolute_value_has_a_name_of_its_own():
    assert "leaky ReLU (-1) for ReLU" not in Layer("Relu", X, found=of_slope(-1)).mistakes
    assert "absolute value for ReLU" in Layer("Relu", X, found=of_slope(-1)).mistakes
    assert "slope alpha -1 for 0.2" in Layer("LeakyRelu", X, alpha=0.2, found=of_slope(-1)).mistakes


def test_values_that_are_not_finite_show_no_slope():
    found = of_slope(0.37)
    found[WIDE < 0] = np.where(np.arange((WIDE < 0).sum()) % 2, np.nan, found[WIDE < 0])
    assert slopes(Layer("LeakyRelu", X, alpha=0.2, found=found))[0] == "slope alpha 0.37 for 0.2"


def test_the_alpha_of_an_exponential_unit_is_read_off():
    found = np.where(WIDE > 0, WIDE, 0.75 * np.expm1(np.minimum(WIDE, 0))).astype(np.float32)
    layer = Layer("Elu", X, found=found)
    layer.returns("alpha 0.75 for 1", np.where(WIDE > 0, WIDE, 0.75 * np.expm1(np.minimum(WIDE, 0))))
    assert "alpha 0.75 for 1" not in Layer("Elu", X).mistakes


def test_the_limits_are_read_off():
    """From values that lie beyond them: an end that no value reaches is open."""
    for low, high, words in ((-1.5, 2.5, "[-1.5, 2.5]"), (-1.5, None, "[-1.5, ∞]"), (None, 2.5, "[-∞, 2.5]")):
        found = np.clip(WIDE, low, high).astype(np.float32)
        layer = Layer("Clip", X, np.array(-2, np.float32), np.array(3, np.float32), found=found)
        names = [name for name in layer.mistakes if name.startswith("clipped")]
        assert names == [f"clipped to {words}, for [-2, 3]"]
        layer.returns(names[0], np.clip(WIDE, low, high))


def test_one_value_throughout_is_no_other_activation():
    for kind in ("Relu", "Sigmoid", "Clip", "Softmax"):
        assert not [name for name in Layer(kind, X, found=ZEROS).mistakes if f" for {kind}" in name]
        assert f"{kind} applied twice" not in Layer(kind, X, found=ZEROS).mistakes
        assert not [name for name in Layer(kind, X, found=ZEROS).mistakes if name.startswith("clipped")]
    assert "sigmoid for ReLU" in Layer("Relu", X, found=of_slope(0.5)).mistakes
    assert "sigmoid for ReLU" not in Layer("Relu", X.astype(np.int32)).mistakes
    one = Layer("Relu", X[:1, :1], found=ZEROS[:1, :1])
    assert "sigmoid for ReLU" in one.mistakes  # of one value, nothing is known


# --- the first steps of a sequence -------------------------------------------------------------

UNITS = 3
STEPS = drawn(7, 2, 4, seed=1)
W, R, B = drawn(1, 3 * UNITS, 4, seed=2), drawn(1, 3 * UNITS, UNITS, seed=3), drawn(1, 6 * UNITS, seed=4)


def gru(order: str = "zrh", bias: float = 1.0, **attributes: Any) -> Array:
    """Y with gates that are read in another order, and biases that are scaled."""
    layer = Layer("GRU", STEPS, *read(order, bias), hidden_size=UNITS, outputs=2, **attributes)
    return layer.outputs("")[0].value.astype(np.float32)


def read(order: str, bias: float = 1.0) -> list[Array]:
    def moved(a: Array) -> Array:
        blocks = np.split(a, a.shape[1] // UNITS, 1)
        return np.concatenate(
            [blocks[start + "zrh".index(k)] for start in range(0, len(blocks), 3) for k in order], 1
        )

    return [moved(W), moved(R), np.float32(bias) * moved(B)]


def names_of(found: Array, **attributes: Any) -> list[str]:
    layer = Layer("GRU", STEPS, W, R, B, hidden_size=UNITS, outputs=2, found=found, **attributes)
    return list(layer.mistakes)


ORDERED = "order of the gates: z and r exchanged, stored zrh (ONNX, Keras), read as rzh (PyTorch's rzn)"


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_only_what_begins_as_the_candidate_is_tried(direction):
    found = gru("rzh", direction=direction)
    some = names_of(found, direction=direction)
    everything = list(Layer("GRU", STEPS, W, R, B, hidden_size=UNITS, direction=direction).mistakes)
    assert [name for name in some if "gate" in name] == [ORDERED]
    missing = [name for name in everything if "bias" in name]
    assert missing
    assert not set(missing) & set(some)
    assert "input in reverse order of time" in some
    late = found.copy()
    late[-1 if direction == "forward" else 0] += 1  # beyond the first steps
    assert ORDERED in names_of(late, direction=direction)
    other = found.copy()
    other[:, :, 1] += 1  # another sequence
    assert ORDERED in names_of(other, direction=direction)


def test_an_order_of_gates_goes_with_another_mistake():
    """Keras' or PyTorch's order, and no bias: alone, neither begins as the candidate."""
    some = [name for name in names_of(gru("rzh", bias=0)) if "bias missing" in name]
    assert some == [f"bias missing, and {ORDERED}"]
    layer = Layer("GRU", STEPS, W, R, B, hidden_size=UNITS, outputs=2, found=gru("rzh", bias=0))
    layer.returns(some[0], layer_of("rzh", 0.0))
    one = layer.mistakes[some[0]]
    assert one.wider
    alone = Layer("GRU", STEPS, W, R, B, hidden_size=UNITS).mistakes
    assert not [name for name in alone if "bias missing, and" in name]


def layer_of(order: str, bias: float) -> Array:
    layer = Layer("GRU", STEPS, *read(order, bias), hidden_size=UNITS, outputs=2)
    return layer.outputs("")[0].value


# --- the proof ---------------------------------------------------------------------------------

EXPLAINED = ((FOUND - RIGHT) ** 2).sum()


def is_finer(
    remains: float,
    ratio: float = 1.0,
    limit: float = 10.0,
    bound: float | Array = 1e-9,
    some: Wrong | None = None,
) -> bool:
    """Of an error of which so much remains, of what is explained by a loop that is off by a tenth of it."""
    one = some or wrong(FOUND)
    report = replace(one.report, loop_ratio=ratio, loop_limit=limit)
    off = np.sqrt(remains * EXPLAINED / FOUND.size)
    expected = Bounded(one.seen.astype(np.float64) + off, np.broadcast_to(bound, FOUND.shape).copy())
    with np.errstate(invalid="ignore"):
        return one._is_finer(report, expected)


def test_what_a_plain_loop_may_be_off_is_smaller_than_what_is_explained():
    assert is_finer(0.009)
    assert not is_finer(0.011)
    assert is_finer(0.035, ratio=2.0)
    assert is_finer(0.035, limit=5.0)
    assert is_finer(0, ratio=np.nan)  # nothing remains


def test_most_of_what_is_explained_lies_where_the_bound_is_smaller_than_the_values():
    size = np.sqrt((FOUND**2).mean())
    assert is_finer(0, bound=size * 0.999)
    assert not is_finer(0, bound=size * 1.001)
    share = (FOUND - RIGHT) ** 2
    largest = np.argsort(share, axis=None)[::-1]
    half = int(np.searchsorted(np.cumsum(share.ravel()[largest]), EXPLAINED / 2))
    for count, is_most in ((half, True), (half + 1, False)):
        bound = np.full(FOUND.size, 1e-9)
        bound[largest[:count]] = 2 * size
        assert is_finer(0, bound=bound.reshape(FOUND.shape)) == is_most


def test_what_is_not_finite_is_left_out():
    holes = FOUND.copy()
    holes[0, 0] = np.inf
    assert is_finer(0.009, some=wrong(holes))
    assert not wrong(np.full_like(FOUND, np.nan))._is_finer(
        wrong(FOUND).report, Bounded(FOUND, np.zeros(FOUND.shape))
    )


def test_texts_are_compared_as_they_are():
    one = wrong(FOUND)
    words = np.array(["a", "b"])
    assert one._inside(words, Bounded(words))
    assert not one._inside(words, Bounded(words[::-1]))
    assert not one._inside(words[:1], Bounded(words))
    texts = replace(one, seen=words, right=Bounded(words))
    assert texts._narrow_share(Bounded(words)) == 1
    assert Seen([Bounded(words)], words).constant is False
