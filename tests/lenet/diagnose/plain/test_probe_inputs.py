"""How probes are made, and how a port is asked: with plain functions in the place of a port."""

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import pytest

from lenet.diagnose.probe_inputs import (
    FIRST,
    Course,
    Observed,
    Probe,
    Probes,
    Raised,
    chosen,
    observe,
    observe_port,
    other_batches,
)
from lenet.diagnose.probe_inputs.answered import functions_of, is_random
from lenet.network.architecture import PARAM_SHAPES
from lenet.network.digits import Digits
from lenet.network.recipe import Batch
from lenet.ports import Unsupported
from tests.lenet.diagnose.plain.backward import batch, forward
from tests.lenet.diagnose.plain.network import Array, Params, wide
from tests.lenet.diagnose.plain.training import course

# --- the weights and digits of a probe ------------------------------------------------------------------


def test_scaled_weights_scale_every_activation():
    params, images, _ = batch(0, 3)
    small = chosen.scaled(params, 2.0**-24)
    assert all(a.dtype == np.float32 for a in small.values())
    one, two = (forward(wide(w), images.astype(np.float64)) for w in (params, small))
    for name in list(one)[1:]:
        assert np.array_equal(two[name], one[name] * 2.0**-24), name


def test_fine_weights_are_few_and_have_twelve_bits():
    params = chosen.fine_params(13)
    assert params.keys() == PARAM_SHAPES.keys()
    signs = []
    for name, w in params.items():
        assert (w.shape, w.dtype.name) == (PARAM_SHAPES[name], "float32")
        units = w * 2.0**12
        assert (units == np.rint(units)).all(), name
        if name.endswith("bias"):
            assert np.abs(units).max() <= 2**11
            assert len(np.unique(units)) > 0.9 * w.size
            error = 2**11 / np.sqrt(12 * w.size)  # of the mean of so many draws between 0 and the largest
            assert abs(np.abs(units).mean() - 2**10) < 4 * error
            continue
        rows = units.reshape(len(w), -1)
        count = 2 if name == "conv1.weight" else 3
        assert ((rows != 0).sum(1) == count).all()
        some = np.abs(rows[rows != 0])
        if count == 2:
            assert (some % 2 == 1).all()  # all twelve bits are needed
            assert some.min() > 2**11
            assert some.max() < 2**12
        else:
            assert (some == 2**12).all()
        signs.append(rows[rows != 0] > 0)
        assert len({tuple(np.flatnonzero(row)) for row in rows}) > 1
    together = np.concatenate(signs)
    error = np.sqrt(0.75 * 0.25 / len(together))  # of a share of so many draws
    assert abs(together.mean() - 0.75) < 4 * error
    assert not np.array_equal(params["fc1.weight"], chosen.fine_params(14)["fc1.weight"])


def test_random_weights_have_the_variance_that_keeps_activations_alive():
    params, first = chosen.random_params(7), chosen.random_params(7, first=8.0)
    for name, w in params.items():
        assert (w.shape, w.dtype.name) == (PARAM_SHAPES[name], "float32")
        deviation = 0.2 if name.endswith("bias") else np.sqrt(2 / prod(w.shape[1:]))
        assert w.std() == pytest.approx(deviation, rel=4 / np.sqrt(2 * w.size)), name  # of a deviation drawn
        assert np.array_equal(first[name], 8 * w if name == "conv1.weight" else w)
    biases = [params[name] for name in params if name.endswith("bias")]
    assert len(np.unique(np.concatenate(biases))) == sum(b.size for b in biases)
    assert not np.array_equal(params["fc1.weight"], chosen.random_params(8)["fc1.weight"])
    assert not np.array_equal(params["fc1.bias"], chosen.random_params(8)["fc1.bias"])


def test_the_training_run_has_short_batches_a_drop_and_sums_that_do_not_cancel():
    rng = np.random.default_rng(0)
    digits = Digits(rng.random((60, 1, 28, 28)).astype(np.float32), rng.integers(0, 10, 60))
    run = chosen.course(digits)
    assert [len(one.labels) for one in run.batches] == [8, 8, 3] * 3
    assert np.array_equal(np.concatenate([one.images for one in run.batches]), digits.images[:57])
    assert np.array_equal(np.concatenate([one.labels for one in run.batches]), digits.labels[:57])
    assert [one.rate for one in run.batches] == pytest.approx([0.05] * 4 + [0.005] * 5)
    recipe = run.recipe
    assert (recipe.epochs, recipe.batch_size, recipe.momentum, recipe.weight_decay) == (3, 8, 0.9, 0.125)
    assert recipe.schedule == "drop"
    for name, w in run.start.items():
        assert (w.shape, w.dtype.name) == (PARAM_SHAPES[name], "float32")
        if name == "logits.weight":
            assert abs((w > 0).mean() - 0.5) < 4 * np.sqrt(0.25 / w.size)  # of a share of so many draws
        else:
            assert (w >= 0).all(), name
    for name in ("conv2.weight", "fc1.weight", "fc2.weight"):
        # |w| has the mean √(2/π) of its deviation √(2/n), and is divided by √n: a row adds up to 2/√π. The
        # deviation of |w| is √(π/2 − 1) of its mean.
        w = run.start[name]
        assert w.reshape(len(w), -1).sum(1).mean() == pytest.approx(
            2 / np.sqrt(np.pi), rel=4 * np.sqrt((np.pi / 2 - 1) / w.size)
        )


def test_other_digits_of_a_probe():
    rng = np.random.default_rng(0)
    images, labels = rng.random((7, 1, 28, 28)).astype(np.float32), np.array([0, 9, 5, 9, 1, 2, 8])
    rolled = chosen._batch(Digits(images, labels))
    assert np.array_equal(rolled.images[1::2], images[1::2])
    for k in (0, 2, 4, 6):
        assert np.array_equal(rolled.images[k, 0, 9:, 5:], images[k, 0, :-9, :-5])
        assert np.array_equal(rolled.images[k, 0, :9, :5], images[k, 0, -9:, -5:])
    assert np.array_equal(rolled.labels, labels)
    wrong = chosen._often_wrong(labels)
    assert wrong.tolist() == [1, 9, 5, 1, 1, 2, 1]  # moved by 1, 2 and 3
    assert labels[0] == 0
    many = chosen._often_wrong(np.zeros(300, int))
    assert (many[::3] != 0).all()
    assert set(many[::3]) == set(range(1, 10))
    near = chosen._nearly(images)
    assert near.dtype == np.float32
    off = near.astype(np.float64) - images
    assert np.abs(off).max() <= 2.0**-18 + 2.0**-24
    assert abs((off > 2.0**-19).mean() - 0.5) < 4 * np.sqrt(0.25 / off.size)
    params, own, _ = batch(0, 5)
    logits = forward(wide(params), own.astype(np.float64))["loss"]
    assert np.array_equal(chosen._most_probable(params, own), logits.argmax(1))
    others = chosen._other_batches()
    assert others["one"] == (3,)
    assert len(others["many"]) == 37
    assert set(others["many"]) == set(range(16))
    assert list(others["many"]) != sorted(others["many"])
    probe = chosen._other_batch("one", params, own, np.arange(5), (3, 1))
    assert np.array_equal(probe.images, own[[3, 1]])
    assert (probe.labels.tolist(), probe.twins, probe.forward, probe.backward) == (
        [3, 1],
        (3, 1),
        True,
        False,
    )
    chosen._freeze([own])
    with pytest.raises(ValueError, match="read-only"):
        own[0] = 0


# --- the questions ----------------------------------------------------------------------------------------


def probes() -> Probes:
    params, images, labels = batch(0, 2)

    def probe(name: str, **more: Any) -> Probe:
        return Probe(name, params, images, labels, **more)

    return Probes(
        (
            probe("random"),
            probe("subnormal", judged=False),
            probe("exact", backward=True),
            probe("loud", forward=False, backward=True),
            probe("again", backward=True, twins=(0, 1)),
            probe("one", twins=(1,)),
        ),
        course(3),
    )


def test_what_is_asked_first_shows_at_once_whether_answers_are_random():
    given = probes()
    assert [one.name for one in given.asked] == ["exact", "again", "random", "subnormal", "one"]
    assert [one.name for one in given.forward] == ["random", "exact"]
    assert [one.name for one in given.backward] == ["exact", "again", "loud"]
    assert [one.name for one in other_batches(given)] == ["one"]
    loud = given.named("loud")
    assert loud is not None
    assert loud.name == "loud"
    assert given.named("quiet") is None


class Asked:
    """A port of plain functions that keeps what it was asked, and spoils what it is given."""

    def __init__(self, random_from: str = "") -> None:
        self.calls: list[str] = []
        self.random_from, self.count = random_from, 0

    def _value(self, part: str) -> float:
        self.count += 1
        return self.count if part == self.random_from else 1.0

    def activations(self, params: Params, images: Array) -> Params:
        self.calls.append("activations")
        images[...] = params["fc1.bias"][...] = 7
        return {"logits": np.full((len(images), 10), self._value("activations"))}

    def gradients(self, params: Params, images: Array, labels: Array) -> tuple[Any, Params]:
        self.calls.append("gradients")
        images[...] = params["fc1.bias"][...] = labels[...] = 7
        return np.float32(0.5), {"fc1.bias": np.full(120, self._value("gradients"))}

    def train(self, params: Params, batches: list[Batch], recipe: Any) -> Params:
        self.calls.append(f"train {len(batches)}")
        for one in batches:
            one.images[...] = one.labels[...] = 7
        params["fc1.bias"][...] = 7
        return {"fc1.bias": np.full(120, self._value("train")) * len(batches)}


def asked(random_from: str = "") -> tuple[Asked, Observed, Probes]:
    port, given = Asked(random_from), probes()
    return port, observe(given, port.activations, port.gradients, port.train, "float64"), given


def test_a_port_is_asked_everything_and_cannot_spoil_the_probes():
    port, seen, given = asked()
    assert port.calls == ["activations"] * 5 + ["gradients"] * 3 + [f"train {n}" for n in (1, 1, 2, 3, 3)]
    assert seen.dtype == "float64"
    assert list(seen.activations) == ["exact", "again", "random", "subnormal", "one"]
    assert list(seen.gradients) == ["exact", "again", "loud"]
    loss, gradients = seen.gradients["loud"]
    assert isinstance(loss, float)
    assert loss == 0.5
    assert gradients["fc1.bias"].shape == (120,)
    assert [step["fc1.bias"][0] for step in seen.trajectory or []] == [1, 2, 3]
    assert seen.first_step_again is not None
    assert seen.last_step_again is not None
    assert (seen.first_step_again["fc1.bias"][0], seen.last_step_again["fc1.bias"][0]) == (1, 3)
    same = probes()
    for one, other in zip(given.probes, same.probes, strict=True):
        assert np.array_equal(one.images, other.images)
        assert np.array_equal(one.labels, other.labels)
        assert np.array_equal(one.params["fc1.bias"], other.params["fc1.bias"])
    for taken, kept in zip(given.course.batches, same.course.batches, strict=True):
        assert np.array_equal(taken.images, kept.images)
    assert np.array_equal(given.course.start["fc1.bias"], same.course.start["fc1.bias"])


@pytest.mark.parametrize(
    ("part", "calls"),
    [
        ("activations", ["activations"] * 2),
        ("gradients", ["activations"] * 5 + ["gradients"] * 2),
        ("train", ["activations"] * 5 + ["gradients"] * 3 + ["train 1"] * 2),
    ],
)
def test_a_random_answer_ends_the_questions(part, calls):
    port, seen, _ = asked(part)
    assert port.calls == calls
    assert (seen.trajectory is None) == (part != "train")
    assert bool(seen.gradients) == (part != "activations")


def test_parts_that_are_not_there_are_not_asked():
    port = Asked()
    seen = observe(probes(), port.activations)
    assert (seen.dtype, seen.gradients, seen.trajectory) == ("float32", {}, None)
    assert set(port.calls) == {"activations"}
    seen = observe(probes(), port.activations, lambda *given: (None, {}))
    assert seen.gradients["exact"] == (None, {})


def test_only_both_answers_tell_whether_they_are_random():
    one = {"logits": np.ones(3)}
    assert not is_random({FIRST[0]: one}, "float32")
    assert not is_random(dict.fromkeys(FIRST, one), "float32")
    assert is_random({FIRST[0]: one, FIRST[1]: {"logits": np.zeros(3)}}, "float32")
    assert is_random({FIRST[0]: one, FIRST[1]: {}}, "float32")


class Registered(Asked):
    """The same as a port of the registry."""

    dtype = "float64"

    def __init__(self, fails: str = "", error: type[Exception] = ZeroDivisionError) -> None:
        super().__init__()
        self.fails, self.error, self.loaded = fails, error, [0.0]

    def _begin(self, part: str) -> None:
        self.calls.append(part)
        if part == self.fails:
            raise self.error(part)

    def load(self, params: Params) -> None:
        self.loaded.append(float(params["fc1.bias"][0]))

    def activations(self, images: Array) -> Params:  # type: ignore[override]
        self._begin("activations")
        return {"logits": np.full((len(images), 10), self.loaded[-1])}

    def gradients(self, images: Array, labels: Array) -> tuple[float, Params]:  # type: ignore[override]
        self._begin("gradients")
        return 0.5, {"fc1.bias": np.full(120, self.loaded[-1])}

    def train(self, batches: tuple[Batch, ...], recipe: Any) -> Any:  # type: ignore[override]
        self._begin("train")
        for self.count in range(1, len(batches) + 1):
            yield self.count

    def params(self) -> Params:
        return {"fc1.bias": np.full(120, float(self.count))}


def test_a_port_of_the_registry_is_asked_with_the_weights_of_each_probe():
    port, given = Registered(), probes()
    seen = observe_port(given, port)  # type: ignore[arg-type]
    first = float(given.probes[0].params["fc1.bias"][0])
    assert seen.activations["random"]["logits"][0, 0] == first
    assert seen.gradients["loud"][1]["fc1.bias"][0] == first
    assert [step["fc1.bias"][0] for step in seen.trajectory or []] == [1, 2, 3]
    assert port.loaded[-1] == float(given.course.start["fc1.bias"][0])
    assert seen.dtype == "float64"
    activations, gradients = functions_of(port)  # type: ignore[arg-type]
    other = {"fc1.bias": np.full(120, 5.0)}
    assert activations(other, np.zeros((2, 1)))["logits"][0, 0] == 5
    assert gradients(other, np.zeros((2, 1)), np.zeros(2))[1]["fc1.bias"][0] == 5


@pytest.mark.parametrize("part", ["activations", "gradients", "train"])
def test_what_a_port_raises_is_told_with_what_it_returned_before(part):
    with pytest.raises(Raised) as raised:
        observe_port(probes(), Registered(part))  # type: ignore[arg-type]
    assert raised.value.during == part
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    assert bool(raised.value.observed.activations) == (part != "activations")
    assert bool(raised.value.observed.gradients) == (part == "train")
    assert str(raised.value) == part


def test_a_port_may_lack_the_backward_pass_or_training_but_not_the_forward_pass():
    seen = observe_port(probes(), Registered("gradients", Unsupported))  # type: ignore[arg-type]
    assert (len(seen.activations), seen.gradients, seen.trajectory) == (5, {}, None)
    seen = observe_port(probes(), Registered("train", Unsupported))  # type: ignore[arg-type]
    assert (len(seen.gradients), seen.trajectory) == (3, None)
    with pytest.raises(Unsupported):
        observe_port(probes(), Registered("activations", Unsupported))  # type: ignore[arg-type]


def test_a_course_may_be_replaced():
    given = probes()
    shorter = replace(given, course=Course(given.course.start, given.course.batches[:1], given.course.recipe))
    port = Asked()
    observe(shorter, port.activations, None, port.train)
    assert port.calls[-3:] == ["train 1"] * 3
