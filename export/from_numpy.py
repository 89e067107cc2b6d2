"""Writes ONNX by hand: an ONNX file is a list of nodes and a list of tensors.

Every node and its output have the name of the layer in `lenet.network.architecture`, so each activation is a
named tensor of the file. Shapes are at the end of the lines.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import ModelProto, helper, numpy_helper

from export import onnx_file
from lenet import __version__
from lenet.network import weights
from lenet.network.architecture import PARAM_SHAPES


def export(params: Mapping[str, np.ndarray], opset: int = onnx_file.OPSET) -> ModelProto:
    """Export the network with these shared weights as an ONNX model of this opset.

    Raises:
        UserError: `params` are not this network's, or there is no such opset.
    """
    weights.check(params)
    node = helper.make_node
    five: dict[str, Any] = {"kernel_shape": [5, 5]}  # which old importers do not read off the weights
    halved: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        # operator, inputs, outputs, name, attributes                           output [batch, …]
        node("Conv", ["image", "conv1.weight", "conv1.bias"], ["conv1"], "conv1", **five, pads=[2, 2, 2, 2]),
        node("Relu", ["conv1"], ["relu1"], "relu1"),  # 6, 28, 28
        node("MaxPool", ["relu1"], ["pool1"], "pool1", **halved),  # 6, 14, 14
        node("Conv", ["pool1", "conv2.weight", "conv2.bias"], ["conv2"], "conv2", **five),  # 16, 10, 10
        node("Relu", ["conv2"], ["relu2"], "relu2"),
        node("MaxPool", ["relu2"], ["pool2"], "pool2", **halved),  # 16, 5, 5
        node("Flatten", ["pool2"], ["flatten"], "flatten", axis=1),  # 400
        node("Gemm", ["flatten", "fc1.weight", "fc1.bias"], ["fc1"], "fc1", transB=1),  # 120
        node("Relu", ["fc1"], ["relu3"], "relu3"),
        node("Gemm", ["relu3", "fc2.weight", "fc2.bias"], ["fc2"], "fc2", transB=1),  # 84
        node("Relu", ["fc2"], ["relu4"], "relu4"),
        node("Gemm", ["relu4", "logits.weight", "logits.bias"], ["logits"], "logits", transB=1),  # 10
    ]
    image, logits = onnx_file.interface()
    tensors = [numpy_helper.from_array(params[name], name) for name in PARAM_SHAPES]
    graph = helper.make_graph(nodes, "lenet", [image], [logits], tensors)
    proto = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", onnx_file.OPSET)],
        producer_name="lenet",
        producer_version=__version__,
    )
    return onnx_file.finish(proto, params, f"lenet {__version__}, by hand", opset)
