"""How far a right network is off that is computed in another way."""

import numpy as np

from lenet.diagnose.search import yardstick
from lenet.diagnose.search.segment import Sample, Segment
from parity.arithmetic import Bounded
from parity.arithmetic.floats import FLOAT32, U64, gamma
from tests.lenet.diagnose.plain.network import Array, Layer, drawn, right, wide
from tests.lenet.diagnose.plain.segments import DENSE, HALF, halved, segment

TERMS = gamma(150 + 8, U64)  # of a sum of squares with up to 150 terms, a root and a product, in float64


def single(x: Array, w: Array, b: Array) -> Array:
    """A plain sum in float32."""
    total = np.zeros((len(x), len(w)), np.float32)
    for k in range(w.shape[1]):
        total = total + (x[:, k, None] * w[:, k]).astype(np.float32)
    return (total + b.astype(np.float32)).astype(np.float64)


def test_a_plain_loop_deviates_like_noise_and_a_mistake_does_not():
    loop = yardstick.deviation(segment(("fc2",), digits=16, fc2=single))
    assert 0.05 < loop.ratio <= yardstick.PLAIN  # not as if nothing were rounded
    assert not loop.systematic
    assert FLOAT32.u / 8 < loop.noise < FLOAT32.u * 120  # the order of a rounding; 120 terms are added up
    scaled = yardstick.deviation(segment(("fc2",), fc2=lambda x, w, b: 1.001 * (x @ w.T + b)))
    assert scaled.ratio > 10 * yardstick.FAST  # clearly a mistake
    assert scaled.systematic
    exact = segment(("fc2",), "float64")
    assert yardstick.deviation(exact).ratio <= yardstick.PLAIN
    peak = segment(("fc2",))
    peak.samples[1].seen[0, 3] += 1e-3
    assert yardstick.deviation(peak).ratio > yardstick.FAST


def test_the_deviation_of_other_values_is_told():
    bad = segment(DENSE, relu4=halved)
    expected = [bad.expected(k, HALF) for k in range(2)]
    assert yardstick.deviation(bad, [one for one in expected if one]).ratio <= yardstick.PLAIN
    assert yardstick.nearer(bad, HALF)
    assert not yardstick.nearer(bad, {})
    assert not yardstick.nearer(segment(DENSE), HALF)
    assert not yardstick.nearer(segment(DENSE), {})


def test_what_has_another_shape_or_is_not_finite_is_infinitely_far():
    wrong: tuple[Layer, ...] = (
        lambda x, w, b: right("fc2", x, w, b)[:, :5],
        lambda x, w, b: x @ w.T * np.nan,
    )
    for layer in wrong:
        found = yardstick.deviation(segment(("fc2",), fc2=layer))
        assert (found.ratio, found.systematic, found.noise) == (np.inf, False, np.inf)


def test_shapes_that_no_layer_takes_are_infinitely_far():
    given = segment(("fc2",))
    cut = tuple(Sample(Bounded(one.x.value[:, :50]), one.seen, one.params) for one in given.samples)
    found = yardstick.deviation(Segment(("fc2",), cut, "float32", {}))
    assert (found.ratio, found.systematic, found.noise) == (np.inf, False, np.inf)
    unknown = [Bounded(np.full((3, 84), np.nan)), Bounded(np.zeros((3, 84)))]
    found = yardstick.deviation(given, unknown)
    assert (found.ratio, found.systematic, found.noise) == (np.inf, False, np.inf)


def test_a_sum_in_float64_is_computed_in_a_finer_format():
    assert yardstick.computed_in_finer(segment(("fc2",)))
    assert not yardstick.computed_in_finer(segment(("fc2",), fc2=lambda x, w, b: x @ w.T + b + 1e-4))


def test_sizes_are_those_of_weights_and_of_the_largest_window():
    x = np.zeros((2, 120))
    x[:, :2] = [[3, 4], [6, 8]]
    params = wide(drawn(3))
    sample = Sample(Bounded(x), x, params)
    norms = np.linalg.norm(params["fc2.weight"], axis=1)
    assert np.allclose(yardstick._sizes("fc2", x, sample), np.outer([5, 10], norms), rtol=TERMS, atol=0)
    maps = np.zeros((1, 6, 14, 14))
    maps[0, :, 3, 3] = 1  # of one window: the root of six squares
    maps[0, 0, 13, 13] = 2
    kernels = np.linalg.norm(params["conv2.weight"].reshape(16, -1), axis=1)
    found = yardstick._sizes("conv2", maps, sample)
    assert np.allclose(found, (kernels * np.sqrt(6))[None, :, None, None], rtol=TERMS, atol=0)


def test_a_factor_or_a_shift_of_each_channel_explains_a_deviation():
    rng = np.random.default_rng(0)
    right_ = rng.standard_normal((8, 5, 6, 6))
    factors = rng.standard_normal((5, 1, 1))
    assert yardstick._explained(factors * right_ + 3 * factors, right_) > 1 - TERMS
    assert yardstick._explained(rng.standard_normal(right_.shape), right_) < 0.1
    assert yardstick._explained(0 * right_, right_) == 0
    assert yardstick._explained(np.ones((4, 3)), np.zeros((4, 3))) == 1
