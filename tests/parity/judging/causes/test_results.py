"""A result on the way in a shorter format, and products in three parts."""

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from parity.arithmetic.floats import BFLOAT16, FLOAT16, Format
from parity.graph import Graph
from parity.judging.causes import judge
from parity.onnx import read_onnx
from tests.parity.judging.causes.searched import causes_of
from tests.parity.judging.chains import ONE, Array, run

FORMATS = pytest.mark.parametrize("form", [FLOAT16, BFLOAT16], ids=lambda form: form.name)
X = np.random.default_rng(0).standard_normal((6, 20)).astype(np.float32)
G = np.random.default_rng(1).uniform(0.5, 1.5, 20).astype(np.float32)


def graph_of(nodes: list[NodeProto], opset: int) -> Graph:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [6, 20]) for name in "xy")
    constants = {"e": np.array([1e-6], np.float32), "g": G}
    held = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    model = helper.make_graph(nodes, "rms", [x], [y], held)
    return read_onnx(helper.make_model(model, opset_imports=[helper.make_opsetid("", opset)]))


NODES = [
    helper.make_node("Mul", ["x", "x"], ["square"]),
    helper.make_node("ReduceMean", ["square"], ["mean"], axes=[-1]),
    helper.make_node("Add", ["mean", "e"], ["more"]),
    helper.make_node("Sqrt", ["more"], ["root"]),
    helper.make_node("Div", ["x", "root"], ["normal"]),
    helper.make_node("Mul", ["normal", "g"], ["y"]),
]
WRITTEN_OUT = graph_of(NODES, 13)
ONE_NODE = graph_of([helper.make_node("RMSNormalization", ["x", "g"], ["y"], epsilon=1e-6)], 23)


def names_of(graph: Graph, y: Array) -> list[str]:
    (report,) = judge(graph, {"x": X, "y": y.astype(np.float32)}).tensors
    return [cause.name for cause in report.causes]


@FORMATS
def test_a_rounded_result_on_the_way_is_named(form: Format) -> None:
    """The middle of an RMSNorm, which has been cast back before it is multiplied by its scale."""
    wide = X.astype(np.float64)
    middle = form.round(wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-6)).astype(np.float64)
    assert names_of(WRITTEN_OUT, middle * G) == [f"result of Div rounded to {form.name}"]
    assert names_of(ONE_NODE, middle * G) == [f"normalized values rounded to {form.name} before the scale"]


def test_a_middle_that_is_changed_by_as_much_otherwise_is_not_named() -> None:
    wide = X.astype(np.float64)
    middle = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-6)
    middle *= 1 + 2**-9 * np.random.default_rng(2).uniform(-1, 1, X.shape)
    for graph in (WRITTEN_OUT, ONE_NODE):
        assert names_of(graph, middle * G) == []


@pytest.mark.slow
def test_products_in_three_parts_are_named() -> None:
    """Coarse: within the worst case, but far from the plain loop. Four products are as good as float32."""
    x, w = run(ONE)["x"], ONE.constants["w0"]
    (a, b), (c, d) = (_halves(one) for one in (x, w))
    assert causes_of(a @ c + (a @ d + b @ c)) == ["products in three parts of bfloat16 (bf16x3)"]
    assert causes_of(a @ c + (a @ d + b @ c) * np.float32(1.01)) == []


def _halves(a: Array) -> tuple[Array, Array]:
    high = BFLOAT16.round(a).astype(np.float32)
    return high, BFLOAT16.round(a - high).astype(np.float32)
