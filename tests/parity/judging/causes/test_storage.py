"""Parameters in a shorter format."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from parity.arithmetic.floats import BFLOAT16, FLOAT16, Format
from parity.graph import Graph
from parity.judging.causes import judge
from parity.onnx import read_onnx
from tests.parity.judging.chains import Array

pytestmark = pytest.mark.slow

FORMATS = pytest.mark.parametrize("form", [FLOAT16, BFLOAT16], ids=lambda form: form.name)
SHAPES = {"w": (20, 30), "b": (30,), "scale": (30,), "shift": (30,), "v": (30, 10), "c": (10,)}


def perceptron() -> tuple[Graph, dict[str, Array]]:
    """x → Gemm → h → LayerNormalization → n → Gemm → y, and its parameters."""
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"]),
        helper.make_node("LayerNormalization", ["h", "scale", "shift"], ["n"]),
        helper.make_node("Gemm", ["n", "v", "c"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [16, 20])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [16, 10])
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "perceptron", [x], [y], constants)
    return read_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])), arrays


def run(own: dict[str, Array]) -> dict[str, Array]:
    """All tensors, with these parameters."""
    x = np.random.default_rng(1).standard_normal((16, 20)).astype(np.float32)
    h = x @ own["w"] + own["b"]
    off = h.astype(np.float64) - h.mean(-1, keepdims=True, dtype=np.float64)
    n = off / np.sqrt((off**2).mean(-1, keepdims=True) + 1e-5) * own["scale"] + own["shift"]
    n = n.astype(np.float32)
    return {"x": x, "h": h, "n": n, "y": n @ own["v"] + own["c"]}


def names_of(graph: Graph, values: dict[str, Array]) -> dict[str, list[str]]:
    report = judge(graph, values)
    return {one.tensor: [cause.name for cause in one.causes] for one in report.tensors if one.wrong}


@FORMATS
def test_parameters_of_a_shorter_format_are_named(form: Format) -> None:
    """Those of each layer where all is recorded, those of the network where its end is; those of products."""
    graph, own = perceptron()
    short = {name: form.round(array).astype(np.float32) for name, array in own.items()}
    name = f"parameters stored in {form.name}"
    values = run(short)
    assert names_of(graph, values) == {"h": [name], "n": [name], "y": [name]}
    assert names_of(graph, {"x": values["x"], "y": values["y"]}) == {"y": [name]}
    values = run({**short, "scale": own["scale"], "shift": own["shift"]})
    assert names_of(graph, {"x": values["x"], "y": values["y"]}) == {"y": [f"{name}: those of all products"]}


def test_parameters_that_are_changed_by_as_much_otherwise_are_not_named() -> None:
    graph, own = perceptron()
    rng = np.random.default_rng(2)
    moved = {k: (a * (1 + 2**-12 * rng.uniform(-1, 1, a.shape))).astype(np.float32) for k, a in own.items()}
    values = run(moved)
    assert names_of(graph, values) == {"h": [], "n": [], "y": []}
