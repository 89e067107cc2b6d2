"""One node by itself: its graph, its outputs here and elsewhere, and the verdict on them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper
from onnx.reference import ReferenceEvaluator

from parity.arithmetic import Array, Bounded, Number
from parity.arithmetic.floats import FLOAT32, FLOAT64, FORMATS, Format
from parity.judging import judge
from parity.judging.verdict import Report, TensorReport
from parity.onnx import read_onnx
from parity.operators import Operator
from tests.parity.examples.example import Example

Arrays = Sequence[Array | None]


def drawn(example: Example, seed: int = 0) -> list[Array | None]:
    """Inputs of an example."""
    return example.make(np.random.default_rng(seed))


def outputs(
    operator: Operator,
    arrays: Arrays,
    form: Format = FLOAT32,
    errors: Mapping[int, Array] | None = None,
) -> list[Bounded]:
    """All outputs, with bounds; `errors` of inputs by their positions."""
    known = errors or {}
    inputs = (None if a is None else Bounded(a, known.get(k), form) for k, a in enumerate(arrays))
    return bounded(operator.evaluate(*inputs))


def bounded(result: Number | tuple[Number, ...]) -> list[Bounded]:
    """What `evaluate` returns, as a list."""
    every = result if isinstance(result, tuple) else (result,)
    assert all(isinstance(one, Bounded) for one in every)
    return list(every)  # type: ignore[arg-type]


def model(example: Example, arrays: Arrays, count: int = 1) -> onnx.ModelProto:
    """The graph of this node, with so many outputs."""
    names = [f"x{k}" if array is not None else "" for k, array in enumerate(arrays)]
    while names and not names[-1]:
        names.pop()
    results = [f"y{k}" for k in range(count)]
    domain, _, kind = example.operator.TYPE.rpartition(".")
    node = helper.make_node(kind, names, results, domain=domain, **example.node)
    given = [
        helper.make_tensor_value_info(f"x{k}", helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for k, a in enumerate(arrays)
        if a is not None
    ]
    made = [helper.make_empty_tensor_value_info(name) for name in results]
    graph = helper.make_graph([node], "one", given, made)
    opsets = [helper.make_opsetid("", example.opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def _model(example: Example, arrays: Arrays, count: int | None) -> onnx.ModelProto:
    return model(example, arrays, len(outputs(example.operator, arrays)) if count is None else count)


def fed(arrays: Arrays) -> dict[str, Array]:
    """Inputs by their names in the graph."""
    return {f"x{k}": array for k, array in enumerate(arrays) if array is not None}


def in_onnxruntime(example: Example, arrays: Arrays, count: int | None = None) -> list[Array]:
    """Its outputs there, all or so many, optimisation off."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    proto = _model(example, arrays, count).SerializeToString()
    session = onnxruntime.InferenceSession(proto, options, ["CPUExecutionProvider"])
    return list(session.run(None, fed(arrays)))


def in_reference(example: Example, arrays: Arrays, count: int | None = None) -> list[Array]:
    """Its outputs in ONNX's reference evaluator."""
    evaluator = ReferenceEvaluator(_model(example, arrays, count))
    found: Any = evaluator.run(None, fed(arrays))
    return [np.asarray(one) for one in found]


def report(example: Example, arrays: Arrays, found: Sequence[Array], sample: int | None = None) -> Report:
    """What is said of a candidate's outputs."""
    graph = read_onnx(model(example, arrays, len(found)))
    values = fed(arrays) | {f"y{k}": array for k, array in enumerate(found)}
    return judge(graph, values, sample=sample)


def verdicts(
    example: Example, arrays: Arrays, found: Sequence[Array], sample: int | None = None
) -> list[TensorReport]:
    """What is said of each."""
    return list(report(example, arrays, found, sample).tensors)


def verdict(example: Example, arrays: Arrays, found: Any, sample: int | None = None) -> str:
    """What is said of a candidate's only output."""
    (one,) = verdicts(example, arrays, [np.asarray(found)], sample)
    return one.verdict


def ratios(found: Array, expected: Bounded) -> Array:
    """|found − expected| over the bound: 0 where there is no error, infinite where none may be.

    An overflow is right where the bound reaches beyond the format.
    """
    if expected.value.dtype.kind in "bSUO" or found.dtype.kind in "SUO":
        return np.where(found == expected.value, 0.0, np.inf)
    value, found, form = expected.value.astype(np.float64), found.astype(np.float64), expected.format
    with np.errstate(all="ignore"):
        error = np.abs(found - value)
        fine = (found == value) | (np.isnan(found) & np.isnan(value)) | np.isinf(expected.bound)
        fine |= np.isinf(found) & (found * value > 0) & (np.abs(value) + expected.bound > form.largest)
        return np.where(fine, 0.0, np.where(np.isnan(error), np.inf, error / expected.bound))


def share(found: Array, expected: Number | tuple[Number, ...]) -> float:
    """The largest of the ratios; infinite where shapes or types of integers differ, too."""
    assert isinstance(expected, Bounded)
    whole = found.dtype.name not in FORMATS and found.dtype != expected.value.dtype
    if found.shape != expected.shape or whole:
        return np.inf
    return float(ratios(found, expected).max(initial=0))


def check_within(found: Array, expected: Bounded) -> None:
    """Fail where a value is further off than its bound."""
    worst = share(found, expected)
    assert worst <= 1, f"{worst:.3g} times the bound"


def check_inside(found: Number | tuple[Number, ...], expected: Array, name: str = "") -> None:
    """Fail where a value that plain NumPy computed is further off than the bound, or where there is none."""
    assert isinstance(found, Bounded)
    assert found.shape == np.shape(expected), name
    worst = ratios(np.asarray(expected), found).max(initial=0)
    assert worst <= 1, f"{name}: {worst:.3g} times the bound"
    assert (found.bound < np.inf).all(where=np.isfinite(expected)), f"{name}: without a bound"


def check_value(operator: Operator, arrays: Arrays, plain: Sequence[Array]) -> None:
    """The values are those of a plain definition in float64, and no further off than float64 allows."""
    for one, right in zip(outputs(operator, arrays, FLOAT64), plain, strict=True):
        assert one.shape == right.shape
        assert (np.abs(one.value - right) <= one.bound).all()
