"""Mistakes with a number in them are read off the loss and the gradients, and give what was returned."""

from collections.abc import Callable

import numpy as np
import pytest

from lenet.diagnose.mistakes.read_off.numbers import Reading, family, fitted, typed, whole
from lenet.diagnose.mistakes.read_off.read_gradients import readings
from lenet.diagnose.mistakes.wrong_forward import Gridded
from parity.arithmetic.floats import BFLOAT16, FLOAT16
from tests.lenet.diagnose.plain.backward import (
    Array,
    Loss,
    Params,
    Seen,
    batch,
    probabilities,
    seen,
)
from tests.lenet.diagnose.plain.losses import focal, kept, smoothed, tempered, weighted
from tests.lenet.diagnose.plain.words import check_kinds
from tests.parity.operators.one_node import share

Change = Callable[[Params, Params], Params]
LABELS = np.array([3, 1, 4, 1, 5, 3, 0, 6])
CLASSES = np.array([1, 1, 0.5, 1, 2, 1, 3, 1, 1, 1])


def each(change: Callable[[Array], Array], with_loss: bool = False) -> Change:
    return lambda g, w: {n: change(a) if with_loss or n != "loss" else a for n, a in g.items()}


def norm(arrays: list[Array]) -> float:
    return float(np.sqrt(sum((a**2).sum() for a in arrays)))


def by_norm(limit: float) -> Change:
    def change(g: Params, w: Params) -> Params:
        return each(lambda a: a * min(1, limit / norm([b for n, b in g.items() if n != "loss"])))(g, w)

    return change


def penalty(on: str, gradient: float, loss: float, l1: bool = False) -> Change:
    def change(g: Params, w: Params) -> Params:
        extra = {n: np.sign(a) if l1 else a for n, a in w.items() if on in n}
        size = sum((np.abs(a) if l1 else a**2).sum() for n, a in w.items() if on in n)
        return {n: a + gradient * extra.get(n, 0) for n, a in g.items()} | {"loss": g["loss"] + loss * size}

    return change


def alone(**places: int) -> Change:
    """Parts of some gradients alone: the first so many outputs of a layer's weights."""
    return lambda g, w: {
        n: a * (np.arange(len(a)) < places[n.partition(".")[0]]).reshape(-1, *[1] * (a.ndim - 1))
        if n.partition(".")[0] in places and n.endswith("weight")
        else a
        for n, a in g.items()
    }


def quotients(step: float) -> Change:
    def change(g: Params, w: Params) -> Params:
        unit = float(np.spacing(g["loss"]))
        return each(lambda a: np.rint(a * step / unit) * unit / step)(g, w)

    return change


def to(form) -> Change:
    return each(lambda a: form.round(a).astype(np.float64))


LOSSES: dict[tuple[str, str], Loss] = {
    ("label smoothing", "0.2 of"): smoothed(0.2),
    ("label smoothing", "0.05 of"): smoothed(0.05),
    ("label smoothing over the other classes", "0.1 of"): smoothed(0.1 / 0.9),
    ("temperature in the softmax", "by 2."): tempered(2.0),
    ("temperature in the softmax", "by 0.5."): tempered(0.5),
    ("temperature in the softmax", "by 0.3333."): tempered(1 / 3),
    ("class weights in the loss", "divided by N."): weighted(lambda k: CLASSES[k] / len(k)),
    ("class weights in the loss", "sum of the weights."): weighted(lambda k: CLASSES[k] / CLASSES[k].sum()),
    ("label 3 ignored in the loss", "number of the others."): weighted(lambda k: (k != 3) / (k != 3).sum()),
    ("label 1, 3 ignored in the loss", "number of all digits."): weighted(
        lambda k: ~np.isin(k, (1, 3)) / len(k)
    ),
    ("only the first 3 digits of the batch in the loss", "their number; the others do not count."): kept(
        slice(3), True
    ),
    ("only the first 5 digits of the batch in the loss", "the batch size; the others do not count."): kept(
        slice(5), False
    ),
    ("only the first digit of the batch in the loss", "their number; the others do not count."): kept(
        slice(1), True
    ),
    ("only the last digit of the batch in the loss", "the batch size; the others do not count."): kept(
        slice(-1, None), False
    ),
    ("all but the first digit of the batch in the loss", "their number; the first does not count."): kept(
        slice(1, None), True
    ),
    ("all but the last digit of the batch in the loss", "the batch size; the last does not count."): kept(
        slice(-1), False
    ),
    ("every second digit of the batch in the loss", "their number; the others do not count."): kept(
        slice(0, None, 2), True
    ),
    ("focal loss", "by 1 · (1 − p)^2,"): focal(2.0, 1.0),
    ("focal loss", "by 0.25 · (1 − p)^2,"): focal(2.0, 0.25),
    ("focal loss", "by 1 · (1 − p)^0.5,"): focal(0.5, 1.0),
}
CHANGES: dict[tuple[str, str], Change] = {
    ("gradients multiplied by 3", "3 times the right ones; the loss is right."): each(lambda a: 3 * a),
    ("loss and gradients multiplied by 0.25", "the loss is as well."): each(lambda a: a / 4, True),
    ("gradients multiplied by 1024: the loss scale left in", "1024 times"): each(lambda a: 1024 * a),
    ("gradients multiplied by 0.333333", "0.333333 times"): each(lambda a: a / 3),
    ("gradients multiplied by -1.5", "-1.5 times"): each(lambda a: -1.5 * a),
    ("gradients clipped to a norm of 0.5", "by 0.5 / norm"): by_norm(0.5),
    ("each gradient clipped to a norm of 0.2", "by 0.2 / norm"): each(lambda a: a * min(1, 0.2 / norm([a]))),
    ("gradients clipped to values of ±0.01", "above 0.01 or below −0.01"): each(
        lambda a: np.clip(a, -0.01, 0.01)
    ),
    ("L2 penalty in the loss", "all parameters, which adds 0.1 · w"): penalty("", 0.1, 0.05),
    ("L2 penalty in the loss", "all weights, which adds 0.01 · w"): penalty("weight", 0.01, 0.005),
    ("L2 penalty in the gradients", "0.2 · w is added to the gradients of fc1.weight"): penalty(
        "fc1.weight", 0.2, 0
    ),
    ("L1 penalty in the loss", "adds 0.03 · sign(w)"): penalty("", 0.03, 0.03, l1=True),
    ("L2 penalty in the returned loss alone", "0.01 times the penalty of all parameters"): penalty(
        "", 0, 0.01
    ),
    ("L1 penalty in the returned loss alone", "0.02 times the penalty of all weights"): penalty(
        "weight", 0, 0.02, l1=True
    ),
    ("gradient of the first map alone", "(conv1.weight: only output 0 of 6)"): alone(conv1=1),
    (
        "gradient of some maps alone",
        "conv1.weight: only output 0, 1 of 6; logits.weight: only output 0, 1, 2, 3 … of 10",
    ): (alone(conv1=2, logits=7)),
    ("difference quotients for gradients", "divided by 0.001:"): quotients(1e-3),
}


def check_read_off(name: str, text: str, *samples: Seen, sure: bool = True) -> Reading:
    """Fail unless this is read off, and explains every value, and not right ones."""
    found = list(readings(samples))
    check_kinds(*(one.kind for one in found))
    some = [one for one in found if one.kind.name == name and text in one.kind.explanation]
    assert some, [(one.kind.name, one.kind.explanation) for one in found]
    good = [one for one in some if all(explains(one, sample) for sample in samples)]
    assert good, [explained(some[0], sample) for sample in samples]
    if sure:
        assert any(proves(good[0], sample) for sample in samples)
    return good[0]


def explained(reading: Reading, sample: Seen) -> dict[str, bool]:
    expected = dict(reading.expect(sample.tape, sample.right))
    assert expected.keys() == {key for key, *_ in sample.right}
    return {name: share(a, expected[name]) <= 1 for name, a in sample.seen.items()}


def explains(reading: Reading, sample: Seen) -> bool:
    return all(explained(reading, sample).values())


def proves(reading: Reading, sample: Seen) -> bool:
    """Whether its bounds hold no right value in more than half of the places of what is clearly wrong."""
    right = {key: g for key, g, _ in sample.right}
    for name, expected in reading.expect(sample.tape, sample.right):
        off = np.abs(sample.seen[name] - right[name].value)
        wrong = off > right[name].bound
        apart = np.abs(right[name].value - expected.value) > expected.bound
        if wrong.any() and apart[wrong].mean() > 0.5:
            return True
    return False


@pytest.mark.parametrize(("name", "text"), LOSSES)
def test_another_loss_is_read_off(name, text):
    loss = LOSSES[name, text]
    check_read_off(name, text, seen(0, 8, loss, labels=LABELS))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("class weights in the loss", "divided by N."),
        ("label smoothing", "0.2 of"),
        ("focal loss", "by 0.25 · (1 − p)^2,"),
        ("temperature in the softmax", "by 2."),
    ],
)
def test_another_loss_is_read_off_in_float32(name, text):
    check_read_off(name, text, seen(0, 8, LOSSES[name, text], labels=LABELS, dtype="float32"))


@pytest.mark.parametrize(("name", "text"), CHANGES)
def test_changed_gradients_are_read_off(name, text):
    change = CHANGES[name, text]
    check_read_off(name, text, seen(0, 4, change=change), seen(1, 6, change=change))


@pytest.mark.parametrize(("form", "bits"), [(BFLOAT16, 8), (FLOAT16, 11)])
def test_gradients_in_a_coarse_format_are_read_off(form, bits):
    """The bound of a coarse format holds the right values, too: the evidence is that all are its numbers."""
    reading = check_read_off(
        f"gradients rounded to {form.name}", f"({bits} significant bits)", seen(change=to(form)), sure=False
    )
    sample = seen(change=to(form))
    for name, expected in reading.expect(sample.tape, sample.right):
        if name != "loss":
            assert isinstance(expected, Gridded)
            assert (expected.grid(sample.seen[name]) == sample.seen[name]).all()
            assert (expected.coarser(sample.seen[name]) != sample.seen[name]).any()
            assert (expected.bound <= np.abs(expected.value) * 2.0 ** (1 - bits) + form.smallest).all()


@pytest.mark.parametrize("relus", [("relu1", "relu2", "relu3", "relu4"), ("relu4",)])
def test_the_slope_of_a_leaky_backward_pass_is_read_off(relus):
    slopes = dict.fromkeys(relus, 0.3)
    reading = check_read_off("leaky ReLU's gradient, slope 0.3", "0.3", seen(0, 4, slopes=slopes))
    assert sorted(reading.where) == [f"{name}.input" for name in relus]


def test_classes_are_joined_over_batches():
    """A class that one batch does not hold has the weight that another shows."""
    loss = weighted(lambda k: CLASSES[k] / CLASSES[k].sum())
    labels = np.array([0, 1, 2, 3, 4, 4]), np.array([4, 5, 6, 7, 8, 9])
    samples = [seen(k, 6, loss, labels=some) for k, some in enumerate(labels)]
    check_read_off("class weights in the loss", "1, 1, 0.5, 1, 2, 1, 3, 1, 1, 1;", *samples)


def test_nothing_is_read_off_from_what_is_right_incomplete_or_no_number():
    right = seen()
    assert not [one for one in readings([right]) if explains(one, right) and proves(one, right)]
    assert not [one for one in readings([right]) if "alone" in one.kind.name]  # dead units have no gradient
    assert list(readings([])) == []
    assert list(readings([Seen(right.tape, right.right, {"loss": right.seen["loss"]})])) == []
    for name, value in (("fc1.bias", np.nan), ("loss", np.inf)):
        broken = seen(change=each(lambda a: 3 * a))
        broken.seen[name] = np.full_like(broken.seen[name], value)
        assert list(readings([broken])) == []
    other = seen(change=each(lambda a: 3 * a))
    other.seen["fc1.weight"] = other.seen["fc1.weight"].T
    assert list(readings([other])) == []


def test_what_the_last_layer_does_not_show_is_not_said_of_the_loss():
    sample = seen(0, 6, smoothed(0.2))
    part = {n: a for n, a in sample.seen.items() if n != "logits.bias"}
    assert not any("smoothing" in one.kind.name for one in readings([Seen(sample.tape, sample.right, part)]))


def test_a_penalty_is_not_looked_for_in_a_training_run():
    sample = seen(change=penalty("", 0.1, 0.05))
    assert any("penalty" in one.kind.name for one in readings([sample]))
    assert not any("penalty" in one.kind.name for one in readings([sample], penalties=False))
    for change in (quotients(1e-3), to(BFLOAT16)):
        found = readings([seen(change=change)], penalties=False)
        assert not any("quotients" in one.kind.name or "rounded" in one.kind.name for one in found)


def test_limits_that_differ_between_probes_are_not_read_off():
    samples = [seen(k, change=by_norm(limit)) for k, limit in enumerate((0.5, 0.2))]
    assert not any("norm of" in one.kind.name for one in readings(samples))


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0.1, [0.1]),
        (0.30001, [0.3, 0.30001]),
        (1 / 3, [0.333, 0.3333, 1 / 3]),
        (-2.5, [-2.5]),
        (1.0049, [1.0, 1.005, 1.0049]),
    ],
)
def test_a_number_is_typed_with_few_digits(number, expected):
    assert list(dict.fromkeys(typed(number))) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (2.999999, [3.0, 2.999999]),
        (0.33333, [1 / 3, 0.333, 0.3333, 0.33333]),
        (-1.0, [-1.0]),
        (0.25, [0.25]),
        (0.7, [0.7, 0.7]),  # typed with one digit, and as it is
    ],
)
def test_a_factor_is_a_whole_number_or_a_fraction_first(number, expected):
    assert list(whole(number)) == expected


def test_a_factor_is_fitted_over_all_arrays():
    a, b = np.arange(6.0).reshape(2, 3), np.ones(2)
    assert fitted([2 * a, 2 * b], [a, b]) == 2
    assert fitted([a, 2 * b], [a, b]) == (55 + 4) / 57
    assert fitted([a], [0 * a]) == 0


def test_of_mistakes_that_differ_in_a_number_one_is_enough():
    samples = [seen(change=change) for change in (each(lambda a: 3 * a), each(lambda a: -1.5 * a))]
    names = [{family(one.kind) for one in readings([sample])} for sample in samples]
    assert "gradients multiplied by " in names[0] & names[1]
    clipped = next(one for one in readings([seen(change=by_norm(0.5))]) if "norm" in one.kind.name)
    assert family(clipped.kind) == "gradients clipped to a norm of "


def test_the_data_is_worth_reading():
    """The probabilities are neither equal nor sure, so that losses differ."""
    params, images, labels = batch(0, 8)
    sample = seen(0, 8)
    p = probabilities(sample.tape.inputs["loss"].value)
    assert 0.2 < p.max(1).mean() < 0.9
    assert len(labels) == len(images) == 8
    assert params.keys() == {key for key, *_ in sample.right} - {"loss"}
