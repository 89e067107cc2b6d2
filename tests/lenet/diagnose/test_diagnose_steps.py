"""The diagnosis of training runs: a planted mistake is named at the step that shows it."""

import numpy as np
import pytest

from lenet.diagnose import diagnose
from lenet.diagnose.probe_inputs import Observed, observe_port, standard
from lenet.ports import open_port
from tests.planted.backward import LOSS, LOSSES
from tests.planted.bugs import patched
from tests.planted.steps import DECAY, MU, RULES, Stepped, rule

pytestmark = pytest.mark.slow

PROBES = standard()


def trained(step):
    return observe_port(PROBES, Stepped(step))


@pytest.mark.parametrize(("step", "where", "name"), RULES, ids=[row[2] for row in RULES])
def test_every_mistake_of_the_optimizer_is_named_at_the_step_that_shows_it(step, where, name):
    verdict = diagnose(PROBES, trained(step))
    assert verdict.first == f"step {where}"
    assert [one.name for one in verdict.diagnoses] == [name]


def test_the_right_rule_written_again_is_ok():
    assert diagnose(PROBES, trained(rule())).ok


def test_two_mistakes_of_the_optimizer():
    verdict = diagnose(PROBES, trained(rule(gain=1 - MU, decay=0)))
    assert {one.name for one in verdict.findings[0].causes} == {"momentum dampened", "weight decay missing"}


def test_an_unknown_rule_is_unknown():
    def squared(port, w, v, g, rate, name, count):
        v[...] = MU * v + g + DECAY * w * np.abs(w)
        w -= rate * v

    verdict = diagnose(PROBES, trained(squared))
    assert verdict.first == "step 1"
    assert not verdict.diagnoses


def test_a_mistake_of_the_loss_shows_in_training_alone():
    with patched(LOSS, lambda right: lambda z, k: right(z, (k + 1) % 10)):
        whole = observe_port(PROBES, open_port("numpy"))
    assert whole.trajectory
    verdict = diagnose(PROBES, Observed(trajectory=whole.trajectory[:2]))
    assert [one.name for one in verdict.diagnoses] == ["labels too large by one"]


@pytest.mark.parametrize("spoil", ["missing", "shape", "nan"])
def test_what_training_returns_is_looked_at_before_its_values(spoil):
    observed = observe_port(PROBES, open_port("numpy"))
    assert observed.trajectory
    params = observed.trajectory[2]
    if spoil == "missing":
        del params["fc1.bias"]
    else:
        params["fc1.bias"] = params["fc1.bias"][:3] if spoil == "shape" else params["fc1.bias"] * np.nan
    verdict = diagnose(PROBES, observed)
    assert verdict.first == "step 3"
    assert "fc1.bias" in verdict.findings[0].evidence


def test_what_comes_after_a_mistake_is_left_unjudged():
    with patched(*LOSSES[0][0]):
        verdict = diagnose(PROBES, observe_port(PROBES, open_port("numpy")))
    assert verdict.unjudged == ("training",)
