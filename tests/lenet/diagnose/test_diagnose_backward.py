"""The diagnosis of losses and gradients: planted mistakes named at their place."""

import numpy as np
import pytest

from lenet.diagnose import diagnose
from lenet.diagnose.mistakes import winners
from lenet.diagnose.probe_inputs import standard
from tests.planted.backward import (
    DLOGITS,
    GRADIENTS,
    LOSS,
    LOSSES,
    MODEL,
    POOL,
    RELU,
    changed,
    handed_on,
    maximum_of_maxima,
    ties,
    twice,
    without,
    won_by,
)
from tests.planted.bugs import seen_patched

PROBES = standard()


@pytest.mark.slow
@pytest.mark.parametrize(("patch", "where", "name"), LOSSES, ids=[row[2] for row in LOSSES])
def test_every_mistake_of_the_loss_is_named(patch, where, name):
    verdict = diagnose(PROBES, seen_patched(PROBES, patch))
    assert verdict.first == where
    assert [one.name for one in verdict.diagnoses] == [name]


@pytest.mark.slow
def test_softmax_applied_twice_is_named():
    verdict = diagnose(PROBES, seen_patched(PROBES, (LOSS, twice), (DLOGITS, handed_on)))
    assert verdict.first == "loss"
    assert [one.name for one in verdict.diagnoses] == ["softmax applied twice"]


@pytest.mark.slow
def test_a_loss_summed_with_its_gradients_is_one_mistake():
    patches = LOSSES[0][0], LOSSES[-1][0]
    verdict = diagnose(PROBES, seen_patched(PROBES, *patches))
    assert [one.name for one in verdict.diagnoses] == ["loss summed over the batch"]


@pytest.mark.slow
@pytest.mark.parametrize(("patch", "where", "name"), GRADIENTS, ids=[row[2] for row in GRADIENTS])
def test_every_mistake_of_the_backward_pass_is_named(patch, where, name):
    verdict = diagnose(PROBES, seen_patched(PROBES, patch))
    assert verdict.first == f"gradient of {where}"
    assert [one.name for one in verdict.diagnoses] == [name]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("share", "equal", "name"),
    [
        (False, np.equal, "ties rewarded to all winners"),
        (True, np.isclose, "nearly equal values share as ties"),
    ],
)
def test_nearly_equal_values_are_told_from_ties(share, equal, name):
    verdict = diagnose(PROBES, seen_patched(PROBES, (POOL, ties(share, equal))))
    assert [one.name for one in verdict.diagnoses] == [name]
    assert not verdict.ambiguous
    assert not verdict.ok


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backward", "name"),
    [
        (ties(True), "ties split among winners"),
        (maximum_of_maxima(3, 2), "ties split in pairs, columns first"),
        (won_by((3, 1, 2, 0)), "ties won by the last in column order"),
    ],
)
def test_any_right_subgradient_of_a_tie_is_a_valid_choice(backward, name):
    verdict = diagnose(PROBES, seen_patched(PROBES, (POOL, backward)))
    assert [one.name for one in verdict.diagnoses] == [name]
    assert not verdict.ambiguous
    assert verdict.ok


def test_values_that_are_compared_one_after_the_other_share_unequally():
    wins = np.array([True, True, True, True])[:, None]
    shares = winners.VALID["ties split one after the other"][1](wins)
    assert shares.ravel().tolist() == [1 / 8, 1 / 8, 1 / 4, 1 / 2]


def test_gradients_accumulated_across_calls_are_named():
    total: dict[str, np.ndarray] = {}

    def make(right):
        def backward(model, dlogits, cache):
            for name, g in right(model, dlogits, cache).items():
                total[name] = total.get(name, 0) + g
            return dict(total)

        return backward

    observed = seen_patched(PROBES, (MODEL, make))
    verdict = diagnose(PROBES, observed)
    assert [one.name for one in verdict.diagnoses] == ["gradients accumulated across calls"]


@pytest.mark.slow
def test_the_gradients_of_theano_are_two_mistakes():
    """Its nnet.relu is (x + |x|) / 2, with a gradient of ½ at zero; its pooling rewards every winner."""

    def relu(right):
        return lambda x: (right(x)[0], x)

    def relu_backward(right):
        return lambda dy, x: dy * (x.dtype.type(0.5) * (1 + np.sign(x)))

    patches = ("lenet_numpy.model.relu", relu), (RELU, relu_backward), (POOL, ties(False))
    verdict = diagnose(PROBES, seen_patched(PROBES, *patches))
    assert {one.name for one in verdict.diagnoses} == {
        "ReLU's gate half open at zero",
        "ties rewarded to all winners",
    }


@pytest.mark.slow
def test_noise_in_a_gradient_is_unknown():
    noise = np.random.default_rng(0).standard_normal((84, 120)).astype(np.float32) / 100
    verdict = diagnose(PROBES, seen_patched(PROBES, (MODEL, changed("fc2.weight", lambda g: g + noise))))
    assert verdict.first == "gradient of fc2.weight"
    assert not verdict.diagnoses
    assert str(verdict).startswith("unknown at gradient of fc2.weight")


@pytest.mark.slow
def test_a_frozen_first_layer_and_a_detached_second_are_the_same_data():
    verdict = diagnose(PROBES, seen_patched(PROBES, (MODEL, without("conv1.weight", "conv1.bias"))))
    found = [verdict.findings[0].causes, *verdict.findings[0].alternatives]
    assert {one.name for some in found for one in some} >= {"conv1 frozen", "detached before conv2"}
    assert verdict.ambiguous
    assert verdict.findings[0].apart
