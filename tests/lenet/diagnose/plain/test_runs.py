"""Mistakes of a training run by themselves: plain NumPy trains, and the mistake gives what it returned."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lenet.diagnose import training_run
from lenet.diagnose.mistakes import BACKWARD
from lenet.diagnose.mistakes.of_training import hidden
from lenet.diagnose.mistakes.of_training.at_random import CHANGES, flips
from lenet.diagnose.mistakes.of_training.batch_orders import ORDERS, altered
from lenet.diagnose.mistakes.of_training.read_rule import rules
from lenet.diagnose.mistakes.of_training.run import Run
from lenet.diagnose.mistakes.update_rule import Rule
from lenet.diagnose.probe_inputs import Observed, Probes
from lenet.network.recipe import Batch
from parity.arithmetic.floats import BFLOAT16, FLOAT16
from tests.lenet.diagnose.plain.training import (
    ALL,
    RATES,
    RECIPE,
    Array,
    Params,
    course,
    explained,
    gradient,
    parts,
    run,
    trained,
    with_batches,
)
from tests.lenet.diagnose.plain.words import check_kinds

COURSE = course()


def test_a_right_run_is_right():
    path, _ = trained(COURSE)
    for dtype in ("float32", "float64"):
        one = run(COURSE, path, dtype)
        assert one.count == 4
        assert one.first_wrong is None
        assert one.distance(one.by_rule(Rule())) is None  # what is right proves no mistake
    moved = run(COURSE, path)
    moved.stations[3]["fc2.bias"][5] += 1e-6
    k, name, _ = moved.first_wrong or (0, "", None)
    assert (k, name) == (2, "fc2.bias")
    assert [step for step, *_ in moved.by_rule(Rule())][:: len(moved.names)] == [0, 1, 2, 3]


NUMBERS: dict[str, dict[str, Any]] = {
    "momentum of 0.5": {"mu": 0.5},
    "momentum missing": {"mu": 0.0},
    "weight decay of 0.5": {"decay": 0.5},
    "weight decay missing": {"decay": 0.0},
    "weight decay half as large": {"decay": 0.0625},
    "weight decay twice as large": {"decay": 0.25},
    "weight decay with the wrong sign": {"decay": -0.125},
    "gradients multiplied by 3": {"gain": 3.0},
    "momentum dampened": {"gain": 0.1, "decay": 0.0},
}


def read(given: Run) -> dict[tuple[str, ...], Rule]:
    """The rules that are read off and give what was returned, by the names of their mistakes."""
    moments = [given.moment(k) for k in range(given.count)]
    found: dict[tuple[str, ...], Rule] = {}
    for kinds, rule in rules(given.stations, given.gradients, moments):
        check_kinds(*kinds)
        if explained(given, given.by_rule(rule)):
            found.setdefault(tuple(kind.name for kind in kinds), rule)
    return found


@pytest.mark.parametrize("name", NUMBERS)
def test_the_numbers_of_a_rule_are_read_off(name):
    found = read(run(COURSE, trained(COURSE, **NUMBERS[name])[0]))
    assert any(name in names for names in found), list(found)


def test_two_numbers_and_a_penalty_are_read_off_together():
    found = read(run(COURSE, trained(COURSE, mu=0.5, decay=0.25)[0]))
    assert ("weight decay twice as large", "momentum of 0.5") in found
    pulled = trained(
        COURSE, of=lambda w, one: {n: g + 0.02 * np.sign(w[n]) for n, g in gradient(w, one).items()}
    )
    assert ("L1 penalty of 0.02",) in read(run(COURSE, pulled[0]))


def rates(change) -> Run:
    return run(COURSE, trained(COURSE, [(k, change(rate)) for k, rate in ALL])[0])


def of_parts(change: Callable[[str], tuple[float, float]]) -> Run:
    return run(COURSE, parts(COURSE, change))


RULES = {
    "learning rate multiplied by 0.5": lambda: rates(lambda rate: rate / 2),
    "learning rate fixed at 0.004": lambda: rates(lambda rate: 0.004),
    "learning rates of its own": lambda: rates(lambda rate: 0.004 if rate > 0.005 else 0.003),
    "learning rate multiplied by 2 for all biases": lambda: of_parts(
        lambda n: (2 if n.endswith("bias") else 1, 1)
    ),
    "learning rate multiplied by 0.1 for all weights": lambda: of_parts(
        lambda n: (0.1 if n.endswith("weight") else 1, 1)
    ),
    "learning rate multiplied by 0.5 for fc1, fc2": lambda: of_parts(lambda n: (0.5 if "fc" in n else 1, 1)),
    "learning rate multiplied by 3 for conv1.bias": lambda: of_parts(
        lambda n: (3 if n == "conv1.bias" else 1, 1)
    ),
    "learning rates of some parameters changed": lambda: of_parts(
        lambda n: ({"fc1.bias": 0.5, "fc2.weight": 2.0}.get(n, 1), 1)
    ),
    "no weight decay on conv1": lambda: of_parts(lambda n: (1, "conv1" not in n)),
    "weight decay multiplied by 3 for fc2.weight": lambda: of_parts(
        lambda n: (1, 3 if n == "fc2.weight" else 1)
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_other_rates_and_decays_are_read_off(name):
    found = read(RULES[name]())
    assert any(name in names for names in found), list(found)


def test_a_rate_is_read_off_one_step():
    short = course(1)
    assert ("learning rate multiplied by 0.5",) in read(run(short, trained(short, [(0, RATES[0] / 2)])[0]))


def test_nothing_is_read_off_from_noise():
    path = trained(COURSE)[0]
    rng = np.random.default_rng(2)
    for w in path[1:]:
        for name, a in w.items():
            w[name] = a + rng.standard_normal(a.shape)
    given = run(COURSE, path)
    assert read(given) == {}
    assert not [kind for kind, stations in hidden.averages(given) if explained(given, stations)]
    assert not list(hidden.rounded(given))
    assert not list(hidden.coarse(given))


def averaged(shares) -> list[Params]:
    """Averages of the parameters of a right run: shares of the start and of the parameters after k steps."""
    path = trained(COURSE)[0]
    return [
        path[0],
        *(
            {n: sum(s * w[n] for s, w in zip(shares(k), path, strict=False)) for n in path[0]}
            for k in range(1, len(path))
        ),
    ]


def moving(d: float, e: float, k: int) -> list[float]:
    """The shares of a moving average e that begins so."""
    shares = [e]
    for _ in range(k):
        shares = [*(d * share for share in shares), 1 - d]
    return shares


def growing(first: int, k: int) -> list[float]:
    shares = [1.0]
    for t in range(first, first + k):
        d = (1 + t) / (10 + t)
        shares = [*(d * share for share in shares), 1 - d]
    return shares


MOVING = "moving average of the weights handed out"
AVERAGES = {
    (MOVING, "e = 0.75 · e + 0.25 · w, from the initial weights."): lambda k: moving(0.75, 1.0, k),
    (MOVING, "e = 0.6 · e + 0.4 · w from zero, divided by 1 − 0.6^t."): lambda k: [
        share / (1 - 0.6**k) for share in moving(0.6, 0.0, k)
    ],
    (MOVING, "e = 0.75 · e + 0.25 · w, from zero and without a correction."): lambda k: moving(0.75, 0.0, k),
    (MOVING, "The factor grows: (1 + t) / (10 + t), with t from 0."): lambda k: growing(0, k),
    (MOVING, "The factor grows: (1 + t) / (10 + t), with t from 1."): lambda k: growing(1, k),
    ("mean of the weights of all steps handed out", ""): lambda k: [0, *[1 / k] * k],
    ("mean of the weights of all steps and the start handed out", ""): lambda k: [1 / (k + 1)] * (k + 1),
    ("mean of the weights of the last 2 steps handed out", ""): lambda k: (
        [0] * max(1, k - 1) + [1 / min(k, 2)] * min(k, 2)
    ),
    ("mean of the weights of the last 3 steps handed out", ""): lambda k: (
        [0] * max(1, k - 2) + [1 / min(k, 3)] * min(k, 3)
    ),
}


@pytest.mark.parametrize(("name", "text"), AVERAGES)
def test_averages_are_told_with_their_factor(name, text):
    given = run(COURSE, averaged(AVERAGES[name, text]))
    found = []
    for kind, stations in hidden.averages(given):
        check_kinds(kind)
        if explained(given, stations):
            found.append((kind.name, kind.explanation))
    assert any(one == name and text in words for one, words in found), found


@pytest.mark.parametrize(("form", "bits"), [(BFLOAT16, 8), (FLOAT16, 11)])
def test_weights_in_a_coarse_format_are_told(form, bits):
    def coarse(a: Array) -> Array:
        return form.round(a).astype(np.float64)

    path = trained(COURSE, each=coarse)[0]
    given = run(COURSE, path)
    (one, two) = list(hidden.rounded(given))
    assert one[0].name == f"weights rounded to {form.name} after each step"
    assert f"({bits} significant bits)" in one[0].explanation
    assert explained(given, one[1])
    assert not explained(given, two[1])  # the start was not rounded
    begun = trained(COURSE, each=coarse, start={name: coarse(w) for name, w in path[0].items()})[0]
    rounded_start = run(COURSE, [path[0], *begun[1:]])
    one_again, two_again = (stations for _, stations in hidden.rounded(rounded_start))
    assert not explained(rounded_start, one_again)
    assert explained(rounded_start, two_again)
    ((kind, stations),) = list(hidden.coarse(given))
    assert kind.name == f"training in {form.name}"
    assert given.distance(stations) == 0
    check_kinds(one[0], two[0], kind)


@pytest.mark.parametrize("words", CHANGES)
def test_images_that_are_changed_by_chance_are_told(words):
    chosen = np.random.default_rng(5).random((4, 3)) < 0.5
    chosen[0] = (True, False, False)
    number = iter(range(4))

    def change(one: Batch) -> Batch:
        mask = chosen[next(number), : len(one.labels)]
        images = one.images.copy()
        images[mask] = CHANGES[words](images[mask])
        return replace(one, images=images)

    given = run(COURSE, trained(with_batches(COURSE, change))[0])
    found = {kind.name: (kind, gradients) for kind, gradients in flips(given)}
    kind, gradients = found[f"some images {words} in training"]
    check_kinds(kind)
    assert "step 1: 0" in kind.explanation
    assert explained(given, given.by_rule(Rule(), gradients))


def test_batches_are_filled_up_as_they_are_told():
    short = COURSE.batches[2]
    filled = {kind.explanation: one for kind, one in altered(short, 4)}
    check_kinds(*(kind for kind, _ in altered(short, 4)))
    zeros, first, last, same, back = filled.values()
    assert all((one.images[:2] == short.images).all() and len(one.labels) == 4 for one in filled.values())
    assert not zeros.images[2:].any()
    assert not zeros.labels[2:].any()
    assert first.labels.tolist() == short.labels[[0, 1, 0, 1]].tolist()
    assert (first.images == short.images[[0, 1, 0, 1]]).all()
    assert (last.images == short.images[[0, 1, 1, 1]]).all()
    assert last.labels.tolist() == short.labels[[0, 1, 1, 1]].tolist()
    assert (same.images == short.images[[0, 1, 0, 0]]).all()
    assert same.labels.tolist() == short.labels[[0, 1, 0, 0]].tolist()
    assert (back.images == short.images[[0, 1, 1, 0]]).all()
    assert back.labels.tolist() == short.labels[[0, 1, 1, 0]].tolist()
    assert all("to 4 digits with" in text for text in filled)
    full = COURSE.batches[0]
    for _, one in altered(full, 3):
        assert np.array_equal(one.images, full.images)
        assert np.array_equal(one.labels, full.labels)


def test_a_wrong_gradient_shows_in_training():
    """Mistakes of the backward pass that are made in training alone, under the right rule."""
    halved = next(m for m in BACKWARD if m.kind.name == "loss halved")
    given = run(COURSE, trained(COURSE, gain=0.5)[0])
    assert not given.refuted(given.first_changed(halved.changes))
    assert given.shows(halved.changes)
    assert explained(given, given.by_rule(Rule(), given.changed(halved.changes)))
    doubled = next(m for m in BACKWARD if m.kind.name == "loss doubled")
    assert given.refuted(given.first_changed(doubled.changes))
    assert not given.shows({})


def test_gradients_of_several_steps_are_added_up_or_one_step_late():
    summed, last = dict[str, Array](), dict[str, Array]()

    def adding(w: Params, one: Batch) -> Params:
        for name, g in gradient(w, one).items():
            summed[name] = summed.get(name, 0) + g
        return dict(summed)

    def late(w: Params, one: Batch) -> Params:
        before = dict(last) or {name: np.zeros(a.shape) for name, a in w.items()}
        last.update(gradient(w, one))
        return before

    given = run(COURSE, trained(COURSE, of=adding)[0])
    assert explained(given, given.by_rule(Rule(accumulated=True)))
    given = run(COURSE, trained(COURSE, of=late)[0])
    assert explained(given, given.by_rule(Rule(stale="zero")))


@pytest.mark.parametrize("averaged_", [True, False])
@pytest.mark.parametrize("every", [2, 3])
def test_a_step_after_several_batches_adds_their_gradients(every, averaged_):
    w = trained(COURSE, [])[0][-1]
    v, path, waiting = {name: np.zeros(a.shape) for name, a in w.items()}, [w], []
    for one in COURSE.batches:
        waiting.append(gradient(w, one))
        if len(waiting) == every:
            share = 1 / every if averaged_ else 1
            v = {
                n: RECIPE.momentum * v[n] + share * sum(g[n] for g in waiting) + RECIPE.weight_decay * w[n]
                for n in w
            }
            w, waiting = {n: w[n] - one.rate * v[n] for n in w}, []
        path.append(w)
    given = run(COURSE, path)
    assert explained(given, given.accumulated(every, averaged_))
    assert not explained(given, given.accumulated(every, not averaged_))


@pytest.mark.parametrize("number", range(3))
def test_short_batches_that_are_filled_up_give_other_gradients(number):
    def filled(one: Batch) -> Batch:
        return list(altered(one, 3))[number][1]

    given = run(COURSE, trained(with_batches(COURSE, filled))[0])
    assert explained(given, given.by_rule(Rule(), given.on_other_batches(filled, {})))


def test_a_moment_has_the_rate_and_the_batch_of_another_step():
    given = run(COURSE, trained(COURSE)[0])
    one = given.moment(2)
    assert (one.rates, one.sizes, one.per_epoch) == (tuple(RATES), (3, 3, 2, 3), 2)
    assert (one.momentum, one.decay, one.dtype, one.step) == (0.9, 0.125, "float64", 2)
    assert given.moment(1, 0.5, 2).rates[1] == 0.5
    assert given.moment(1, 0.5, 2).sizes[1] == 2
    later = given.moment(5, 0.25)
    assert later.rates == (*RATES, RATES[-1], 0.25)
    assert later.sizes == (3, 3, 2, 3, 3, 3)


def test_what_training_returns_must_be_parameters():
    start = COURSE.start
    assert training_run._problem(start, start) == ""
    assert "returned no fc2.bias" in training_run._problem(
        {n: w for n, w in start.items() if n != "fc2.bias"}, start
    )
    other = start | {"fc2.bias": np.zeros(3)}
    assert "fc2.bias of shape (3,), expected (84,)" in training_run._problem(other, start)
    broken = start | {"fc2.bias": np.full(84, np.nan)}
    assert "a fc2.bias that is not finite" in training_run._problem(broken, start)


def test_a_run_is_judged_up_to_what_is_broken():
    probes, path = Probes((), COURSE), trained(COURSE)[0][1:]
    assert training_run.findings(probes, Observed("float64")) == []
    assert training_run.findings(probes, Observed("float64", trajectory=path)) == []
    assert training_run.is_right(probes, Observed("float64", trajectory=path))
    broken = [*path[:2], {}]
    (finding,) = training_run.findings(probes, Observed("float64", trajectory=broken))
    assert (finding.where, finding.causes) == ("step 3", ())
    assert "returned no conv1.weight" in finding.evidence
    assert not training_run.is_right(probes, Observed("float64", trajectory=broken))
    wrong = trained(COURSE, gain=3.0)[0][1:]
    assert not training_run.is_right(probes, Observed("float64", trajectory=wrong))
    never_drops = trained(COURSE, [(k, RATES[0]) for k, _ in ALL])[0][1:]
    never_drops[3] = {name: w * np.nan for name, w in never_drops[3].items()}  # what comes before is judged
    (finding,) = training_run.findings(probes, Observed("float64", trajectory=never_drops))
    assert finding.where == "step 3"
    assert finding.known


def test_of_explanations_that_come_as_close_the_simplest_is_taken():
    given = run(COURSE, trained(COURSE, gain=3.0)[0])
    good = Rule(gain=3.0)
    one, two, three = ORDERS[0].kind, ORDERS[1].kind, ORDERS[2].kind
    found = training_run._closest(
        given,
        [
            (1, (one,), given.by_rule(good)),
            (0, (two,), given.by_rule(good)),
            (0, (two,), given.by_rule(good)),
            (0, (three,), given.by_rule(Rule())),
        ],
    )
    assert found == [[(two, ("training step",))]]
    assert training_run._closest(given, [(0, (three,), given.by_rule(Rule()))]) == []
