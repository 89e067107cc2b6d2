"""The certificate of the network: no order moves a sum of it, and what breaks it is named or refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lenet.network.recipe import initial_params
from lenet.reference import exact
from lenet.reference.certificate import (
    BatchCertificate,
    RangeCertificate,
    certify,
    certify_backward,
    certify_range,
)
from parity.arithmetic import integers
from parity.errors import UserError
from tests.helpers import one_line
from tests.lenet.reference.grids import cotangent, pixels16, ternary_params

LEVELS = np.arange(16, dtype=np.float32) / 16


def layer_terms(layer, params, x, where):
    """The products of the output `where` (digit, unit...) of an affine layer, and its bias, as float32."""
    digit, unit, *position = where
    w = params[f"{layer.name}.weight"][unit]
    seen = x[digit]
    if position:
        p, k = layer.padding, layer.kernel
        row, column = position
        seen = np.pad(seen, ((0, 0), (p, p), (p, p)))[:, row : row + k, column : column + k]
    return np.append((w * seen).ravel(), params[f"{layer.name}.bias"][unit])


@pytest.mark.parametrize("seed", range(3))
def test_no_order_moves_the_largest_sum_of_any_layer(seed):
    params, images = ternary_params(seed), pixels16(20, seed)
    found = certify(params, images)
    assert found.holds
    rng = np.random.default_rng(seed)
    largest = {entry.name: entry for entry in found.sums}
    for layer, x, y in exact.walk(params, integers(images)):
        if not layer.affine:
            continue
        entry = largest[layer.name]
        terms = layer_terms(layer, params, x.to_float(), entry.where)
        assert np.abs(terms, dtype=np.float64).sum() == entry.bound * 2.0**entry.exponent
        total = y.to_float()[entry.where]
        for _ in range(1000):
            assert np.add.accumulate(rng.permutation(terms))[-1] == total  # one by one, in float32


def test_the_first_layer_and_unit_that_break_it_are_named():
    params, images = ternary_params(0), pixels16(3, 0)
    params["fc1.weight"][17, 5] += 2.0**-20  # a finer grid for all of fc1, and what follows
    params["fc1.weight"][30] = 1.0  # and the largest sum of it
    found = certify(params, images)
    assert not found.holds
    assert found.broken is not None
    assert found.broken.name == "fc1"
    assert found.broken.where[1] == 30
    assert [entry.holds for entry in found.sums] == [True, True, False, False, False]
    assert one_line_problem(found).startswith(f"fc1 [{found.broken.where[0]}, 30]: ")
    assert certify(params, images, "float64").holds


def one_line_problem(found):
    assert found.broken is not None
    text = str(found.broken.problem)
    assert len(text.splitlines()) == 1
    return text


def test_chunks_do_not_change_it(monkeypatch):
    params, images = ternary_params(1), pixels16(7, 1)
    whole = certify(params, images)
    assert certify(params, images.astype(np.float64)) == whole
    seen: list[int] = []
    monkeypatch.setattr("lenet.reference.certificate.CHUNK", 3)
    assert certify(params, images, progress=seen.append) == whole
    assert seen == [3, 3, 1]
    same = certify(params, np.repeat(images[:1], 7, axis=0))
    assert {entry.where[0] for entry in same.sums} == {0}  # of equal sums that of the first digit is named


def test_a_batch_and_a_range_are_told_apart():
    params, images = ternary_params(2), pixels16(4, 2)
    batch, everything = certify(params, images), certify_range(params, LEVELS)
    assert isinstance(batch, BatchCertificate)
    assert batch.digits == 4
    assert isinstance(everything, RangeCertificate)
    assert (everything.lowest, everything.highest, everything.exponent) == (0.0, 15 / 16, -4)
    assert [entry.where for entry in everything.sums if len(entry.where) != 1] == []


@pytest.mark.slow
@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(-1, 0, 0, 1), (-1, 1), (-1, -1, 1), (0, 1)]))
def test_no_image_of_the_range_exceeds_its_worst_case(seed, signs):
    params = ternary_params(seed, signs)
    images = np.concatenate([pixels16(2, seed), np.zeros((1, 1, 28, 28), np.float32)])
    images = np.concatenate([images, np.full((1, 1, 28, 28), LEVELS[-1])])
    everything = certify_range(params, LEVELS)
    for seen, worst in zip(certify(params, images).sums, everything.sums, strict=True):
        assert seen.name == worst.name
        assert seen.exponent == worst.exponent
        assert seen.bound <= worst.bound


def test_the_worst_case_is_attained_where_nothing_cancels():
    params = ternary_params(3, (0, 1))
    white = np.full((1, 1, 28, 28), LEVELS[-1])
    seen, worst = certify(params, white), certify_range(params, LEVELS)
    assert [s.bound for s in seen.sums] == [w.bound for w in worst.sums]


def test_pixels_that_cannot_be_zero_still_meet_zero_in_the_padding():
    params = ternary_params(4, (-1, 1))
    params["conv1.weight"][:, :, :, :3], params["conv1.weight"][:, :, :, 3:] = 0.25, -0.25
    bright = np.full((1, 1, 28, 28), LEVELS[-1])
    seen, worst = certify(params, bright), certify_range(params, LEVELS[-1:])
    assert all(s.bound <= w.bound for s, w in zip(seen.sums, worst.sums, strict=True))


# --- refusals ----------------------------------------------------------------------------------


def test_ordinary_weights_are_not_exact_and_the_first_unit_is_named(params, digits):
    found = certify(params, digits.images[:2])
    assert found.broken is not None
    assert found.broken.name == "conv1"
    assert found.broken.bits > 40
    assert not certify_range(params, digits.images[:2]).holds
    assert not certify_backward(params, digits.images[:2], cotangent(2, 0)).holds


@pytest.mark.parametrize(
    ("images", "text"),
    [
        (np.full((1, 1, 28, 28), np.nan, np.float32), "NaN"),
        (np.zeros((0, 1, 28, 28), np.float32), "empty"),
        (np.zeros((1, 28, 28), np.float32), "shape"),
        (np.full((1, 1, 28, 28), 255, np.float32), "divide"),
    ],
)
def test_what_is_no_image_is_refused(images, text):
    for certificate in (certify, lambda p, x: certify_backward(p, x, np.ones((len(x), 10), np.float32))):
        with pytest.raises(UserError, match=text) as refused:
            certificate(ternary_params(0), images)
        one_line(refused)


def test_what_are_no_weights_is_refused():
    params = initial_params(0)
    del params["fc1.bias"]
    for certificate in (lambda p: certify(p, pixels16(1, 0)), lambda p: certify_range(p, LEVELS)):
        with pytest.raises(UserError, match=r"fc1\.bias"):
            certificate(params)
