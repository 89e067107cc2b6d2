"""Normalization against its plain definition, other libraries, and mistakes that are known from ports."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import FLOAT64
from parity.errors import Unjudged
from parity.onnx import read_onnx
from parity.operators import OPERATORS
from parity.operators.moments import Way, either
from parity.operators.normalization import LRN, BatchNormalization, LayerNormalization
from tests.parity.examples.example import Example
from tests.parity.examples.normalization import EXAMPLES, IMAGE, normal
from tests.parity.operators import checks, one_node
from tests.parity.operators.plain_normalization import plain

every = pytest.mark.parametrize("example", EXAMPLES, ids=str)
# Where ONNX's reference evaluator is not the standard's function (onnx 1.23).
REFERENCE_WRONG = {
    "LRN(": "counts channels by the size of the batch",
    "LpNormalization(axis=1,p=1)": "sums values, not their magnitudes",
}


@every
def test_value_is_the_plain_definition(example: Example) -> None:
    arrays = one_node.drawn(example)
    for form in example.operator.forms():
        one_node.check_value(form, arrays, plain(example.operator, arrays))


@every
def test_pieces_are_the_whole(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = one_node.drawn(example)
    whole, exact = (one_node.outputs(example.operator, arrays, *form) for form in ((), (FLOAT64,)))
    monkeypatch.setattr("parity.operators.moments.LARGEST", 1)
    for one, right, close in zip(one_node.outputs(example.operator, arrays), whole, exact, strict=True):
        assert (np.abs(one.value - right.value) <= close.bound).all()
        np.testing.assert_allclose(one.bound, right.bound, rtol=1e-9)
    checks.check_sampled(example, arrays, 0)


def test_even_window_of_channels_leans_to_the_end() -> None:
    """onnxruntime has no LRN over an even number of channels."""
    x = np.random.default_rng(0).standard_normal((2, 7, 3)).astype(np.float32)
    operator = LRN(size=4, alpha=0.5)
    one_node.check_value(operator, [x], plain(operator, [x]))


# --- other libraries ----------------------------------------------------------------------------


def _right(example: Example, arrays: one_node.Arrays, found: list[Array], sample: int | None = None) -> None:
    for report in one_node.verdicts(example, arrays, found, sample):
        assert report.verdict in ("equal", "rounding"), report


@every
def test_onnx_reference_is_right(example: Example) -> None:
    arrays = one_node.drawn(example)
    if isinstance(example.operator, BatchNormalization) and (example.opset < 9 or "momentum" in example.node):
        return  # the reference evaluator takes it for training
    count = len(one_node.outputs(example.operator, arrays))
    found = one_node.in_reference(example, arrays, count)
    if any(str(example).startswith(one) for one in REFERENCE_WRONG):
        assert one_node.verdicts(example, arrays, found)[0].verdict == "different"
    else:
        _right(example, arrays, found)


def _in_torch(operator: Any, arrays: list[Array]) -> list[Array]:
    x, *rest = (torch.from_numpy(array) for array in arrays)
    kind = operator.TYPE
    if kind == "LayerNormalization":
        y, *moments = torch.native_layer_norm(x, rest[0].shape, rest[0], rest[1], operator.epsilon)
        return [y.numpy(), *(one.numpy() for one in moments)]
    if kind == "InstanceNormalization":
        return [F.instance_norm(x, weight=rest[0], bias=rest[1], eps=operator.epsilon).numpy()]
    if kind == "GroupNormalization":
        return [F.group_norm(x, operator.num_groups, rest[0], rest[1], operator.epsilon).numpy()]
    if kind == "RMSNormalization":
        return [F.rms_norm(x, rest[0].shape, rest[0], operator.epsilon).numpy()]
    if kind == "LpNormalization":
        return [F.normalize(x, operator.p, operator.axis).numpy()]
    if kind == "LRN":
        return [F.local_response_norm(x, operator.size, operator.alpha, operator.beta, operator.bias).numpy()]
    scale, bias, mean, variance = rest
    return [
        F.batch_norm(
            x, mean, variance, scale, bias, bool(operator.training_mode), 0.1, operator.epsilon
        ).numpy()
    ]


def _made(kind: str, **attributes: Any) -> Any:
    return OPERATORS[kind](**attributes)


TORCH: list[tuple[Any, tuple[tuple[int, ...], ...]]] = [
    (_made("LayerNormalization"), ((4, 6, 64), (64,), (64,))),
    (_made("LayerNormalization", axis=1, epsilon=0.01), ((4, 6, 640), (6, 640), (6, 640))),
    (_made("InstanceNormalization"), ((2, 5, 16, 15), (5,), (5,))),
    (_made("GroupNormalization", num_groups=3), ((2, 6, 16, 15), (6,), (6,))),
    (_made("RMSNormalization"), ((4, 6, 64), (64,))),
    (_made("LpNormalization", axis=1), ((4, 6, 64),)),
    (_made("LpNormalization", axis=2, p=1), ((4, 6, 64),)),
    (LRN(size=5, alpha=0.01), ((2, 40, 6, 5),)),
    (BatchNormalization(), ((3, 5, 6, 4), (5,), (5,), (5,), (5,))),
    (BatchNormalization(training_mode=1), ((3, 5, 16, 14), (5,), (5,), (5,), (5,))),
]


@pytest.mark.parametrize("mean", [0, 3, 1000])
@pytest.mark.parametrize(("operator", "shapes"), TORCH, ids=[str(one.TYPE) for one, _ in TORCH])
def test_torch_and_onnxruntime_are_right(
    operator: Any, shapes: tuple[tuple[int, ...], ...], mean: float
) -> None:
    """Mean 1000, standard deviation 1: E[x²] − E[x]² loses nearly all digits."""
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    arrays[0] += np.float32(mean)
    if operator.TYPE == "BatchNormalization":
        arrays[3] += np.float32(mean)
        arrays[4] = np.abs(arrays[4]) + np.float32(0.1)
    attributes = {
        field: value
        for field, value in vars(operator).items()
        if field not in ("form", "stash_type", "spatial")
    }
    example = Example(operator, attributes, normal(*shapes), 23 if operator.TYPE[0] == "R" else 22)
    count = len(one_node.outputs(operator, arrays))
    found = _in_torch(operator, arrays)
    runtime = one_node.in_onnxruntime(example, arrays, count)
    for sample in (None, 100):
        _right(example, arrays, found, sample)
        for report in one_node.verdicts(example, arrays, runtime, sample):
            allowed = ("equal", "rounding", "undecided") if mean == 1000 else ("equal", "rounding")
            assert report.verdict in allowed, report
            assert report.ratio <= 1


# --- forms ---------------------------------------------------------------------------------------


def _one_pass(x: Array) -> Array:
    """LayerNormalization in float32 with the variance as E[x²] − E[x]²."""
    mean = x.mean(-1, keepdims=True)
    variance = np.maximum((x * x).mean(-1, keepdims=True) - mean * mean, np.float32(0))
    return (x - mean) / np.sqrt(variance + np.float32(1e-5))


def _two_passes(x: Array) -> Array:
    mean = x.mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + np.float32(1e-5))


def test_form_that_fits_is_named() -> None:
    rng = np.random.default_rng(0)
    x = (30 + rng.standard_normal((40, 64))).astype(np.float32)
    example = Example(LayerNormalization(), {}, normal(x.shape))
    arrays = [x, np.ones(64, np.float32)]
    for function, note in ((_two_passes, ""), (_one_pass, "E[x²] − E[x]²")):
        (report,) = one_node.verdicts(example, arrays, [function(x)])
        assert report.verdict == "rounding"
        assert note in report.note
        assert bool(report.note) == bool(note)


def test_first_bound_does_not_hold_for_the_other_form() -> None:
    """So both forms are needed, and the narrower one says something."""
    x = (1000 + np.random.default_rng(0).standard_normal((40, 64))).astype(np.float32)
    arrays = [x, np.ones(64, np.float32)]
    narrow, *_, wide = (one_node.outputs(form, arrays)[0] for form in LayerNormalization().forms())
    error = np.abs(_one_pass(x) - narrow.value)
    assert (error > narrow.bound).any()
    assert (error <= wide.bound).all()
    assert (np.abs(_two_passes(x) - narrow.value) <= narrow.bound).all()


@every
def test_as_read_an_operator_has_the_largest_bound(example: Example) -> None:
    arrays = one_node.drawn(example)
    for form in example.operator.forms():
        pairs = zip(one_node.outputs(form, arrays), one_node.outputs(example.operator, arrays), strict=True)
        assert all((one.bound <= last.bound * (1 + 1e-9)).all() for one, last in pairs)


def test_shifted_batch_norm_is_named() -> None:
    rng = np.random.default_rng(0)
    x = (1000 + rng.standard_normal((2, 3, 8, 7))).astype(np.float32)
    scale, bias, mean, variance = (rng.uniform(0.5, 2, 3).astype(np.float32) for _ in range(4))
    mean += np.float32(1000)
    factor = scale / np.sqrt(variance + np.float32(1e-5))
    shift = bias - mean * factor
    found = x * factor[:, None, None] + shift[:, None, None]
    example = Example(BatchNormalization(), {}, normal(x.shape))
    (report,) = one_node.verdicts(example, [x, scale, bias, mean, variance], [found])
    assert report.verdict == "rounding"
    assert report.note == "the result is x·s + (b − mean·s)"
    assert (
        str(Way(False, True))
        == "the variance is the mean of squared deviations, the result x·s + (b − mean·s)"
    )


def test_running_sums_are_named() -> None:
    """A sum that once held a large channel keeps its rounding error."""
    x = np.random.default_rng(0).standard_normal((2, 40, 6, 5)).astype(np.float32)
    x[:, 3] *= 300
    example = Example(LRN(size=3, alpha=3.0), {"size": 3, "alpha": 3.0}, normal(x.shape))
    squares = np.pad(x * x, ((0, 0), (1, 1), (0, 0), (0, 0)))
    base = np.float32(1) + squares[:, :3].sum(1)
    found = [x[:, 0] / base ** np.float32(0.75)]
    for c in range(1, 40):
        base = base + squares[:, c + 2] - squares[:, c - 1]
        found.append(x[:, c] / base ** np.float32(0.75))
    (report,) = one_node.verdicts(example, [x], [np.stack(found, 1)])
    assert report.verdict == "rounding"
    assert report.note == "running sums over the channels"


def test_power_by_exponential_and_logarithm_is_right() -> None:
    """TensorFlow's way; for large sums it is outside the accuracy of a power function."""
    x = (1000 + np.random.default_rng(0).standard_normal((2, 7, 6, 5))).astype(np.float32)
    operator = LRN(size=1, alpha=0.5)
    base = np.float32(1) + np.float32(0.5) * x * x
    (y,) = one_node.outputs(operator, [x])
    ratios = [
        np.abs(found - y.value) / y.bound
        for found in (x * np.exp(np.log(base) * np.float32(-0.75)), x / base ** np.float32(0.75))
    ]
    assert all((ratio <= 1).all() for ratio in ratios)
    assert ratios[0].max() > 2 * ratios[1].max()


# --- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "right", "wrong", "factor"),
    [
        ("LayerNormalization", {}, {"epsilon": 2e-5}, 0.1),
        ("BatchNormalization", {}, {"epsilon": 2e-5}, 1),
        ("BatchNormalization", {}, {"training_mode": 1}, 1),
        ("InstanceNormalization", {}, {"epsilon": 2e-5}, 0.1),
        ("GroupNormalization", {"num_groups": 2}, {"num_groups": 3}, 1),
        ("RMSNormalization", {}, {"epsilon": 2e-5}, 0.1),
        ("LRN", {"size": 3, "alpha": 0.01}, {"size": 3, "alpha": 0.03}, 1),
        ("LRN", {"size": 3, "alpha": 0.01}, {"size": 5, "alpha": 0.01}, 1),
        ("LpNormalization", {"p": 2}, {"p": 1}, 1),
        ("MeanVarianceNormalization", {}, {"axes": (2, 3)}, 1),
    ],
)
def test_mistake_is_different(kind: str, right: dict[str, Any], wrong: dict[str, Any], factor: float) -> None:
    channels = {"LayerNormalization": 4, "RMSNormalization": 4}.get(kind, 6)
    parameters = {"BatchNormalization": 4, "RMSNormalization": 1}.get(
        kind, 2 if "Normalization" in kind else 0
    )
    if kind.startswith(("Lp", "Mean")):
        parameters = 0
    rng = np.random.default_rng(0)
    arrays = [
        rng.standard_normal(IMAGE) * factor,
        *(rng.uniform(0.5, 1, channels) for _ in range(parameters)),
    ]
    arrays = [array.astype(np.float32) for array in arrays]
    example = Example(OPERATORS[kind](**right), right, normal(IMAGE), 23 if kind[0] == "R" else 22)
    count = 1 if kind != "LayerNormalization" else 3
    good, bad = (
        [one.value.astype(np.float32) for one in one_node.outputs(OPERATORS[kind](**one), arrays)][:count]
        for one in (right, wrong)
    )
    _right(example, arrays, good)
    assert one_node.verdicts(example, arrays, bad[:1])[0].verdict == "different"
    assert one_node.verdicts(example, arrays, bad[:1], sample=60)[0].verdict == "different"


def test_unbiased_variance_is_different() -> None:
    """PyTorch's running variance is divided by one less than the number of values; ONNX's is not."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((3, 5, 6, 4)), *(rng.uniform(0.5, 2, 5) for _ in range(4))]
    arrays = [array.astype(np.float32) for array in arrays]
    operator = BatchNormalization(training_mode=1)
    example = Example(operator, {"training_mode": 1}, normal(IMAGE))
    found = [one.value.astype(np.float32) for one in one_node.outputs(operator, arrays)]
    x, scale, bias, mean, variance = (torch.from_numpy(array.copy()) for array in arrays)
    F.batch_norm(x, mean, variance, scale, bias, True, 0.1)
    found[1:] = [mean.numpy(), variance.numpy()]
    assert [one.verdict for one in one_node.verdicts(example, arrays, found)][1:] == ["rounding", "different"]


# --- corners -------------------------------------------------------------------------------------


def test_constant_row_has_a_bound_unless_its_variance_is_a_difference() -> None:
    """That may come out negative, which not all libraries clip at zero."""
    x = np.full((3, 8), 1000.3, np.float32)
    for form in LayerNormalization().forms():
        y, _, inverse = one_node.outputs(form, [x, np.ones(8, np.float32)])
        assert isinstance(form, LayerNormalization)
        assert np.isinf(y.bound).all() == form.form.one_pass
        assert (inverse.value <= 1e-5**-0.5).all()


def test_row_of_zeros_is_normalized_to_zeros() -> None:
    x = np.zeros((2, 6), np.float32)
    x[1] = np.arange(6)
    (y,) = one_node.outputs(OPERATORS["LpNormalization"](), [x])
    np.testing.assert_array_equal(y.value[0], 0)
    assert not y.bound[0].any()
    assert y.bound[1, 1:].all()


def test_batch_norm_that_trains_before_opset_14_is_unjudged() -> None:
    arrays = one_node.drawn(EXAMPLES[0])
    old = replace(EXAMPLES[0], opset=9)
    (node,) = read_onnx(one_node.model(old, arrays, 5)).nodes
    assert node.problem == "BatchNormalization that trains, before opset 14"
    (node,) = read_onnx(one_node.model(old, arrays, 1)).nodes
    assert node.problem == ""


def test_training_for_each_value_of_an_image_is_unjudged() -> None:
    arrays = [np.ones((2, 3, 4), np.float32), *(np.ones((3, 4), np.float32) for _ in range(4))]
    with pytest.raises(Unjudged, match="without `spatial`"):
        BatchNormalization(training_mode=1, spatial=0).evaluate(*map(Bounded, arrays))


def test_form_is_no_attribute_of_a_file() -> None:
    for kind in (LRN, LayerNormalization):
        with pytest.raises(Unjudged, match="attribute form"):
            kind.read({"form": 1}, 22)


def test_a_bound_of_either_way_holds_for_both() -> None:
    one, other = Bounded(np.array([1.0]), np.array([0.5])), Bounded(np.array([1.25]), np.array([0.125]))
    for found in (either(one, other), either(other, one)):
        assert isinstance(found, Bounded)
        assert found.value - found.bound <= 0.5
        assert found.value + found.bound >= 1.5


def test_a_root_mean_square_without_a_scale_is_scaled_by_one() -> None:
    x = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    operator = OPERATORS["RMSNormalization"]()
    (plain_one,), (scaled,) = (
        one_node.outputs(operator, [x, *rest]) for rest in ((), (np.ones(5, np.float32),))
    )
    np.testing.assert_array_equal(plain_one.value, scaled.value)
