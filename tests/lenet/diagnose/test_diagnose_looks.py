"""What is looked at before the catalogue: plain outputs, other batches, and small errors."""

import numpy as np
import pytest

from lenet.diagnose import diagnose
from lenet.diagnose.findings import apart, deviation
from lenet.diagnose.looks.plain_outputs import repeated_or_cut_off
from lenet.diagnose.probe_inputs import observe, standard
from lenet.diagnose.search.segment import Sample, Segment
from lenet.diagnose.search.yardstick import PLAIN
from parity.arithmetic import Bounded
from tests.planted import bugs
from tests.planted.bugs import elementwise, image, output, seen, weights
from tests.planted.ports import affine

PROBES = standard()
RIGHT = bugs.forward({})


def told(verdict) -> tuple[str, list[str]]:
    """The verdict, and the names of all mistakes."""
    return verdict.summary, [one.name for one in verdict.diagnoses]


# --- outputs that fit many hypotheses ----------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "name", "only"),
    [
        (lambda z: z * 0, "all values are zero", None),
        (lambda z: z * 0 + np.float32(0.1), "all values are the same number", ["logits"]),
        (lambda z: z.clip(-5, 5), "output cut off", None),
        (lambda z: np.minimum(z, np.float32(3.5)), "output cut off", ["relu3", "logits"]),
    ],
)
def test_a_plain_output_is_a_finding_of_its_own(change, name, only):
    verdict = diagnose(PROBES, seen(PROBES, {"logits": output(change)}, only))
    assert verdict.first == "logits"
    assert told(verdict) == ("different", [name])


@pytest.mark.slow
def test_one_answer_for_every_digit_is_named():
    repeated = output(lambda z: z[:1].repeat(len(z), axis=0))
    verdict = diagnose(PROBES, seen(PROBES, {"logits": repeated}))
    assert told(verdict) == ("different", ["digit 0 for the whole batch"])


def test_equal_values_that_are_wrong_are_not_cut_off():
    """Where every digit has the same input, a class may have one wrong value for all, and the largest."""
    params = {"logits.weight": np.ones((10, 84)), "logits.bias": np.arange(10.0)}

    def sample(x, wrong):
        right = x @ params["logits.weight"].T + params["logits.bias"]
        return Sample(Bounded(x, np.zeros(x.shape)), wrong(right), params)

    fine = sample(np.random.default_rng(0).random((16, 84)), lambda right: right)
    cases = (
        (lambda z: np.where(z > 8.9, 8.5, z), False),
        (lambda z: z * 0, False),
        (lambda z: z.clip(0, 7.5), True),
    )
    for wrong, found in cases:
        same = sample(np.full((16, 84), 2.0**-30), wrong)
        segment = Segment(("logits",), (fine, same), "float32", {})
        assert (repeated_or_cut_off(segment) is not None) == found


@pytest.mark.slow
def test_the_limits_are_said():
    verdict = diagnose(PROBES, seen(PROBES, {"fc2": output(lambda z: z.clip(-2, 3))}))
    assert "below -2 and above 3" in verdict.findings[0].evidence


# --- other batches -----------------------------------------------------------------------------


def chunks(size: int):
    def activations(params, images):
        logits = np.zeros((len(images), 10), np.float32)
        for k in range(len(images) // size):
            part = slice(k * size, (k + 1) * size)
            logits[part] = RIGHT(params, images[part])["logits"]
        return {"logits": logits}

    return activations


@pytest.mark.parametrize("size", [8, 16, 32])
def test_the_rest_of_a_batch_left_out_is_named(size):
    verdict = diagnose(PROBES, observe(PROBES, chunks(size)))
    assert told(verdict) == ("different", ["digits of the batch left out"])


def test_a_batch_axis_that_is_squeezed_away_is_named():
    verdict = diagnose(PROBES, observe(PROBES, lambda p, x: {"logits": RIGHT(p, x)["logits"].squeeze()}))
    assert told(verdict) == ("different", ["batch axis dropped at one digit"])
    assert "(10,) for 1 digit, expected (1, 10)" in verdict.findings[0].evidence


def test_what_is_wrong_beyond_sixteen_digits_is_found():
    def activations(params, images):
        found = RIGHT(params, images)
        return {"logits": np.concatenate([found["logits"][:16], found["logits"][16:][::-1]])}

    verdict = diagnose(PROBES, observe(PROBES, activations))
    assert told(verdict) == ("different", ["a digit's answer depends on its batch"])
    assert "of 37 digits" in verdict.findings[0].evidence


@pytest.mark.slow
def test_a_mistake_that_mixes_the_digits_is_named_by_that():
    def mixed(z):
        return z + np.float32(0.01) * z.mean(axis=0) * z.std(axis=0)

    verdict = diagnose(PROBES, seen(PROBES, {"fc2": output(mixed)}))
    assert told(verdict) == ("different", ["a digit's answer depends on its batch"])


@pytest.mark.slow
@pytest.mark.usefixtures("no_pairs")
def test_a_clue_says_where_a_later_layer_depends_on_the_batch():
    wrong = {
        "fc1": output(lambda z: z * np.abs(z) ** np.float32(0.1)),
        "fc2": output(lambda z: z + np.float32(0.01) * z.mean(axis=0) * z.std(axis=0)),
    }
    verdict = diagnose(PROBES, seen(PROBES, wrong))
    assert verdict.findings[0].where == "fc1"
    assert not verdict.findings[0].causes
    assert any("depends on its batch" in clue for clue in verdict.findings[0].clues)


@pytest.mark.slow
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_named(value):
    def damaged(z):
        return np.where(z > np.quantile(z, 0.8), np.float32(value), z)

    verdict = diagnose(PROBES, seen(PROBES, {"logits": output(damaged)}))
    assert told(verdict) == ("different", ["values that are not finite"])
    assert "are not finite" in verdict.findings[0].evidence


@pytest.mark.slow
def test_a_factor_is_named_with_its_number():
    verdict = diagnose(PROBES, seen(PROBES, {"fc2": output(lambda z: z * np.float32(1.037))}))
    assert told(verdict) == ("different", ["result multiplied by 1.037"])


# --- less accurate, undecided ------------------------------------------------------------------


def by_fft(dtype):
    """A convolution by FFT in this dtype; other layers right."""
    import scipy.fft

    def layer(layer, x, w, b):
        pad = layer.padding
        x = np.pad(x.astype(dtype), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        rows, columns = x.shape[2:]
        spectra = scipy.fft.rfft2(x), scipy.fft.rfft2(w.astype(dtype), s=(rows, columns))
        full = scipy.fft.irfft2(
            np.einsum("nchw,ochw->nohw", spectra[0], spectra[1].conj()), s=(rows, columns)
        )
        size = rows - w.shape[2] + 1
        return (full[:, :, :size, :size] + b[:, None, None].astype(dtype)).astype(np.float32)

    return layer


@pytest.mark.slow
def test_an_fft_in_float64_is_right():
    fft = by_fft(np.float64)
    verdict = diagnose(PROBES, seen(PROBES, {"conv1": fft, "conv2": fft}))
    assert told(verdict) == ("ok", [])


@pytest.mark.slow
def test_an_fft_in_float32_is_less_accurate_and_no_other_function():
    verdict = diagnose(PROBES, seen(PROBES, {"conv2": by_fft(np.float32)}, ["pool1", "conv2"]))
    assert told(verdict) == ("less accurate", ["a fast algorithm for the plain sum"])
    assert verdict.to_json()["verdict"] == "less accurate"


@pytest.mark.slow
@pytest.mark.usefixtures("no_pairs")
def test_a_factor_is_never_less_accurate():
    slightly = {"conv2": weights(lambda w: w * np.float32(1 + 2.0**-18))}
    assert diagnose(PROBES, seen(PROBES, slightly)).summary == "different"


@pytest.mark.slow
def test_a_small_mistake_in_a_late_layer_alone_is_undecided_and_the_power_is_said():
    slightly = {"image": image(lambda x: x * np.float32(1 - 2.0**-20))}
    verdict = diagnose(PROBES, seen(PROBES, slightly, ["conv2"]))
    assert told(verdict) == ("undecided", [])
    assert "of its size does not show; return the layers before it" in verdict.findings[0].evidence


@pytest.mark.slow
@pytest.mark.usefixtures("no_pairs")
def test_a_normalization_within_the_worst_case_of_rounding_is_another_function():
    def normalized(x):
        padded = np.pad(x**2, ((0, 0), (2, 2), (0, 0), (0, 0)))
        sums = sum(padded[:, k : k + x.shape[1]] for k in range(5))
        return x / (1 + np.float32(1e-4 / 5) * sums) ** np.float32(0.75)

    wrong = {"pool1": lambda layer, x, w, b: normalized(bugs.right(layer, x, w, b))}
    assert diagnose(PROBES, seen(PROBES, wrong, ["conv1", "logits"])).summary == "different"


@pytest.mark.slow
def test_weights_in_float16_are_named_behind_layers_whose_worst_case_holds_the_right_ones_too():
    """The one mistake is as near to what was returned as a plain loop, the right network is not."""
    halves = {"fc1": weights(lambda w: w.astype(np.float16).astype(np.float32))}
    finding = diagnose(PROBES, seen(PROBES, halves, ["flatten", "logits"])).findings[0]
    names = {one.name for some in (finding.causes, *finding.alternatives) for one in some}
    assert "weights rounded to float16" in names


def test_the_plain_loop_is_far_from_the_limits():
    from lenet.diagnose.forward_pass import _exact, _segment
    from lenet.diagnose.search.yardstick import deviation as measured

    def backwards(layer, x, w, b):
        return affine(layer, x[:, ::-1], w[:, ::-1], b) if x.ndim == 2 else bugs.right(layer, x, w, b)

    names = ("fc1", "fc2", "logits")
    observed = seen(PROBES, dict.fromkeys(names, backwards), ["logits"])
    starts = tuple(_exact(probe.images) for probe in PROBES.forward)
    off = measured(_segment(PROBES, observed, "", "logits", starts, {}))
    assert 0 < off.ratio < PLAIN / 2
    assert not off.systematic


def test_relu_six_keeps_its_name():
    verdict = diagnose(PROBES, seen(PROBES, {"relu1": elementwise(lambda x: np.clip(x, 0, 6))}))
    assert told(verdict) == ("different", ["ReLU6 (cut off at 6) for ReLU"])


# --- messages ----------------------------------------------------------------------------------


def test_two_numbers_are_printed_with_the_digits_that_tell_them_apart():
    assert apart(0.15545801, 0.15545802) == ("0.15545801", "0.15545802")
    assert apart(6.2876, -7.36486) == ("6.2876", "-7.36486")
    line = deviation("it", np.array([1.0 + 2.0**-40]), Bounded(np.array([1.0]), np.array([1e-14])))
    assert "1.0000000000009, expected 1.0000000000000 ± 1e-14" in line or "1.000000000001, expected 1" in line
