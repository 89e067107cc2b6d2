"""A network as a graph of operators, in an order in which it can be evaluated."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from parity.arithmetic import Array, Number
from parity.operators import Operator


@dataclass(frozen=True)
class Declared:
    """The type and shape that a graph declares for a tensor.

    Attributes:
        dtype: the NumPy name; "" if it is not declared.
        shape: an int, a name ("batch") or None for each axis; None if it is not declared.
    """

    dtype: str = ""
    shape: tuple[int | str | None, ...] | None = None

    def __str__(self) -> str:
        shape = "of any shape" if self.shape is None else f"[{', '.join(str(n or '?') for n in self.shape)}]"
        return f"{self.dtype or 'any dtype'} {shape}"


def fits_shape(shape: tuple[int, ...], declared: tuple[int | str | None, ...] | None) -> bool:
    """Whether a shape fits a declared shape."""
    if declared is None:
        return True
    pairs = zip(shape, declared, strict=False)
    return len(shape) == len(declared) and all(n == m for n, m in pairs if isinstance(m, int))


@dataclass(frozen=True)
class Node:
    """An operator applied to named tensors.

    Attributes:
        name: the name of the node, or of its first output if the node has none.
        type: the type of the operator, with its domain if that is not the standard's:
            "com.microsoft.FusedConv".
        operator: the operator; None if it is unknown.
        inputs: names; "" for an optional input that is not given.
        outputs: names; "" for an output that is not used.
        problem: the reason why it cannot be judged; "" if it can.
        source: what the file says of it (an onnx.NodeProto); None if it was not read from a file.
    """

    name: str
    type: str
    operator: Operator | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    problem: str = ""
    source: Any = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Graph:
    """A network: nodes in order of execution, inputs, constants and outputs.

    Attributes:
        nodes: each comes after the nodes that compute its inputs.
        inputs: {input that the user gives: its declaration}.
        outputs: the names of the results.
        constants: weights and other fixed tensors; may be mapped from a file at each access.
        declared: {other tensor: its declaration}.
        name: the name of the file, for messages.
        opsets: {domain: version} of the operators, in a file.
    """

    nodes: tuple[Node, ...]
    inputs: Mapping[str, Declared]
    outputs: tuple[str, ...]
    constants: Mapping[str, Array] = field(default_factory=dict)
    declared: Mapping[str, Declared] = field(default_factory=dict)
    name: str = "graph"
    opsets: Mapping[str, int] = field(default_factory=dict)

    @property
    def tensors(self) -> list[str]:
        """All tensors that nodes compute, in order of execution."""
        return [name for node in self.nodes for name in node.outputs if name]

    def evaluate(self, given: Mapping[str, Number]) -> Iterator[tuple[Node, tuple[Number, ...]]]:
        """All nodes with their outputs, in the arithmetic of the given inputs and constants.

        Raises:
            Unjudged: an operator is unknown, or is not defined in this arithmetic.
        """
        values = dict(given)
        for node in self.nodes:
            outputs = apply(node, [values[name] if name else None for name in node.inputs])
            values |= {name: value for name, value in zip(node.outputs, outputs, strict=False) if name}
            yield node, outputs


def apply(node: Node, inputs: list[Number | None]) -> tuple[Number, ...]:
    """The outputs of a node."""
    assert node.operator is not None
    outputs = node.operator.evaluate(*inputs)
    return outputs if isinstance(outputs, tuple) else (outputs,)
