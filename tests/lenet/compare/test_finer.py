"""Past the certificate: as long as it holds no port differs, and beyond it some do."""

import io
from fractions import Fraction

import numpy as np
import pytest
from rich.console import Console

from lenet.compare.finer_grids import Forced, forced_rounding, levels, refine
from lenet.network.architecture import LAYERS, PARAM_SHAPES
from lenet.ports.calling import PortFailed
from lenet.reference import exact
from lenet.show import tables
from parity.arithmetic import integers
from tests.lenet.reference.grids import nearest, pixels16, ternary_params
from tests.planted.ports import Planted, affine, numpy_port

IMAGES = pixels16(50, 0)


@pytest.fixture(scope="module")
def found(open_port):
    return list(levels([open_port("numpy"), open_port("torch")], ternary_params(0), IMAGES, range(6)))


def test_the_weights_of_a_level_are_on_its_grid_and_no_coarser_one():
    params = ternary_params(1)
    for bits in range(4):
        refined = refine(params, bits)
        for name, w in params.items():
            if name.endswith("bias") or not bits:
                assert np.array_equal(refined[name], w)
            else:
                assert integers(refined[name]).exponent == integers(w).exponent - bits
                assert np.array_equal(refined[name] == 0, w == 0)
                step = 2.0 ** integers(refined[name]).exponent
                assert set(np.unique(refined[name] - w)) - {0} == {-step, step}


@pytest.mark.slow
def test_no_level_that_is_certified_rounds_or_differs(found):
    certified = [level for level in found if level.certificate.holds]
    assert [level.bits for level in certified] == list(range(len(certified)))
    assert certified
    for level in certified:
        assert level.forced is None
        assert level.apart == {"torch": None}
        assert level.unequal == 0
        assert level.wrong == {}


def test_a_port_that_differs_where_nothing_can_round_is_another_function(open_port, monkeypatch):
    port = open_port("numpy")
    right = port.activations
    wrong = np.float32(1.5)
    monkeypatch.setattr(port, "activations", lambda x: {name: y * wrong for name, y in right(x).items()})
    (level,) = levels([port], ternary_params(0), IMAGES, [0])
    assert level.certificate.holds
    assert level.wrong["numpy"].name == "conv1"
    printed = io.StringIO()
    Console(file=printed, width=200).print(tables.finer([level], ["numpy"]))
    assert "numpy is another function: at +0" in printed.getvalue()


def test_the_logits_that_differ_between_ports_are_counted():
    def nudged(layer, x, w, b):
        y = affine(layer, x, w, b)
        y[[3, 5, 5], [4, 6, 7]] += 1
        return y

    other = Planted("logits", nudged)
    other.name = "other"
    (level,) = levels([numpy_port(), other], ternary_params(0), IMAGES, [0])
    assert (level.bits, level.logits, level.unequal) == (0, 500, 3)
    found = level.apart["other"]
    assert found is not None
    assert (found.name, found.where, found.got - found.expected, found.values) == ("logits", (3, 4), 1, 3)
    assert level.wrong == {"other": found}


def test_weights_with_five_more_bits_are_not_exact_and_no_port_is_wrong():
    params = ternary_params(0)
    (level,) = levels([numpy_port()], params, IMAGES, [5])
    assert not level.certificate.holds
    assert level.wrong == {}
    assert level.forced == forced_rounding(refine(params, 5), IMAGES)


def test_a_large_value_with_few_bits_is_not_rounded():
    """2^23 needs one bit, and 2^23 + 1/2 one more than float32 has."""
    params = {name: np.zeros(shape, np.float32) for name, shape in PARAM_SHAPES.items()}
    params["conv1.weight"][0, 0, 2, 2:4] = 2.0**23, 0.5  # of a pixel, and of the one on its right
    images = np.zeros((1, 1, 28, 28), np.float32)
    images[0, 0, 0, [5, 20, 21]] = 1
    assert forced_rounding(params, images) == Forced("conv1", (0, 0, 0, 20))
    images[0, 0, 0, 21] = 0
    assert forced_rounding(params, images) is None


def test_a_port_of_a_wrong_form_stops_the_levels(open_port, monkeypatch):
    port = open_port("numpy")
    right = port.activations
    monkeypatch.setattr(port, "activations", lambda x: {**right(x), "fc1": right(x)["fc1"][:, :1]})
    with pytest.raises(
        PortFailed, match=r"^port 'numpy' fc1 is float32 \(50, 1\), expected float32 \(50, 120\)$"
    ):
        next(levels([port], ternary_params(0), IMAGES, [0]))


def test_levels_far_beyond_round_and_differ(found):
    last = found[-1]
    assert not last.certificate.holds
    assert last.forced is not None
    assert last.apart["torch"] is not None
    assert 0 < last.unequal <= last.logits == 500


def test_a_forced_rounding_is_the_first_value_that_needs_more_bits(found):
    params = refine(ternary_params(0), found[-1].bits)
    forced = forced_rounding(params, IMAGES)
    assert forced is not None
    assert forced == found[-1].forced
    activations = exact.forward(params, IMAGES)
    value = Fraction(int(activations[forced.layer].units[forced.where]))
    assert nearest(value) != value
    for layer in LAYERS[: [layer.name for layer in LAYERS].index(forced.layer)]:
        activations[layer.name].to_float()  # exactly
