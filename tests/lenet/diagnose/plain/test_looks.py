"""What is looked at before the catalogue is searched: plain outputs, accuracy, batches, answers twice."""

import numpy as np
import pytest

from lenet.diagnose.findings import LESS, UNDECIDED, Diagnosis, Finding
from lenet.diagnose.looks import accuracy, batches, plain_outputs, repeated
from lenet.diagnose.probe_inputs import FIRST, Observed, Probe, Probes, alike
from lenet.diagnose.search.segment import Sample, Segment
from parity.arithmetic import Bounded
from parity.arithmetic.floats import FLOAT32
from tests.lenet.diagnose.plain.backward import batch, forward
from tests.lenet.diagnose.plain.network import Array, Layer, drawn, right, wide
from tests.lenet.diagnose.plain.segments import DENSE, segment
from tests.lenet.diagnose.plain.training import NO_COURSE
from tests.lenet.diagnose.plain.words import check_kinds


def behind(change) -> Layer:
    return lambda x, w, b: change(x @ w.T + b)


def test_a_constant_output_is_told():
    zero = plain_outputs.constant(segment(("fc2",), fc2=behind(lambda y: 0 * y)))
    assert zero == (plain_outputs.ZERO, "every value of fc2 is zero")
    one = plain_outputs.constant(segment(("fc2",), fc2=behind(lambda y: 0 * y + 0.5)))
    assert one == (plain_outputs.CONSTANT, "every value of fc2 is 0.5")
    two = segment(("fc2",), fc2=behind(lambda y: 0 * y + (0.5 if y[0, 0] > 0 else 1.5)))
    two.samples[0].seen[...], two.samples[1].seen[...] = 1.5, 0.5
    assert plain_outputs.constant(two) == (plain_outputs.CONSTANT, "every value of fc2 is 0.5, or 1.5")
    two.samples[1].seen[0, 0] = 3
    assert plain_outputs.constant(two) is None
    assert plain_outputs.constant(segment(("fc2",), fc2=behind(lambda y: np.full(y.shape, np.nan)))) is None
    assert plain_outputs.constant(segment(("fc2",), fc2=behind(lambda y: 0 * y[:, :5]))) is None
    assert plain_outputs.constant(segment(("fc2",))) is None
    check_kinds(*(getattr(plain_outputs, k) for k in ("ZERO", "CONSTANT", "SAME", "CUT_OFF", "NOT_FINITE")))


def test_one_output_for_every_digit_and_a_limit_are_told():
    look = plain_outputs.repeated_or_cut_off
    same = look(segment(("fc2",), fc2=behind(lambda y: np.repeat(y[1:2], 3, 0))))
    assert same == (plain_outputs.SAME, "fc2 is the same for every digit")
    above = look(segment(("fc2",), fc2=behind(lambda y: np.minimum(y, 0.75))))
    assert above == (plain_outputs.CUT_OFF, "fc2 is cut off: above 0.75; all other values are right")
    both = look(segment(("fc2",), fc2=behind(lambda y: np.clip(y, -0.5, 0.75))))
    assert both is not None
    assert both[1] == "fc2 is cut off: below -0.5 and above 0.75; all other values are right"
    assert look(segment(("fc2",))) is None  # nothing is wrong
    assert look(segment(("fc2",), fc2=behind(lambda y: np.minimum(y, 0.75) * 1.25))) is None
    other = segment(("fc2",), fc2=behind(lambda y: np.minimum(y, 0.75)))
    seen = other.samples[1].seen
    seen[...] = np.minimum(seen, 0.5)
    assert look(other) is None  # another limit on another probe
    one = segment(("fc2",), digits=1, fc2=behind(lambda y: y + 1))
    assert look(one) is None  # a digit alone is like every digit


def test_values_that_are_not_finite_are_counted():
    def broken(y: Array) -> Array:
        y[0, :3] = np.nan, np.inf, -np.inf
        return y

    found = plain_outputs.not_finite(segment(("fc2",), fc2=behind(broken)))
    assert found == (plain_outputs.NOT_FINITE, "6 of 504 values of fc2 are not finite")
    assert plain_outputs.not_finite(segment(("fc2",))) is None
    given = segment(("fc2",), fc2=behind(broken))
    given.samples[0].x.value[0, 0] = np.nan
    assert plain_outputs.not_finite(given) is None


def rms(a: Array) -> float:
    return float(np.sqrt((a**2).mean()))


def noisy(share: float, seed: int = 0) -> Layer:
    """Random errors of this size, in units of the roundings of a plain sum: u · ‖w‖ · ‖x‖."""

    def layer(x: Array, w: Array, b: Array) -> Array:
        sizes = np.outer(np.linalg.norm(x, axis=1), np.linalg.norm(w, axis=1))
        draw = np.random.default_rng(seed).standard_normal(sizes.shape)
        return x @ w.T + b + share * FLOAT32.u * sizes * draw

    return layer


def on_a_grid(share: float) -> Segment:
    """Errors where a plain sum has none: weights and inputs are whole eighths."""
    samples = []
    for k, sample in enumerate(segment(("fc2",), digits=16).samples):
        x = np.rint(sample.x.value * 8) / 8
        params = {name: np.rint(a * 8) / 8 for name, a in sample.params.items()}
        seen = noisy(share, k)(x, params["fc2.weight"], params["fc2.bias"])
        samples.append(Sample(Bounded(x), seen, params))
    return Segment(("fc2",), tuple(samples), "float32", {})


def test_rounding_less_accurate_and_other_functions_are_told_apart():
    assert accuracy.is_rounding(segment(("fc2",), digits=16, fc2=noisy(0.5)))
    assert accuracy.is_rounding(on_a_grid(0.5))  # as if its weights had been computed
    assert not on_a_grid(0.5).is_right
    assert not accuracy.is_rounding(on_a_grid(5.0))
    finding = accuracy.less_than_right(on_a_grid(5.0))
    assert finding is not None
    assert (finding.verdict, finding.where) == (LESS, "fc2")
    assert finding.causes[0].name == accuracy.FAST_ALGORITHM.name
    assert "small errors where a plain loop has none" in finding.evidence
    assert not accuracy.is_rounding(on_a_grid(100.0))
    assert accuracy.less_than_right(on_a_grid(100.0)) is None
    check_kinds(accuracy.FAST_ALGORITHM)


def of_half_sums(change: float = 0.0) -> Segment:
    """ReLUs computed as ½(|x + b| + x + b) in float32, one value of each probe moved."""
    rng, samples = np.random.default_rng(0), []
    for seed in (0, 1):
        params = wide(drawn(seed))
        b = params["fc1.bias"].astype(np.float32)
        x = rng.standard_normal((40, 120)).astype(np.float32)
        s = x + b
        y = (np.abs(s) + x + b) * np.float32(0.5)
        y[0, 0] += np.float32(change)
        samples.append(Sample(Bounded(s.astype(np.float64)), y.astype(np.float64), params))
    return Segment(("relu3",), tuple(samples), "float32", {})


def test_relus_that_round_as_half_of_a_sum_are_less_accurate():
    given = of_half_sums()
    assert not given.is_right
    assert not accuracy.is_rounding(given)
    finding = accuracy.less_than_right(given)
    assert finding is not None
    assert (finding.where, finding.verdict) == ("relu3", LESS)
    assert finding.causes[0].name == accuracy.HALF_SUM.name
    assert finding.causes[0].where == ("relu3",)
    assert "values of relu3 lie outside the rounding bound" in finding.evidence
    assert accuracy.less_than_right(of_half_sums(1e-3)) is None
    other = segment(("relu3",), relu3=lambda x, w, b: np.maximum(x, 0) * (1 + 2.0**-22))
    assert accuracy.less_than_right(other) is None
    pool = segment(("pool1",), pool1=lambda x, w, b: 2 * right("pool1", x))
    assert accuracy.less_than_right(pool) is None  # no ReLU
    cut = of_half_sums()
    narrow = tuple(Sample(Bounded(one.x.value[:, :5]), one.seen[:, :5], one.params) for one in cut.samples)
    assert accuracy.less_than_right(Segment(("relu3",), narrow, "float32", {})) is None


def test_several_layers_may_hide_a_small_mistake():
    several = segment(DENSE, digits=16, logits=noisy(20.0))
    assert several.could_round
    assert not accuracy.is_rounding(several)
    assert accuracy.less_than_right(several) is None  # they deviate more than a fast algorithm
    near = segment(DENSE, digits=16, logits=noisy(7.0))
    finding = accuracy.less_than_right(near)
    assert finding is not None
    assert (finding.verdict, finding.where, finding.causes) == (UNDECIDED, "logits", ())
    assert "return the layers before it, or use float64" in finding.evidence
    assert accuracy.is_rounding(segment(DENSE))
    said = accuracy.beyond_noise(several)
    assert "times as far as rounding does" in said
    assert not accuracy.is_rounding(segment(("relu4",), relu4=lambda x, w, b: 0.5 * right("relu4", x)))


# --- other batches -----------------------------------------------------------------------------------

TWINS = {"one": (3,), "many": tuple(np.random.default_rng(0).permutation(37) % 16)}


def asked(change=lambda name, layer, a: a) -> tuple[Probes, Observed]:
    """The answers on sixteen digits, on one and on 37; some are changed."""
    params, images, labels = batch(0, 16)
    probes = [Probe("exact", params, images, labels)]
    probes += [Probe(name, params, images[list(t)], labels[list(t)], twins=t) for name, t in TWINS.items()]
    answers = {}
    for one in probes:
        layers = list(forward(wide(one.params), one.images.astype(np.float64)).values())
        given = {"fc1": layers[8], "logits": layers[12]}
        answers[one.name] = {name: change(one.name, name, a).astype(np.float32) for name, a in given.items()}
    return Probes(tuple(probes), NO_COURSE), Observed(activations=answers)


def looked(change) -> tuple[str, str, str]:
    (finding,) = batches.findings(*asked(change))
    (cause,) = finding.causes
    return finding.where, cause.name, finding.evidence


def test_the_same_answers_in_every_batch_are_no_finding():
    assert batches.findings(*asked()) == []
    probes, observed = asked()
    assert batches.left_out(probes, observed) == []
    observed.activations["exact"]["fc1"] = observed.activations["exact"]["fc1"][:15]
    assert batches.findings(probes, observed) == []  # the shape among 16 is wrong already
    check_kinds(batches.LEFT_OUT, batches.NO_BATCH_AXIS, batches.OTHER_SHAPE, batches.DEPENDS)


def test_digits_of_other_batches_are_told_by_what_is_wrong_with_them():
    assert looked(lambda name, layer, a: a[0] if name == "one" else a) == (
        "fc1",
        "batch axis dropped at one digit",
        "fc1 has shape (120,) for 1 digit, expected (1, 120)",
    )
    assert looked(lambda name, layer, a: a[:32] if name == "many" else a) == (
        "fc1",
        "another number of rows than digits",
        "fc1 has shape (32, 120) for 37 digits, expected (37, 120)",
    )
    where, name, evidence = looked(
        lambda name, layer, a: a * (np.arange(len(a)) < 32)[:, None] if name == "many" else a
    )
    assert (where, name) == ("fc1", "digits of the batch left out")
    assert evidence == "fc1 holds no answer in rows 32, 33, 34, 35, 36 of 37 digits"
    where, name, evidence = looked(
        lambda name, layer, a: (
            a + (layer == "logits") * (np.arange(len(a)) == 5)[:, None] if name == "many" else a
        )
    )
    assert (where, name) == ("logits", "a digit's answer depends on its batch")
    assert evidence.startswith("row 5 of 37 digits differ in logits from the same digits among 16; ")
    numbers = evidence.rpartition("the largest difference: ")[2].split(", among 16 ")
    assert float(numbers[0]) - float(numbers[1]) == pytest.approx(1, abs=1e-4)  # six digits are shown
    probes, observed = asked(lambda name, layer, a: a + (name == "many"))
    assert batches.left_out(probes, observed) == []
    assert len(batches.findings(probes, observed)) == 1


def test_one_digit_without_an_answer_is_left_out_only_if_a_large_batch_has_some():
    """A digit alone has a constant row, too, where its batch's mean is subtracted."""
    assert (
        looked(lambda name, layer, a: 0 * a if name == "one" else a)[1]
        == "a digit's answer depends on its batch"
    )

    def rows(name: str, layer: str, a: Array) -> Array:
        return 0 * a if name == "one" else a * (np.arange(len(a)) < 32)[:, None]

    where, name, evidence = looked(rows)
    assert (where, name, evidence) == (
        "fc1",
        batches.LEFT_OUT.name,
        "fc1 holds no answer in row 0 of 1 digit",
    )


def test_a_finding_on_batches_is_added_to_those_of_the_forward_pass():
    probes, observed = asked(lambda name, layer, a: a + (layer == "logits") * (name == "many"))
    (own,) = batches.findings(probes, observed)
    assert batches.added([], probes, observed) == [own]
    known = Finding("fc1", "e", (Diagnosis.of(batches.DEPENDS, ("fc1",)),))
    assert batches.added([known], probes, observed) == [known]
    unknown = Finding("logits", "e", clues=("c",))
    (cause,) = batches.added([unknown], probes, observed)
    assert cause.causes == own.causes
    assert cause.clues == ("c",)
    (other,) = batches.added([Finding("fc1", "e", clues=("c",))], probes, observed)
    assert other.where == "fc1"
    assert other.clues == ("c", f"a digit's answer depends on its batch: {own.evidence}")
    undecided = Finding("fc1", "e", verdict=UNDECIDED)
    assert batches.added([undecided], probes, observed) == [own, undecided]
    assert batches.added([unknown], *asked()) == [unknown]


# --- the same question twice -----------------------------------------------------------------------------


def twice(change) -> tuple[Probes, Observed]:
    params, images, labels = batch(0, 4)
    first, again = (Probe(name, params, images, labels, backward=True) for name in FIRST)
    layers = list(forward(wide(params), images.astype(np.float64)).values())
    given = {"fc1": layers[8], "logits": layers[12]}
    activations = {
        name: {n: np.array(change(name, n, a), np.float32) for n, a in given.items()} for name in FIRST
    }
    return Probes((first, again), NO_COURSE), Observed(activations=activations)


def test_a_second_answer_that_differs_is_random_or_keeps_something():
    assert repeated.findings(*twice(lambda name, layer, a: a)) == []
    (finding,) = repeated.findings(
        *twice(lambda name, layer, a: a + (name == "again") * (layer == "logits") * np.eye(*a.shape))
    )
    assert finding.where == "logits"
    assert finding.causes[0].name == "state kept between calls"  # the first answer is right
    assert finding.evidence.startswith("4 of 40 values of logits change when it is called again; ")
    (finding,) = repeated.findings(*twice(lambda name, layer, a: a + (1 if name == "again" else 2)))
    assert (finding.where, finding.causes[0].name) == ("fc1", "random output")
    assert "the largest change is from" in finding.evidence
    (finding,) = repeated.findings(*twice(lambda name, layer, a: a[:3] if name == "again" else a))
    assert finding.evidence == "fc1 has shape (4, 120), and (3, 120) for the same input"
    check_kinds(repeated.RANDOM, repeated.STATE)


def test_gradients_of_a_second_call_may_be_added_to_the_first():
    probes, observed = twice(lambda name, layer, a: a)
    one = {"fc1.bias": np.arange(120.0), "fc2.bias": np.ones(84)}
    for second, expected in (
        (one, []),
        ({n: 2 * a for n, a in one.items()}, []),
        (one | {"fc2.bias": np.full(84, 1.5)}, ["gradient of fc2.bias"]),
        ({"fc1.bias": one["fc1.bias"]}, ["gradient of fc2.bias"]),
    ):
        observed.gradients = {"exact": (1.0, one), "again": (1.0, second)}
        found = repeated.findings(probes, observed)
        assert [finding.where for finding in found] == expected
        assert all(finding.causes[0].name == "random output" for finding in found)
    assert found[0].evidence == "gradient of fc2.bias has shape (84,), and none for the same input"


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.0], True),
        ([1.0, np.nan], [1.0, np.nan], True),
        ([1.0, np.inf], [1.0, np.inf], True),
        ([1.0, np.inf], [1.0, -np.inf], False),
        ([1.0, np.nan], [1.0, 2.0], False),
        ([1.0, 2.0], [1.0 + 250 * 2.0**-24 * 2, 2.0], True),  # 256 roundings of the largest value
        ([1.0, 2.0], [1.0 + 262 * 2.0**-24 * 2, 2.0], False),
        ([0.0, 0.0], [0.0, 1e-30], False),
    ],
)
def test_answers_are_alike_up_to_another_order_of_summation(one, two, expected):
    assert alike(np.array(one), np.array(two), "float32") is expected
    assert alike(np.array(one), None, "float32") is False
    assert alike(np.array(one), np.array([*two, 0.0]), "float32") is False


def test_more_steps_may_differ_by_more_roundings():
    one, two = np.array([1.0]), np.array([1.0 + 500 * 2.0**-24])
    assert not alike(one, two, "float32")
    assert alike(one, two, "float32", steps=2)
    assert not alike(one, two, "float64", steps=2)
    assert alike(np.array([1, 2]), np.array([1, 2]), "float32")
