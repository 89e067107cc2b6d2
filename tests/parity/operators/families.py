"""What the tests of several families share: an example run by a runtime, and compared with its operator."""

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from parity.arithmetic import Bounded, Looped, Number
from parity.floats import FLOAT32, Format
from parity.operators import Operator
from tests.parity.examples.example import Example

Arrays = Sequence[np.ndarray | None]


def model_of(example: Example, arrays: Arrays, outputs: int) -> onnx.ModelProto:
    """A model of one node."""
    names = [f"i{k}" if array is not None else "" for k, array in enumerate(arrays)]
    given = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in zip(names, arrays, strict=True)
        if array is not None
    ]
    made = [f"o{k}" for k in range(outputs)]
    node = helper.make_node(example.operator.TYPE, names, made, **example.node)
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in made]
    graph = helper.make_graph([node], "one", given, results)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", example.opset)], ir_version=10)


def feeds(arrays: Arrays) -> dict[str, np.ndarray]:
    """Inputs by their names in the model."""
    return {f"i{k}": array for k, array in enumerate(arrays) if array is not None}


def by_onnxruntime(example: Example, arrays: Arrays, outputs: int) -> list[np.ndarray]:
    """What onnxruntime returns."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    model = model_of(example, arrays, outputs).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds(arrays))


def by_reference(example: Example, arrays: Arrays, outputs: int) -> list[np.ndarray]:
    """What ONNX's reference evaluator returns."""
    results = ReferenceEvaluator(model_of(example, arrays, outputs)).run(None, feeds(arrays))
    return [np.asarray(one) for one in results]


def bounded(operator: Operator, arrays: Arrays, form: Format = FLOAT32) -> tuple[Bounded, ...]:
    """Values and bounds of all outputs."""
    return _evaluated(operator, [None if one is None else Bounded(one, None, form) for one in arrays])


def looped(operator: Operator, arrays: Arrays) -> tuple[Looped, ...]:
    """What plain loops return."""
    return _evaluated(operator, [None if one is None else Looped(one) for one in arrays])


def _evaluated(operator: Operator, inputs: Sequence[Number | None]) -> tuple:
    result = operator.evaluate(*inputs)
    return result if isinstance(result, tuple) else (result,)


def within(found: np.ndarray, expected: Bounded) -> None:
    """Fail where a value is further off than its bound."""
    assert found.shape == expected.shape
    with np.errstate(invalid="ignore"):
        error = np.abs(found.astype(np.float64) - expected.value)
    error = np.where(found == expected.value, 0.0, error)
    outside = ~(error <= expected.bound)
    assert not outside.any(), f"{outside.sum()} outside, at most by {np.nanmax(error - expected.bound)}"


def check_sample(example: Example, arrays: Arrays) -> None:
    """Samples are the values at these points, and so are their bounds and what plain loops make of them."""
    for kind in (Bounded, Looped):
        inputs = [None if one is None else kind(one) for one in arrays]
        whole = _evaluated(example.operator, inputs)[0]
        rng = np.random.default_rng(1)
        points = tuple(rng.integers(0, size, 40) for size in whole.shape)
        few = example.operator.sample(points, *inputs)
        np.testing.assert_allclose(few.value, whole.value[points], rtol=1e-12, atol=1e-14)  # type: ignore[attr-defined]
        if isinstance(few, Bounded):
            np.testing.assert_allclose(few.bound, whole.bound[points], rtol=1e-9, atol=1e-18)
