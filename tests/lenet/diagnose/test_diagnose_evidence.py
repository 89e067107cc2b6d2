"""What counts as evidence: nothing is named by a bound that fits all, and what cannot be read ends early."""

import numpy as np
import pytest

import lenet.diagnose.forward_pass
from lenet.diagnose import diagnose
from lenet.diagnose.mistakes import forward
from lenet.diagnose.mistakes.wrong_forward import compose
from lenet.diagnose.probe_inputs import observe, standard
from lenet.diagnose.search.segment import Count
from lenet.reference.backward import cross_entropy
from parity.arithmetic import Bounded
from tests.planted import bugs
from tests.planted.backward import DLOGITS, LINEAR, LOSS, handed_on, softmax_of
from tests.planted.bugs import biases, conv, elementwise, image, output, seen, seen_patched, tf32, weights

PROBES = standard()


def names(observed, probes=PROBES):
    return [one.name for one in diagnose(probes, observed).diagnoses]


# --- shapes ------------------------------------------------------------------------------------


@pytest.fixture
def _no_search(monkeypatch):
    def refuse(segment, clock):
        raise AssertionError("no two mistakes give such a shape: why search?")

    monkeypatch.setattr(lenet.diagnose.forward_pass, "pair_matches", refuse)


@pytest.mark.usefixtures("_no_search")
@pytest.mark.parametrize(
    ("layer", "spoil"),
    [
        ("logits", lambda a: a.sum()),
        ("logits", lambda a: a[:0]),
        ("logits", lambda a: a[:8]),
        ("logits", lambda a: a[:, :5]),
        ("conv1", lambda a: a[:, 0]),
        ("conv2", lambda a: a[0]),
        ("pool1", lambda a: a.ravel()),
    ],
)
@pytest.mark.parametrize("alone", [True, False])
def test_a_shape_that_no_network_has_is_told_without_a_search(layer, spoil, alone):
    observed = seen(PROBES, {}, only=[layer] if alone else None)
    for found in observed.activations.values():
        found[layer] = spoil(found[layer])
    verdict = diagnose(PROBES, observed)
    assert verdict.first == layer
    assert "shape" in verdict.findings[0].evidence
    assert not verdict.diagnoses


@pytest.mark.usefixtures("_no_search")
@pytest.mark.parametrize(
    ("layer", "spoil"),
    [("pool2", lambda a: a.reshape(len(a), -1)), ("flatten", lambda a: a.reshape(len(a), 16, 5, 5))],
)
def test_all_values_on_other_axes_are_named(layer, spoil):
    observed = seen(PROBES, {})
    for found in observed.activations.values():
        found[layer] = spoil(found[layer])
    verdict = diagnose(PROBES, observed)
    assert (verdict.first, verdict.summary) == (layer, "different")
    assert verdict.diagnoses[0].name == "handed out with other axes"


def test_a_layer_behind_a_wrong_shape_is_compared_with_no_view_of_it():
    def to_size(x):
        return np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1))).reshape(len(x), -1)

    verdict = diagnose(PROBES, seen(PROBES, {"conv1": conv(padding=0), "flatten": elementwise(to_size)}))
    assert verdict.first == "conv1"
    assert verdict.diagnoses[0].name == "no padding (VALID)"


# --- bounds that say nothing -------------------------------------------------------------------


def test_a_bound_that_admits_the_right_value_as_well_is_no_evidence():
    seen_values, right = np.arange(10.0) + 1, Bounded(np.arange(10.0), np.zeros(10))
    for sharp, most in ((6, True), (5, False)):
        error = np.where(np.arange(10) < sharp, 0.5, 2.0)
        count = Count()
        count.add(seen_values, Bounded(seen_values, error), right, "float32")
        assert (count.departing, count.proving, count.most) == (10, sharp, most)


def test_a_bound_wider_than_the_departure_that_it_explains_is_no_evidence():
    seen_values, right = np.full(10, 1.0), Bounded(np.zeros(10), np.zeros(10))
    for value, error, most in ((100.0, 99.5, False), (1.25, 0.5, True)):
        wrong = Bounded(np.full(10, value), np.full(10, error))
        assert (np.abs(wrong.value - right.value) > wrong.bound).all()  # both exclude the right value
        count = Count()
        count.add(seen_values, wrong, right, "float32")
        assert count.most == most


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "name"),
    [
        (np.trunc, "result cut off to integers"),
        (np.rint, "result rounded to integers"),
        (lambda z: np.eye(10)[z.argmax(axis=1)], "one-hot classes for logits"),
    ],
)
def test_integers_are_numbers_of_every_format_and_evidence_of_none(change, name):
    integers = {"logits": output(lambda z: change(z).astype(z.dtype))}
    assert names(seen(PROBES, integers, ["flatten", "logits"])) == [name]


@pytest.mark.slow
def test_small_integers_of_another_kind_are_no_coarse_format():
    assert names(seen(PROBES, {"fc2": output(lambda z: np.sign(z).astype(z.dtype))})) == []


def test_a_slight_scale_is_no_pair_of_mistakes_with_wide_bounds():
    """Standardised images and Mish, whose bounds are wide, would admit it."""
    scaled = seen(PROBES, {"fc2": output(lambda z: z * np.float32(1.037))}, only=["logits"])
    one = next(m for m in forward() if m.kind.name == "each image standardised")
    two = next(m for m in forward() if m.kind.name == "Mish for ReLU" and len(m.stages) == 4)
    starts = tuple(lenet.diagnose.forward_pass._exact(probe.images) for probe in PROBES.forward)
    segment = lenet.diagnose.forward_pass._segment(PROBES, scaled, "", "logits", starts, {})
    assert not segment.is_right
    changes = compose(one.changes, two.changes)
    assert not (segment.explains(changes) and segment.proves(changes))


# --- right ports that are not what one expects -------------------------------------------------


@pytest.mark.slow
def test_weights_rounded_once_more_are_the_same_network():
    def normed(w):
        norm = np.linalg.norm(w, axis=1, keepdims=True)
        return norm * (w / norm)

    verdict = diagnose(PROBES, seen(PROBES, {"fc1": weights(normed)}))
    assert verdict.ok, str(verdict)
    assert [note.partition(" is off by a rounding error")[0] for note in verdict.notes] == ["fc1"]
    alone = diagnose(PROBES, seen(PROBES, {"fc1": weights(normed)}, ["flatten", "logits"]))
    assert alone.summary == "undecided"  # a mistake as small would look the same
    assert not alone.diagnoses
    assert not alone.notes  # nothing is blamed for it


@pytest.mark.slow
@pytest.mark.usefixtures("no_pairs")
def test_a_small_mistake_is_no_rounding():
    slightly = {"fc1": weights(lambda w: w * np.float32(1 + 2.0**-11))}
    assert not diagnose(PROBES, seen(PROBES, slightly, ["flatten", "fc2"])).ok


def test_flushed_denormals_are_a_note_and_no_verdict():
    right = bugs.forward({})

    def flushing(params, images):
        tiny = np.finfo(np.float32).tiny
        return {name: np.where(np.abs(a) < tiny, 0, a) for name, a in right(params, images).items()}

    assert diagnose(PROBES, observe(PROBES, right)).notes == ()
    verdict = diagnose(PROBES, observe(PROBES, flushing))
    assert verdict.ok
    assert [note.partition(" (")[0] for note in verdict.notes] == ["denormals"]


def test_each_training_call_has_batches_of_its_own():
    def train(params, batches, recipe):
        for batch in batches:
            assert batch.images.max() > 0
            batch.images[...] = 0
        return params

    assert observe(PROBES, bugs.forward({}), train=train).trajectory


def test_a_probability_that_underflows_may_become_zero():
    z = np.zeros((1, 10))
    z[0, 3] = -95.0  # p below the smallest normal float32
    _, d = cross_entropy(Bounded(z, np.zeros(z.shape)), np.array([0]), "float32")
    assert 0 < d.value[0, 3] < d.bound[0, 3]


# --- what only a closer look shows -------------------------------------------------------------


@pytest.mark.slow
def test_tf32_in_the_convolutions_alone_shows_behind_them():
    wrong = {name: bugs.operands(tf32) for name in ("conv1", "conv2")}
    verdict = diagnose(PROBES, seen(PROBES, wrong, only=["pool2"]))
    assert [(one.name, one.where) for one in verdict.diagnoses] == [
        ("operands rounded to TF32", ("conv1", "conv2"))
    ]


@pytest.mark.slow
def test_bias_behind_pooling_is_told_by_what_comes_later():
    given = [probe.params["conv2.bias"] for probe in PROBES.asked]
    once, twice = ([b.reshape(1, -1, 1, 1) for b in given] for _ in "12")
    behind = {"pool2": lambda layer, x, w, b: bugs.right(layer, x, w, b) + once.pop(0)}
    assert names(seen(PROBES, {"conv2": biases(lambda b: b * 0), **behind})) == ["bias added after pooling"]
    again = {"pool2": lambda layer, x, w, b: bugs.right(layer, x, w, b) + twice.pop(0)}
    assert names(seen(PROBES, again)) == ["bias added again after pooling"]


def hard_swish(x):
    return x * np.clip(x + 3, 0, 6) / 6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layer", "wrong", "name"),
    [
        (
            "image",
            image(lambda x: (x - x.mean((1, 2, 3), keepdims=True)) / x.std((1, 2, 3), keepdims=True)),
            "each image standardised",
        ),
        ("image", image(lambda x: np.roll(x, (1, 1), (2, 3))), "image rolled by one pixel down and right"),
        ("image", image(lambda x: (x * 255).astype(np.uint8) / np.float32(255)), "pixels cut off to bytes"),
        (
            "image",
            image(lambda x: np.rint(x * np.float32(255)) / np.float32(256)),
            "pixels rounded to bytes and divided by 256",
        ),
        (
            "conv1",
            weights(lambda w: w * (np.arange(5) < 4)[:, None].astype(w.dtype)),
            "last row of the kernel left out",
        ),
        ("relu3", elementwise(hard_swish), "hard swish for ReLU"),
        (
            "pool1",
            elementwise(
                lambda x: bugs.pool(2, 2)(
                    bugs.LAYERS[2], np.pad(x, ((0, 0), (0, 0), (1, 0), (1, 0)))[:, :, :-1, :-1], x, x
                )
            ),
            "pooling off by one to the upper left",
        ),
        ("flatten", output(bugs.half), "result rounded to float16"),
    ],
)
def test_more_mistakes_of_one_layer(layer, wrong, name):
    verdict = diagnose(PROBES, seen(PROBES, {layer: wrong}))
    assert [one.name for one in verdict.diagnoses] == [name]
    assert verdict.first == layer


# --- loss, gradients, training -----------------------------------------------------------------


def both(loss, cotangent):
    """Patches for a loss of one's own: its value, and its cotangent for the logits."""

    def make(right):
        return lambda z, k: (loss(z, np.eye(10)[k]), (cotangent(z, np.eye(10)[k]).astype(z.dtype), k))

    return (LOSS, make), (DLOGITS, handed_on)


def squared_cotangent(z, hot):
    p = softmax_of(z)
    d = 2 * (p - hot) / hot.size
    return p * (d - (d * p).sum(axis=1, keepdims=True))


def taken_for_probabilities(z, hot):
    q = np.log(np.clip(z, 1e-7, 1 - 1e-7))
    return q, softmax_of(q) - hot


OTHERS = [
    (
        both(lambda z, hot: np.mean((softmax_of(z) - hot) ** 2), squared_cotangent),
        "squared error of the probabilities, averaged over digits and classes",
    ),
    (
        both(
            lambda z, hot: np.mean(np.logaddexp(0, z) - z * hot),
            lambda z, hot: (1 / (1 + np.exp(-z)) - hot) / hot.size,
        ),
        "binary cross-entropy of each class, averaged over digits and classes",
    ),
    (
        both(
            lambda z, hot: (
                -np.mean(np.sum(np.log(softmax_of(taken_for_probabilities(z, hot)[0])) * hot, axis=1))
            ),
            lambda z, hot: (
                taken_for_probabilities(z, hot)[1]
                / np.clip(z, 1e-7, 1)
                * ((z > 1e-7) & (z < 1 - 1e-7))
                / len(z)
            ),
        ),
        "logits taken for probabilities",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("patches", "name"), OTHERS, ids=[row[1] for row in OTHERS])
def test_other_losses_are_named(patches, name):
    verdict = diagnose(PROBES, seen_patched(PROBES, *patches))
    assert verdict.first == "loss"
    assert [one.name for one in verdict.diagnoses] == [name]


@pytest.mark.slow
def test_tf32_in_the_weight_gradients_alone_is_named():
    def dense(right):
        return lambda dy, cache: (right(dy, cache)[0], tf32(dy).T @ tf32(cache[0]), right(dy, cache)[2])

    found = names(seen_patched(PROBES, (LINEAR, dense)))
    assert found == ["weight gradient from operands in TF32"]
