"""ReLU computed as ½(|x + b| + x + b) behind a layer with a bias: coarse, with the formula as its cause."""

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from parity.command.report import headline
from parity.judging.causes import judge
from parity.judging.causes.of_rounding.of_half_sums import NAME
from parity.onnx import read_onnx

Array = np.ndarray
FORMULA = "The same function by another formula, which is less accurate."
RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((4, 3, 9, 9)).astype(np.float32)
KERNELS = RNG.standard_normal((5, 3, 1, 1)).astype(np.float32)
ROWS = RNG.standard_normal((50, 6)).astype(np.float32)
MATRIX = RNG.standard_normal((6, 5)).astype(np.float32)
BIAS = RNG.standard_normal(5).astype(np.float32)
WHAT: dict[str, tuple[Array, Array, list[NodeProto]]] = {
    "Conv": (IMAGES, KERNELS, [helper.make_node("Conv", ["i", "w", "b"], ["s"])]),
    "Gemm": (ROWS, MATRIX, [helper.make_node("Gemm", ["i", "w", "b"], ["s"])]),
    "Add": (
        ROWS,
        MATRIX,
        [helper.make_node("MatMul", ["i", "w"], ["x"]), helper.make_node("Add", ["b", "x"], ["s"])],
    ),
}


def values(kind: str) -> tuple[Array, Array, Array]:
    """x, the bias in a shape that is broadcast to it, and s = x + b."""
    i, w, _ = WHAT[kind]
    if kind == "Conv":
        x, b = np.einsum("ncpq,oc->nopq", i, w[:, :, 0, 0]).astype(np.float32), BIAS[:, None, None]
    else:
        x, b = i @ w, BIAS
    return x, b, x + b


def verdict_on(kind: str, s: Array, y: Array) -> tuple[str, list[str]]:
    """The verdict on ReLU, and the causes that are named."""
    i, w, nodes = WHAT[kind]
    given, result = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape)
        for name, array in (("i", i), ("y", y))
    )
    held = [numpy_helper.from_array(w, "w"), numpy_helper.from_array(BIAS, "b")]
    relu = helper.make_node("Relu", ["s"], ["y"])
    graph = read_onnx(
        helper.make_model(
            helper.make_graph([*nodes, relu], "net", [given], [result], held),
            opset_imports=[helper.make_opsetid("", 18)],
        )
    )
    judged = judge(graph, {"i": i, "s": s, "y": y})
    report = next(one for one in judged.tensors if one.tensor == "y")
    assert (judged.verdict == "coarse") == (headline(judged) == FORMULA)
    return report.verdict, [cause.name for cause in report.causes]


def half_sum(x: Array, b: Array, s: Array) -> Array:
    return np.float32(0.5) * ((np.abs(s) + x) + b)


@pytest.mark.parametrize("kind", WHAT)
def test_the_formula_is_coarse_and_named(kind: str) -> None:
    x, b, s = values(kind)
    y = half_sum(x, b, s)
    assert (y != np.maximum(s, 0)).any()
    assert verdict_on(kind, s, y) == ("coarse", [NAME])


@pytest.mark.parametrize("kind", WHAT)
def test_a_right_relu_is_equal(kind: str) -> None:
    _, _, s = values(kind)
    assert verdict_on(kind, s, np.maximum(s, 0)) == ("equal", [])


@pytest.mark.parametrize("kind", WHAT)
def test_one_value_beyond_the_bound_is_different(kind: str) -> None:
    x, b, s = values(kind)
    y = half_sum(x, b, s)
    y.flat[y.argmax()] *= np.float32(1 + 2e-6)
    assert verdict_on(kind, s, y) == ("different", [])


@pytest.mark.parametrize("kind", WHAT)
def test_other_errors_within_the_bound_are_different(kind: str) -> None:
    _, _, s = values(kind)
    y = np.maximum(s, 0)
    y.flat[y.argmax()] = np.nextafter(y.max(), np.float32(np.inf))
    assert verdict_on(kind, s, y) == ("different", [])
