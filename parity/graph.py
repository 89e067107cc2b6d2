"""A network as a graph of operators, in an order in which it can be evaluated."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from parity.arithmetic import Array, Number
from parity.operators import Operator


@dataclass(frozen=True)
class Declared:
    """What a graph says of a tensor beforehand.

    Attributes:
        dtype: as NumPy calls it; "" where nothing is said.
        shape: an int, a name ("batch") or None for each axis; None where nothing is said.
    """

    dtype: str = ""
    shape: tuple[int | str | None, ...] | None = None

    def __str__(self) -> str:
        shape = "of any shape" if self.shape is None else f"[{', '.join(str(n or '?') for n in self.shape)}]"
        return f"{self.dtype or 'any dtype'} {shape}"


@dataclass(frozen=True)
class Node:
    """One operator applied to named tensors.

    Attributes:
        name: of the node; its first output's where the graph gives none.
        type: of the operator, with its domain unless that is the standard's: "com.microsoft.FusedConv".
        operator: None where it is not known.
        inputs: names; "" for an optional one that is not given.
        outputs: names; "" for one that is not asked for.
        problem: why it cannot be judged; "" where it can.
    """

    name: str
    type: str
    operator: Operator | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    problem: str = ""


@dataclass(frozen=True)
class Graph:
    """Nodes in order of execution, the tensors that are given, and those that are asked for.

    Attributes:
        nodes: each after those that make its inputs.
        inputs: given by the user, with what is declared of them.
        outputs: names of the results.
        constants: weights and other tensors of fixed value; may be mapped from a file at each access.
        declared: of every other tensor, what is known beforehand.
        name: for messages: the file.
    """

    nodes: tuple[Node, ...]
    inputs: Mapping[str, Declared]
    outputs: tuple[str, ...]
    constants: Mapping[str, Array] = field(default_factory=dict)
    declared: Mapping[str, Declared] = field(default_factory=dict)
    name: str = "graph"

    @property
    def tensors(self) -> list[str]:
        """Every tensor that a node makes, in order of execution."""
        return [name for node in self.nodes for name in node.outputs if name]

    def evaluate(self, given: Mapping[str, Number]) -> Iterator[tuple[Node, tuple[Number, ...]]]:
        """Each node with its outputs, in the arithmetic of what is given: inputs and constants by name.

        Raises:
            Unjudged: an operator is not known, or has no meaning in this arithmetic.
        """
        values = dict(given)
        for node in self.nodes:
            outputs = apply(node, [values[name] if name else None for name in node.inputs])
            values |= {name: value for name, value in zip(node.outputs, outputs, strict=False) if name}
            yield node, outputs


def apply(node: Node, inputs: list[Number | None]) -> tuple[Number, ...]:
    """The outputs of one node."""
    assert node.operator is not None
    outputs = node.operator.evaluate(*inputs)
    return outputs if isinstance(outputs, tuple) else (outputs,)
