"""Runs an example: by this project's formulas, by ONNX's reference evaluator, by onnxruntime."""

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import helper
from onnx.reference import ReferenceEvaluator

from parity.arithmetic import Array, Bounded, Looped, Number
from parity.judging import judge
from parity.judging.verdict import Report
from parity.judging.yardsticks import sampled
from parity.onnx import read_onnx
from tests.parity.examples.example import Example

Arrays = Sequence[Array | None]


def drawn(example: Example, seed: int = 0) -> list[Array | None]:
    """Inputs of an example."""
    return example.make(np.random.default_rng(seed))


def evaluated(example: Example, arrays: Arrays, errors: dict[int, Array] | None = None) -> list[Bounded]:
    """All outputs, with bounds; `errors` by position of the input."""
    errors = errors or {}
    inputs = [None if a is None else Bounded(a, errors.get(k)) for k, a in enumerate(arrays)]
    return [one for one in _outputs(example.operator.evaluate(*inputs)) if isinstance(one, Bounded)]


def looped(example: Example, arrays: Arrays) -> list[Looped]:
    """All outputs as a plain loop computes them."""
    inputs = [None if a is None else Looped(a) for a in arrays]
    return [one for one in _outputs(example.operator.evaluate(*inputs)) if isinstance(one, Looped)]


def _outputs(result: Number | tuple[Number, ...]) -> tuple[Number, ...]:
    return result if isinstance(result, tuple) else (result,)


def model(example: Example, arrays: Arrays) -> onnx.ModelProto:
    """A graph of this one node."""
    names = ["" if a is None else f"x{k}" for k, a in enumerate(arrays)]
    results = [f"y{k}" for k in range(len(evaluated(example, arrays)))]
    node = helper.make_node(example.operator.TYPE, names, results, **example.node)
    given = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for name, a in zip(names, arrays, strict=True)
        if a is not None
    ]
    graph = helper.make_graph([node], "one", given, [helper.make_empty_tensor_value_info(y) for y in results])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", example.opset)], ir_version=10)


def _named(arrays: Arrays) -> dict[str, Array]:
    return {f"x{k}": a for k, a in enumerate(arrays) if a is not None}


def reference(example: Example, arrays: Arrays) -> list[Array]:
    """Outputs of ONNX's reference evaluator."""
    return [np.asarray(one) for one in ReferenceEvaluator(model(example, arrays)).run(None, _named(arrays))]


def in_onnxruntime(example: Example, arrays: Arrays) -> list[Array]:
    """Outputs of onnxruntime, optimisation off."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    text = model(example, arrays).SerializeToString()
    session = onnxruntime.InferenceSession(text, options, ["CPUExecutionProvider"])
    return session.run(None, _named(arrays))


def verdict(example: Example, arrays: Arrays, found: Sequence[Array], sample: int | None = None) -> Report:
    """On recorded outputs."""
    graph = read_onnx(model(example, arrays))
    return judge(graph, {**_named(arrays), **{f"y{k}": y for k, y in enumerate(found)}}, sample=sample)


def check_sample(example: Example, arrays: Arrays) -> None:
    """A sample of the first output is the whole output at its points, value and bound."""
    whole = evaluated(example, arrays)[0]
    if not whole.value.size:
        return
    rng = np.random.default_rng(1)
    points = tuple(rng.integers(0, size, 30) for size in whole.shape)
    part = sampled(example.operator, points, [None if a is None else Bounded(a) for a in arrays])
    assert isinstance(part, Bounded)
    at = points or (None,)
    np.testing.assert_allclose(part.value, whole.value[at], rtol=2.0**-48, atol=2.0**-50)
    np.testing.assert_allclose(part.bound, whole.bound[at], rtol=1e-9, atol=2.0**-140)
