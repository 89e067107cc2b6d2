"""What an image goes through before the first layer, in plain NumPy."""

import numpy as np
import pytest

from parity.arithmetic import Bounded
from parity.judging.causes.mistake import Seen, mistakes
from tests.parity.judging.causes.plain.layer import Array, Layer, drawn

X, W = drawn(2, 3, 4, 4, scale=100), drawn(5, 3, 1, 1, seed=1)
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
CAFFE = np.array([103.939, 116.779, 123.68], np.float32)
WIDE = X.astype(np.float64)


def along(a: Array) -> Array:
    return a.astype(np.float64).reshape(3, 1, 1)


SCALES = {
    "divided by 255": WIDE / 255,
    "multiplied by 255": WIDE * 255,
    "moved from [0, 1] to [-1, 1]": 2 * WIDE - 1,
    "moved from [-1, 1] to [0, 1]": (WIDE + 1) / 2,
    "moved from [0, 255] to [-1, 1]": WIDE / 127.5 - 1,
}
COLOURS = {
    "normalized with ImageNet's mean and deviation": (WIDE - along(MEAN)) / along(DEVIATION),
    "normalized with ImageNet's mean and deviation again taken back": WIDE * along(DEVIATION) + along(MEAN),
    "divided by 255, and normalized with ImageNet's mean and deviation": (
        (WIDE / 255 - along(MEAN)) / along(DEVIATION)
    ),
    "reduced by Caffe's mean": WIDE - along(CAFFE),
}


EVERY: dict[str, Array] = SCALES | COLOURS


@pytest.mark.parametrize("name", EVERY)
def test_an_image_that_is_prepared_otherwise(name):
    expected = np.einsum("ncpq,oc->nopq", EVERY[name], W[:, :, 0, 0].astype(np.float64))
    Layer("Conv", X, W).returns(f"input {name}", expected)


def test_other_channels_are_no_colours():
    names = Layer("MatMul", X[:, 0], drawn(4, 5)).mistakes
    assert [name for name in names if name.startswith("input ") and name.removeprefix("input ") in SCALES]
    assert not [name for name in names if name.removeprefix("input ") in COLOURS]
    two = Layer("Conv", X[:, :2], W[:, :2]).mistakes
    assert not [name for name in two if name.removeprefix("input ") in COLOURS]


def test_constants_are_those_of_float32():
    """An image of nothing but its mean becomes zero."""
    mean = np.broadcast_to(CAFFE.reshape(3, 1, 1), (1, 3, 2, 2)).copy()
    one = Layer("Conv", mean, W).mistakes["input reduced by Caffe's mean"]
    assert not one.operator.first(Bounded(mean), Bounded(W)).comparable.any()


def test_what_was_computed_before_is_no_input():
    layer = Layer("Conv", X, W)
    computed = Seen([Bounded(X, np.full(X.shape, 1e-9)), Bounded(W)], None)
    names = [one.name for one in mistakes(layer.operator, computed)]
    assert names
    assert not {f"input {name}" for name in EVERY} & set(names)


def test_colours_that_are_reversed_before_their_mean_is_taken_off():
    name = "input channels in reverse order (BGR for RGB)"
    Layer("Sub", X, CAFFE.reshape(3, 1, 1)).returns(name, WIDE[:, ::-1] - along(CAFFE))
    Layer("Div", X, DEVIATION.reshape(3, 1, 1)).returns(name, WIDE[:, ::-1] / along(DEVIATION))
    for other in (X[:, :2], X[:, :, 0]):
        assert name not in Layer("Sub", other, np.array(3, np.float32)).mistakes
