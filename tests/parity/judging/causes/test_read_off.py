"""Numbers that no list has, read off the candidate's values."""

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from parity.graph import Graph
from parity.judging.causes import judge
from parity.judging.causes.search.read_off import fitted, shortest
from parity.onnx import read_onnx
from tests.parity.judging.chains import Array

X = np.random.default_rng(0).standard_normal((6, 10)).astype(np.float32)
W = np.random.default_rng(1).standard_normal((10, 7)).astype(np.float32)


def graph_of(*nodes: tuple[str, dict[str, Any]], product: bool = False) -> Graph:
    """x → the nodes, in a row (t0, t1 …), and then · w if there is a product → y."""
    made, name = [], "x"
    for k, (kind, attributes) in enumerate(nodes):
        out = "y" if k == len(nodes) - 1 and not product else f"t{k}"
        more = ["scale"] if kind == "LayerNormalization" else []
        made.append(helper.make_node(kind, [name, *more], [out], **attributes))
        name = out
    if product:
        made.append(helper.make_node("MatMul", [name, "w"], ["y"]))
    x, y = (helper.make_tensor_value_info(one, TensorProto.FLOAT, None) for one in "xy")
    constants = [numpy_helper.from_array(W, "w"), numpy_helper.from_array(np.ones(10, np.float32), "scale")]
    model = helper.make_graph(made, "row", [x], [y], constants)
    return read_onnx(helper.make_model(model, opset_imports=[helper.make_opsetid("", 17)]))


def names_of(graph: Graph, x: Array, y: Array) -> list[str]:
    (report,) = judge(graph, {"x": x, "y": y.astype(np.float32)}).tensors
    return [cause.name for cause in report.causes]


def softmax(x: Array, base: float = np.e) -> Array:
    powers = base ** x.astype(np.float64)
    return powers / powers.sum(-1, keepdims=True)


def layer_norm(x: Array, epsilon: float) -> Array:
    off = x - x.mean(-1, keepdims=True)
    return off / np.sqrt((off**2).mean(-1, keepdims=True) + epsilon)


def leaky(x: Array, slope: float) -> Array:
    return np.where(x > 0, x, slope * x)


WIDE = X.astype(np.float64)
NORM, SMALL = ("LayerNormalization", {"epsilon": 1e-5}), 0.02 * X
CASES = {
    "temperature 1.3: Softmax of its input times 0.769231": (("Softmax", {}), X, softmax(WIDE / 1.3)),
    "Softmax to the base 2, not e": (("Softmax", {}), X, softmax(WIDE, 2)),
    "softplus with beta 3": (("Softplus", {}), X, np.log1p(np.exp(3 * WIDE)) / 3),
    "epsilon 7e-06 for 1e-05": (NORM, SMALL, layer_norm(SMALL.astype(np.float64), 7e-6)),
    "alpha 0.37 for 0.2": (("HardSigmoid", {}), X, np.clip(0.37 * WIDE + 0.5, 0, 1)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_number_that_no_list_has_is_named(name: str) -> None:
    node, x, y = CASES[name]
    assert names_of(graph_of(node), x, y) == [name]


def test_a_number_in_the_middle_is_named() -> None:
    """A slope of which only what follows is recorded; and an ε that two nodes have."""
    graph = graph_of(("LeakyRelu", {"alpha": 0.2}), product=True)
    assert names_of(graph, X, leaky(WIDE, 0.17) @ W) == ["slope alpha 0.17 for 0.2"]
    graph = graph_of(NORM, NORM, product=True)
    x = (0.004 * X).astype(np.float32)
    twice = layer_norm(layer_norm(x.astype(np.float64), 3e-3), 3e-3)
    assert "epsilon 0.003 for 1e-05, at 2 nodes" in names_of(graph, x, twice @ W)


def test_no_number_is_named_for_what_none_explains() -> None:
    rng = np.random.default_rng(3)
    noise = rng.standard_normal(X.shape)
    for y in (softmax(WIDE + 0.01 * noise), softmax(WIDE**3), softmax(WIDE[::-1]), softmax(0 * WIDE)):
        assert not any("temperature" in name for name in names_of(graph_of(("Softmax", {})), X, y))
    y = leaky(WIDE, 0.1) * (1 + 1e-3 * rng.standard_normal(X.shape))
    assert names_of(graph_of(("LeakyRelu", {"alpha": 0.2})), X, y) == []


def test_a_number_is_fitted_and_rounded_as_far_as_it_is_open() -> None:
    x = np.linspace(0.1, 3, 40)
    seen = np.exp(-x * 0.37).astype(np.float32).astype(np.float64)
    fit = fitted(lambda t: np.exp(-x * t), seen, 2.0)
    assert fit is not None
    assert abs(fit[0] - 0.37) < 4 * fit[1] < 1e-6
    assert shortest(fit[0], 4 * fit[1]) == 0.37
    assert fitted(lambda t: np.exp(-x * t), np.cos(9 * x), 2.0) is None
    assert shortest(0.353553, 1e-9) == 0.353553
