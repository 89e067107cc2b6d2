"""The forward pass of a port layer by layer: which is wrong, why, and what is said of it."""

from collections.abc import Callable

import numpy as np
import pytest

from lenet.diagnose import forward_pass
from lenet.diagnose.diagnosis import Verdict, diagnose
from lenet.diagnose.findings import DIFFERENT, LESS, UNDECIDED, VALID, Diagnosis, Finding, apart, deviation
from lenet.diagnose.mistakes.base import Kind
from lenet.diagnose.mistakes.wrong_forward import Call, after
from lenet.diagnose.probe_inputs import Observed, Probe, Probes
from lenet.diagnose.search.explain import Match
from lenet.network.architecture import LAYERS
from parity.arithmetic import Bounded
from parity.errors import UserError
from tests.lenet.diagnose.plain.backward import batch
from tests.lenet.diagnose.plain.network import Array, Layer, own, right, wide
from tests.lenet.diagnose.plain.segments import absolute, segment, unbiased
from tests.lenet.diagnose.plain.training import NO_COURSE

NAMES = tuple(layer.name for layer in LAYERS)


def answered(
    layers: tuple[str, ...] = NAMES,
    wrong: dict[str, Layer] | None = None,
    digits: int = 4,
    dtype: str = "float32",
) -> tuple[Probes, Observed]:
    """What a port with some wrong layers returns of these layers, on two probes."""
    probes, answers = [], {}
    for seed, name in enumerate(("trained", "exact")):
        params, images, labels = batch(seed, digits)
        probes.append(Probe(name, params, images, labels))
        x, found = images.astype(np.float64), {}
        for layer in NAMES:
            w, b = own(layer, wide(params))
            x = (wrong or {}).get(layer, lambda x, w, b, layer=layer: right(layer, x, w, b))(x, w, b)
            x = x.astype(dtype).astype(np.float64)
            found[layer] = x.astype(dtype)
        answers[name] = {layer: found[layer] for layer in layers}
    return Probes(tuple(probes), NO_COURSE), Observed(dtype, answers)


def found(layers: tuple[str, ...] = NAMES, **wrong: Layer) -> list[Finding]:
    return forward_pass.findings(*answered(layers, wrong))


def told(findings: list[Finding]) -> list[tuple[str, tuple[str, ...], str]]:
    return [(one.where, tuple(cause.name for cause in one.causes), one.verdict) for one in findings]


def test_a_right_pass_has_no_finding():
    for dtype in ("float32", "float64"):
        probes, observed = answered(dtype=dtype)
        assert forward_pass.findings(probes, observed) == []
        assert forward_pass.notes(probes, observed) == []
        assert forward_pass.rounded_layers(probes, observed) == []
        assert diagnose(probes, observed) == Verdict()
    assert forward_pass.observed_layers(probes, observed) == list(NAMES)


def test_every_wrong_layer_is_named_and_later_ones_are_judged_from_the_port():
    findings = found(fc1=unbiased, relu4=absolute)
    assert told(findings) == [
        ("fc1", ("bias missing",), DIFFERENT),
        ("relu4", ("absolute value for ReLU",), DIFFERENT),
    ]
    assert findings[0].causes[0].where == ("fc1",)
    assert "values of fc1 lie outside the rounding bound; largest deviation" in findings[0].evidence
    assert str(findings[0]).startswith("bias missing at fc1")


def test_a_mistake_that_ends_behind_the_layer_is_told_by_the_next_one():
    """A bias added behind the ReLU: at fc1 it is missing, and the next layer decides what is right there."""
    biases = {}

    def later(x: Array, w: Array, b: Array) -> Array:
        biases["fc1"] = b
        return x @ w.T

    (finding,) = found(fc1=later, relu3=lambda x, w, b: np.maximum(x, 0) + biases["fc1"])
    assert finding.causes[0].name == "bias added after the activation"
    assert finding.causes[0].where == ("fc1", "relu3")
    assert finding.alternatives == ()


def test_a_mistake_made_twice_is_told_as_one_is():
    findings = found(fc1=unbiased, fc2=unbiased)
    assert [cause.name for one in findings for cause in one.causes] == ["bias missing", "bias missing"]


def test_between_two_layers_the_wrong_one_is_named():
    (finding,) = found(("flatten", "relu3", "logits"), fc1=unbiased)
    assert finding.where == "fc1"
    assert finding.causes[0].name == "bias missing"


def test_what_two_explanations_need_to_be_told_apart_is_said():
    given = segment(("fc2", "relu4"))
    own_weights, own_input = given.samples[0].params["fc2.bias"], given.samples[0].x.value

    def differs(where: Callable[[Call], bool]) -> Match:
        """Twice the right values, but for inputs or weights of which this holds."""
        change = after(lambda y, call: Bounded((1 if where(call) else 2) * y.value))
        return Match((), {"fc2": change}, (), {})

    def other_weights(call: Call) -> bool:
        return not np.array_equal(call.b, own_weights)

    def other_input(call: Call) -> bool:
        return not np.array_equal(call.x.value, own_input)

    twice = differs(lambda call: False)
    for other, said in (
        (differs(other_weights), "the same images with random weights"),
        (differs(other_input), "random images with the same weights"),
        (differs(lambda c: other_weights(c) and other_input(c)), "random images with random weights"),
        (differs(lambda c: not other_weights(c)), "no input: both are the same function"),
        (Match((), {}, (), {}), "the layers that follow, if the port returns them"),
    ):
        assert forward_pass._apart(given, [twice, other]).startswith(said)


def test_all_explanations_of_the_values_are_told():
    """Of a layer without its bias alone, nobody can say whether the bias is added later."""
    (finding,) = found(("flatten", "fc1"), fc1=unbiased)
    names = [some[0].name for some in (finding.causes, *finding.alternatives)]
    assert names == ["bias missing", "bias added after the activation"]
    assert finding.apart.startswith("no input: both are the same function of the layers returned here")
    assert str(finding) == "bias missing at fc1; or bias added after the activation"


@pytest.mark.slow
def test_noise_is_unknown_and_has_clues():
    def shifted(x: Array, w: Array, b: Array) -> Array:
        rng = np.random.default_rng(0)
        return (x @ w.T + b) * (1 + 0.2 * rng.standard_normal((1, len(w)))) + rng.standard_normal(
            (len(x), len(w))
        )

    (finding,) = found(("relu3", "fc2"), fc2=shifted)
    assert finding.causes == ()
    assert str(finding) == f"unknown at fc2: {finding.evidence}"


def test_a_plain_output_is_told_before_the_search():
    assert told(found(relu4=lambda x, w, b: 0 * x))[0][:2] == ("relu4", ("all values are zero",))
    same = found(("relu4", "logits"), logits=lambda x, w, b: np.repeat((x @ w.T + b)[:1], len(x), 0) + 0.5)
    assert told(same)[0][1] == ("the same for every digit",)
    nan = found(relu3=lambda x, w, b: np.where(x > 0.1, x, np.nan))
    assert told(nan) == [("relu3", ("values that are not finite",), DIFFERENT)]  # and nothing behind it


def test_a_shape_that_does_not_fit_ends_the_pass():
    probes, observed = answered()
    for answer in observed.activations.values():
        answer["pool2"] = answer["pool2"].reshape(4, -1)
        answer["fc2"] = answer["fc2"] + 1
    (finding,) = forward_pass.findings(probes, observed)
    assert finding.where == "pool2"
    assert finding.evidence == "pool2 has shape (4, 400), expected (4, 16, 5, 5)"
    assert [cause.name for cause in finding.causes] == ["handed out with other axes"]
    for answer in observed.activations.values():
        answer["pool2"] = answer["pool2"][:, :300]
    (finding,) = forward_pass.findings(probes, observed)
    assert finding.causes == ()
    for answer in observed.activations.values():
        answer["conv1"] = answer["conv1"][:0]
    (finding,) = forward_pass.findings(probes, observed)
    assert (finding.where, finding.causes) == ("conv1", ())


def test_nothing_observed_and_unknown_layers_are_refused():
    probes, observed = answered()
    with pytest.raises(UserError, match="nothing to judge"):
        forward_pass.findings(probes, Observed())
    observed.activations["exact"]["conv9"] = np.zeros(3)
    with pytest.raises(UserError, match="no layer is called 'conv9'"):
        forward_pass.findings(probes, observed)
    del observed.activations["exact"]["conv9"]
    del observed.activations["exact"]["relu1"]
    assert "relu1" not in forward_pass.observed_layers(probes, observed)


def test_float64_values_of_a_float32_port_are_a_valid_choice_that_is_told_once():
    probes, observed = answered(dtype="float64")
    observed.dtype = "float32"
    (finding,) = forward_pass.findings(probes, observed)
    assert (finding.where, finding.verdict) == ("conv1", VALID)
    assert finding.evidence == "conv1 is float64, and its values do not fit into float32"
    verdict = diagnose(probes, observed)
    assert verdict.ok
    assert verdict.summary == "ok"
    assert verdict.first == "conv1"


def test_a_float64_port_that_computes_in_float32_is_told_so():
    probes, observed = answered(dtype="float64", wrong={"fc1": lambda x, w, b: single(x @ w.T + b)})
    (finding,) = forward_pass.findings(probes, observed)
    assert finding.where == "fc1"
    assert finding.evidence.endswith("; all lie within float32's bound: something was computed in float32")


def single(a: Array) -> Array:
    return a.astype(np.float32).astype(np.float64)


def test_small_numbers_that_become_zero_are_a_note():
    params, images, labels = batch(0, 4)
    tiny = np.float32(2.0**-128)
    small = params | {
        name: w * tiny for name, w in params.items() if name == "conv1.weight" or name.endswith("bias")
    }
    probes, observed = answered()
    probe = Probe("subnormal", small, images, labels, judged=False)
    x = right("conv1", images.astype(np.float64), *own("conv1", wide(small)))
    with_probe = Probes((*probes.probes, probe), probes.course)
    observed.activations["subnormal"] = {"conv1": np.where(np.abs(x) < 2.0**-126, 0, x).astype(np.float32)}
    assert forward_pass.notes(with_probe, observed) == [forward_pass.FLUSHED]
    observed.activations["subnormal"] = {"conv1": x.astype(np.float32)}
    assert forward_pass.notes(with_probe, observed) == []


# --- what is said ------------------------------------------------------------------------------------


def test_a_layer_of_which_nobody_can_say_whether_it_rounds_has_no_note(monkeypatch):
    def layers(probes: Probes, observed: Observed, decided: bool = False) -> list[str]:
        return ["conv1"] if decided else ["conv1", "fc1"]

    monkeypatch.setattr(forward_pass, "rounded_layers", layers)
    found = forward_pass.notes(Probes((), NO_COURSE), Observed())
    assert found == [forward_pass.ROUNDED_ONCE_MORE.format(name="conv1")]


def test_two_numbers_have_as_many_digits_as_tell_them_apart():
    assert apart(1.25, 2.5) == ("1.25", "2.5")
    assert apart(1.23456789, 2.5) == ("1.23457", "2.5")
    assert apart(1.00000001, 1.0) == ("1.00000001", "1")
    assert apart(1 / 3, 1 / 3 + 1e-9) == ("0.333333333", "0.333333334")
    assert apart(2.0, 2.0) == ("2", "2")


def test_the_largest_deviation_beyond_its_bound_is_told():
    expected = Bounded(np.array([1.0, 2.0, 3.0]), np.array([0.0, 5.0, 0.5]))
    assert deviation("y", np.array([1.25, 6.0, 3.25]), expected) == (
        "1 of 3 values of y lie outside the rounding bound; largest deviation: 1.25, expected 1 exactly"
    )
    assert deviation("y", np.array([1.25, 6.0, 4.0]), expected).endswith("4, expected 3 ± 0.5")
    assert deviation("y", np.ones(2), expected) == "y has shape (2,), expected (3,)"
    assert deviation("y", np.array([1.0, np.nan, np.inf]), expected) == "y holds 2 values that are not finite"
    one = Bounded(np.asarray(2.0), np.asarray(0.25))
    assert deviation("loss", np.asarray(3.0), one) == "loss is 3, expected 2 ± 0.2"


def finding(where: str, verdict: str = DIFFERENT, cause: str = "", other: str = "") -> Finding:
    def diagnosis(name: str) -> Diagnosis:
        return Diagnosis.of(Kind(name, f"{name} is wrong.", f"Mend {name}.", "http://case"), (where,))

    causes = (diagnosis(cause),) if cause else ()
    return Finding(
        where, "evidence", causes, ((diagnosis(other),),) if other else (), "more", verdict, ("clue",)
    )


def test_a_verdict_says_the_worst_and_the_first():
    valid, less, undecided = (finding("a", one, "c") for one in (VALID, LESS, UNDECIDED))
    wrong = finding("b", DIFFERENT, "c", "d")
    for findings, summary, first, ok in (
        ((), "ok", None, True),
        ((valid,), "ok", "a", True),
        ((valid, wrong), DIFFERENT, "b", False),
        ((less, undecided), LESS, "a", False),
        ((undecided,), UNDECIDED, "a", False),
    ):
        verdict = Verdict(findings)
        assert (verdict.summary, verdict.first, verdict.ok) == (summary, first, ok)
    verdict = Verdict((less, wrong), ("note",), ("gradients",))
    assert [one.name for one in verdict.diagnoses] == ["c", "c"]
    assert verdict.ambiguous
    assert not Verdict((less,)).ambiguous
    assert str(Verdict()) == "ok"
    assert str(verdict).splitlines() == ["c at a", "c at b; or d"]


def test_json_holds_what_is_said():
    verdict = Verdict((finding("b", DIFFERENT, "c", "d"), finding("e")), ("note",), ("gradients",))
    cause = {
        "name": "c",
        "explanation": "c is wrong.",
        "remedy": "Mend c.",
        "case": "http://case",
        "where": ("b",),
    }
    said = verdict.to_json()
    assert said["verdict"] == DIFFERENT
    assert (said["first"], said["notes"], said["unjudged"]) == ("b", ["note"], ["gradients"])
    known, unknown = said["findings"]
    assert known["causes"] == [cause]
    assert known["alternatives"] == [
        [cause | {"name": "d", "explanation": "d is wrong.", "remedy": "Mend d."}]
    ]
    assert (known["where"], known["verdict"], known["evidence"]) == ("b", DIFFERENT, "evidence")
    assert (known["unknown"], unknown["unknown"]) == (False, True)
    assert (known["apart"], known["clues"]) == ("more", ["clue"])
    assert not Verdict((finding("e", LESS),)).to_json()["findings"][0]["unknown"]


def test_what_an_early_mistake_keeps_from_being_judged_is_said():
    probes, observed = answered(wrong={"fc2": unbiased})
    observed.gradients = {"exact": (1.0, {})}
    observed.trajectory = [{}]
    verdict = diagnose(probes, observed)
    assert verdict.unjudged == ("gradients", "training")
    assert verdict.first == "fc2"
    assert not verdict.ok
