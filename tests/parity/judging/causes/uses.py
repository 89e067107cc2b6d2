"""What the search sees of each use of an operator that has an example."""

from parity.arithmetic import Array, Bounded
from parity.judging.causes import catalogue
from parity.judging.causes.mistake import Seen
from parity.onnx import read_onnx
from tests.parity.examples import EXAMPLES
from tests.parity.examples.example import Example
from tests.parity.operators.one_node import model

KINDS = sorted({one.operator.TYPE for one in EXAMPLES} & catalogue().keys())


def seen(example: Example, arrays: list[Array | None]) -> Seen:
    """What the search sees of the example's only node."""
    (node,) = read_onnx(model(example, arrays, 1)).nodes
    inputs = [None if a is None else Bounded(a) for a in arrays]
    values = {name: one for name, one in zip(node.inputs, inputs, strict=False) if one is not None}
    return Seen(inputs, None, node, (node,), values)
