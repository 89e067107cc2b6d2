"""Right values in other places, and other functions in the place of a ReLU, are read off."""

import numpy as np
import pytest

from lenet.diagnose.mistakes.second_look import fitted_curves
from lenet.diagnose.mistakes.second_look.fitted_orders import ZERO, first_of_same, move_of, taken
from lenet.diagnose.mistakes.second_look.fitted_orders import nearest as nearest_rows
from lenet.diagnose.mistakes.second_look.shown import listed
from tests.lenet.diagnose.plain.network import Array, Layer, Wrong, pooled, right

RNG = np.random.default_rng(42)
ORDER = {size: RNG.permutation(size) for size in (4, 6, 16, 84)}
UP = np.linspace(0.5, 1.5, 6)[:, None, None]
KEPT = {size: ~np.isin(np.arange(size), (1, 4)) for size in (6, 16, 84)}


def behind(name: str, change) -> tuple[str, Layer]:
    """A layer whose right output is changed."""
    return name, lambda x, w, b: change(right(name, x, w, b))


def instead(name: str, function) -> tuple[str, Layer]:
    return name, lambda x, w, b: function(x)


def integers(y: Array, step: float, whole=np.rint) -> Array:
    return whole(y / step) * step


def flat(a: Array) -> Array:
    return a.reshape(len(a), -1)


ORDERS: dict[str, tuple[str, Layer]] = {
    f"channels in another order: {listed(ORDER[6])}": behind("relu1", lambda y: y[:, ORDER[6]]),
    "one of the channels repeated: 3": behind("pool1", lambda y: np.repeat(y[:, 3:4], 6, 1)),
    "channels set to zero: 1, 4": behind("pool1", lambda y: y * KEPT[6][:, None, None]),
    "channels repeated: 0, 1, 2, 0, 1, 2": behind("pool1", lambda y: y[:, [0, 1, 2, 0, 1, 2]]),
    f"features in another order: {listed(ORDER[84])}": behind("fc2", lambda y: y[:, ORDER[84]]),
    "features set to zero: 1, 4": behind("fc2", lambda y: y * KEPT[84]),
    "maps rolled by 1 rows and -2 columns": behind("pool1", lambda y: np.roll(y, (1, -2), (2, 3))),
    "maps transposed: height and width exchanged": behind("pool1", lambda y: y.swapaxes(2, 3)),
    "maps flipped left to right": behind("pool1", lambda y: y[..., ::-1]),
    "maps flipped upside down": behind("pool1", lambda y: y[:, :, ::-1]),
    "maps turned by 180 degrees": behind("pool1", lambda y: y[:, :, ::-1, ::-1]),
    "positions set to zero: 0, 5": behind(
        "pool1", lambda y: y * ~np.isin(np.arange(16), (0, 5)).reshape(4, 4)
    ),
    f"positions in another order: {listed(ORDER[16])}": behind(
        "pool1", lambda y: y.reshape(*y.shape[:2], 16)[..., ORDER[16]].reshape(y.shape)
    ),
}
DIGITS: dict[str, tuple[str, Layer]] = {
    f"digits in another order: {listed(ORDER[4])}": behind("fc2", lambda y: y[ORDER[4]]),
    "digit 2 for the whole batch": behind("fc2", lambda y: np.repeat(y[2:3], 4, 0)),
    "digits left at zero: 3": behind("pool1", lambda y: y * (np.arange(4) < 3)[:, None, None, None]),
}
CURVES: dict[str, tuple[str, Layer]] = {
    "channels multiplied by 0.5, 0.7, 0.9, 1.1, 1.3, 1.5 and shifted": instead(
        "relu1", lambda x: np.maximum(x * UP + UP - 1.25, 0)
    ),
    "ReLU cut off at 1.5": behind("relu1", lambda y: np.minimum(y, 1.5)),
    "values below -0.5 raised to it": instead("relu1", lambda x: np.maximum(x, -0.5)),
    "values below 0.25 raised to it": instead("relu1", lambda x: np.maximum(x, 0.25)),
    "threshold 0.1 for 0": instead("relu1", lambda x: np.where(x > 0.1, x, 0)),
    "threshold 0.25 for 0": instead("relu4", lambda x: np.where(x > 0.25, x, 0)),
    "ReLU's output rounded to multiples of 1/16": behind("relu1", lambda y: integers(y, 1 / 16)),
    "ReLU's output rounded to multiples of 0.03": behind("relu1", lambda y: integers(y, 0.03)),
    "ReLU's output cut off to multiples of 1/16": behind("relu1", lambda y: integers(y, 1 / 16, np.floor)),
}
for _parts in (7, 15, 31, 63, 127, 255):
    for _word, _whole in (("rounded", np.rint), ("cut off", np.floor)):
        CURVES[f"ReLU's output {_word} to multiples of the largest value over {_parts}"] = behind(
            "relu1", lambda y, n=_parts, whole=_whole: integers(y, y.max() / n, whole)
        )


@pytest.mark.parametrize("name", ORDERS)
def test_another_order_is_read_off(name):
    Wrong(*ORDERS[name], digits=4).is_read_off_as(name)


@pytest.mark.parametrize("name", DIGITS)
def test_other_digits_are_read_off(name):
    wrong = Wrong(*DIGITS[name], digits=4)
    wrong.is_read_off_as(name, elsewhere=False)
    assert wrong.found[name].whole_batch


@pytest.mark.parametrize("name", CURVES)
def test_another_function_for_a_relu_is_read_off(name):
    # Steps of the largest value are those of each batch: where a value lies on an edge, either step is right.
    Wrong(*CURVES[name], digits=4).is_read_off_as(name)


def test_a_limit_that_differs_between_calls_is_none():
    wrong = Wrong(*behind("relu1", lambda y: np.minimum(y, 1.5)))
    wrong.shown.examples[1].seen[...] = np.minimum(wrong.shown.examples[1].right.value, 1.25)
    assert not any("cut off at" in name for name in wrong.found)
    wrong = Wrong(*instead("relu1", lambda x: np.maximum(x, -0.5)))
    wrong.shown.examples[1].seen[...] = np.maximum(wrong.shown.examples[1].x.value, -0.25)
    assert not any("raised" in name for name in wrong.found)


def test_only_a_relu_has_a_function():
    assert list(fitted_curves.mistakes(Wrong("pool1", lambda x, w, b: pooled(x) / 2).shown)) == []


def nearest(found: list[Array], known: list[Array]) -> list[int] | None:
    order = nearest_rows(found, known)
    return None if order is None else order.tolist()


def test_a_row_is_found_among_rows_that_it_equals_in_every_array():
    known = [np.arange(12.0).reshape(4, 3), np.arange(4.0)[:, None]]
    found = [known[0][[2, 0, 0]], known[1][[2, 0, 0]]]
    assert nearest(found, known) == [2, 0, 0]
    assert nearest([found[0], found[1] + 1], known) is None
    assert nearest([np.vstack([known[0][1], np.zeros(3)])], [known[0][:3] + 1]) is None
    assert nearest([np.vstack([known[0][1] + 1, np.zeros(3)])], [known[0][:3] + 1]) == [1, ZERO]
    # Of equal rows the row's own is taken; zeros are zeros even where a known row holds some, but its own.
    equal = [np.array([[1.0], [1.0], [0.0], [3.0]])]
    assert nearest([np.array([[1.0], [1.0], [0.0], [0.0]])], equal) == [0, 1, 2, ZERO]
    # Long rows are told by projections: relative to their size, rounding does not show, and more does.
    rows = RNG.standard_normal((5, 400))
    assert nearest([rows[::-1] * (1 + 1e-6)], [rows]) == [4, 3, 2, 1, 0]
    assert nearest([rows[::-1] * (1 + 1e-2)], [rows]) is None
    assert nearest([1e-20 * rows[::-1]], [1e-20 * rows]) == [4, 3, 2, 1, 0]


def test_the_first_of_equal_rows_and_zeros_are_told():
    rows = [np.array([[1.0, 2], [0, 0], [1, 2], [3, 4]]), np.array([[5.0], [0], [5], [6]])]
    assert first_of_same(rows).tolist() == [0, ZERO, 0, 3]


def test_values_along_an_axis_are_taken_in_an_order_with_zeros():
    a = np.arange(6.0).reshape(2, 3)
    assert taken(a, np.array([2, ZERO, 0]), 1).tolist() == [[2, 0, 0], [5, 0, 3]]
    assert taken(a, np.array([ZERO, 1]), 0).tolist() == [[0, 0, 0], [3, 4, 5]]


@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (5, 5)])
def test_every_roll_has_its_name(shape):
    places = np.arange(np.prod(shape)).reshape(shape)
    for down in range(shape[0]):
        for aside in range(shape[1]):
            if not (down or aside):
                continue
            moved = np.roll(places, (down, aside), (0, 1))
            said = move_of(moved.ravel(), shape, np.arange(places.size))
            assert said is not None
            name = said[0]
            rows, columns = (int(word) for word in name.split() if word.lstrip("-").isdigit())
            assert (np.roll(places, (rows, columns), (0, 1)) == moved).all()
            assert max(abs(2 * rows) - shape[0], abs(2 * columns) - shape[1]) <= 0
    shuffled = np.random.default_rng(0).permutation(places.size)
    assert move_of(shuffled, shape, np.arange(places.size)) is None
