"""How entries of the catalogue are made: in which layers, and from which functions of arrays."""

from dataclasses import replace

import numpy as np
import pytest

from lenet.diagnose.mistakes import winners
from lenet.diagnose.mistakes.base import Family, Kind, case, of_parity
from lenet.diagnose.mistakes.data import linear
from lenet.diagnose.mistakes.handed_out import HANDED_OUT
from lenet.diagnose.mistakes.of_training import batch_orders
from lenet.diagnose.mistakes.precision import _changed, _of_products, half_spacing, rounded, to_bits
from lenet.diagnose.mistakes.second_look import added_layers, rarer_data, resized_images, stored_weights
from lenet.diagnose.mistakes.wrong_forward import Call, Change, Gridded, call_of, of_type, right
from lenet.diagnose.probe_inputs import standard
from lenet.network.recipe import Recipe
from parity.arithmetic import Bounded
from parity.arithmetic.floats import BFLOAT16, FLOAT16, FLOAT32
from parity.judging.causes.of_rounding.of_half_precision import rounded_result
from parity.operators.activation import Relu
from parity.operators.affine import Conv, Gemm
from tests.lenet.diagnose.plain.network import drawn, input_of, wide
from tests.parity.operators.one_node import check_inside

KIND = Kind("a mistake", "It is wrong.", "Mend it.")
CONVS, DENSE = ("conv1", "conv2"), ("fc1", "fc2", "logits")


def called(name: str, dtype: str = "float64") -> Call:
    return call_of(name, Bounded(input_of(name, 0, 2)), wide(drawn(3)), dtype)


def given_to(change: Change, call: Call) -> Call:
    """What the right layer is given under a change of its arguments."""
    seen: list[Call] = []

    def layer(one: Call) -> Bounded:
        seen.append(one)
        return one.x

    change(layer)(call)
    return seen[0]


def stages(family: Family) -> list[tuple[str, ...]]:
    return [one.stages for one in family.mistakes]


# --- families -----------------------------------------------------------------------------------------


def test_a_mistake_is_made_in_each_layer_alone_and_in_all():
    family = Family()
    change = lambda compute: compute  # noqa: E731 (the change itself does not matter)
    family.add(["fc1", "fc2"], KIND, change, whole_batch=True, tier=2, told_by="relu3")
    assert stages(family) == [("fc1",), ("fc2",), ("fc1", "fc2")]
    for one in family.mistakes:
        assert (one.kind, one.whole_batch, one.tier, one.told_by) == (KIND, True, 2, "relu3")
        assert one.habit == (len(one.stages) == 2)
        assert set(one.changes.values()) == {change}
        assert not one.pending
    family = Family()
    family.add(["fc1"], KIND, change)
    assert stages(family) == [("fc1",)]
    (one,) = family.mistakes
    assert (one.whole_batch, one.tier, one.told_by, one.habit) == (False, 0, "", False)


def test_a_mistake_is_made_in_the_layers_of_groups():
    family = Family()
    change = lambda compute: compute  # noqa: E731
    family.add_groups([("fc1", "fc2"), ("conv1", "conv2")], KIND, change, tier=1)
    assert stages(family) == [("fc1",), ("fc2",), ("fc1", "fc2"), ("conv1", "conv2")]
    assert [one.tier for one in family.mistakes] == [1] * 4
    assert all(one.kind == KIND and set(one.changes.values()) == {change} for one in family.mistakes)
    family.add_sets([("conv1",), ("conv1", "fc2")], KIND, change)
    assert stages(family)[4:] == [("conv1",), ("conv1", "fc2")]
    assert [one.tier for one in family.mistakes[4:]] == [0, 0]
    assert not any(one.habit for one in family.mistakes[3:])


def test_decorators_change_the_arguments_the_result_or_the_layer():
    family = Family()

    @family.before(["relu4"], KIND, whole_batch=True)
    def moved(call):
        return replace(call, x=Bounded(call.x.value + 1))

    @family.before(["relu4"], KIND)
    def same(call):
        return call

    @family.after(["relu4"], KIND)
    def doubled(y, call):
        return Bounded(2 * y.value)

    @family.instead(["relu4"], KIND)
    def thrice(call):
        return Bounded(3 * call.x.value)

    call = replace(called("relu4"), x=Bounded(np.array([[-3.0, 2.0]])))
    found = [one.changes["relu4"](right)(call).value.tolist() for one in family.mistakes]
    assert found == [[[0.0, 3.0]], [[0.0, 2.0]], [[0.0, 4.0]], [[-9.0, 6.0]]]
    assert [one.whole_batch for one in family.mistakes] == [True, False, False, False]
    assert [one.kind for one in family.mistakes] == [KIND] * 4
    assert moved(call).x.value[0, 0] == -2  # what is decorated stays as it is
    assert same(call) is call
    assert callable(doubled)
    assert callable(thrice)


def test_a_case_is_an_issue_and_layers_are_told_by_their_type():
    assert case("pytorch/pytorch", 7) == "https://github.com/pytorch/pytorch/issues/7"
    known = rounded_result(Relu(), BFLOAT16)
    kind = of_parity(replace(known, case="keras-team/keras#12"))
    assert kind.case == "https://github.com/keras-team/keras/issues/12"
    assert (kind.name, kind.explanation, kind.remedy) == (known.name, known.explanation, known.remedy)
    assert of_parity(replace(known, case="")).case == ""
    assert of_type(Conv) == CONVS
    assert of_type(Gemm) == DENSE
    assert of_type(Conv, Gemm) == CONVS + DENSE


# --- weights, orders, images ------------------------------------------------------------------------------

W = np.array([[0.123456, -2.71828, 0.0, 1e-5], [31.4159, -0.05, 0.5, -0.25]])


@pytest.mark.parametrize(  # made in the test itself, as changes are made to what runs then
    ("make", "expected"),
    [
        (lambda: stored_weights._decimals(2), [[0.12, -2.72, 0, 0], [31.42, -0.05, 0.5, -0.25]]),
        (lambda: stored_weights._cut_decimals(2), [[0.12, -2.71, 0, 0], [31.41, -0.05, 0.5, -0.25]]),
        (lambda: stored_weights._digits(3), [[0.123, -2.72, 0, 1e-5], [31.4, -0.05, 0.5, -0.25]]),
        (lambda: stored_weights._digits(1), [[0.1, -3, 0, 1e-5], [30, -0.05, 0.5, -0.2]]),
        (lambda: stored_weights._fixed(2, np.rint), [[0, -2.75, 0, 0], [31.5, 0, 0.5, -0.25]]),
        (lambda: stored_weights._fixed(1, np.floor), [[0, -3, 0, 0], [31, -0.5, 0.5, -0.5]]),
        (lambda: stored_weights._pruned(0.25), [[0.123456, -2.71828, 0, 0], [31.4159, -0.05, 0.5, -0.25]]),
        (lambda: stored_weights._pruned(0.5), [[0, -2.71828, 0, 0], [31.4159, 0, 0.5, -0.25]]),
        (lambda: stored_weights._pruned(0.5, 1), [[0.123456, -2.71828, 0, 0], [31.4159, 0, 0.5, -0.25]]),
        (lambda: stored_weights._pruned(0.3), [[0.123456, -2.71828, 0, 0], [31.4159, -0.05, 0.5, -0.25]]),
    ],
)
def test_stored_weights_by_hand(make, expected):
    assert np.abs(make()(W) - expected).max() < 1e-12


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("by_row", [True, False])
def test_weights_in_integers_by_hand(by_row, dtype):
    w = np.array([[4.0, -1.2, 0.3], [8.0, 1.0, 0.0]]).astype(dtype)
    steps = np.array([[1.0], [2.0]]) if by_row else 2.0
    change = stored_weights._steps(4, by_row, dtype)
    assert np.array_equal(change(w.astype(np.float64)), np.rint(w / steps) * steps)
    assert change(w.astype(np.float64)).dtype == np.float64
    # A bias has one value for each row: one scale for all of them.
    assert change(np.array([4.0, -1.2, 0.4])).tolist() == [4.0, -1.0, 0.0]
    assert not change(np.zeros((2, 3))).any()
    assert stored_weights._steps(3, False)(np.array([3.0, 0.1])).tolist() == [3.0, 0.0]  # float32 if not told


def test_a_change_of_weights_or_biases_is_stored_in_the_format_of_the_port():
    third = lambda a: a / 3  # noqa: E731
    for dtype in ("float32", "float64"):
        call = called("fc2", dtype)
        for parts in ("w", "b", "wb"):
            one = given_to(stored_weights._with(third, parts), call)
            for name, before in (("w", call.w), ("b", call.b)):
                expected = third(before).astype(dtype).astype(np.float64) if name in parts else before
                assert np.array_equal(getattr(one, name), expected)


def test_the_weights_of_another_call_are_those_of_its_probe():
    asked = standard().asked

    def at(k: int) -> Call:
        return call_of("fc1", Bounded(np.zeros((1, 400))), wide(dict(asked[k].params)), "float32")

    for which, k, of in ((lambda k: 0, 2, 0), (lambda k: k - 1, 2, 1), (lambda k: k - 1, 0, 0)):
        one = given_to(stored_weights._of_call(which), at(k))  # before the first call there is none
        assert np.array_equal(one.w, asked[of].params["fc1.weight"])
        assert np.array_equal(one.b, asked[of].params["fc1.bias"])
        assert one.w.dtype == np.float64
    unknown = called("fc1")
    assert given_to(stored_weights._of_call(lambda k: 0), unknown) is unknown


def test_pixels_are_sampled_with_a_kernel():
    assert resized_images._tent(np.array([0.0, 0.25, 1.0, 2.0])).tolist() == [1, 0.75, 0, 0]
    for a in (-0.5, -0.75):
        cubic = resized_images._cubic(a)
        # Keys 1981: 1 at 0, 0 at 1 and 2, these values between, nothing beyond; the slope at 1 is a.
        assert cubic(np.array([0.0, 1.0, 2.0, 2.5])).tolist() == [1, 0, 0, 0]
        assert cubic(np.array(0.5)) == pytest.approx((a + 2) / 8 - (a + 3) / 4 + 1)
        assert cubic(np.array(1.5)) == pytest.approx(a * (1.5**3 - 5 * 1.5**2 + 8 * 1.5 - 4))
        step = 2.0**-20
        assert (cubic(np.array(1.0)) - cubic(np.array(1 - step))) / step == pytest.approx(a, abs=8 * step)
    matrix = resized_images._weights(3, lambda k: np.array([-0.5, 13.25, 27.5])[k], resized_images._tent, 1)
    expected = np.zeros((3, 28))
    expected[0, 0] = expected[2, 27] = 1  # beyond the edge stands its pixel
    expected[1, 13:15] = 0.75, 0.25
    assert np.array_equal(matrix, expected)
    wide_ = resized_images._weights(1, lambda k: np.array([10.5])[k], lambda t: 1 / (1 + t), 2)
    assert np.flatnonzero(wide_[0]).tolist() == [9, 10, 11, 12]
    assert wide_[0, [9, 12]].tolist() == [0.4, 0.4]


def test_digits_are_mixed_as_it_is_said():
    x = np.arange(24.0).reshape(4, 1, 2, 3)
    made = {name: (text, change(x)) for name, text, change in rarer_data._averaged()}
    mean, neighbours, back = (a for _, a in made.values())
    assert np.array_equal(mean, np.broadcast_to(x.mean(0), x.shape))
    assert np.array_equal(neighbours, (x + x[[3, 0, 1, 2]]) / 2)
    assert np.array_equal(back, (x + x[::-1]) / 2)
    assert list(made) == [
        "mean of the batch for every digit",
        "digits mixed with their neighbours",
        "digits mixed with the reversed batch",
    ]
    assert all(text.endswith(".") and text[0] == "E" for text, _ in made.values())


def test_a_line_has_its_rounding():
    x = Bounded(np.array([[[[1.0, -2.0]]]]), np.array([[[[0.25, 0.0]]]]))
    call = call_of("image", x, {}, "float32")
    found = linear(-3.0, 0.5)(x, call)
    assert found.value.ravel().tolist() == [-2.5, 6.5]
    size = np.array([3.5, 6.5])
    assert found.bound.ravel() == pytest.approx(3 * np.array([0.25, 0]) + 6 * FLOAT32.u * size)


def test_batches_are_taken_more_than_once():
    rates, recipe = (0.1, 0.2, 0.3), Recipe()
    assert batch_orders._again(2)(1, rates, recipe) == [(0, 0.1), (1, 0.2), (0, 0.1), (1, 0.2)]
    assert batch_orders._each(3)(1, rates, recipe) == [(0, 0.1)] * 3 + [(1, 0.2)] * 3


def test_a_layer_in_front_of_a_relu_is_one_behind_the_affine_layer(monkeypatch):
    monkeypatch.setattr(added_layers, "FAMILY", Family())
    added_layers._in_front(KIND, lambda y, call: Bounded(y.value + 1), 2, True)
    made = added_layers.FAMILY.mistakes
    assert stages(added_layers.FAMILY) == [CONVS[:1], CONVS[1:], CONVS, ("relu1",), ("relu2",)]
    assert [one.told_by for one in made] == ["", "", "", "conv1", "conv2"]
    assert all(one.whole_batch and one.kind == KIND for one in made)
    call = called("relu1")
    found = made[3].changes["relu1"](right)(call).value
    assert np.array_equal(found, np.maximum(call.x.value + 1, 0))
    call = called("conv1")
    assert np.array_equal(made[0].changes["conv1"](right)(call).value, right(call).value + 1)
    monkeypatch.setattr(added_layers, "FAMILY", Family())
    added_layers._in_front(KIND, lambda y, call: y, 3)
    assert not any(one.whole_batch for one in added_layers.FAMILY.mistakes)
    assert stages(added_layers.FAMILY)[-1] == ("relu3",)


# --- formats, ties, forms in which values are handed out ----------------------------------------------


@pytest.mark.parametrize(("form", "bits"), [(BFLOAT16, 8), (FLOAT16, 11)])
def test_a_result_in_a_coarse_format_is_one_of_its_numbers(form, bits):
    call = called("fc2")
    make = lambda operator: rounded_result(operator, form)  # noqa: E731
    found = _changed(make, form)(right)(call)
    assert isinstance(found, Gridded)
    y = call.x.value @ call.w.T + call.b
    assert (found.grid(y) == form.round(y).astype(np.float64)).all()
    check_inside(Bounded(found.value, found.bound), form.round(y).astype(np.float64))
    assert (found.coarser(found.grid(y)) == to_bits(found.grid(y), bits - 1)).all()
    ways = list(_of_products(form))
    assert len(ways) >= 2
    names = {one(STAGE).name for one in ways}
    assert len(names) == 2  # the products in this format, and its sums, too
    for one in ways:
        values = _changed(one, form)(right)(call)
        assert isinstance(values, Gridded)


STAGE = Gemm(transB=1)


def test_half_of_the_distance_of_two_numbers():
    for form in (BFLOAT16, FLOAT16):
        numbers = np.array([1.0, 1.5, 2.0, 3.0, 100.0, 0.0])
        found = half_spacing(Bounded(numbers, np.zeros(6)), form)
        spacing = 2.0 ** (np.floor(np.log2(numbers[:5])) - form.digits + 1)
        assert (found[:5] >= spacing / 2).all()
        assert (found[:5] <= spacing * 0.51).all()
        assert found[5] == form.smallest / 2
        moved = half_spacing(Bounded(np.array([1.9]), np.array([0.2])), form)  # may be above 2
        assert moved[0] >= spacing[2] / 2
        y = rounded(Bounded(numbers * 1.001, 1e-9 * numbers), form)
        assert np.array_equal(y.value, form.round(numbers * 1.001).astype(np.float64))
    assert to_bits(np.array([0.0, 5.0, -7.0, 2.75]), 2).tolist() == [0.0, 4.0, -8.0, 3.0]


def test_who_wins_a_window():
    wins = np.array([[1, 1, 0, 1], [0, 0, 1, 1], [0, 0, 1, 0]], bool).T
    first = winners.first_of((3, 1, 2, 0))(wins)
    assert first.T.tolist() == [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 1, 0]]
    assert winners.first_of((0, 1, 2, 3))(wins).T.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0]]
    assert (
        pytest.approx(np.array([[1 / 3, 1 / 3, 0, 1 / 3], [0, 0, 0.5, 0.5], [0, 0, 1, 0]]))
        == winners.split((0, 1, 2, 3))(wins).T
    )
    assert winners.split(((0, 1), (2, 3)))(wins).T.tolist() == [
        [0.25, 0.25, 0, 0.5],
        [0, 0, 0.5, 0.5],
        [0, 0, 1, 0],
    ]
    assert winners.whole(wins).T.tolist() == wins.T.tolist()


@pytest.mark.parametrize("entry", HANDED_OUT, ids=lambda one: one.kind.name)
def test_what_is_handed_out_otherwise_is_turned_back(entry):
    shape = (2, 16, 5, 5) if "conv1" in entry.layers and "fc1" not in entry.layers else (2, 400)
    a = np.random.default_rng(0).random(shape)
    assert np.array_equal(entry.back(entry.view(a)), a)
    maps = a.reshape(2, 16, 5, 5)
    expected = {
        "handed out as NHWC": np.moveaxis(maps, 1, 3),
        "handed out as NHWC values in an NCHW shape": np.moveaxis(maps, 1, 3).reshape(maps.shape),
        "handed out with height and width swapped": maps.swapaxes(2, 3),
        "handed out after ReLU": a,
        "handed out as a column for each digit": a.T,
        "handed out flattened in HWC order": np.moveaxis(maps, 1, 3).reshape(2, 400),
    }
    assert np.array_equal(entry.view(a), expected[entry.kind.name])
    assert entry.kind.name != "handed out after ReLU" or (entry.view(-a) == 0).all()
