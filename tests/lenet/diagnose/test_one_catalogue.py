"""What can be done wrong in one operator stands in parity's catalogue alone; LeNet's diagnosis takes it."""

import numpy as np
import pytest

from lenet.diagnose.mistakes import across_layers, forward, precision
from lenet.diagnose.mistakes.base import Mistake
from lenet.diagnose.mistakes.of_operators import of_layer, of_layers
from lenet.diagnose.mistakes.wrong_forward import STAGES, Call, call_of, right
from lenet.network.architecture import LAYERS
from lenet.network.recipe import initial_params
from parity.arithmetic import Array, Bounded
from parity.operators.affine import Conv, Gemm

NAMES = [layer.name for layer in LAYERS]


def short(a: Array) -> Array:
    """Numbers of twelve bits: half of them lie between two neighbours of eleven."""
    mantissa, exponent = np.frexp(a)
    return np.ldexp(np.rint(np.ldexp(mantissa, 12)), exponent - 12)


def called(name: str) -> Call:
    """Arguments of a layer: what the layers before make of random images; some values are large or tiny."""
    rng = np.random.default_rng(17)
    params = {
        key: w.astype(np.float64) if w.any() else rng.standard_normal(w.shape)
        for key, w in initial_params(17).items()
    }
    for key in params:  # float16 and TF32 differ where values are tiny, and two TF32s where a value is a tie
        params[key] = short(params[key])
        params[key][0] *= 2.0**-24 if key.endswith("weight") else 1.0
    x = Bounded(rng.random((3, 1, 28, 28)) * 9)
    for before in NAMES[: NAMES.index(name)]:
        x = Bounded(right(call_of(before, x, params, "float64")).value)
    scale = np.array([1.0, 2.0**-24, 2.0**18]).reshape(-1, *[1] * (x.ndim - 1))
    return call_of(name, Bounded(short(x.value) * scale), params, "float64")


def made(mistake: Mistake, call: Call) -> Array | None:
    try:
        with np.errstate(all="ignore"):
            return np.asarray(mistake.changes[call.layer.name](right)(call).value)
    except ValueError:
        return None


def same(a: Array | None, b: Array | None) -> bool:
    """Whether these are float64 values of one function.

    Those differ by some hundred roundings of 2^-53, about 1e-13; what two mistakes make of them by a rounding
    to float32 at least, 6e-8. The limit lies between.
    """
    if a is None or b is None or a.shape != b.shape:
        return False
    return bool(np.allclose(a, b, rtol=1e-9, atol=1e-30, equal_nan=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_no_mistake_of_an_operator_is_written_twice(name):
    call = called(name)
    known = {m.kind.name: made(m, call) for m in of_layers([name])}
    own = [m for m in (*across_layers.FAMILY.mistakes, *precision.FAMILY.mistakes) if m.stages == (name,)]
    for mistake in own:
        value = made(mistake, call)
        assert [one for one, other in known.items() if same(value, other)] == [], mistake.kind.name


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_what_is_the_right_layer_or_another_mistake_is_left_out(name):
    call = called(name)
    values: list[tuple[str, Array | None]] = [("", right(call).value)]
    for mistake in of_layers([name]):
        value = made(mistake, call)
        assert [one for one, other in values if same(value, other)] == [], mistake.kind.name
        values.append((mistake.kind.name, value))


def test_a_mistake_that_mixes_digits_is_marked():
    mixing = {entry[0].name for name in NAMES for entry in of_layer(name) if entry[2]}
    assert mixing == {"flattened over the batch axis", "softmax over the batch in the model"}


def test_a_mistake_is_made_in_one_layer_in_all_of_a_type_and_in_all():
    stages = [m.stages for m in forward() if m.kind.name == "bias missing"]
    convolutions, dense = (
        tuple(layer.name for layer in LAYERS if isinstance(layer.operator, kind)) for kind in (Conv, Gemm)
    )
    assert sorted(stages) == sorted(
        [*((name,) for name in convolutions + dense), convolutions, dense, convolutions + dense]
    )


def test_the_stage_before_the_first_layer_has_no_operator_that_can_be_wrong():
    assert of_layer("image") == ()
    assert set(STAGES) - {m.stages[0] for m in of_layers(STAGES) if len(m.stages) == 1} == {"image"}
