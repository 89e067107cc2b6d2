"""Shared weights out of any graph that is this network; what and where, of any that is not."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.find_layers import pads_of, read_graph
from lenet.network import architecture
from tests.export.exported import EXPORTERS, model_of, needs

RNG = np.random.default_rng(3)
# No two values alike and no bias zero, so that whatever is mixed up shows.
PARAMS = {name: RNG.normal(size=shape).astype("f4") for name, shape in architecture.PARAM_SHAPES.items()}
Nodes = list[onnx.NodeProto]


class Graph:
    """A LeNet from somewhere else, written step by step; `value` is the name of what was made last."""

    def __init__(self, shape: Sequence[str | int] = ("n", 1, 28, 28)) -> None:
        self.nodes: Nodes = []
        self.tensors: list[onnx.TensorProto] = []
        self.shape, self.value = shape, "x"

    def constant(self, array: np.ndarray, node: bool = False) -> str:
        name = f"c{len(self.tensors) + len(self.nodes)}"
        tensor = numpy_helper.from_array(np.ascontiguousarray(array), name)
        if node:
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            self.tensors.append(tensor)
        return name

    def node(self, operator: str, *inputs: str, first: str | None = None, **settings: Any) -> "Graph":
        """One node that reads `value`, or `first`, before its other inputs."""
        output = f"v{len(self.nodes)}"
        named = [self.value if first is None else first, *inputs]
        self.nodes.append(helper.make_node(operator, named, [output], output, **settings))
        self.value = output
        return self

    def model(self, features: int | None = 10, ir_version: int = 8, opset: int = 18) -> onnx.ModelProto:
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)
        y = helper.make_tensor_value_info(self.value, TensorProto.FLOAT, [None, features])
        listed = [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in self.tensors]
        inputs = [x, *listed] if ir_version < 4 else [x]
        graph = helper.make_graph(self.nodes, "foreign", inputs, [y], self.tensors)
        opsets = [helper.make_opsetid("", opset)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)
        onnx.checker.check_model(model)  # a test of what nobody could load is worth nothing
        return model


Step = Callable[[Graph], object]


def conv(layer: str, **settings: Any) -> Step:
    return lambda g: g.node(
        "Conv", g.constant(PARAMS[f"{layer}.weight"]), g.constant(PARAMS[f"{layer}.bias"]), **settings
    )


def gemm(layer: str, **settings: Any) -> Step:
    settings = {"transB": 1} | settings
    return lambda g: g.node(
        "Gemm", g.constant(PARAMS[f"{layer}.weight"]), g.constant(PARAMS[f"{layer}.bias"]), **settings
    )


def op(operator: str, **settings: Any) -> Step:
    return lambda g: g.node(operator, **settings)


def pool(operator: str = "MaxPool", **settings: Any) -> Step:
    return op(operator, **({"kernel_shape": [2, 2], "strides": [2, 2]} | settings))


def reshape(*shape: int) -> Step:
    return lambda g: g.node("Reshape", g.constant(np.array(shape, np.int64)))


PLAIN: dict[str, Step] = {
    "conv1": conv("conv1", pads=[2, 2, 2, 2]),
    "relu1": op("Relu"),
    "pool1": pool(),
    "conv2": conv("conv2"),
    "relu2": op("Relu"),
    "pool2": pool(),
    "flatten": op("Flatten"),
    "fc1": gemm("fc1"),
    "relu3": op("Relu"),
    "fc2": gemm("fc2"),
    "relu4": op("Relu"),
    "logits": gemm("logits"),
}


def build(steps: dict[str, Step], graph: Graph | None = None) -> Graph:
    graph = graph or Graph()
    for step in steps.values():
        step(graph)
    return graph


def plain(**changed: Step) -> onnx.ModelProto:
    return build(PLAIN | changed).model()


def chain(*steps: Step) -> Step:
    def run(graph: Graph) -> None:
        for step in steps:
            step(graph)

    return run


def hwc(features: np.ndarray) -> np.ndarray:
    """Columns of fc1 for features in (H, W, C) order, from those for (C, H, W)."""
    return features.reshape(-1, 16, 5, 5).transpose(0, 2, 3, 1).reshape(features.shape)


def matmul_add(layer: str, swapped: bool = False, node: bool = False) -> Step:
    def step(g: Graph) -> None:
        g.node("MatMul", g.constant(PARAMS[f"{layer}.weight"].T, node))
        bias = g.constant(PARAMS[f"{layer}.bias"], node)
        if swapped:
            g.node("Add", g.value, first=bias)
        else:
            g.node("Add", bias)

    return step


def untransposed_gemm(g: Graph) -> None:
    g.node("Gemm", g.constant(PARAMS["fc1.weight"].T), g.constant(PARAMS["fc1.bias"]))


def transposed_by_a_node(g: Graph) -> None:
    kernel = g.constant(PARAMS["conv2.weight"].transpose(2, 3, 1, 0))  # HWIO, as TensorFlow has it
    g.nodes.append(helper.make_node("Transpose", [kernel], ["oihw"], perm=[3, 2, 0, 1]))
    g.node("Conv", "oihw", g.constant(PARAMS["conv2.bias"]))


def conv_then_add(g: Graph) -> None:
    g.node("Conv", g.constant(PARAMS["conv1.weight"]), pads=[2, 2, 2, 2])
    g.node("Add", g.constant(PARAMS["conv1.bias"].reshape(1, 6, 1, 1)))


def fc1_of_hwc(g: Graph) -> None:
    g.node("Gemm", g.constant(hwc(PARAMS["fc1.weight"])), g.constant(PARAMS["fc1.bias"]), transB=1)


def nhwc_throughout() -> onnx.ModelProto:
    """What a converter that optimises nothing makes of an NHWC network: Transposes around each window."""
    to_nchw, to_nhwc = op("Transpose", perm=[0, 3, 1, 2]), op("Transpose", perm=[0, 2, 3, 1])
    windows = {name: chain(to_nchw, PLAIN[name], to_nhwc) for name in ("conv1", "pool1", "conv2", "pool2")}
    return build(PLAIN | windows | {"fc1": fc1_of_hwc}, Graph(("n", 28, 28, 1))).model()


FOREIGN = {
    "plain": lambda: plain(),
    "auto_pad": lambda: plain(
        conv1=conv("conv1", auto_pad="SAME_UPPER"), conv2=conv("conv2", auto_pad="VALID")
    ),
    "settings-spelt-out": lambda: plain(
        conv2=conv("conv2", pads=[0] * 4, strides=[1, 1], dilations=[1, 1], group=1, kernel_shape=[5, 5])
    ),
    "pool-ceil-mode": lambda: plain(pool1=pool(ceil_mode=1), pool2=pool(auto_pad="SAME_LOWER")),
    "gemm-without-transB": lambda: plain(fc1=untransposed_gemm),
    "matmul-and-add": lambda: plain(fc1=matmul_add("fc1"), logits=matmul_add("logits")),
    "bias-first": lambda: plain(fc2=matmul_add("fc2", swapped=True)),
    "constant-nodes": lambda: plain(fc2=matmul_add("fc2", node=True)),
    "kernel-transposed-by-a-node": lambda: plain(conv2=transposed_by_a_node),
    "bias-of-a-convolution-added": lambda: plain(conv1=conv_then_add),
    "reshape": lambda: plain(flatten=reshape(-1, 400)),
    "reshape-keeping-the-batch": lambda: plain(flatten=reshape(0, -1)),
    "two-reshapes": lambda: plain(flatten=chain(reshape(0, 16, 25), reshape(0, -1))),
    "flatten-in-nhwc": lambda: plain(
        flatten=chain(op("Transpose", perm=[0, 2, 3, 1]), op("Flatten")), fc1=fc1_of_hwc
    ),
    "nhwc-throughout": nhwc_throughout,
    "batch-of-one": lambda: build(PLAIN | {"flatten": reshape(1, 400)}, Graph((1, 1, 28, 28))).model(),
    "weights-among-the-inputs": lambda: build(PLAIN).model(ir_version=3, opset=8),
    "pixels-in-a-row": lambda: build({"in": reshape(-1, 1, 28, 28)} | PLAIN, Graph(("n", 784))).model(),
}


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_exported_weights_are_read_bit_for_bit(exporter, params):
    reading = read_graph(model_of(exporter))
    assert reading.problem is None
    assert list(reading.params) == list(architecture.PARAM_SHAPES)
    assert list(reading.places) == list(architecture.ACTIVATION_SHAPES)
    for name, array in params.items():
        assert reading.params[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize("make", FOREIGN.values(), ids=FOREIGN)
def test_same_network_from_elsewhere_is_read_bit_for_bit(make):
    reading = read_graph(make())
    assert reading.problem is None
    assert list(reading.places) == list(architecture.ACTIVATION_SHAPES)
    for name, array in PARAMS.items():
        assert reading.params[name].tobytes() == array.tobytes(), name


def test_bias_left_out_is_read_as_zero():
    reading = read_graph(plain(fc2=lambda g: g.node("Gemm", g.constant(PARAMS["fc2.weight"]), transB=1)))
    assert reading.problem is None
    assert reading.params["fc2.bias"].tobytes() == bytes(4 * 84)
    assert reading.params["fc2.weight"].tobytes() == PARAMS["fc2.weight"].tobytes()


def wider(g: Graph) -> None:
    g.node("Gemm", g.constant(np.ones((121, 400), "f4")), g.constant(np.ones(121, "f4")), transB=1)


def bias_for_each_pixel(g: Graph) -> None:
    g.node("Conv", g.constant(PARAMS["conv1.weight"]), pads=[2, 2, 2, 2])
    g.node("Add", g.constant(RNG.normal(size=(6, 28, 28)).astype("f4")))


def second_bias(g: Graph) -> None:
    PLAIN["fc2"](g)
    g.node("Add", g.constant(PARAMS["fc2.bias"]))


def scaled_image(g: Graph) -> None:
    g.node("Div", g.constant(np.array(255, "f4")))
    PLAIN["conv1"](g)


def skip_connection(g: Graph) -> None:
    before = g.value
    g.node("Relu")
    g.node("Add", before)


def other_side(g: Graph) -> None:
    g.node("MatMul", g.value, first=g.constant(PARAMS["fc2.weight"]))


def doubled(g: Graph) -> None:
    g.node("Gemm", g.constant(PARAMS["fc2.weight"]), transB=1)
    g.node("Add", g.value)


# What is changed: the layer that must be named, what must be said of it, the steps instead.
DEPARTURES: dict[str, tuple[str, str, dict[str, Step]]] = {
    "pads": (
        "conv1",
        r"Conv 'v0' has pads \[1, 1, 3, 3\], expected \[2, 2, 2, 2\]",
        {"conv1": conv("conv1", pads=[1, 1, 3, 3])},
    ),
    "no-pads": ("conv1", r"has pads \[0, 0, 0, 0\]", {"conv1": conv("conv1")}),
    "dilations": (
        "conv2",
        r"has dilations \[2, 2\], expected \[1, 1\]",
        {"conv2": conv("conv2", dilations=[2, 2], pads=[2] * 4)},
    ),
    "strides": (
        "pool1",
        r"has strides \[1, 1\], expected \[2, 2\]",
        {"pool1": pool(strides=[1, 1])},
    ),
    "window": (
        "pool2",
        r"has kernel_shape \[3, 3\]",
        {"pool2": pool(kernel_shape=[3, 3], pads=[0, 0, 1, 1])},
    ),
    "average": ("pool1", "expected MaxPool, found AveragePool 'v2'", {"pool1": pool("AveragePool")}),
    "tanh": ("relu3", "expected Relu, found Tanh 'v8'", {"relu3": op("Tanh")}),
    "relu-removed": ("relu2", "expected Relu, found MaxPool", {"relu2": chain()}),
    "last-relu-removed": ("relu4", "expected Relu, found Gemm", {"relu4": chain()}),
    "swapped": ("relu1", "expected Relu, found MaxPool", {"relu1": pool(), "pool1": op("Relu")}),
    "dropout": (
        "fc2",
        "expected Gemm or MatMul, found Dropout",
        {"relu3": chain(op("Relu"), op("Dropout"))},
    ),
    "alpha": ("fc1", "has alpha 0.5, expected 1.0", {"fc1": gemm("fc1", alpha=0.5)}),
    "other-width": (
        "fc1",
        r"fc1.weight is float32 \(121, 400\), expected float32 \(120, 400\)",
        {"fc1": wider},
    ),
    "softmax": ("logits", "Softmax 'v12' comes after them", {"logits": chain(gemm("logits"), op("Softmax"))}),
    "no-logits": ("logits", "the graph ends before it", {"logits": chain()}),
    "scaled-image": ("conv1", "expected Conv, found Div 'v0'", {"conv1": scaled_image}),
    "rows-for-columns": (
        "conv2",
        r"another order than the table's \(6, 14, 14\)",
        {"pool1": chain(pool(), op("Transpose", perm=[0, 1, 3, 2]))},
    ),
    "columns-for-rows": (
        "pool1",
        r"another order than the table's \(6, 28, 28\)",
        {"relu1": chain(op("Relu"), op("Transpose", perm=[0, 1, 3, 2]))},
    ),
    "logits-rearranged": (
        "logits",
        r"another order than the table's \(10,\)",
        {"logits": chain(gemm("logits"), op("Transpose", perm=[1, 0]), reshape(-1, 10))},
    ),
    "bias-for-each-pixel": ("conv1", "not one value for each output", {"conv1": bias_for_each_pixel}),
    "second-bias": ("relu4", "expected Relu, found Add", {"fc2": second_bias}),
    "skip-connection": ("pool1", "expected MaxPool, found Add", {"relu1": skip_connection}),
    "not-flattened": (
        "flatten",
        r"Gemm 'v6' reads values of shape \(16, 5, 5\), not in one row",
        {"flatten": chain()},
    ),
    "narrow": (
        "fc2",
        r"Gemm 'v9' multiplies \(120,\) values by a kernel \(400, 120\)",
        {"fc2": lambda g: g.node("Gemm", g.constant(PARAMS["fc1.weight"].T))},
    ),
    "other-side": ("fc2", "MatMul 'v9' reads the layer before as its second input", {"fc2": other_side}),
    "doubled": ("relu4", "expected Relu, found Add", {"fc2": doubled}),
    "images-mixed": (
        "relu3",
        "'v10' mixes images",
        {"fc1": chain(gemm("fc1"), op("Transpose", perm=[1, 0]), reshape(-1, 120))},
    ),
    "frozen-batch": ("flatten", "Reshape 'v6' fails for a batch of 2", {"flatten": reshape(1, 400)}),
    "batch-in-the-features": ("flatten", "'v6' mixes images", {"flatten": reshape(1, -1)}),
}


@pytest.mark.parametrize(("layer", "text", "changed"), DEPARTURES.values(), ids=DEPARTURES)
def test_departure_is_named_with_its_layer(layer, text, changed):
    problem = read_graph(build(PLAIN | changed).model(features=None)).problem
    assert problem is not None
    assert problem.layer == layer
    assert len(str(problem).splitlines()) == 1
    assert re.search(text, str(problem)), str(problem)


def test_what_comes_before_a_departure_is_read():
    reading = read_graph(plain(relu3=op("Tanh")))
    assert list(reading.places) == list(architecture.ACTIVATION_SHAPES)[:8]
    assert set(reading.params) == {name for name in PARAMS if name.startswith(("conv", "fc1"))}


def with_inputs(*inputs: tuple[str, list[str | int]]) -> onnx.ModelProto:
    model = plain()
    del model.graph.input[:]
    model.graph.input.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs)
    return model


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (with_inputs(("x", ["n", 3, 32, 32])), r"the input is x float32 \[n, 3, 32, 32\], expected 28 × 28"),
        (with_inputs(("x", ["n", 1, "h", "w"])), r"the input is x float32 \[n, 1, h, w\]"),
        (with_inputs(("x", ["n", 1, 28, 28]), ("scale", [1])), r"as the only input, found x .*; scale "),
        (with_inputs(), "as the only input, found none"),
    ],
    ids=["colour", "size-unknown", "two", "none"],
)
def test_other_inputs_are_named(model, text):
    problem = read_graph(model).problem
    assert problem is not None
    assert problem.layer == "image"
    assert re.search(text, str(problem)), str(problem)


def test_double_precision_weights_are_not_the_network():
    model = plain()
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype("f8"), tensor.name))
    problem = read_graph(model).problem
    assert str(problem) == "conv1: conv1.weight is float64 (6, 1, 5, 5), expected float32 (6, 1, 5, 5)"


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("strides", [[1, 1], [2, 1], [3, 2]])
@pytest.mark.parametrize("windows", [[3, 2], [4, 5]])
def test_auto_pad_is_what_a_runtime_makes_of_it(mode, strides, windows):
    needs("numpy/onnxruntime")
    import onnxruntime

    def run(**padding: Any) -> np.ndarray:
        graph = Graph((1, 1, 7, 6))
        graph.node("Conv", graph.constant(np.ones((1, 1, *windows), "f4")), strides=strides, **padding)
        y = helper.make_tensor_value_info(graph.value, TensorProto.FLOAT, [None] * 4)
        model = graph.model()
        model.graph.output[0].CopyFrom(y)
        session = onnxruntime.InferenceSession(model.SerializeToString())
        return session.run(None, {"x": np.arange(42, dtype="f4").reshape(1, 1, 7, 6)})[0]

    settings = {"auto_pad": mode.encode(), "strides": strides}
    assert np.array_equal(run(auto_pad=mode), run(pads=pads_of(settings, (7, 6), windows)))
