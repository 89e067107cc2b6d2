"""Which digits have gates and winners that no implementation can see otherwise."""

import numpy as np
import pytest

from lenet.network.recipe import initial_params
from lenet.reference import backward
from lenet.reference.backward import decided, same_fields, window_taps, winner_decided
from parity.arithmetic import Bounded


def test_decided_knows_a_near_tie(params, digits):
    """A gate brought within its bound, and one just outside: only the first is undecided."""
    image = digits.images[:1]
    fc1 = backward.reference(params, image, "float64")["fc1"]
    unit = int(np.abs(fc1.value[0]).argmin())
    for distance, sure in ((0.5, False), (3.0, True)):
        near = {name: w.astype(np.float64) for name, w in params.items()}
        near["fc1.bias"] = near["fc1.bias"].copy()
        near["fc1.bias"][unit] += distance * fc1.bound[0, unit] - fc1.value[0, unit]
        assert decided(near, image)[0] == sure


def test_decided_accepts_ties_of_equal_pixels_and_of_closed_gates(digits):
    """MNIST's background ties everywhere: such ties are harmless, and are not counted as undecided."""
    blank = np.zeros((1, 1, 28, 28), np.float32)
    params = initial_params(0)  # biases zero: the whole background is exactly zero
    assert decided(params, blank).all()
    stripes = blank.copy()
    stripes[:, :, ::2] = 0.5  # every window of a map sees one of two rows, twice: ties above zero
    assert decided(params, stripes).dtype == bool
    assert decided(params, digits.images[:16]).all()


PIXELS = np.arange(4.0).reshape(1, 1, 2, 2)  # no two positions of a window see the same


def window(values, errors, images=PIXELS):
    """Whether the winner of one window of 2 × 2 is decided, each position of which sees one pixel."""
    z = Bounded(np.array(values, float).reshape(1, 1, 2, 2), np.array(errors, float).reshape(1, 1, 2, 2))
    return winner_decided(z, images, 2, 1, 1, 0).tolist() == [[[[True]]]]


@pytest.mark.parametrize("place", range(4))
def test_a_winner_is_decided_if_no_error_can_let_another_one_win(place):
    def turned(values):
        return np.roll(values, place)

    for errors, sure in (
        ([0, 0, 0, 0], True),
        ([0.5, 0.375, 0, 0], True),
        ([0.5, 0.5, 0, 0], False),  # both may be 2.5
        ([0.375, 0.5, 0, 0], True),
        ([1, 0, 0, 0], False),
        ([0, 1, 0, 0], False),
        ([0, 0, 2.5, 0], False),
        ([0, 0, 1.5, 2.5], True),
    ):
        assert window(turned([3, 2, 1, 0]), turned(errors)) == sure


def test_ties_are_decided_if_both_see_the_same_pixels_or_nothing_passes():
    assert not window([2, 2, 1, 1], [0, 0, 0, 0])
    twins = np.array([5.0, 5, 1, 2]).reshape(1, 1, 2, 2)
    assert window([2, 2, 1, 1], [0, 0, 0, 0], twins)
    assert window([2, 2, 1, 1], [0.25, 0.25, 0, 0], twins)
    assert not window([2, 1, 2, 1], [0, 0, 0, 0], twins)
    assert window([0, 0, 0, 0], [0, 0, 0, 0])
    assert not window([0, 0, 0, 0], [0, 0, 0, 0.5])


def test_taps_of_windows_are_their_positions_in_row_order():
    x = np.arange(70).reshape(1, 2, 5, 7)
    taps = window_taps(x, 2)
    assert [tap.shape for tap in taps] == [(1, 2, 2, 3)] * 4
    assert [tap[0, 0, 0, 0] for tap in taps] == [0, 1, 7, 8]
    assert [tap[0, 1, 1, 2] for tap in taps] == [35 + 18, 35 + 19, 35 + 25, 35 + 26]


@pytest.mark.parametrize(("size", "field", "jump", "padding"), [(2, 3, 1, 1), (2, 2, 2, 0), (3, 2, 1, 0)])
def test_same_fields_are_those_with_the_same_pixels(size, field, jump, padding):
    images = np.random.default_rng(0).integers(0, 2, (2, 1, 7, 9)).astype(np.float32)
    same = same_fields(images, size, field, jump, padding)
    padded = np.pad(images[:, 0], ((0, 0), (padding, padding), (padding, padding)))
    taps = list(np.ndindex(size, size))

    def seen(n, p, q, tap):
        row, column = (p * size + tap[0]) * jump, (q * size + tap[1]) * jump
        return padded[n, row : row + field, column : column + field]

    assert same.any()
    assert not same.all()
    rows, columns = ((padded.shape[axis] - field) // jump + 1 for axis in (1, 2))
    assert same.shape == (size**2, size**2, 2, rows // size, columns // size)
    for a, b, n, p, q in np.ndindex(*same.shape):
        assert same[a, b, n, p, q] == (seen(n, p, q, taps[a]) == seen(n, p, q, taps[b])).all()


def test_every_gate_and_every_winner_counts(params, digits, monkeypatch):
    """With the receptive field of the unit that is pooled: 5 pixels, then 14 that are 2 apart."""
    images = digits.images[:4]
    outputs = backward.reference(params, images, "float64")
    calls: list = []

    def recorded(z, images, *geometry):
        fine = np.ones((4, 1, 1, 1), bool)
        fine[len(calls)] = False
        calls.append((z, geometry))
        return fine

    monkeypatch.setattr(backward, "winner_decided", recorded)
    monkeypatch.setattr(backward, "reference", lambda *_: outputs)
    found = decided(params, images)
    assert [geometry for _, geometry in calls] == [(2, 5, 1, 2), (2, 14, 2, 2)]
    assert [z for z, _ in calls] == [outputs["relu1"], outputs["relu2"]]
    assert found.tolist() == [False, False, True, True]
    for relu in ("conv1", "conv2", "fc1", "fc2"):
        calls = []
        right = outputs[relu]
        value, error = right.value.copy(), right.bound.copy()
        value[2].flat[-1], error[2].flat[-1] = -0.25, 0.25  # may be zero
        value[3].flat[0], error[3].flat[0] = 0, 0
        outputs[relu] = Bounded(value, error)
        assert decided(params, images).tolist() == [False, False, False, True]
        outputs[relu] = right
