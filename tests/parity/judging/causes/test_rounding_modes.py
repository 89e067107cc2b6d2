"""Causes: values cut off to a format, or rounded with ties away from zero; products rounded on the way."""

import numpy as np
import pytest
from onnx import helper, numpy_helper

from parity.arithmetic.floats import BFLOAT16, TF32, Format
from parity.arithmetic.rounding_modes import AWAY_TF32, CUT_BFLOAT16
from parity.graph import Graph
from parity.judging.causes import judge
from parity.onnx import read_onnx
from tests.parity.judging.chains import Array

RNG = np.random.default_rng(0)
X, W, B = (RNG.standard_normal(shape).astype(np.float32) for shape in ((16, 20), (20, 12), (12,)))


def dense(w: Array = W, b: Array = B) -> Graph:
    x = helper.make_tensor_value_info("x", 1, list(X.shape))
    y = helper.make_tensor_value_info("y", 1, [len(X), w.shape[1]])
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"])
    constants = [numpy_helper.from_array(a, name) for name, a in (("w", w), ("b", b))]
    return read_onnx(helper.make_model(helper.make_graph([node], "dense", [x], [y], constants)))


def names(y: Array, x: Array = X) -> list[str]:
    (one,) = judge(dense(), {"x": x, "y": y.astype(np.float32)}).tensors
    return [cause.name for cause in one.causes]


def kept(a: Array, bits: int) -> Array:
    """float32 without its last bits, as a cast by hand does it, in float64."""
    return (a.view(np.uint32) >> bits << bits).view(np.float32).astype(np.float64)


@pytest.mark.parametrize(("name", "bits"), [("TF32", 13), ("bfloat16", 16)])
def test_what_is_cut_off_is_named(name: str, bits: int) -> None:
    x, w, b = (kept(a, bits) for a in (X, W, B))
    assert names(x @ w + B) == [f"operands cut off to {name}"]
    assert names(x @ W.astype(np.float64) + B) == [f"input cut off to {name}"]
    assert names(X @ w + B) == [f"weights cut off to {name}"]
    assert names(X @ w + b) == [f"parameters cut off to {name}"]


def test_ties_away_from_zero_are_named_where_there_are_ties() -> None:
    x = kept(X, 12).astype(np.float32)  # half of them are ties
    w = W.astype(np.float64)
    assert names(AWAY_TF32.round(x) @ AWAY_TF32.round(w).astype(np.float64) + B, x) == [
        "operands rounded to TF32, ties away from zero"
    ]
    said = "operands with 10 bits of fraction: TF32 or float16"
    assert names(TF32.round(x) @ TF32.round(w).astype(np.float64) + B, x) == [said]


@pytest.mark.slow
@pytest.mark.parametrize("product", [BFLOAT16, CUT_BFLOAT16], ids=["rounded", "cut off"])
def test_a_product_that_is_rounded_before_its_bias_is_named(product: Format) -> None:
    x, w, b = (BFLOAT16.round(a).astype(np.float64) for a in (X, W, B))
    y = BFLOAT16.round(product.round(x @ w).astype(np.float64) + b).astype(np.float64)
    assert names(y) == ["operands, product and result rounded to bfloat16"]
    y[0, 0] *= 1 + 2.0**-6  # a number of bfloat16, but another one
    assert "operands, product and result rounded to bfloat16" not in names(y)


def test_a_result_that_is_cut_off_is_named() -> None:
    y = X.astype(np.float64) @ W + B
    assert "result cut off to bfloat16" in names(CUT_BFLOAT16.round(y).astype(np.float64))


def test_a_result_in_integers_is_named_unless_it_is_zero_everywhere() -> None:
    y = X.astype(np.float64) @ W + B
    assert names(np.trunc(y)) == ["result cut off to integers"]
    assert names(np.rint(y)) == ["result rounded to integers"]
    assert np.abs(0.001 * X @ W).max() < 1  # cut off, each is zero
    (one,) = judge(dense(b=0 * B), {"x": X * np.float32(0.001), "y": np.zeros(y.shape, np.float32)}).tensors
    assert "result cut off to integers" not in [cause.name for cause in one.causes]
