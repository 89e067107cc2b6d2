"""Reductions against plain definitions, onnxruntime, and samples of themselves."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest

from parity.arithmetic import Bounded, integers
from parity.arithmetic.floats import FLOAT32, gamma
from parity.errors import Unjudged
from parity.operators import Operator
from parity.operators.reduction import (
    ArgMax,
    CumSum,
    ReduceLogSumExp,
    ReduceMax,
    ReduceMean,
    ReduceProd,
    ReduceSum,
    TopK,
)
from tests.parity.examples.example import Example
from tests.parity.examples.reduction import EXAMPLES
from tests.parity.operators import one_node

every = pytest.mark.parametrize("example", EXAMPLES, ids=str)

PLAIN: dict[str, Callable[[list[float]], float]] = {
    "ReduceSum": math.fsum,
    "ReduceMean": lambda x: math.fsum(x) / len(x),
    "ReduceMax": max,
    "ReduceMin": min,
    "ReduceProd": math.prod,
    "ReduceL1": lambda x: math.fsum(map(abs, x)),
    "ReduceL2": lambda x: math.sqrt(math.fsum(a * a for a in x)),
    "ReduceLogSum": lambda x: math.log(math.fsum(x)),
    "ReduceLogSumExp": lambda x: math.log(math.fsum(map(math.exp, x))),
    "ReduceSumSquare": lambda x: math.fsum(a * a for a in x),
}


def plainly(kind: str, x: np.ndarray, axes: set[int], keepdims: bool) -> np.ndarray:
    """A reduction by loops over indices."""
    groups: dict[tuple[int, ...], list[float]] = {}
    for index in itertools.product(*map(range, x.shape)):
        place = tuple(0 if k in axes else i for k, i in enumerate(index) if keepdims or k not in axes)
        groups.setdefault(place, []).append(float(x[index]))
    shape = tuple(1 if k in axes else n for k, n in enumerate(x.shape) if keepdims or k not in axes)
    return np.array([PLAIN[kind](groups[place]) for place in itertools.product(*map(range, shape))]).reshape(
        shape
    )


def _axes(example: Example, x: np.ndarray, more: list[np.ndarray]) -> set[int]:
    named = more[0].tolist() if more else list(example.node.get("axes", ()))
    if not named:
        return set() if example.node.get("noop_with_empty_axes") else set(range(x.ndim))
    return {axis % x.ndim for axis in named}


@pytest.mark.parametrize("example", [one for one in EXAMPLES if one.operator.TYPE in PLAIN], ids=str)
def test_values_are_those_of_plain_loops(example: Example) -> None:
    arrays = one_node.drawn(example)
    x, *more = (one for one in arrays if one is not None)
    right = plainly(example.operator.TYPE, x, _axes(example, x, more), bool(example.node.get("keepdims", 1)))
    (found,) = one_node.outputs(example.operator, arrays)
    assert found.shape == right.shape
    np.testing.assert_allclose(found.value, right, rtol=1e-14, atol=1e-15)


@every
def test_reference_evaluator_agrees(example: Example) -> None:
    """It computes in float32, in NumPy's order."""
    arrays = one_node.drawn(example)
    assert one_node.report(example, arrays, one_node.in_reference(example, arrays)).same


@pytest.mark.parametrize("operator", [ReduceSum(), ReduceMean(), ReduceMax()])
def test_a_sample_costs_nothing_for_the_rest(operator: Operator) -> None:
    """Of 2^36 values, which are never laid out."""
    x = Bounded(np.broadcast_to(np.float32(1.5), (2**30, 64)))
    points = (np.array([0, 2**29, 2**30 - 1]), np.zeros(3, np.int64))
    y = operator.sample(points, x, Bounded(np.array([1])))
    assert isinstance(y, Bounded)
    assert y.shape == (3,)


def test_a_sum_rounds_once_less_than_it_has_terms() -> None:
    x = np.ones((1, 1000), np.float32)
    y = ReduceSum().evaluate(Bounded(x), Bounded(np.array([1])))
    assert isinstance(y, Bounded)
    exact = gamma(999, FLOAT32.u) * 1000
    assert exact <= y.bound.item() < exact * 1.0001


def test_running_sums_round_more_and_more() -> None:
    y = CumSum().evaluate(Bounded(np.ones(4, np.float32)), Bounded(np.array(0)))
    assert isinstance(y, Bounded)
    expected = [gamma(k, FLOAT32.u) * (k + 1) + (2 * k + 1) * FLOAT32.flush for k in range(4)]
    np.testing.assert_allclose(y.bound, expected, rtol=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_products_of_any_order_are_in_their_bound(seed: int) -> None:
    """Factors of very different size: some orders underflow on the way."""
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal(12) * 10.0 ** rng.integers(-12, 9, 12)).astype(np.float32)
    y = ReduceProd().evaluate(Bounded(x))
    assert isinstance(y, Bounded)
    for _ in range(50):
        found = np.float32(1)
        with np.errstate(all="ignore"):
            for factor in rng.permutation(x):
                found = found * factor
        assert abs(float(found) - y.value.item()) <= y.bound.item()


def test_errors_of_factors_are_carried() -> None:
    rng = np.random.default_rng(0)
    x, off = rng.standard_normal(5), np.array([0.1, 0.0, 0.2, 0.3, 0.0])
    y = ReduceProd().evaluate(Bounded(x, off))
    assert isinstance(y, Bounded)
    worst = max(
        abs(float(np.prod(x + np.array(signs) * off)) - y.value.item())
        for signs in itertools.product((-1, 1), repeat=5)
    )
    assert worst <= y.bound.item() < 1.5 * worst


def test_in_exact_integers() -> None:
    x = integers(np.array([[0.5, -3.0], [2.0, 0.25]]))
    np.testing.assert_array_equal(x.prod((0, 1)).to_float(), [[-0.75]])
    np.testing.assert_array_equal(x.min((0,)).to_float(), [[0.5, -3.0]])
    np.testing.assert_array_equal(x.cumsum(1).to_float(), [[0.5, -2.5], [2.0, 2.25]])


def test_both_ways_of_a_logarithm_of_a_sum() -> None:
    """Directly, in float32: the first form's bound need not hold, the second's does."""
    rng = np.random.default_rng(0)
    x = (10 + rng.standard_normal((50, 30))).astype(np.float32)
    direct = np.log(np.exp(x).sum(1, keepdims=True, dtype=np.float32))
    fits = []
    for form in ReduceLogSumExp(axes=(1,)).forms():
        y = form.evaluate(Bounded(x))
        assert isinstance(y, Bounded)
        fits.append(bool((np.abs(direct - y.value) <= y.bound).all()))
    assert fits[1]


def test_of_nothing() -> None:
    x = Bounded(np.zeros((2, 0), np.float32))
    for operator, right in (
        (ReduceSum(), 0),
        (ReduceProd(), 1),
        (ReduceMax(), -np.inf),
        (ReduceLogSumExp(), -np.inf),
    ):
        y = operator.evaluate(x, Bounded(np.array([1])))
        assert isinstance(y, Bounded)
        np.testing.assert_array_equal(y.value, [[right], [right]])
        assert not y.bound.any()


def test_a_mean_of_integers_is_unjudged() -> None:
    with pytest.raises(Unjudged, match="of integers"):
        ReduceMean().evaluate(Bounded(np.arange(4)))


def test_the_largest_of_what_rounding_may_swap() -> None:
    """0.9 may be above 1.0, and 0.5 not: the place may be off by 2."""
    x = Bounded(np.array([0.9, 0.5, 1.0, 0.2]), np.array([0.1, 0.1, 0.1, 0.1]))
    y = ArgMax().evaluate(x)
    assert isinstance(y, Bounded)
    assert y.value.item() == 2
    assert y.bound.item() == 2
    sure = ArgMax().evaluate(Bounded(x.value, np.full(4, 0.01)))
    assert isinstance(sure, Bounded)
    assert not sure.bound.any()


def test_top_values_need_recorded_inputs() -> None:
    with pytest.raises(Unjudged, match="not recorded"):
        TopK().evaluate(Bounded(np.ones(4), np.ones(4)), Bounded(np.array([2])))
    with pytest.raises(Unjudged, match="any order"):
        TopK(sorted=0).evaluate(Bounded(np.ones(4)), Bounded(np.array([2])))
