"""One node by itself: its graph, its outputs elsewhere, and the verdict on them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper
from onnx.reference import ReferenceEvaluator

from parity.arithmetic import Array, Bounded, Number
from parity.floats import FLOAT32, FLOAT64, Format
from parity.judging import judge
from parity.judging.verdict import TensorReport
from parity.judging.yardsticks import sampled
from parity.onnx import read_onnx
from parity.operators import Operator
from tests.parity.examples.example import Example

Arrays = Sequence[Array | None]


def drawn(example: Example, seed: int = 0) -> list[Array | None]:
    """Inputs of an example."""
    return example.make(np.random.default_rng(seed))


def outputs(operator: Operator, arrays: Arrays, form: Format = FLOAT32) -> list[Bounded]:
    """All outputs, with bounds."""
    return bounded(operator.evaluate(*(None if a is None else Bounded(a, None, form) for a in arrays)))


def bounded(result: Number | tuple[Number, ...]) -> list[Bounded]:
    """What `evaluate` returns, as a list."""
    every = result if isinstance(result, tuple) else (result,)
    assert all(isinstance(one, Bounded) for one in every)
    return list(every)  # type: ignore[arg-type]


def model(example: Example, arrays: Arrays, count: int = 1) -> onnx.ModelProto:
    """The graph of this node, with so many outputs."""
    names = [f"x{k}" if array is not None else "" for k, array in enumerate(arrays)]
    results = [f"y{k}" for k in range(count)]
    node = helper.make_node(example.operator.TYPE, names, results, **example.node)
    given = [
        helper.make_tensor_value_info(f"x{k}", helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for k, a in enumerate(arrays)
        if a is not None
    ]
    made = [helper.make_empty_tensor_value_info(name) for name in results]
    graph = helper.make_graph([node], "one", given, made)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", example.opset)], ir_version=10)


def fed(arrays: Arrays) -> dict[str, Array]:
    """Inputs by their names in the graph."""
    return {f"x{k}": array for k, array in enumerate(arrays) if array is not None}


def in_onnxruntime(example: Example, arrays: Arrays, count: int = 1) -> list[Array]:
    """Its outputs there, optimisation off."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    proto = model(example, arrays, count).SerializeToString()
    session = onnxruntime.InferenceSession(proto, options, ["CPUExecutionProvider"])
    return list(session.run(None, fed(arrays)))


def in_reference(example: Example, arrays: Arrays, count: int = 1) -> list[Array]:
    """Its outputs in ONNX's reference evaluator."""
    return list(ReferenceEvaluator(model(example, arrays, count)).run(None, fed(arrays)))


def verdicts(
    example: Example, arrays: Arrays, found: Sequence[Array], sample: int | None = None
) -> list[TensorReport]:
    """What is said of a candidate's outputs."""
    graph = read_onnx(model(example, arrays, len(found)))
    values = fed(arrays) | {f"y{k}": array for k, array in enumerate(found)}
    return list(judge(graph, values, sample=sample).tensors)


def verdict(example: Example, arrays: Arrays, found: Any, sample: int | None = None) -> str:
    """What is said of a candidate's only output."""
    (report,) = verdicts(example, arrays, [np.asarray(found)], sample)
    return report.verdict


def check_value(operator: Operator, arrays: Arrays, plain: Sequence[Array]) -> None:
    """The values are those of a plain definition in float64, and no further off than float64 allows."""
    for one, right in zip(outputs(operator, arrays, FLOAT64), plain, strict=True):
        assert one.shape == right.shape
        assert (np.abs(one.value - right) <= one.bound).all()


def check_sample(operator: Operator, arrays: Arrays, seed: int = 0) -> None:
    """A sample is the whole at its points, in value and bound, as far as two float64 evaluations agree."""
    rng = np.random.default_rng(seed)
    for form in operator.forms():
        (whole, *_), (exact, *_) = outputs(form, arrays), outputs(form, arrays, FLOAT64)
        points = tuple(rng.integers(0, size, 50) for size in whole.shape)
        inputs = [None if a is None else Bounded(a, None, FLOAT32) for a in arrays]
        part = sampled(form, points, inputs)
        assert isinstance(part, Bounded)
        assert part.shape == (50,)
        assert (np.abs(part.value - whole.value[points]) <= exact.bound[points]).all()
        np.testing.assert_allclose(part.bound, whole.bound[points], rtol=1e-9)
