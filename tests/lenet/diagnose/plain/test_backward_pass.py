"""The backward pass: the right one, where a changed one begins, and how what a port returned is explained."""

import numpy as np
import pytest

from lenet.diagnose import backward_pass
from lenet.diagnose.backward_pass import Sample, agrees
from lenet.diagnose.findings import VALID
from lenet.diagnose.mistakes import BACKWARD
from lenet.diagnose.mistakes.base import Mistake
from lenet.diagnose.mistakes.wrong_backward import PARTS, BackCall, Tape, position, walk_again, walk_back
from lenet.diagnose.mistakes.wrong_forward import ROUNDED, after
from lenet.diagnose.probe_inputs import Observed, Probe, Probes
from lenet.network.architecture import LAYERS, PARAM_SHAPES
from parity.arithmetic import Bounded
from parity.errors import UserError
from tests.lenet.diagnose.plain.backward import batch, forward, gradients, hot, probabilities
from tests.lenet.diagnose.plain.network import Array, Params, wide
from tests.lenet.diagnose.plain.training import NO_COURSE
from tests.parity.operators.one_node import check_inside


def recorded(dtype: str = "float64") -> tuple[Tape, dict[str, Array]]:
    params, images, labels = batch(0, 3)
    return Tape.record(params, images, labels, dtype), gradients(
        wide(params), images.astype(np.float64), labels
    )


def test_the_right_pass_is_that_of_plain_numpy():
    tape, expected = recorded()
    found = list(walk_back(tape, {}))
    assert [key for key, *_ in found] == [
        "loss",
        *(f"{layer.name}.{part}" for layer in LAYERS[::-1] if layer.affine for part in ("weight", "bias")),
    ]
    for key, value, _ in found:
        check_inside(value, expected[key], key)


@pytest.mark.parametrize(
    "key", ["loss", "logits.weight", "relu4.input", "fc1.input", "pool2.input", "conv2.bias", "relu1.input"]
)
def test_a_changed_pass_begins_where_it_is_changed(key):
    """`walk_again` takes from the right pass what the change does not reach."""
    tape, _ = recorded()
    change = {key: after(lambda y, call: doubled(y))}
    right_ = list(walk_back(tape, {}))
    again, whole = dict(walk_again(tape, change, right_)), {k: v for k, v, _ in walk_back(tape, change)}
    assert list(again) == list(whole)
    before = {name: value.value for name, value, _ in right_}
    assert any(not np.array_equal(value.value, before[name]) for name, value in whole.items())
    for name, value in whole.items():
        assert np.array_equal(again[name].value, value.value), name
        assert np.array_equal(again[name].bound, value.bound), name


def doubled(y):
    if isinstance(y, Bounded):
        return Bounded(2 * y.value, 2 * y.bound)
    return type(y)(doubled(y.value), doubled(y.d))


def test_a_pass_can_begin_at_a_layer():
    tape, _ = recorded()
    whole = list(walk_back(tape, {}))
    d = next(d for key, _, d in whole if key == "fc1.weight")
    start = position("fc1.weight")
    assert LAYERS[::-1][start].name == "fc1"
    assert position("loss") == -1
    rest = list(walk_back(tape, {}, (start, d)))
    assert [key for key, *_ in rest] == [key for key, *_ in whole[5:]]
    for (_, one, _), (_, two, _) in zip(rest, whole[5:], strict=True):
        assert np.array_equal(one.value, two.value)


def test_which_position_wins_is_unknown_where_rounding_decides():
    x = np.zeros((1, 6, 28, 28))
    x[0, 0, 0, :2] = 1.0, 1.0 - 1e-4  # within the error: either may win
    x[0, 0, 2, 2:4] = 1.0, 0.5  # decided
    d = np.ones((1, 6, 14, 14))
    images = np.random.default_rng(0).random((1, 1, 28, 28))
    unsure = Bounded(x, np.full(x.shape, 1e-3))
    found = PARTS["input"](BackCall(LAYERS[2], unsure, Bounded(d), np.empty(0), images, "float64"))
    assert found.value[0, 0, 0, :2].tolist() == [1.0, 0.0]
    assert (found.bound[0, 0, 0, :2] >= 1).all()
    assert (found.bound[0, 0, 1, :2] < 1e-6).all()
    assert (found.bound[0, 0, 2:4, 2:4] < 1e-6).all()
    assert found.value[0, 0, 2:4, 2:4].tolist() == [[1, 0], [0, 0]]


# --- what is made of the values that a port returned ----------------------------------------------


def dyadic(seed: int, digits: int = 3) -> tuple[Params, Array, Array]:
    """Parameters and images of few bits, so that no sum of the forward pass rounds in float64."""
    params, images, labels = batch(seed, digits)
    kept = {name: (np.rint(w * 16) / 16).astype(np.float32) for name, w in params.items()}
    return kept, (np.rint(images * 4) / 4).astype(np.float32), labels


def probe(seed: int = 0, digits: int = 3, name: str = "exact") -> Probe:
    params, images, labels = dyadic(seed, digits)
    return Probe(name, params, images, labels, backward=True)


def returned(one: Probe) -> Params:
    """The right loss and gradients, of plain NumPy."""
    return gradients(wide(one.params), one.images.astype(np.float64), one.labels)


def seen(
    probes: list[Probe], found: list[Params], layers: dict[str, dict[str, Array]] | None = None
) -> tuple:
    """Probes, and what a port in float64 returned on them."""
    answers: dict[str, tuple[float | None, Params]] = {
        one.name: (float(g["loss"]), {n: a for n, a in g.items() if n != "loss"})
        for one, g in zip(probes, found, strict=True)
    }
    return Probes(tuple(probes), NO_COURSE), Observed("float64", layers or {}, answers)


def sample(one: Probe, found: Params) -> Sample:
    return Sample(Tape.record(one.params, one.images, one.labels, "float64"), found)


def of(name: str, *stages: str) -> Mistake:
    return next(m for m in BACKWARD if m.kind.name == name and (not stages or m.stages == stages))


def test_right_gradients_are_no_finding_and_unknown_names_are_refused():
    one = probe()
    found = returned(one)
    assert backward_pass.findings(*seen([one], [found])) == []
    assert backward_pass.findings(Probes((one,), NO_COURSE), Observed("float64")) == []
    with pytest.raises(UserError, match="no parameter is called 'fc9"):
        backward_pass.findings(*seen([one], [found | {"fc9.bias": np.zeros(3)}]))


@pytest.mark.slow
def test_the_first_wrong_value_in_order_of_execution_is_named_with_its_cause():
    one, other = probe(0), probe(1, name="near")
    found = [returned(p) for p in (one, other)]
    found[1] = found[1] | {"fc1.bias": 2 * found[1]["fc1.bias"], "conv1.bias": 2 * found[1]["conv1.bias"]}
    (finding,) = backward_pass.findings(*seen([one, other], found))
    assert finding.where == "gradient of fc1.bias"
    assert "of gradient of fc1.bias lie outside" in finding.evidence
    assert finding.causes == ()  # right on one probe
    found = [p | {"fc1.bias": 2 * p["fc1.bias"]} for p in (returned(one), returned(other))]
    (finding,) = backward_pass.findings(*seen([one, other], found))
    assert [cause.name for cause in finding.causes] == ["gradient doubled"]
    assert finding.causes[0].where == ("fc1.bias",)
    assert (finding.alternatives, finding.apart, finding.verdict) == ((), "", "different")


@pytest.mark.slow
def test_a_number_and_a_pair_are_found_after_single_mistakes():
    one = probe()
    right_ = returned(one)
    tripled = {name: a if name == "loss" else 3.5 * a for name, a in right_.items()}
    (finding,) = backward_pass.findings(*seen([one], [tripled]))
    assert finding.causes[0].name == "gradients multiplied by 3.5"
    pair = right_ | {
        "fc2.bias": 2 * right_["fc2.bias"],
        "conv2.weight": right_["conv2.weight"][:, :, ::-1, ::-1],
    }
    (finding,) = backward_pass.findings(*seen([one], [pair]))
    assert [cause.name for cause in finding.causes] == ["gradient doubled", "weight gradient flipped"]


@pytest.mark.slow
def test_two_explanations_are_told_with_what_tells_them_apart():
    one = probe()
    zeros = {name: 0 * a if name.startswith("conv1") else a for name, a in returned(one).items()}
    (finding,) = backward_pass.findings(*seen([one], [zeros]))
    names = {some[0].name for some in (finding.causes, *finding.alternatives)}
    assert names == {"conv1 frozen", "detached before conv2"}
    assert finding.apart == backward_pass._APART
    assert finding.verdict == "different"


@pytest.mark.slow
def test_a_valid_choice_is_called_one():
    params, images, labels = dyadic(0)
    first = (np.rint(params["conv1.weight"] * 2) / 2).astype(np.float32)  # whose sums are often equal
    one = Probe("exact", params | {"conv1.weight": first}, np.rint(images), labels, backward=True)
    change = of("ties won by the last", "pool1.input")
    passed = dict(walk_again(sample(one, {}).tape, change.changes, list(walk_back(sample(one, {}).tape, {}))))
    found = {name: value.value for name, value in passed.items()}
    (finding,) = backward_pass.findings(*seen([one], [found]))
    assert finding.verdict == VALID
    assert "ties won by the last" in [cause.name for cause in finding.causes]


def test_gradients_that_add_up_over_calls_are_named():
    probes = [probe(k, name=name) for k, name in enumerate(("exact", "loud", "near"))]
    total, found = dict[str, Array](), []
    for one in probes:
        own = returned(one)
        total = {name: a if name == "loss" else total.get(name, 0) + a for name, a in own.items()}
        found.append(total)
    (finding,) = backward_pass.findings(*seen(probes, found))
    assert [cause.name for cause in finding.causes] == ["gradients accumulated across calls"]
    assert set(finding.causes[0].where) == PARAM_SHAPES.keys()
    assert backward_pass._accumulated([sample(probes[0], returned(probes[0]))]) == []
    off = [dict(one) for one in found]
    off[2]["fc1.bias"] = off[2]["fc1.bias"] + 1e-3
    assert backward_pass._accumulated([sample(p, f) for p, f in zip(probes, off, strict=True)]) == []


@pytest.mark.slow
def test_a_mistake_that_gives_zeros_whatever_it_is_given_is_preferred():
    """In the first column no gate of the first layer is open, so that two other mistakes give zeros, too."""
    params, images, labels = dyadic(0)
    images[..., :3] = 0
    params["conv1.bias"] = -np.abs(params["conv1.bias"]) - np.float32(0.0625)
    one = Probe("exact", params, images, labels, backward=True)
    found = returned(one)
    assert found["conv1.bias"].any()
    zero = sample(one, found | {"conv1.bias": 0 * found["conv1.bias"]})
    position_, rows = (
        of("bias gradient of one position", "conv1.bias"),
        of("bias gradient summed over rows only", "conv1.bias"),
    )
    missing = of("bias gradient missing", "conv1.bias")
    assert all(zero.explained(m.changes) and zero.proved(m.changes) for m in (position_, rows, missing))
    explanations = backward_pass._singles([zero])
    assert [[(kind.name, where) for kind, where in e] for e in explanations] == [
        [("bias gradient missing", ("conv1.bias",))]
    ]
    assert backward_pass._empty(zero, missing.changes)
    assert backward_pass._empty(zero, of("conv1 frozen").changes)
    assert backward_pass._empty(zero, of("detached before fc1").changes)
    for other in (position_, rows, of("gradient doubled", "fc1.bias"), of("loss halved")):
        assert not backward_pass._empty(zero, other.changes)
    assert not backward_pass._empty(zero, of("ReLU's gate missing in the backward pass").changes)


def test_gradients_start_from_the_roundings_that_the_forward_pass_shows():
    """Activations that are off by a rounding, where none is needed, have gradients that are."""
    one = probe()
    found = returned(one)
    exact = {n: v for n, v, _ in sample(one, {}).right}
    tape = Tape.record(one.params, one.images, one.labels, "float64", ROUNDED)
    wider = {n: v for n, v, _ in walk_back(tape, {})}
    moved = found | {"logits.weight": exact["logits.weight"].value + 0.9 * wider["logits.weight"].bound}
    assert not agrees(moved["logits.weight"], exact["logits.weight"])
    assert agrees(moved["logits.weight"], wider["logits.weight"])
    layers = forward(wide(one.params), one.images.astype(np.float64))
    given = {layer.name: x for layer, x in zip(LAYERS, list(layers.values())[1:], strict=True)}
    (finding,) = backward_pass.findings(*seen([one], [moved], {"exact": given}))
    assert finding.where == "gradient of logits.weight"
    rounded_once = given | {"fc1": np.nextafter(given["fc1"], np.inf)}
    rounded_once["relu3"] = np.maximum(rounded_once["fc1"], 0)
    w, b = (one.params[f"fc2.{part}"].astype(np.float64) for part in ("weight", "bias"))
    rounded_once["fc2"] = rounded_once["relu3"] @ w.T + b
    rounded_once["relu4"] = np.maximum(rounded_once["fc2"], 0)
    w, b = (one.params[f"logits.{part}"].astype(np.float64) for part in ("weight", "bias"))
    rounded_once["logits"] = rounded_once["relu4"] @ w.T + b
    assert backward_pass.findings(*seen([one], [moved], {"exact": rounded_once})) == []


def test_a_sample_is_looked_at_up_to_a_value_and_proves_by_most_of_what_is_wrong():
    one = probe()
    found = returned(one)
    wrong = sample(one, found | {"fc1.bias": 2 * found["fc1.bias"]})
    assert wrong.first_wrong == "fc1.bias"
    assert [key for key, _ in wrong.wrong()] == ["fc1.bias"]
    assert not wrong.explained({})
    assert wrong.explained({}, until="fc1.weight")
    assert not wrong.explained({}, until="fc1.bias")
    double = of("gradient doubled", "fc1.bias").changes
    assert wrong.explained(double)
    assert wrong.proved(double)
    assert wrong.differs(double)
    assert not wrong.proved({})
    assert not wrong.differs({})
    wide_bound = {"fc1.bias": after(lambda g, call: Bounded(g.value, np.full(g.shape, np.inf)))}
    assert wrong.explained(wide_bound)
    assert not wrong.proved(wide_bound)
    part = sample(one, {"fc2.bias": found["fc2.bias"]})
    assert part.explained(double)
    assert not part.proved(double)
    p = probabilities(wrong.tape.inputs["loss"].value)
    check_inside(next(d for key, _, d in wrong.right if key == "loss"), (p - hot(one.labels)) / 3)


@pytest.mark.parametrize(
    ("found", "value", "bound", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.5], [0.0, 0.5], True),
        ([1.0, 2.0], [1.0, 2.5], [0.0, 0.4], False),
        ([np.nan, 2.0], [np.nan, 5.0], [0.0, 0.0], True),  # not finite, as expected: nothing else counts
        ([1.0, 2.0], [np.nan, 2.0], [0.0, 0.0], False),
        ([np.inf, 2.0], [np.nan, 2.0], [0.0, 0.0], True),
        ([np.inf, 2.0], [np.inf, 2.0], [0.0, 0.0], True),
        ([-np.inf, 2.0], [np.inf, 2.0], [0.0, 0.0], False),
        ([np.nan, 2.0], [1.0, 2.0], [9.0, 9.0], False),
    ],
)
def test_a_value_agrees_within_its_bound_or_where_nothing_finite_is_expected(found, value, bound, expected):
    assert agrees(np.array(found), Bounded(np.array(value), np.array(bound))) is expected
    assert not agrees(np.array([*found, 1.0]), Bounded(np.array(value), np.array(bound)))
