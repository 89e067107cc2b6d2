"""An example of an operator, as what the probes are given."""

import numpy as np
from onnx import ModelProto, numpy_helper

from parity.arithmetic import Array
from parity.judging.probes.operand import Operand
from parity.operators.operator import Operator
from tests.parity.examples import EXAMPLES
from tests.parity.examples.example import Example
from tests.parity.operators.one_node import drawn, model, outputs


def examples(*kinds: str) -> list[Example]:
    """The examples of operators of these types."""
    return [one for one in EXAMPLES if one.operator.TYPE in kinds]


def operands(example: Example, arrays: list[Array | None] | None = None) -> list[Operand | None]:
    """Its inputs: the first is computed, others are weights, and what is no data keeps its values."""
    made = drawn(example) if arrays is None else arrays
    return [
        None if a is None else Operand(a.shape, a.dtype, None if _is_data(example, k, a) else a, k > 0)
        for k, a in enumerate(made)
    ]


def _is_data(example: Example, place: int, a: Array) -> bool:
    return a.dtype.kind == "f" and (example.data is None or place in example.data)


def with_weights(example: Example) -> ModelProto:
    """Its model, in which all inputs but the first are weights."""
    arrays = drawn(example)
    made = model(example, arrays, len(outputs(example.operator, arrays)))
    first, *others = made.graph.input
    for one in others:
        array = arrays[int(one.name[1:])]
        assert array is not None
        made.graph.initializer.append(numpy_helper.from_array(np.asarray(array), one.name))
    del made.graph.input[:]
    made.graph.input.append(first)
    return made


def shape_only(operator: Operator, *shapes: tuple[int, ...]) -> list[Operand | None]:
    """Float32 inputs of these shapes; all but the first are weights."""
    return [Operand(shape, np.dtype(np.float32), constant=k > 0) for k, shape in enumerate(shapes)]
