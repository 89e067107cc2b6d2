"""The judge: right ports are rounding, planted mistakes are found in the layer where they are."""

import json
import re

import numpy as np
import pytest

from lenet.compare import compare, outputs_problem
from lenet.compare import layer_by_layer as judge
from lenet.network.architecture import ACTIVATION_SHAPES
from lenet.reference.forward import certified, reference
from lenet.reference.half_sums import BIASED
from lenet.testing import explained
from parity.errors import UserError
from parity.judging.causes.of_rounding.of_half_sums import NAME
from tests.helpers import BATCH
from tests.planted.half_sums import HalfSums
from tests.planted.ports import MISTAKES, Planted, affine, numpy_port


def test_every_port_is_rounding(port, params, digits):
    report = compare([port], params, digits[:BATCH]).ports[0]
    assert report.verdict == "rounding", report.problem or explained(port)
    assert report.same_predictions == report.digits == BATCH
    assert list(report.layers) == list(ACTIVATION_SHAPES)
    # A ReLU, a maximum and a reshape round nothing at all.
    assert {report.layers[n].local_ratio for n in ("relu1", "pool1", "relu2", "pool2", "flatten")} == {0.0}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
@pytest.mark.parametrize("culprit", ["conv1", "conv2", "fc1", "fc2", "logits"])
def test_planted_mistake_is_found_at_its_layer(culprit, mistake, params, digits):
    report = compare([Planted(culprit, mistake)], params, digits[:100]).ports[0]
    assert report.verdict == "different"
    assert report.first_different == culprit


@pytest.mark.slow
def test_mistake_in_one_digit_of_the_last_chunk_is_found(params, digits):
    def mistake(layer, x, w, b):
        y = affine(layer, x, w, b)
        if len(y) < judge.RUN:
            y[judge.CHUNK + 3, 5] += 1e-3
        return y

    report = compare([Planted("fc1", mistake)], params, digits[: judge.RUN + judge.CHUNK + 7]).ports[0]
    digit, index, found, expected = report.layers["fc1"].worst or (0, (), 0.0, 0.0)
    assert (report.first_different, digit, index) == ("fc1", judge.RUN + judge.CHUNK + 3, (5,))
    assert found - expected == pytest.approx(1e-3, rel=0.01)  # 1e-3 planted, float32 noise beside it


class Tampered(Planted):
    """Right numbers, wrong form."""

    def __init__(self, tamper) -> None:
        super().__init__("", lambda *_: np.empty(0))
        self.tamper = tamper

    def _activations(self, images):
        outputs = super()._activations(images)
        self.tamper(outputs)
        return outputs

    def _logits(self, images):
        return super()._activations(images)["logits"]


@pytest.mark.parametrize(
    ("tamper", "problem"),
    [
        (lambda o: o.pop("relu3"), r"missing: \['relu3'\]"),
        (lambda o: o.update(extra=o["fc1"]), r"unknown: \['extra'\]"),
        (lambda o: o.update(conv2=o["conv2"].transpose(0, 2, 3, 1)), r"conv2 is float32 \(100, 10, 10, 16\)"),
        (lambda o: o.update(fc2=o["fc2"][:, :1]), r"fc2 is float32 \(100, 1\)"),
        (lambda o: o.update(pool1=o["pool1"].astype(np.float64)), "pool1 is float64"),
    ],
    ids=["missing", "unknown", "permuted", "would broadcast", "dtype"],
)
def test_wrong_form_is_refused_before_values_are_looked_at(tamper, problem, params, digits):
    report = compare([Tampered(tamper)], params, digits[:100]).ports[0]
    assert report.verdict == "different"
    assert re.search(problem, report.problem or "")


def test_nan_is_different(params, digits):
    report = compare(
        [Tampered(lambda o: o["relu2"].__setitem__((0, 0, 0, 0), np.nan))], params, digits[:5]
    ).ports[0]
    assert report.first_different == "relu2"
    assert report.layers["relu2"].local_ratio == np.inf


def test_values_swapped_between_two_digits_are_found(params, digits):
    report = compare([Tampered(lambda o: o.update(fc1=o["fc1"][::-1]))], params, digits[:6]).ports[0]
    assert report.first_different == "fc1"


def test_nothing_to_compare_is_refused(params, digits):
    with pytest.raises(UserError, match="nothing to compare"):
        compare([], params, digits)
    with pytest.raises(UserError, match="nothing to compare"):
        compare([numpy_port()], params, digits[:0])


def test_progress_and_the_certified_digits_are_counted_chunk_by_chunk(params, digits):
    some, seen = digits[: judge.CHUNK + 3], list[int]()
    result = compare([numpy_port()], params, some, progress=seen.append)
    assert seen == [judge.CHUNK, 3]
    assert result.certified == certified(reference(params, some.images)["logits"]).sum()


@pytest.mark.slow
def test_counts_add_up_over_chunks(params, digits):
    count = judge.RUN + 2 * judge.CHUNK + 3
    result = compare([numpy_port()], params, digits[:count])
    (report,) = result.ports
    assert result.digits == report.digits == report.same_predictions == count
    right = (numpy_port_logits(params, digits.images[:count]).argmax(1) == digits.labels[:count]).sum()
    assert report.correct == right
    assert report.layers["fc2"].values == count * 84
    assert report.layers["fc2"].max_abs_error > 0
    assert 0 < report.layers["fc2"].bit_equal < 1


def numpy_port_logits(params, images):
    port = numpy_port()
    port.load(params)
    return port.logits(images)


def test_json_has_the_documented_fields(params, digits):
    result = json.loads(json.dumps(compare([numpy_port()], params, digits[:20]).to_json()))
    assert set(result) >= {"digits", "certified", "ports"}
    (port,), own = result["ports"], numpy_port()
    assert [port[name] for name in ("name", "version", "dtype")] == [own.name, own.version, own.dtype]
    assert set(port) >= {
        "name", "version", "dtype", "accuracy", "same_predictions", "verdict", "first_different", "layers",
    }  # fmt: skip
    fields = {"max_abs_error", "local_ratio", "end_to_end_ratio", "bit_equal"}
    assert all(set(layer) >= fields for layer in port["layers"].values())


def test_outputs_problem_is_none_for_a_right_port(params, digits):
    port = numpy_port()
    port.load(params)
    images = digits.images[:4]
    assert outputs_problem(port.activations(images), port.logits(images), 4, "float32") is None


def test_equal_values_are_judged_once_and_reported_for_every_port(monkeypatch, params, digits):
    judged, plain = [], judge.judge_layers

    def counted(*given):
        judged.append(given)
        return plain(*given)

    monkeypatch.setattr(judge, "judge_layers", counted)
    alone = compare([numpy_port()], params, digits[:60]).ports[0]
    chunks = len(judged)
    found = compare([numpy_port(), numpy_port()], params, digits[:60]).ports
    assert len(judged) == 2 * chunks
    assert [report.to_json() for report in found] == [alone.to_json()] * 2


def test_equal_logits_are_not_enough_to_be_judged_together(params, digits):
    right, swapped = Tampered(lambda o: None), Tampered(lambda o: o.update(fc1=o["fc1"][::-1]))
    found = compare([right, swapped, right], params, digits[:6]).ports
    assert [report.first_different for report in found] == [None, "fc1", None]
    assert [report.digits for report in found] == [6, 6, 6]


@pytest.mark.parametrize("culprit", ["conv1", "fc1"])
def test_float32_is_not_enough_for_a_port_in_float64(culprit, params, digits):
    def short(layer, x, w, b):
        return affine(layer, x, w, b).astype(np.float32).astype(np.float64)

    found = compare([numpy_port("float64"), Planted(culprit, short, "float64")], params, digits[:5]).ports
    assert [(one.verdict, one.first_different) for one in found] == [
        ("rounding", None),
        ("different", culprit),
    ]


def test_a_formula_is_looked_for_where_a_relu_lies_outside_its_bound(params, digits):
    port, images = HalfSums(), digits.images[:5]
    port.load(params)
    outputs = port.activations(images), port.logits(images)
    for ratio, outside in ((1.0, False), (1.1, True)):
        plain = {name: judge.LayerReport(local_ratio=ratio) for name in ACTIVATION_SHAPES}
        layers = judge.less_accurate(params, images, *outputs, plain)
        assert (layers is not None) == outside
    assert layers is not None
    assert {name: one.formula for name, one in layers.items() if one.formula} == dict.fromkeys(BIASED, NAME)
    digit, index, found, _ = layers["relu1"].worst or (5, (), 0.0, 0.0)
    assert outputs[0]["relu1"][digit, *index] == found
