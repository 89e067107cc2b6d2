"""Cuts one node out of a graph as a model of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

from onnx import ModelProto, NodeProto, helper, numpy_helper

from parity.arithmetic import Array

IR_VERSION = 10  # of onnx 1.16: what older runtimes read


def one_node_model(
    source: NodeProto,
    opsets: Mapping[str, int],
    inputs: Sequence[Array | None],
    held: Sequence[bool],
    used: Sequence[bool],
) -> ModelProto:
    """A model of one node, with inputs x0, x1, … and outputs y0, y1, …

    Args:
        source: the node; its names are replaced.
        opsets: {domain: version} of the graph.
        inputs: an array for each of its inputs, of which the model takes type and shape; None for one that is
            not given.
        held: for each input, whether the model holds the array as a weight.
        used: for each output, whether the model returns it.
    """
    node = NodeProto()
    node.CopyFrom(source)
    del node.input[:]
    del node.output[:]
    node.input.extend(f"x{place}" if a is not None else "" for place, a in enumerate(inputs))
    node.output.extend(f"y{place}" if wanted else "" for place, wanted in enumerate(used))
    while node.output and not node.output[-1]:
        node.output.pop()
    given: list[Any] = []
    weights = []
    for name, array, inside in zip(node.input, inputs, held, strict=True):
        if array is not None and inside:
            weights.append(numpy_helper.from_array(array, name))
        elif array is not None:
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            given.append(helper.make_tensor_value_info(name, kind, array.shape))
    made = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = helper.make_graph([node], "one node", given, made, weights)
    domains = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    return helper.make_model(graph, opset_imports=domains, ir_version=IR_VERSION)
