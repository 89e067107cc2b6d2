"""ReLU as ½(|x + b| + x + b) is the same function, less accurate; an error of that size elsewhere is not."""

from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from lenet.compare import compare
from lenet.diagnose import diagnose
from lenet.diagnose.probe_inputs import observe_port, standard
from lenet.reference.half_sums import BIASED, half_sum
from lenet.show.tables import explanation
from parity.arithmetic import Bounded
from parity.arithmetic.floats import FORMATS
from parity.judging.causes.of_rounding.of_half_sums import NAME, is_half_sum
from tests.planted.half_sums import HalfSums, theano

PROBES = standard()
RELUS = ["relu1", "relu2", "relu3", "relu4"]


def one_value(s, x, b):
    """A right ReLU, but for the next number in the place of its largest value."""
    y = np.maximum(s, 0)
    y.flat[y.argmax()] = np.nextafter(y.max(), y.dtype.type(np.inf))
    return y


def one_value_beyond(s, x, b):
    """Theano's formula, but for the largest value, which is off by 2e-6 of itself."""
    y = theano(s, x, b)
    y.flat[y.argmax()] *= y.dtype.type(1 + 2e-6)
    return y


def all_off(s, x, b):
    """A factor that differs from 1 as little as the formula may."""
    return np.maximum(s, 0) * s.dtype.type(1 + 1e-7)


class Mixed(HalfSums):
    """Theano's formula in some ReLUs, another in the first ones."""

    def __init__(self, others, count: int) -> None:
        super().__init__(self.either)
        self.others, self.count, self.done = others, count, 0

    def _activations(self, images):
        self.done = 0
        return super()._activations(images)

    def either(self, s, x, b):
        self.done += 1
        return (self.others if self.done <= self.count else theano)(s, x, b)


def leaky(s, x, b):
    """A ReLU that lets a little pass."""
    return np.where(s > 0, s, s * s.dtype.type(8e-8))


@pytest.mark.slow
@pytest.mark.usefixtures("no_pairs")
@pytest.mark.parametrize(("others", "count"), [(one_value, 1), (leaky, 3)])
def test_a_wrong_relu_is_not_excused_by_others_with_the_formula(others, count, params, digits):
    report = compare([Mixed(others, count)], params, digits[:60]).ports[0]
    assert (report.verdict, report.first_different) == ("different", "relu1")
    assert diagnose(PROBES, observe_port(PROBES, Mixed(others, count))).summary == "different"


def test_right_relus_beside_some_with_the_formula_are_told_apart(params, digits):
    report = compare([Mixed(lambda s, x, b: np.maximum(s, 0), 2)], params, digits[:60]).ports[0]
    assert (report.verdict, list(report.formulas)) == ("less accurate", RELUS[2:])
    assert all(report.layers[name].local_ratio == 0 for name in RELUS[:2])


@pytest.mark.slow
def test_check_says_less_accurate_and_names_the_formula():
    verdict = diagnose(PROBES, observe_port(PROBES, HalfSums()))
    assert verdict.summary == "less accurate"
    assert [(one.where, one.causes[0].name) for one in verdict.findings] == [(name, NAME) for name in RELUS]
    assert all("outside the rounding bound" in one.evidence for one in verdict.findings)


@pytest.mark.slow
@pytest.mark.parametrize("formula", [one_value, one_value_beyond, all_off])
def test_check_does_not_excuse_other_errors_of_that_size(formula):
    observed = observe_port(PROBES, HalfSums(formula))
    for probe, layers in observed.activations.items():
        observed.activations[probe] = {name: layers[name] for name in ("conv1", "relu1")}
    verdict = diagnose(PROBES, observed)
    assert verdict.summary == "different"
    assert (verdict.first, verdict.findings[0].known) == ("relu1", False)


@pytest.mark.slow
@pytest.mark.usefixtures("no_pairs")
def test_check_judges_relus_behind_a_layer_of_another_shape():
    """A bias of six channels does not fit five: nothing is raised, and the wrong ReLU is told."""
    observed = observe_port(PROBES, HalfSums(all_off))
    for layers in observed.activations.values():
        layers["conv1"], layers["relu1"] = layers["conv1"][:, :5], layers["relu1"][:, :5]
    verdict = diagnose(PROBES, observed)
    assert {one.where for one in verdict.findings} >= {"conv1", "relu1"}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("place", range(2))
def test_values_that_are_not_finite_are_not_the_formula_s(place, params):
    rng = np.random.default_rng(0)
    x, b = rng.standard_normal((200, 120)).astype(np.float32), half_sum("relu3", params).bias
    s, y = x + b, theano(x + b, x, b)
    assert is_half_sum(s, b, y, FORMATS["float32"])
    (s, y)[place][0, 0] = np.inf
    assert not is_half_sum(s, b, y, FORMATS["float32"])


def test_compare_says_less_accurate_and_names_the_formula(params, digits):
    result = compare([HalfSums()], params, digits[:60])
    report = result.ports[0]
    assert (report.verdict, report.first_different) == ("less accurate", None)
    assert report.formulas == dict.fromkeys(RELUS, NAME)
    assert 0 < max(report.layers[name].local_ratio for name in RELUS) <= 1
    console = Console(width=200, record=True, file=StringIO())
    console.print(explanation(result))
    text = console.export_text()
    assert f"less accurate  numpy: {NAME}, at relu1, relu2, relu3, relu4." in text
    assert "every port" not in text


@pytest.mark.parametrize("formula", [one_value, one_value_beyond, all_off])
def test_compare_does_not_excuse_other_errors_of_that_size(formula, params, digits):
    report = compare([HalfSums(formula)], params, digits[:60]).ports[0]
    assert (report.verdict, report.first_different) == ("different", "relu1")


@pytest.mark.parametrize("relu", RELUS)
def test_the_bound_holds_in_any_order_and_is_not_wide(relu, params):
    """For values of any size relative to the bias, the error in float32 is within the bound, and near it."""
    formula, rng = half_sum(relu, params), np.random.default_rng(0)
    shape = (4000, *np.broadcast_shapes(formula.bias.shape, (1,) * formula.bias.ndim))
    b = np.broadcast_to(formula.bias, shape)
    x = (rng.standard_normal(shape) * 2.0 ** rng.integers(-30, 8, shape)).astype(np.float32)
    s = x + b
    expected = formula.evaluate(Bounded(s, None, FORMATS["float32"]))
    assert isinstance(expected, Bounded)
    a, most = np.abs(s), 0.0
    for sums in ((a + x) + b, (a + b) + x, a + (x + b)):
        error = np.abs(sums.astype(np.float64) / 2 - np.maximum(s, 0))
        assert (error <= expected.bound).all()
        most = max(most, float((error / expected.bound).max()))
    assert most > 0.5
    assert set(BIASED) == set(RELUS)
