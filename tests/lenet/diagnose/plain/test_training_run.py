"""A whole wrong training run is explained, at its first wrong step."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from lenet.diagnose import training_run
from lenet.diagnose.diagnosis import diagnose
from lenet.diagnose.mistakes import BACKWARD, data
from lenet.diagnose.mistakes.of_training.adaptive import methods
from lenet.diagnose.mistakes.of_training.batch_orders import ORDERS, altered
from lenet.diagnose.mistakes.of_training.run import Run
from lenet.diagnose.mistakes.optimizer import MISTAKES
from lenet.diagnose.probe_inputs import Observed, Probes
from lenet.network.recipe import Batch
from parity.arithmetic.floats import BFLOAT16
from tests.lenet.diagnose.plain.backward import gradients
from tests.lenet.diagnose.plain.network import Array, Params
from tests.lenet.diagnose.plain.training import RECIPE, course, gradient, parts, run, trained, with_batches
from tests.lenet.diagnose.plain.words import check_kinds

COURSE = course()


def flipped(one: Batch) -> Batch:
    return replace(one, images=np.ascontiguousarray(one.images[..., ::-1]))


def open_gate(w: Params, one: Batch) -> Params:
    found = gradients(w, one.images.astype(np.float64), one.labels, slopes={"relu4": 1.0})
    return {name: g for name, g in found.items() if name != "loss"}


def clipped(w: Params, one: Batch) -> Params:
    g = {name: a + RECIPE.weight_decay * w[name] for name, a in gradient(w, one).items()}
    norm = np.sqrt(sum((a**2).sum() for a in g.values()))
    return {name: a * min(1, 0.5 / norm) for name, a in g.items()}


def coarse(a: Array) -> Array:
    return BFLOAT16.round(a).astype(np.float64)


def of_biases(name: str) -> tuple[float, float]:
    """Twice the rate for biases, and a decay of theirs alone."""
    return (2, 1) if name.endswith("bias") else (1, 0)


WRONG: dict[tuple[str, tuple[str, ...]], Callable[[], list[Params]]] = {
    ("step 1", ("image flipped left to right",)): lambda: trained(with_batches(COURSE, flipped))[0],
    ("step 1", ("ReLU's gate missing in the backward pass",)): lambda: trained(COURSE, of=open_gate)[0],
    ("step 1", ("training in bfloat16",)): lambda: trained(COURSE, each=coarse, gain=2.5)[0],
    ("step 1", ("gradients clipped to a norm of 0.5, with the decay",)): lambda: trained(
        COURSE, of=clipped, decay=0.0
    )[0],
    ("step 1", ("weight decay on biases alone", "learning rate doubled for biases")): lambda: parts(
        COURSE, of_biases
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("step", "names"), WRONG)
def test_a_wrong_run_is_explained_at_its_first_wrong_step(step, names):
    path = WRONG[step, names]()
    (finding,) = training_run.findings(Probes((), COURSE), Observed("float64", trajectory=path[1:]))
    assert finding.where == step
    assert tuple(cause.name for cause in finding.causes) == names
    assert all(cause.where == ("training step",) for cause in finding.causes)
    assert f"after step {step[-1]} lie outside the rounding bound" in finding.evidence
    assert bool(finding.apart) == bool(finding.alternatives)


def test_the_search_reaches_every_mistake_of_the_catalogue(monkeypatch):
    monkeypatch.setattr(training_run, "_refuted", lambda run, gradients: False)
    monkeypatch.setattr(Run, "shows", lambda run, changes: True)
    given = run(COURSE, trained(COURSE, gain=3.0)[0])
    reached: dict[str, set[str]] = {}
    for search in (training_run._singles, training_run._on_other_images, training_run._by_gradients):
        reached[search.__name__] = {kind.name for _, kinds, _ in search(given) for kind in kinds}
    several = [training_run._accumulated(every, True) for every in (2, 3, 4)]
    of_steps = [kind for kind, _ in (*MISTAKES, *methods())] + [order.kind for order in ORDERS] + several
    of_images = [kind for kind, _ in altered(COURSE.batches[0], 4)] + [m.kind for m in data.FAMILY.mistakes]
    assert {kind.name for kind in of_steps} <= reached["_singles"]
    assert {kind.name for kind in of_images} <= reached["_on_other_images"]
    assert {mistake.kind.name for mistake in BACKWARD} == reached["_by_gradients"]


def test_steps_of_several_batches_are_named():
    kinds = [training_run._accumulated(every, averaged) for every in (2, 3) for averaged in (True, False)]
    check_kinds(*kinds)
    assert [kind.name for kind in kinds[::2]] == [
        "a step only after every 2 batches",
        "a step only after every 3 batches",
    ]
    assert "of 2 batches are averaged" in kinds[0].explanation
    assert "of 3 batches are summed" in kinds[3].explanation


def test_what_an_answer_that_changes_keeps_from_being_judged_is_said():
    path = trained(COURSE)[0][1:]
    again = {name: w + 1 for name, w in path[0].items()}
    observed = Observed("float64", trajectory=path, first_step_again=again)
    verdict = diagnose(Probes((), COURSE), observed)
    assert verdict.unjudged == ("training",)
    assert verdict.findings[0].where == "conv1.weight after step 1"
    assert verdict.diagnoses[0].name == "state kept between calls"  # the first call is right
    last = {name: w + 1 for name, w in path[-1].items()}
    observed = Observed("float64", trajectory=path, last_step_again=last)
    (finding,) = diagnose(Probes((), COURSE), observed).findings
    assert finding.where == "conv1.weight after step 4"
