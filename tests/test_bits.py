"""Equal bits are counted, lost ones are lost, and weights that are not exact are refused."""

import numpy as np
import pytest

from lenet import exact, weights
from lenet.bits import equal_bits, right_logits
from lenet.errors import LenetError
from lenet.spec import LAYERS, Affine, Conv
from tests.planted import Planted, affine, bfloat16, numpy_port

EXACT = weights.read(exact.EXACT)


@pytest.fixture
def counted(digits):
    """How many of the 1,020 logits of 102 digits are right, and how many digits were seen."""

    def count(port):
        done: list[int] = []
        images = digits.images[:102]
        return *equal_bits([port], EXACT, images, right_logits(EXACT, images), done.append), sum(done)

    return count


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_right_port_has_every_bit(counted, dtype):
    assert counted(numpy_port(dtype)) == (1020, 102)


def test_one_ulp_in_one_logit_of_the_last_digit_is_one_less(counted):
    def nudged(layer, x, w, b):
        y = affine(layer, x, w, b)
        y[-1, 3] = np.nextafter(y[-1, 3], np.float32(np.inf))
        return y

    assert counted(Planted("logits", nudged)) == (1019, 102)


def test_another_arithmetic_loses_bits(counted):
    def scaled(layer, x, w, b):
        return affine(layer, x * np.float32(1 / 3), w, b * np.float32(1 / 3)) * np.float32(3)

    def cut(layer, x, w, b):
        return affine(layer, bfloat16(np.ascontiguousarray(x)), w, b)

    assert counted(Planted("fc2", scaled))[0] < 1020
    assert counted(Planted("fc2", cut))[0] < 1020


def test_logits_of_a_wrong_form_have_no_right_bits(counted):
    class Wrong(Planted):
        def _logits(self, images):
            return super()._logits(images)[:, :1]

    assert counted(Wrong("", affine)) == (0, 102)


def test_ordinary_weights_are_refused(digits, params):
    with pytest.raises(LenetError, match="not exact: "):
        right_logits(params, digits.images[:2])


@pytest.mark.parametrize(
    "layer", [layer for layer in LAYERS if isinstance(layer, Affine)], ids=lambda layer: layer.name
)
def test_below_53_bits_float64_adds_integers_as_int64_does(layer):
    """Up to the last bit that it has, in sums of both signs; with larger terms no longer."""
    rng = np.random.default_rng(3)
    shape = (4, layer.in_channels, 14, 14) if isinstance(layer, Conv) else (4, layer.terms)
    w = rng.integers(-3, 4, (layer.weight_shape[0], layer.terms))
    for most, same in ((2**53 // (3 * layer.terms), True), (2**55, False)):
        x = rng.integers(-most, most, shape)
        whole, floats = (exact._products(layer, w, x, load) for load in (2**53, 2**53 - 1))
        assert np.array_equal(whole, floats) == same
