"""Bugs in ONNX files: a wrong attribute, operator or constant, in a file that any runtime accepts.

`lenet export --check` refuses such graphs when it reads them. Here they are run, and their values are judged.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from export.onnx_file import OUTPUT, with_outputs
from export.runtimes import open_runtime
from lenet.network.architecture import ACTIVATION_SHAPES
from workshop.bugs.gallery import Wrong, bug, issue

Spoil = Callable[[ModelProto], None]


class ByName:
    """Runs a file whose values have the names of the layers, without a check of its graph."""

    def __init__(self, model: ModelProto, runtime: str) -> None:
        made = {name for node in model.graph.node for name in node.output}
        names = [name for name in ACTIVATION_SHAPES if name in made]
        run = open_runtime(runtime, with_outputs(model, names))
        self.activations: Callable[[np.ndarray], Mapping[str, np.ndarray]] = run

    def logits(self, images: np.ndarray) -> np.ndarray:
        """The logits (N, 10)."""
        return self.activations(images)[OUTPUT]


def onnx_bug(title: str, **entry: Any) -> Callable[[Spoil], Wrong]:
    """Add a bug that changes the hand-written file (`export.from_numpy`) in place."""

    def register(spoil: Spoil) -> Wrong:
        def wrong(right: type, model: ModelProto, runtime: str) -> ByName:
            copy = ModelProto()
            copy.CopyFrom(model)
            spoil(copy)
            return ByName(copy, runtime)

        wrong.__module__, wrong.__name__ = spoil.__module__, spoil.__name__
        return bug(title, "onnx:numpy/onnxruntime", "export.port.Opened", **entry)(wrong)

    return register


def node_of(model: ModelProto, name: str) -> NodeProto:
    """The node of a layer."""
    return next(node for node in model.graph.node if node.name == name)


def set_attribute(node: NodeProto, name: str, value: object) -> None:
    """Set an attribute; None removes it."""
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)
    if value is not None:
        node.attribute.append(helper.make_attribute(name, value))


def change_tensor(model: ModelProto, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change the value of a constant."""
    tensor = next(one for one in model.graph.initializer if one.name == name)
    tensor.CopyFrom(
        numpy_helper.from_array(np.ascontiguousarray(change(numpy_helper.to_array(tensor))), name)
    )


@onnx_bug(
    "pads in the wrong order",
    story="ONNX lists the pads at the start of all axes, then at their end; these are 3 and 1 (SAME_LOWER).",
    where="conv1",
    named="padding one too far to the lower right",
    case=issue("keras-team/keras", 16363),
)
def pads_order(model):
    set_attribute(node_of(model, "conv1"), "pads", [3, 3, 1, 1])


@onnx_bug(
    "AveragePool for MaxPool",
    story="The converter's table has only one entry for pooling.",
    where="pool2",
    named="average pooling for max pooling",
    case=issue("d2l-ai/d2l-en", 1362),
)
def average_pool(model):
    node_of(model, "pool2").op_type = "AveragePool"


@onnx_bug(
    "Gemm without transB",
    story="The converter writes (in, out), Gemm's default, but reshapes the (out, in) weights to that shape.",
    where="fc1",
    named="weights reshaped to the transposed shape, not transposed",
    case=issue("pytorch/pytorch", 129834),
)
def gemm_without_transb(model):
    set_attribute(node_of(model, "fc1"), "transB", 0)
    change_tensor(model, "fc1.weight", lambda w: w.reshape(w.shape[::-1]))


@onnx_bug(
    "an initializer dropped",
    story="Conv's bias is optional. A clean-up of unused names removed it, and the file is still valid.",
    where="conv2",
    named="bias missing",
)
def initializer_dropped(model):
    del node_of(model, "conv2").input[2]


@onnx_bug(
    "NHWC graph in NCHW operators",
    story="A channels-last graph's Transpose before Flatten was kept, but the weights were not permuted.",
    where="flatten",
    named="flattened in H, W, C order",
    case=issue("onnx/onnx-tensorflow", 289),
)
def nhwc_graph(model):
    before = helper.make_node("Transpose", ["pool2"], ["turned"], perm=[0, 2, 3, 1])
    node_of(model, "flatten").input[0] = "turned"
    model.graph.node.insert([node.name for node in model.graph.node].index("flatten"), before)


@onnx_bug(
    "softmax in the file",
    story="The model was exported for serving, with softmax at the end; the output is still called logits.",
    where="logits",
    named="softmax in the model",
)
def softmax_in_file(model):
    node_of(model, "logits").output[0] = "scores"
    model.graph.node.append(helper.make_node("Softmax", ["scores"], ["logits"], axis=1))


@onnx_bug(
    "LeakyRelu",
    story="The wrong operator was used; the default alpha of ONNX's LeakyRelu is 0.01.",
    where="relu3",
    named="leaky ReLU (0.01) for ReLU",
)
def leaky_relu(model):
    node_of(model, "relu3").op_type = "LeakyRelu"


@onnx_bug(
    "ReLU as a Clip",
    story="The mobile converter writes ReLU6, which is Clip(0, 6), for every ReLU.",
    where="relu2",
    named="ReLU6 (cut off at 6) for ReLU",
)
def relu_as_clip(model):
    node = node_of(model, "relu2")
    node.op_type = "Clip"
    node.input.extend(["zero", "six"])
    for name, value in (("zero", 0.0), ("six", 6.0)):
        model.graph.initializer.append(helper.make_tensor(name, TensorProto.FLOAT, [], [value]))


@onnx_bug(
    "preprocessing in the file as well",
    story="A division by 255 was exported with the model, and the program that calls it divides as well.",
    where="image",
    named="pixels divided by 255 twice",
    case=issue("deepinsight/insightface", 2508),
)
def preprocessing_twice(model):
    model.graph.initializer.append(helper.make_tensor("scale", TensorProto.FLOAT, [], [255.0]))
    node_of(model, "conv1").input[0] = "scaled"
    model.graph.node.insert(0, helper.make_node("Div", ["image", "scale"], ["scaled"]))


@onnx_bug(
    "weights quantised",
    story="A converter stored fc1 in float16 with a Cast in front, to halve the file.",
    where="fc1",
    named="weights rounded to float16",
    coincides=("weights rounded to TF32", "parameters rounded to TF32"),
)
def weights_quantised(model):
    change_tensor(model, "fc1.weight", lambda w: w.astype(np.float16))
    node_of(model, "fc1").input[1] = "widened"
    cast = helper.make_node("Cast", ["fc1.weight"], ["widened"], to=TensorProto.FLOAT)
    model.graph.node.insert(0, cast)
