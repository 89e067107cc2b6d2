"""The probes: what hides mistakes is not in them, and every class of mistake is visible to them."""

from copy import copy
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from lenet.diagnose import diagnose
from lenet.diagnose.backward_pass import Sample
from lenet.diagnose.mistakes import BACKWARD, forward
from lenet.diagnose.mistakes.of_training.run import Run
from lenet.diagnose.mistakes.optimizer import MISTAKES
from lenet.diagnose.mistakes.update_rule import Rule
from lenet.diagnose.mistakes.wrong_backward import Tape
from lenet.diagnose.mistakes.wrong_forward import STAGES, walk
from lenet.diagnose.probe_inputs import Probe, Probes, observe_port, standard
from lenet.diagnose.search.segment import excluded
from lenet.network.architecture import PARAM_SHAPES
from lenet.ports import open_port
from parity.arithmetic import Bounded
from tests.planted.bugs import image, seen, weights

PROBES = standard()


def test_probes_are_the_same_each_time_and_cannot_be_changed():
    assert standard() is PROBES
    for probe in PROBES.probes:
        assert list(probe.params) == list(PARAM_SHAPES)
        with pytest.raises(ValueError, match="read-only"):
            probe.images[0] = 0


def test_nothing_is_constant_symmetric_square_or_alone():
    for probe in PROBES.forward:
        x = probe.images
        assert len(x) > 1
        assert (x[..., [0, -1]] != 0).any(), "an empty border hides how a convolution pads"
        assert (x[:, :, [0, -1]] != 0).any()
        for turned in (x.swapaxes(2, 3), x[..., ::-1], x[:, :, ::-1], x[::-1]):
            assert (turned != x).any()
        for name, w in probe.params.items():
            assert len(np.unique(w)) > 1, f"{probe.name}: constant {name}"
    assert all(len(np.unique(w)) > 0.9 * w.size for w in PROBES.forward[0].params.values())


def test_the_run_has_momentum_decay_a_rate_drop_and_short_batches():
    course = PROBES.course
    assert course.recipe.momentum > 0
    assert course.recipe.weight_decay > 0
    assert len(course.batches) >= 6
    assert len({batch.rate for batch in course.batches}) > 1
    sizes = [len(batch.labels) for batch in course.batches]
    assert sizes[-1] < max(sizes)


def test_no_sum_of_the_exact_probes_rounds():
    for probe in PROBES.probes:
        if probe.name in ("fine", "exact", "loud"):
            x = Bounded(probe.images.astype(np.float64), np.zeros(probe.images.shape))
            wide = {name: w.astype(np.float64) for name, w in probe.params.items()}
            assert not walk(list(STAGES), x, wide, "float32", {}).bound.any(), probe.name


@pytest.mark.slow
def test_every_forward_mistake_changes_what_its_layer_hands_out_by_more_than_rounding():
    """From the layer's right input. bf16x3 is nearly as accurate as float32; the other shows in float64."""
    unseen = {(m.kind.name, m.stages) for m in forward() if len(m.stages) == 1 and not visible(m, "float32")}
    assert {name for name, _ in unseen} == {
        "float32 in a float64 port",
        "products in three parts of bfloat16 (bf16x3)",
    }
    assert all(visible(m, "float64") for m in forward() if m.kind.name == "float32 in a float64 port")


@pytest.mark.slow
def test_every_mistake_of_loss_and_gradients_changes_what_is_handed_out_by_more_than_rounding():
    """But for relu3, none of whose inputs is zero; relu1 and relu2, none of whose inputs reaches 6; and the
    operands of conv1's weight gradient alone: what rounding leaves open of its cotangents is as much as a
    coarse format changes."""
    samples = []
    for probe in PROBES.backward:
        tape = Tape.record(probe.params, probe.images, probe.labels, "float32")
        right = Sample(tape, {}).right
        samples.append(Sample(tape, {key: value.value for key, value, _ in right}))
    unseen = set()
    for mistake in BACKWARD:
        try:
            if not any(sample.differs(mistake.changes) for sample in samples):
                unseen.add((mistake.kind.name.partition(" in ")[0], mistake.stages))
        except ValueError:  # a shape that no parameter has
            continue
    assert unseen == {
        ("ReLU's gate open at zero", ("relu3.input",)),
        ("ReLU's gate half open at zero", ("relu3.input",)),
        ("ReLU6's gate", ("relu1.input",)),
        ("ReLU6's gate", ("relu2.input",)),
        ("weight gradient from operands", ("conv1.weight",)),
    }


STATES: dict[str, tuple[dict, dict]] = {}  # by probe: the right value before each stage


def right_states(probe):
    if probe.name not in STATES:
        x = probe.images.astype(np.float64)
        wide = {name: w.astype(np.float64) for name, w in probe.params.items()}
        STATES[probe.name] = wide, {}
        for stage in STAGES:
            STATES[probe.name][1][stage] = Bounded(x, np.zeros(x.shape))
            x = walk([stage], STATES[probe.name][1][stage], wide, "float64", {}).value
    return STATES[probe.name]


def visible(mistake, dtype):
    first, last = mistake.stages[0], mistake.stages[-1]
    stages = list(STAGES)[list(STAGES).index(first) : list(STAGES).index(last) + 1]
    for probe in PROBES.forward:
        params, states = right_states(probe)
        usual = walk(stages, states[first], params, dtype, {})
        try:
            with np.errstate(all="ignore"):
                wrong = walk(stages, states[first], params, dtype, mistake.changes)
        except ValueError:
            return False
        if excluded(wrong, usual).any():
            return True
    return False


@pytest.fixture(scope="module")
def right_run() -> Run:
    """The training run of the NumPy port, which is right."""
    observed = observe_port(PROBES, open_port("numpy"))
    stations = [PROBES.course.start, *(observed.trajectory or [])]
    return Run(PROBES.course, [{n: w.astype(np.float64) for n, w in p.items()} for p in stations], "float32")


@pytest.mark.slow
def test_every_two_rules_of_the_optimizer_make_some_step_that_differs_by_more_than_rounding(right_run):
    """The right rule too."""
    rules: dict[str, dict] = {"": {}} | {kind.name: options for kind, options in MISTAKES}
    alike = set(combinations(rules, 2))
    for parameter in right_run.names:  # small ones first: few pairs are left for the others
        steps = {name: made(right_run, rules[name], parameter) for name in {n for two in alike for n in two}}
        alike = {(one, two) for one, two in alike if not any(map(apart, steps[one], steps[two]))}
    assert not alike


def made(run, options, parameter):
    """What a rule makes of one parameter in each step."""
    assert run.gradients  # which the copy has too, then
    alone = copy(run)
    vars(alone)["names"] = [parameter]
    return [w for _, _, w in alone.by_rule(Rule().with_options(options))]


def apart(one, two):
    return bool((np.abs(one.value - two.value) > one.bound + two.bound).any())


def only_forward(params, images):
    return Probes((Probe("own", params, images, PROBES.forward[0].labels),), PROBES.course)


@pytest.mark.slow
def test_symmetric_images_hide_and_the_diagnosis_says_what_would_not():
    """Images that are their own mirror image: two mistakes coincide, and random images tell them apart."""
    x = PROBES.forward[0].images
    mirrored = np.ascontiguousarray(np.maximum(x, x[..., ::-1]))
    probes = only_forward(PROBES.forward[0].params, mirrored)
    upside_down = image(lambda a: a[:, :, ::-1])
    finding = diagnose(probes, seen(probes, {"image": upside_down})).findings[0]
    names = {one.name for some in (finding.causes, *finding.alternatives) for one in some}
    assert names == {"image flipped upside down", "image turned by 180 degrees"}
    assert finding.apart == "random images with the same weights"
    assert not diagnose(PROBES, seen(PROBES, {"image": upside_down})).ambiguous


def test_symmetric_kernels_hide_and_the_diagnosis_says_what_would_not():
    params = dict(PROBES.forward[0].params)
    w = params["conv1.weight"]
    params["conv1.weight"] = np.ascontiguousarray((w + w[..., ::-1]) / 2)
    probes = only_forward(params, PROBES.forward[0].images)
    flipped = weights(lambda w: w[:, :, ::-1, ::-1])
    finding = diagnose(probes, seen(probes, {"conv1": flipped})).findings[0]
    names = {one.name for some in (finding.causes, *finding.alternatives) for one in some}
    assert names == {"kernel flipped", "kernel flipped along axis 2"}
    assert finding.apart == "the same images with random weights"


def test_constant_images_hide_what_the_probes_show():
    constant = np.full_like(PROBES.forward[0].images, 0.5)
    probes = only_forward(PROBES.forward[0].params, constant)
    shifted = image(lambda a: np.roll(a, 1, axis=3))
    assert diagnose(probes, seen(probes, {"image": shifted})).ok
    assert not diagnose(PROBES, seen(PROBES, {"image": shifted})).ok


@pytest.mark.slow
def test_batch_one_hides_what_the_probes_show():
    first = PROBES.forward[0]
    probes = Probes((replace(first, images=first.images[:1], labels=first.labels[:1]),), PROBES.course)
    reversed_batch = image(lambda a: a[::-1])
    assert diagnose(probes, seen(probes, {"image": reversed_batch})).ok
    assert not diagnose(PROBES, seen(PROBES, {"image": reversed_batch})).ok


def test_every_mistake_says_what_to_do():
    for kind in {m.kind for m in (*forward(), *BACKWARD)} | {kind for kind, _ in MISTAKES}:
        assert kind.name
        assert kind.explanation.endswith("."), kind.name
        assert kind.remedy.endswith("."), kind.name
        assert kind.case == "" or kind.case.startswith("https://github.com/")
