"""Attention and RotaryEmbedding: values, bounds, and which implementations they admit."""

from math import exp, inf, sqrt

import numpy as np
import pytest
import torch

from parity.arithmetic import Bounded
from parity.errors import Unjudged
from parity.operators.attention import Attention
from tests.parity.examples.attention import EXAMPLES
from tests.parity.examples.example import Example
from tests.parity.operators.one_node import check_within, in_reference, outputs

every = pytest.mark.parametrize("example", EXAMPLES, ids=str)
RNG = np.random.default_rng


@every
def test_values_are_those_of_the_reference_evaluator(example: Example) -> None:
    arrays = example.make(RNG(0))
    # Where no mode is asked for it puts the capped scores into the last output.
    found = in_reference(example, arrays, 4 if "qk_matmul_output_mode" in example.node else 1)
    for one, expected in zip(found, outputs(example.operator, arrays), strict=False):
        check_within(one, expected)


def _attention(q: list, k: list, v: list, hidden: list) -> list:
    """One head, one query at a time."""
    out = []
    for row, away in zip(q, hidden, strict=True):
        scores = [sum(a * b for a, b in zip(row, key, strict=True)) / sqrt(len(row)) for key in k]
        scores = [-inf if gone else one for one, gone in zip(scores, away, strict=True)]
        powers = [exp(one - max(scores)) for one in scores]
        out.append(
            [
                sum(p * value[i] for p, value in zip(powers, v, strict=True)) / sum(powers)
                for i in range(len(v[0]))
            ]
        )
    return out


def test_values_by_the_definition() -> None:
    rng = RNG(4)
    q, k, v = (rng.standard_normal((1, 1, *shape)) for shape in ((3, 4), (5, 4), (5, 2)))
    mask = rng.random((3, 5)) > 0.3
    y, *_ = outputs(Attention(), [q, k, v, mask])
    right = _attention(q[0, 0].tolist(), k[0, 0].tolist(), v[0, 0].tolist(), (~mask).tolist())
    np.testing.assert_allclose(y.value[0, 0], right, rtol=1e-13)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length", [7, 300])
def test_pytorch_is_within_the_bound(causal: bool, length: int) -> None:
    rng = RNG(5)
    q, k, v = (rng.standard_normal((2, 4, length, 32)).astype(np.float32) for _ in range(3))
    attend = torch.nn.functional.scaled_dot_product_attention
    found = attend(torch.from_numpy(q), torch.from_numpy(k), torch.from_numpy(v), is_causal=causal).numpy()
    check_within(found, outputs(Attention(is_causal=int(causal)), [q, k, v])[0])


def test_a_query_that_sees_nothing_gets_zeros() -> None:
    rng = RNG(6)
    q, k, v = (rng.standard_normal((1, 1, 3, 4)).astype(np.float32) for _ in range(3))
    y, *_ = outputs(Attention(), [q, k, v, np.array([[True] * 3, [False] * 3, [True] * 3])])
    assert not y.value[0, 0, 1].any()
    assert not y.bound[0, 0, 1].any()


def test_what_is_hidden_does_not_matter() -> None:
    rng = RNG(7)
    q, k, v = (rng.standard_normal((1, 1, 4, 4)).astype(np.float32) for _ in range(3))
    mask = np.arange(4) < 2
    first = outputs(Attention(), [q, k, v, mask[None]])[0]
    k[:, :, 2:] *= 1e6
    again = outputs(Attention(), [q, k, v, mask[None]])[0]
    np.testing.assert_array_equal(first.value, again.value)
    np.testing.assert_array_equal(first.bound, again.bound)


def test_a_wrong_scale_is_outside() -> None:
    rng = RNG(8)
    q, k, v = (rng.standard_normal((1, 2, 50, 16)).astype(np.float32) for _ in range(3))
    right, wrong = (outputs(Attention(scale=scale), [q, k, v])[0] for scale in (0.25, 0.2502))
    assert (np.abs(right.value - wrong.value) > right.bound).mean() > 0.9


def test_what_is_not_covered_is_said() -> None:
    q = np.ones((1, 1, 2, 4), np.float32)
    with pytest.raises(Unjudged, match="softmax_precision"):
        outputs(Attention(softmax_precision=10), [q, q, q])
    lengths = Bounded(np.array([2.0]), np.ones(1))
    with pytest.raises(Unjudged, match="not recorded"):
        Attention().evaluate(Bounded(q), Bounded(q), Bounded(q), None, None, None, lengths)


def test_a_nan_may_be_lost_only_behind_one_of_queries_keys_or_values() -> None:
    """The mask may be infinite."""
    one = Bounded(np.ones((1, 1, 2, 4), np.float32))
    mask = Bounded(np.array([[0.0, -inf], [0.0, 0.0]], np.float32))
    assert Attention().tells_nan(one, one, one, mask)
    odd = Bounded(np.full((1, 1, 2, 4), np.nan, np.float32))
    for place in range(3):
        assert not Attention().tells_nan(*(odd if place == k else one for k in range(3)))
