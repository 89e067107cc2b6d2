"""Runs an example's node in onnxruntime and in ONNX's reference evaluator."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper
from onnx.reference import ReferenceEvaluator

from parity.arithmetic import Array, Bounded
from parity.floats import FLOAT32, Format
from tests.parity.examples.example import Example

Arrays = Sequence[Array | None]


def model_of(example: Example, arrays: Arrays) -> onnx.ModelProto:
    """The example's node alone, with inputs x0, x1, ... and its first output y."""
    domain, _, kind = example.operator.TYPE.rpartition(".")
    names = [f"x{k}" if array is not None else "" for k, array in enumerate(arrays)]
    node = helper.make_node(kind, names, ["y"], domain=domain, **example.node)
    types = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in zip(names, arrays, strict=True)
        if array is not None
    ]
    graph = helper.make_graph([node], "example", types, [onnx.ValueInfoProto(name="y")])
    opsets = [helper.make_opsetid("", example.opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def onnxruntime_of(example: Example, arrays: Arrays) -> Array:
    """What onnxruntime returns, graph optimisations off."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    bytes_ = model_of(example, arrays).SerializeToString()
    session = onnxruntime.InferenceSession(bytes_, options, providers=["CPUExecutionProvider"])
    outputs: Any = session.run(None, _feed(arrays))
    return outputs[0]


def reference_of(example: Example, arrays: Arrays) -> Array:
    """What ONNX's reference evaluator returns."""
    outputs: Any = ReferenceEvaluator(model_of(example, arrays)).run(None, _feed(arrays))
    return np.asarray(outputs[0])


def bounded_of(example: Example, arrays: Arrays, form: Format = FLOAT32) -> Bounded:
    """The first output by the operator's formula."""
    given = [None if array is None else Bounded(array, None, form) for array in arrays]
    result: Any = example.operator.evaluate(*given)
    return result[0] if isinstance(result, tuple) else result


def share(found: Array, expected: Any) -> float:
    """The largest |found − expected| over its bound; infinite where nothing may be wrong and something is.

    An overflow is right where the bound reaches beyond the format.
    """
    assert isinstance(expected, Bounded)
    if found.dtype.kind in "biu":
        assert expected.error is None
        return 0.0 if found.dtype == expected.value.dtype and (found == expected.value).all() else np.inf
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.abs(found.astype(np.float64) - expected.value)
        same = (found == expected.value) | (np.isnan(found) & np.isnan(expected.value))
        beyond = np.abs(expected.value) + expected.bound > expected.format.largest
        same |= np.isinf(found) & beyond & (np.sign(found) == np.sign(expected.value))
        ratio = np.where(same | (error == 0), 0.0, error / expected.bound)
    unknown = np.where(np.isinf(expected.bound), 0.0, np.inf)
    return float(np.where(np.isnan(ratio), unknown, ratio).max(initial=0))


def _feed(arrays: Arrays) -> dict[str, Array]:
    return {f"x{k}": array for k, array in enumerate(arrays) if array is not None}
