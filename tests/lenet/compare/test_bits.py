"""Equal bits are counted, lost ones are lost, and weights that are not exact are refused."""

import hashlib

import numpy as np
import pytest

from lenet.compare import compare
from lenet.compare import layer_by_layer as judge
from lenet.compare.exact_bits import Right, equal_bits, right, sha256
from lenet.network import weights
from lenet.reference.exact import EXACT as EXACT_FILE
from parity.arithmetic.integers import product
from parity.errors import UserError
from tests.planted.ports import Planted, affine, bfloat16, numpy_port

EXACT = weights.read(EXACT_FILE)


@pytest.fixture
def counted(digits):
    """How many of the 1,020 logits of 102 digits are right."""
    some = digits[:102]

    def count(port):
        answer = right(EXACT, some.images, port.dtype)
        return compare([port], EXACT, some, right=answer).ports[0].bits_equal

    return count


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_right_port_has_every_bit(counted, dtype):
    assert counted(numpy_port(dtype)) == 1020


@pytest.mark.slow
def test_one_ulp_in_one_logit_of_the_last_digit_is_one_less(counted):
    def nudged(layer, x, w, b):
        y = affine(layer, x, w, b)
        y[-1, 3] = np.nextafter(y[-1, 3], np.float32(np.inf))
        return y

    assert counted(Planted("logits", nudged)) == 1019


@pytest.mark.slow
def test_another_arithmetic_loses_bits(counted):
    def scaled(layer, x, w, b):
        return affine(layer, x * np.float32(1 / 3), w, b * np.float32(1 / 3)) * np.float32(3)

    def cut(layer, x, w, b):
        return affine(layer, bfloat16(np.ascontiguousarray(x)), w, b)

    assert counted(Planted("fc2", scaled)) < 1020
    assert counted(Planted("fc2", cut)) < 1020


@pytest.mark.slow
def test_logits_of_a_wrong_form_have_no_right_bits(counted):
    class Wrong(Planted):
        def _logits(self, images):
            return super()._logits(images)[:, :1]

    assert counted(Wrong("", affine)) == 0


def test_a_port_that_fails_has_no_right_bits(digits, params):
    class Failing(Planted):
        def _logits(self, images):
            raise ArithmeticError("no logits")

    answer = Right(EXACT, digits.images[:3], np.zeros((3, 10), np.float32))
    report = compare([Failing("", affine)], params, digits[:3], right=answer).ports[0]
    assert (report.bits_equal, report.problem) == (0, "raises ArithmeticError: no logits")


def test_another_dtype_or_shape_has_no_right_bits_and_the_sign_of_a_zero_is_no_bit():
    want = np.array([[0.0, 1.0]], np.float32)
    assert equal_bits(want, np.array([[-0.0, 1.0]], np.float32)) == 2
    assert equal_bits(want, want.astype(np.float64)) == 0
    assert equal_bits(want, want[0]) == 0


def test_the_checksum_of_logits_leaves_out_the_sign_of_a_zero():
    logits = np.array([[0.0, 1.5]], np.float32)
    assert sha256(logits) == sha256(logits * [-1, 1]) == hashlib.sha256(bytes(6) + b"\xc0\x3f").hexdigest()
    assert sha256(np.nextafter(logits, np.float32(2))) != sha256(logits)


@pytest.mark.slow
def test_bits_are_counted_over_all_runs_and_only_where_asked(digits, params):
    some = digits[: judge.RUN + 7]
    asked = compare([numpy_port()], params, some, right=right(EXACT, some.images)).ports[0]
    assert (asked.bits_equal, asked.verdict) == (10 * len(some), "rounding")
    assert compare([numpy_port()], params, digits[:3]).ports[0].bits_equal is None


def test_ordinary_weights_are_refused(digits, params):
    with pytest.raises(UserError, match="not exact: "):
        right(params, digits.images[:2])


@pytest.mark.parametrize("terms", [25, 150, 400])
def test_integers_that_floats_hold_are_added_by_floats_as_by_int64(terms):
    """Up to the last bit that they have, in sums of both signs; with larger terms no longer."""
    rng = np.random.default_rng(3)
    w = rng.integers(-3, 4, (16, terms))
    for bits in (24, 53):
        for most, same in ((2**bits // (3 * terms), True), (2 ** (bits + 2), False)):
            x = rng.integers(-most, most, (terms, 50))
            whole, floats = (product(w, x, load) for load in (2**53, 2**bits - 1))
            assert np.array_equal(whole, floats) == same
        assert np.array_equal(whole, product(w, x, 2**bits))  # no longer by those floats
