"""The diagnosis of forward passes: every planted mistake named, at its place; nothing else is."""

import json
from dataclasses import replace

import numpy as np
import pytest

from lenet.diagnose import diagnose
from lenet.diagnose.probe_inputs import Observed, Probe, Probes, observe_port, standard
from lenet.ports import framework, names
from lenet_numpy.port import Port as NumpyPort
from parity.errors import UserError
from tests.helpers import BATCH, one_line
from tests.planted import bugs
from tests.planted.bugs import FORWARD, conv, elementwise, output, pool, seen, weights

PROBES = standard()
NAMED = [bug for bug in FORWARD if bug[2]]


def of_one_size(probes):
    """The same with as many digits everywhere: another batch is in another order, and none is short."""
    exact, turned = probes.named("exact"), tuple(reversed(range(BATCH)))
    many = Probe("many", exact.params, exact.images[list(turned)], exact.labels[list(turned)], twins=turned)
    others = [
        replace(p, images=p.images[:BATCH], labels=p.labels[:BATCH], twins=p.twins[:BATCH])
        for p in probes.probes
        if p.name not in ("one", "many")
    ]
    batches = tuple(batch for batch in probes.course.batches if len(batch.labels) == BATCH)
    return Probes((*others, many), replace(probes.course, batches=batches))


ONE_SIZE = of_one_size(PROBES)


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_every_right_port_is_ok(name, open_port):
    """On batches of one size, for which XLA compiles once, and for other tests too."""
    assert_right(open_port(name, "float32"), framework(name).choices, ONE_SIZE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dtype"), [("numpy", "float64"), ("torch", "float32"), ("torch", "float64")]
)
def test_a_right_port_is_ok_on_batches_of_every_size(name, dtype, open_port):
    assert_right(open_port(name, dtype), framework(name).choices, PROBES)


def assert_right(port, choices, probes):
    """The same network, in the valid choices too, but for those that its line in the registry declares."""
    assert_declared(diagnose(probes, observe_port(probes, port)), choices)


def assert_declared(verdict, choices):
    assert verdict.ok, str(verdict)
    assert {one.name for one in verdict.diagnoses} == set(choices)
    assert verdict.first is None or choices


def shared(dy, cache):
    """The gradient of a maximum, shared among all values of the window that are equal to it."""
    x, y, _, _ = cache
    n, c, h, w = x.shape
    window = np.ones((2, 2), x.dtype)
    top = np.kron(y, window) == x
    winners = top.reshape(n, c, h // 2, 2, w // 2, 2).sum(axis=(3, 5)).astype(x.dtype)
    return np.kron(dy / winners, window) * top


@pytest.mark.slow
def test_a_valid_choice_is_right_where_it_is_declared_and_nowhere_else(monkeypatch):
    port, choice = NumpyPort("numpy"), "ties split among winners"
    usual = diagnose(PROBES, observe_port(PROBES, port))
    monkeypatch.setattr("lenet_numpy.model.max_pool2d_backward", shared)
    other = diagnose(PROBES, observe_port(PROBES, port))
    assert_declared(other, (choice,))
    for verdict, declared in ((usual, (choice,)), (other, ()), (other, ("ties won by the last",))):
        with pytest.raises(AssertionError):
            assert_declared(verdict, declared)


@pytest.mark.slow
@pytest.mark.parametrize(("layer", "wrong", "name"), NAMED, ids=[f"{bug[0]}: {bug[2]}" for bug in NAMED])
def test_every_mistake_is_named_at_its_layer(layer, wrong, name):
    with np.errstate(over="ignore", invalid="ignore"):  # pixels with swapped bytes are as large as floats go
        found = seen(PROBES, {layer: wrong})
    verdict = diagnose(PROBES, found)
    assert [one.name for one in verdict.diagnoses] == [name]
    assert verdict.first == layer
    assert verdict.diagnoses[0].where == (layer,)


# --- what only some layers show ----------------------------------------------------------------

ALONE = [  # of the data, of an operator, of an order, of a format
    ("image", bugs.image(lambda x: x * np.float32(255)), "pixels not divided by 255"),
    ("relu2", elementwise(lambda x: np.where(x > 0, x, np.float32(0.01) * x)), "leaky ReLU (0.01) for ReLU"),
    (
        "flatten",
        elementwise(lambda x: x.transpose(0, 2, 3, 1).reshape(len(x), -1)),
        "flattened in H, W, C order",
    ),
    ("fc2", bugs.operands(bugs.bfloat16), "operands rounded to bfloat16"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("layer", "wrong", "name"), ALONE, ids=[f"{bug[0]}: {bug[2]}" for bug in ALONE])
def test_logits_alone_are_enough(layer, wrong, name):
    verdict = diagnose(PROBES, seen(PROBES, {layer: wrong}, only=["logits"]))
    assert verdict.diagnoses[0].name == name
    assert verdict.diagnoses[0].where == (layer,)


@pytest.mark.slow
def test_one_mistake_in_every_layer_is_one_diagnosis_from_the_logits():
    flipped = weights(lambda w: w[:, :, ::-1, ::-1])
    verdict = diagnose(PROBES, seen(PROBES, {"conv1": flipped, "conv2": flipped}, only=["logits"]))
    assert [(one.name, one.where) for one in verdict.diagnoses] == [("kernel flipped", ("conv1", "conv2"))]


@pytest.mark.slow
def test_every_wrong_layer_is_diagnosed_where_all_are_shown():
    flipped = weights(lambda w: w[:, :, ::-1, ::-1])
    verdict = diagnose(PROBES, seen(PROBES, {"conv1": flipped, "conv2": flipped, "fc2": bugs.without_bias}))
    assert [(finding.where, finding.causes[0].name) for finding in verdict.findings] == [
        ("conv1", "kernel flipped"),
        ("conv2", "kernel flipped"),
        ("fc2", "bias missing"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("only", [None, ["logits"]])
def test_bias_behind_the_activation_is_one_mistake_of_two_layers(only):
    kept = []

    def conv1(layer, x, w, b):
        kept.append(b)
        return bugs.without_bias(layer, x, w, b)

    def relu1(layer, x, w, b):
        return np.maximum(x, 0) + kept[-1].reshape(1, -1, 1, 1)

    verdict = diagnose(PROBES, seen(PROBES, {"conv1": conv1, "relu1": relu1}, only=only))
    assert [(one.name, one.where) for one in verdict.diagnoses] == [
        ("bias added after the activation", ("conv1", "relu1"))
    ]


# --- shapes and layouts ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "wrong", "name"),
    [
        ("conv1", conv(padding=0), "no padding (VALID)"),
        ("conv2", conv(padding=2), "padding on the other side: pads (2, 2, 2, 2) for (0, 0, 0, 0)"),
        ("conv1", conv(padding=2, stride=2), "stride 2 for (1, 1)"),
        ("pool1", pool(2, 1), "strides (1, 1) for (2, 2)"),
        ("pool2", pool(3, 2), "window (3, 3) for (2, 2)"),
        ("pool1", elementwise(lambda x: x), "pooling missing"),
    ],
)
def test_a_wrong_shape_is_evidence(layer, wrong, name):
    verdict = diagnose(PROBES, seen(PROBES, {layer: wrong}))
    assert verdict.first == layer
    assert verdict.diagnoses[0].name == name
    assert "shape" in verdict.findings[0].evidence


def handed_out(layers, change):
    """Everything computed rightly, some layers handed out in another form."""
    observed = seen(PROBES, {})
    for found in observed.activations.values():
        for layer in layers:
            found[layer] = np.ascontiguousarray(change(found[layer]))
    return observed


MAPS = ["conv1", "relu1", "pool1", "conv2", "relu2", "pool2"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layers", "change", "name"),
    [
        (MAPS, lambda a: a.transpose(0, 2, 3, 1), "handed out as NHWC"),
        (
            ["conv2"],
            lambda a: a.transpose(0, 2, 3, 1).reshape(a.shape),
            "handed out as NHWC values in an NCHW shape",
        ),
        (["pool1"], lambda a: a.transpose(0, 1, 3, 2), "handed out with height and width swapped"),
        (["fc1"], lambda a: a.T, "handed out as a column for each digit"),
        (["fc1"], lambda a: np.maximum(a, 0), "handed out after ReLU"),
        (
            ["flatten"],
            lambda a: a.reshape(-1, 16, 5, 5).transpose(0, 2, 3, 1).reshape(len(a), 400),
            "handed out flattened in HWC order",
        ),
    ],
)
def test_what_is_right_and_handed_out_otherwise_is_told_from_what_is_wrong(layers, change, name):
    verdict = diagnose(PROBES, handed_out(layers, change))
    assert [(finding.where, finding.causes[0].name) for finding in verdict.findings] == [
        (layer, name) for layer in layers
    ]
    assert not verdict.ambiguous


# --- two at once, several that fit, none -------------------------------------------------------


@pytest.mark.slow
def test_two_mistakes_in_two_layers_that_are_not_shown(monkeypatch):
    monkeypatch.setattr("lenet.diagnose.search.two_mistakes.PAIR_SECONDS", 60)  # however slow the machine is
    turned = elementwise(lambda x: x.transpose(0, 2, 3, 1).reshape(len(x), -1))
    wrong = {"flatten": turned, "relu3": elementwise(np.tanh)}
    verdict = diagnose(PROBES, seen(PROBES, wrong, only=["pool2", "relu3"]))
    assert [(one.name, one.where) for one in verdict.diagnoses] == [
        ("flattened in H, W, C order", ("flatten",)),
        ("tanh for ReLU", ("relu3",)),
    ]


@pytest.mark.slow
def test_noise_is_unknown():
    def noise(shape):  # the same for the same digit, otherwise it is random output
        one = np.random.default_rng(0).standard_normal((1, *shape[1:])).astype(np.float32)
        return one * np.float32(0.01)

    noisy = output(lambda y: y + noise(y.shape))
    verdict = diagnose(PROBES, seen(PROBES, {"pool2": noisy}))
    assert verdict.first == "pool2"
    assert not verdict.diagnoses
    assert str(verdict).startswith("unknown at pool2: ")
    assert len(verdict.findings) == 1


@pytest.mark.slow
def test_a_small_departure_is_a_factor_not_a_coarse_format():
    slightly = weights(lambda w: w * np.float32(1 + 1e-4))
    verdict = diagnose(PROBES, seen(PROBES, {"fc2": slightly}))
    assert verdict.first == "fc2"
    assert [one.name for one in verdict.diagnoses] == ["weights multiplied by 1.0001"]


@pytest.mark.slow
def test_a_nan_is_evidence():
    def spoilt(y):
        y = y.copy()
        y[-1, 0] = np.nan
        return y

    verdict = diagnose(PROBES, seen(PROBES, {"conv2": output(spoilt)}))
    assert verdict.first == "conv2"
    assert [one.name for one in verdict.diagnoses] == ["values that are not finite"]
    assert "are not finite" in verdict.findings[0].evidence


def test_float64_in_a_float32_port_is_a_valid_choice_with_a_remedy():
    wide = seen(
        PROBES, {"conv2": lambda layer, x, w, b: bugs.right(layer, *(a.astype(float) for a in (x, w, b)))}
    )
    verdict = diagnose(PROBES, wide)
    assert verdict.ok, str(verdict)
    assert [(one.where, one.verdict, one.causes[0].name) for one in verdict.findings] == [
        ("conv2", "a valid choice", "float64 where float32 was meant")
    ]
    assert 'DTYPE = "float64"' in verdict.diagnoses[0].remedy
    assert verdict.to_json()["verdict"] == "ok"


@pytest.mark.slow
def test_json_holds_what_the_verdict_says():
    verdict = diagnose(PROBES, seen(PROBES, {"conv1": weights(lambda w: w[:, :, ::-1, ::-1])}))
    found = json.loads(json.dumps(verdict.to_json()))
    assert found["verdict"] == "different"
    assert found["first"] == "conv1"
    assert found["findings"][0]["causes"][0]["name"] == "kernel flipped"
    assert found["findings"][0]["causes"][0]["case"].startswith("https://github.com/")
    assert json.loads(json.dumps(diagnose(PROBES, seen(PROBES, {})).to_json()))["verdict"] == "ok"


def test_nothing_observed_and_unknown_layers_are_refused():
    with pytest.raises(UserError) as refusal:
        diagnose(PROBES, Observed())
    one_line(refusal)
    strange = seen(PROBES, {})
    for found in strange.activations.values():
        found["conv3"] = found["conv2"]
    with pytest.raises(UserError, match="conv3") as refusal:
        diagnose(PROBES, strange)
    one_line(refusal)
