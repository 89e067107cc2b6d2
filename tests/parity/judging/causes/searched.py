"""A graph of convolutions, its values as a port computes them, and what the search says of one product."""

from collections.abc import Sequence

import numpy as np
from onnx import NodeProto, TensorProto, helper

from parity.graph import Graph
from parity.judging.causes import judge
from parity.onnx import read_onnx
from tests.parity.judging.chains import ONE, Array, run


def convolutions(batch: int = 2) -> Graph:
    """x → Conv (stride 2) → a → Relu → b → Conv → c → Flatten → d → Gemm → y, with random weights."""
    rng = np.random.default_rng(0)
    shapes = {"w1": (4, 3, 3, 3), "w2": (5, 4, 3, 3), "w3": (80, 7)}
    weights = [
        helper.make_tensor(name, TensorProto.FLOAT, shape, rng.standard_normal(shape).ravel())
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("MatMul", ["d", "w3"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 7])
    return read_onnx(helper.make_model(helper.make_graph(nodes, "convolutions", [x], [y], weights)))


GRAPH = convolutions()


def conv(x: Array, w: Array, before: int, after: int, stride: int) -> Array:
    padded = np.pad(x, ((0, 0), (0, 0), (before, after), (before, after)))
    seen = np.lib.stride_tricks.sliding_window_view(padded, w.shape[2:], (2, 3))[:, :, ::stride, ::stride]
    return np.einsum("ncpqij,ocij->nopq", seen, w, optimize=True).astype(np.float32)


def computed(before: int = 1, after: int = 1, channels_last: bool = False) -> dict[str, Array]:
    """All tensors, as a port computes them."""
    x = np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(np.float32)
    w1, w2, w3 = (GRAPH.constants[name] for name in ("w1", "w2", "w3"))
    a = conv(x, w1, before, after, 2)
    b = np.maximum(a, 0)
    c = conv(b, w2, 1, 1, 1)
    d = (c.transpose(0, 2, 3, 1) if channels_last else c).reshape(2, -1)
    return {"x": x, "a": a, "b": b, "c": c, "d": d, "y": d @ w3}


def only(values: dict[str, Array], *names: str) -> dict[str, Array]:
    return {name: values[name] for name in names}


def causes_of(y: Array) -> list[str]:
    (report,) = judge(ONE, {"x": run(ONE)["x"], "y0": y.astype(np.float32)}).tensors
    return [cause.name for cause in report.causes]


def graph_of_x(
    nodes: list[NodeProto],
    constants: dict[str, Array],
    x: Array,
    result: str,
    more: Sequence[TensorProto] = (),
) -> Graph:
    """A graph of the input x, whose shape is declared."""
    given = [helper.make_tensor(k, TensorProto.FLOAT, a.shape, a.ravel()) for k, a in constants.items()]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)]
    outputs = [helper.make_tensor_value_info(result, TensorProto.FLOAT, None)]
    return read_onnx(helper.make_model(helper.make_graph(nodes, "graph", inputs, outputs, [*given, *more])))
