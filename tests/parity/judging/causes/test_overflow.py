"""Layers in float16 whose values leave it on the way, and products in it to which a bias is added later."""

from collections.abc import Callable

import numpy as np
import pytest
from onnx import NodeProto

from parity.arithmetic.floats import BFLOAT16, FLOAT16, Format
from tests.parity.judging.causes.small_graphs import Array, N, drawn, graph_of, names

Half = Callable[[Array], Array]
SAID = "computed in float16, with an overflow on the way"
SCALE, SHIFT = np.abs(drawn(32, seed=1)) + 0.5, drawn(32, seed=2)


def short(x: Array) -> Array:
    """In float16; sums are added up in float32 before, as frameworks do."""
    with np.errstate(over="ignore", invalid="ignore"):
        return x.astype(np.float16).astype(np.float32)


def rms(x: Array) -> Array:
    square = short((short(x * x)).mean(-1, keepdims=True))
    return short(short(x * short(1 / np.sqrt(square))) * short(SCALE))


def layer_norm(x: Array) -> Array:
    apart = short(x - short(x.mean(-1, keepdims=True)))
    square = short((short(apart * apart)).mean(-1, keepdims=True))
    return short(short(short(apart * short(1 / np.sqrt(square))) * short(SCALE)) + short(SHIFT))


def log_sum_exp(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return short(np.log(short(short(np.exp(x / 64)).sum(-1, keepdims=True))))


LAYERS: dict[str, tuple[Half, list[NodeProto], dict[str, Array]]] = {
    "RMS": (rms, [N("RMSNormalization", ["x", "g"], ["y"])], {"g": SCALE}),
    "layer": (layer_norm, [N("LayerNormalization", ["x", "g", "b"], ["y"])], {"g": SCALE, "b": SHIFT}),
    "powers": (
        log_sum_exp,
        [
            N("Div", ["x", "n"], ["q"]),
            N("Exp", ["q"], ["e"]),
            N("ReduceSum", ["e", "last"], ["s"]),
            N("Log", ["s"], ["y"]),
        ],
        {"last": np.array([-1]), "n": np.array(64, np.float32)},
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_an_overflow_on_the_way_is_named(name: str) -> None:
    """Some rows are 40 times as large: their squares or powers are beyond 65504."""
    layer, nodes, constants = LAYERS[name]
    x = short(20 * drawn(8, 32))
    x[3:5] *= np.float32(40)
    graph = graph_of(nodes, constants, "x", opset=23)
    y = layer(x)
    assert names(graph, x=x, y=y) == [SAID]
    wrong = y.copy()
    wrong[3:5] = np.where(np.isfinite(y[3:5]), 0.5, 0.25)
    assert names(graph, x=x, y=wrong) == []


def test_a_bound_that_admits_anything_is_no_evidence_for_what_is_nan_throughout() -> None:
    """Operands that are infinite in float16 alone explain no NaN: their products may be anything."""
    x, w = 3e5 * np.abs(drawn(8, 32)) + np.float32(1e5), drawn(32, 16, seed=1)
    graph = graph_of([N("MatMul", ["x", "w"], ["y"])], {"w": w}, "x")
    with np.errstate(invalid="ignore"):
        y = short(x) @ short(w)
    assert not np.isfinite(y).any()
    said = "products in float16, added up in float32 (half precision, autocast)"
    assert names(graph, x=x, y=y) == [said]


@pytest.mark.slow
@pytest.mark.parametrize("form", [BFLOAT16, FLOAT16], ids=lambda form: form.name)
def test_a_product_in_a_shorter_format_is_named_behind_its_bias(form: Format) -> None:
    """The sum is no number of the format; without the bias it is one."""
    x, w, b = drawn(8, 64), drawn(64, 32, seed=1), drawn(32, seed=2)
    graph = graph_of([N("Gemm", ["x", "w", "b"], ["y"])], {"w": w, "b": b}, "x")
    total = np.zeros((8, 32), np.float32)
    for k in range(64):
        total = form.round(total + form.round(x[:, k : k + 1] * w[k]).astype(np.float32)).astype(np.float32)
    once = form.round(x.astype(np.float64) @ w.astype(np.float64)).astype(np.float32)
    both = form.round(form.round(x).astype(np.float64) @ form.round(w).astype(np.float64)).astype(np.float32)
    for product, words in (
        (total, f"product added up in {form.name}"),
        (once, f"product rounded to {form.name}"),
        (both, f"product in {form.name}, added up in float32"),
    ):
        assert names(graph, x=x, y=product + b) == [f"{words}, the bias added in float32"]
    assert names(graph, x=x, y=1.5 * once + b) == []
