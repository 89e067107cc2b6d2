"""What training does whatever the framework: batches, learning rate, initial weights."""

import json
from itertools import islice, pairwise
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenet.network.architecture import PARAM_SHAPES
from lenet.network.digits import Digits
from lenet.network.recipe import Batch, Recipe, batches, initial_params

COUNT = 23
# Digit n is an image of n/255: a batch shows which digits it holds.
DIGITS = Digits(
    np.full((COUNT, 1, 28, 28), 1, np.float32)
    * np.arange(COUNT, dtype=np.float32)[:, None, None, None]
    / 255,
    np.arange(COUNT) % 10,
)
RECIPE = Recipe(seed=3, epochs=3, batch_size=5)  # four batches of 5 and one of 3
STEPS = 3 * 5


def held(batch: Batch) -> list[int]:
    """Numbers of the digits in a batch."""
    return (batch.images[:, 0, 0, 0] * 255).round().astype(int).tolist()


def same(one: list[Batch], other: list[Batch]) -> bool:
    return len(one) == len(other) and all(
        held(a) == held(b) and (a.labels == b.labels).all() and a.rate == b.rate
        for a, b in zip(one, other, strict=True)
    )


def test_each_epoch_shows_each_digit_once_the_short_last_batch_included():
    every = list(batches(DIGITS, RECIPE))
    assert len(every) == RECIPE.steps(COUNT) == STEPS
    for epoch in range(3):
        of_epoch = every[5 * epoch : 5 * epoch + 5]
        assert [len(batch.labels) for batch in of_epoch] == [5, 5, 5, 5, 3]
        assert sorted(n for batch in of_epoch for n in held(batch)) == list(range(COUNT))


def test_labels_stay_with_their_digits():
    for batch in batches(DIGITS, RECIPE):
        assert batch.labels.tolist() == [n % 10 for n in held(batch)]


def test_each_epoch_and_each_seed_has_its_own_order():
    orders = [
        [n for batch in islice(batches(DIGITS, recipe), 5 * epoch, 5 * epoch + 5) for n in held(batch)]
        for recipe in (RECIPE, Recipe(seed=4, epochs=3, batch_size=5))
        for epoch in range(3)
    ]
    assert len({tuple(order) for order in orders}) == 6
    assert list(range(COUNT)) not in orders


@given(st.integers(0, STEPS + 2), st.integers(0, STEPS + 2))
def test_batches_are_the_same_from_wherever_one_starts(start, stop):
    assert same(list(batches(DIGITS, RECIPE, start, stop)), list(batches(DIGITS, RECIPE))[start:stop])


@pytest.mark.parametrize(("count", "steps"), [(20, 4), (21, 5), (1, 1), (5, 1)])
def test_steps_count_a_short_batch_as_a_step(count, steps):
    assert Recipe(epochs=7, batch_size=5).steps(count) == 7 * steps


def test_cosine_starts_at_the_rate_and_falls_towards_zero_over_half_a_period():
    recipe = Recipe(learning_rate=0.5, schedule="cosine")
    rates = [recipe.rate(step, 100) for step in range(100)]
    assert rates[0] == 0.5
    assert rates[50] == pytest.approx(0.25, rel=1e-15)  # cos(π/2) is 6e-17 in float64
    assert all(later < earlier for earlier, later in pairwise(rates))
    # The last step is one short of the end, where 1 + cos(π − x) is x²/2 to 1 part in 12/x² ≈ 12,000.
    assert rates[99] == pytest.approx(0.5 * (np.pi / 100) ** 2 / 4, rel=1e-4)


@pytest.mark.parametrize("steps", [10, 11])
def test_drop_cuts_the_rate_to_a_tenth_from_the_middle(steps):
    recipe = Recipe(learning_rate=0.5, schedule="drop")
    rates = [recipe.rate(step, steps) for step in range(steps)]
    assert rates == [0.5] * 5 + [0.05] * (steps - 5)


def test_batches_carry_the_rate_of_their_step():
    for step, batch in enumerate(batches(DIGITS, RECIPE)):
        assert batch.rate == RECIPE.rate(step, STEPS)


def test_a_recipe_is_recorded_whole():
    nothing_by_default = Recipe(1, 2, 3, 0.4, 0.5, 0.6, "drop")
    assert Recipe(**json.loads(nothing_by_default.to_json())) == nothing_by_default


def test_initial_weights_are_he_normal_and_biases_zero():
    """Of n normal values of deviation σ the mean is normal with σ/√n, their mean square about σ²
    with σ²·√(2/n): both within five of these deviations."""
    for name, array in initial_params(0).items():
        assert array.shape == PARAM_SHAPES[name]
        assert array.dtype == np.float32
        if name.endswith("bias"):
            assert not array.any()
            continue
        n, variance = array.size, 2 / np.prod(array.shape[1:])
        assert abs(array.mean(dtype=float)) <= 5 * sqrt(variance / n)
        assert abs(np.square(array, dtype=float).mean() / variance - 1) <= 5 * sqrt(2 / n)


def test_initial_weights_depend_on_the_seed_alone():
    first, again, other = initial_params(1), initial_params(1), initial_params(2)
    assert list(first) == list(PARAM_SHAPES)
    assert all((first[name] == again[name]).all() for name in first)
    assert not any((first[name] == other[name]).all() for name in first if name.endswith("weight"))
