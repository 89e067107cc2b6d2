"""Orders in which a port takes its batches, and what it keeps: plain NumPy makes these steps."""

from dataclasses import replace

import numpy as np
import pytest

from lenet.diagnose import training_run
from lenet.diagnose.mistakes.of_training.batch_orders import ORDERS
from lenet.diagnose.mistakes.of_training.run import Run
from lenet.diagnose.probe_inputs import Observed, Probes
from tests.lenet.diagnose.plain.network import Params
from tests.lenet.diagnose.plain.training import ALL, RATES, RECIPE, Steps, course, explained, run, trained
from tests.lenet.diagnose.plain.words import check_kinds

COURSE = course()


def calls(steps_of) -> Run:
    """A run whose calls, on the first batch, on the first two and so on, make other steps."""
    return run(COURSE, [trained(COURSE, steps_of(k))[0][-1] for k in range(-1, len(ALL))])


def schedule(k: int) -> Steps:
    return [(i, RECIPE.rate(i, k + 1)) for i in range(k + 1)]


MADE = {
    "learning rate of the next batch": lambda k: [(i, RATES[min(i + 1, k)]) for i in range(k + 1)],
    "learning rate of the last batch in every step": lambda k: [(i, RATES[k]) for i in range(k + 1)],
    "learning rate from the number of batches": schedule,
    "batches in reverse order": lambda k: ALL[: k + 1][::-1],
    "last batch skipped": lambda k: ALL[: max(k, 0)],
    "first batch skipped": lambda k: ALL[1 : k + 1],
    "only the last batch": lambda k: ALL[k : k + 1] if k >= 0 else [],
    "only the first batch": lambda k: ALL[: min(k + 1, 1)],
    "the first batch in every step": lambda k: [(0, rate) for rate in RATES[: k + 1]],
    "only every second batch": lambda k: ALL[: k + 1 : 2],
    "last batch taken twice": lambda k: [*ALL[: k + 1], *ALL[max(k, 0) : k + 1]],
    "update before the backward pass": lambda k: [(i, RATES[i + 1]) for i in range(k)],
    "two steps for each batch": lambda k: [one for one in ALL[: k + 1] for _ in range(2)],
    "all batches taken twice": lambda k: ALL[: k + 1] * 2,
    "all batches taken once for each epoch of the recipe": lambda k: ALL[: k + 1] * RECIPE.epochs,
}
# The recipe has two epochs.
SAME = {"all batches taken twice", "all batches taken once for each epoch of the recipe"}
KEPT = {  # weights, velocity
    "velocity kept from the call before": (False, True),
    "weights kept from the call before": (True, False),
    "weights and velocity kept from the call before": (True, True),
}


def kept(weights: bool, velocity: bool) -> list[Params]:
    """The parameters that calls return of which each begins with something of the call before."""
    w, v = trained(COURSE, [])[0][-1], None
    found = [w]
    for k in range(len(ALL)):
        path, v_after = trained(COURSE, ALL[: k + 1], start=w if weights else None, velocity=v)
        w, v = path[-1], v_after if velocity else None
        found.append(w)
    return found


def test_a_call_begins_with_what_a_shorter_call_returned_unless_it_is_to_be_computed_anew():
    given = run(COURSE, trained(COURSE)[0])
    given.stations[1]["fc2.bias"][...] += 1e-3
    usual = replace(ORDERS[0], steps=lambda k, rates, recipe: ALL[: k + 1])
    known, own = ({(k, n): w.value for k, n, w in given.ordered(usual, *more)} for more in ((), (True,)))
    moved = known[1, "fc2.bias"] - own[1, "fc2.bias"]
    assert (moved > 0.5e-3).all()  # but for what the gradient makes of it
    assert np.array_equal(known[0, "fc2.bias"], own[0, "fc2.bias"])


def test_every_order_of_batches_is_made_here():
    assert {order.kind.name for order in ORDERS} == MADE.keys() | KEPT.keys()
    check_kinds(*(order.kind for order in ORDERS))


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE)
def test_another_order_of_batches_gives_what_plain_numpy_returns(name):
    given = calls(MADE[name])
    told = {one.kind.name for one in ORDERS if explained(given, given.ordered(one))}
    assert told == (SAME if name in SAME else {name})


@pytest.mark.slow
@pytest.mark.parametrize("name", KEPT)
def test_what_is_kept_from_the_call_before_gives_what_plain_numpy_returns(name):
    order = next(one for one in ORDERS if one.kind.name == name)
    given = run(COURSE, kept(*KEPT[name]))
    assert explained(given, given.ordered(order))
    again = trained(
        COURSE,
        ALL[:1],
        start=trained(COURSE, ALL[:1])[0][1] if order.weights else None,
        velocity=trained(COURSE, ALL[:1])[1] if order.velocity else None,
    )[0][-1]
    right = run(COURSE, trained(COURSE)[0])
    expected = right.again(order)
    assert all((np.abs(expected[n].value - a) <= expected[n].bound).all() for n, a in again.items())
    observed = Observed("float64", trajectory=trained(COURSE)[0][1:])
    (diagnosis,) = training_run.kept(Probes((), COURSE), observed, again)
    assert diagnosis.name == name
    assert diagnosis.where == ("training step",)
    first = trained(COURSE)[0][1]
    assert training_run.kept(Probes((), COURSE), observed, first) == ()
    assert training_run.kept(Probes((), COURSE), observed, {"fc2.bias": first["fc2.bias"]}) == ()
