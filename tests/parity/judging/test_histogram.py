"""The histogram of error over worst case: its bins, and which values it counts."""

import numpy as np
import pytest
from onnx import helper

from parity import judge, read_onnx
from parity.judging.verdict import BINS, TensorReport
from parity.judging.yardsticks import LOOPED, histogram
from tests.parity.small import Arrays, computed, convolutions, model, normal


def bins(ratio: list[float]) -> dict[str, int]:
    return {name: n for name, n in zip(BINS, histogram(np.array(ratio)), strict=True) if n}


@pytest.mark.parametrize(
    ("ratio", "name"),
    [
        (0.0, "0"),
        (1.0, "2^0"),  # the limit itself is within the worst case
        (np.nextafter(1, 2), "2^1"),
        (2.0, "2^1"),
        (0.5, "2^-1"),
        (np.nextafter(0.5, 1), "2^0"),
        (2.0**-40, "2^-40"),
        (2.0**-43, "0"),
        (5e-324, "0"),
        (2.0**40, "2^40"),
        (1e300, "2^40"),
        (np.inf, "2^40"),
    ],
)
def test_a_bin_ends_at_a_power_of_two(ratio: float, name: str) -> None:
    assert bins([ratio]) == {name: 1}


def test_each_value_is_counted_once() -> None:
    ratio = np.exp(np.random.default_rng(0).uniform(-20, 20, 10_000))
    found = bins(list(ratio))
    assert sum(found.values()) == 10_000
    for k in range(-10, 10):
        assert found[f"2^{k}"] == np.count_nonzero((ratio > 2.0 ** (k - 1)) & (ratio <= 2.0**k))


def outside(one: TensorReport) -> int:
    return sum(one.histogram[BINS.index("2^1") :])


@pytest.mark.slow
def test_a_report_counts_the_values_outside_the_worst_case() -> None:
    values = computed(convolutions(), {"x": normal(2, 3, 9, 9)})
    values["conv2"].flat[:5] *= 1.5
    report = {one.tensor: one for one in judge(read_onnx(convolutions()), values).tensors}
    assert outside(report["conv1"]) == 0
    assert sum(report["conv1"].histogram) == report["conv1"].values
    assert outside(report["conv2"]) == 5


def large() -> tuple[Arrays, TensorReport]:
    proto = model(
        [helper.make_node("MatMul", ["x", "m"], ["y"])], {"x": [300, 64]}, ["y"], {"m": normal(64, 400)}
    )
    values = computed(proto, {"x": normal(300, 64)})
    values["y"][17, 33] *= 1.5
    return values, judge(read_onnx(proto), values).tensors[0]


@pytest.mark.slow
def test_of_a_large_tensor_each_value_is_counted_if_one_is_wrong() -> None:
    values, wrong = large()
    assert outside(wrong) == 1
    assert sum(wrong.histogram) == values["y"].size


def test_of_a_large_tensor_without_a_wrong_value_some_thousand_are_counted() -> None:
    proto = model(
        [helper.make_node("MatMul", ["x", "m"], ["y"])], {"x": [300, 64]}, ["y"], {"m": normal(64, 400)}
    )
    right = judge(read_onnx(proto), computed(proto, {"x": normal(300, 64)})).tensors[0]
    assert LOOPED // 2 < sum(right.histogram) < 2 * LOOPED


def test_integers_are_counted_too() -> None:
    proto = model([helper.make_node("Shape", ["x"], ["s"])], {"x": [2, 3]}, ["s"])
    x = normal(2, 3)
    (right,) = judge(read_onnx(proto), {"x": x, "s": np.array([2, 3])}).tensors
    (wrong,) = judge(read_onnx(proto), {"x": x, "s": np.array([2, 4])}).tensors
    assert (right.verdict, right.equal, right.values) == ("equal", 2, 2)
    assert (wrong.verdict, wrong.equal, wrong.values) == ("different", 1, 2)
    assert right.histogram == histogram(np.zeros(2))
    assert wrong.histogram == histogram(np.array([0, np.inf]))
