"""ReLU computed as ½(|x + b| + x + b), into which Theano 0.8.2 compiles a ReLU behind a bias: it rounds.

With s = x + b, rounded once, the formula adds |s|, x and b and halves the sum. In exact arithmetic it is
max(s, 0). What was recorded is s, so x is known up to the rounding of s:

    |x − (s − b)| ≤ u|s|,    and a sum of three terms in any order is off by at most γ₂ (|s| + |x| + |b|).

Halving is exact. The result is that of ReLU, so a bound that contains the values does not prove that this
formula was used. What does is the error: in float32 it is about that of (|s| + x) + b, or of (|s| + b) + x,
with x = s − b.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from parity.arithmetic import Array, Bounded, Number
from parity.arithmetic.floats import Format, format_of, gamma
from parity.graph import Graph, Node
from parity.judging.causes.mistake import Mistake, Seen, first, made_in
from parity.judging.causes.of_rounding.of_winograd import agree
from parity.operators import Operator
from parity.operators.activation import Relu

NAME = "ReLU computed as ½(|x + b| + x + b)"
EXPLANATION = (
    "|x + b|, x and b are added up and halved: Theano 0.8.2 compiles ReLU behind a bias to this. It is the "
    "same function, but its sums round, and max(x, 0) rounds nothing."
)
REMEDY = "It is right, but less accurate: compute max(x, 0) where that matters, as Theano 1.0.5 does."
# The least correlation of the errors. Those of Theano 0.8.2 have 0.97 to 0.996, as x is not known exactly.
LIKE = 0.5


@dataclass(frozen=True, eq=False)
class HalfSum(Operator):
    """½(|s| + x + b) of s = x + b, which is known.

    Attributes:
        bias: b, in a shape that is broadcast to that of s.
    """

    TYPE: ClassVar[str] = "half sum"

    bias: Array

    def evaluate(self, s: Number) -> Number:
        if not isinstance(s, Bounded):
            b = s.like(self.bias)
            return (abs(s) + (s - b) + b) * 0.5
        u, size = s.format.u, np.abs(s.value.astype(np.float64)) + s.bound
        bias = np.abs(self.bias.astype(np.float64))
        right = s.maximum(0)
        off = 0.5 * (u * size + gamma(2, u) * ((2 + u) * size + 2 * bias)) + s.format.smallest
        return Bounded(right.value, right.bound + off, s.format)


def is_half_sum(s: Array, bias: Array, found: Array, form: Format) -> bool:
    """Whether the errors of some values of ReLU agree with those of the formula.

    Args:
        s: what ReLU was given, in the candidate's format.
        bias: as in `HalfSum`.
        found: what it returned.
        form: the candidate's format.
    """
    right = np.maximum(s, 0).astype(np.float64)
    if not (np.isfinite(s).all() and np.isfinite(found).all()):
        return False
    a, x, b = (one.astype(form.dtype) for one in (np.abs(s), s - bias, bias))
    # Theano's order, and the other one in which something rounds: x + b is s.
    sums = ((a + x) + b, (a + b) + x)
    errors = found.astype(np.float64) - right
    return any(agree(errors, one.astype(np.float64) / 2 - right, LIKE) for one in sums)


@made_in("Relu")
def half_sum(relu: Relu, seen: Seen) -> Iterator[Mistake]:
    s = first(seen.inputs)
    if seen.found is None or seen.graph is None or len(seen.nodes) != 1 or not isinstance(s, Bounded):
        return
    bias, form = _bias(seen.graph, seen.nodes[0], s.ndim), format_of(seen.found)
    if bias is None or form is None or seen.found.shape != s.shape:
        return
    if is_half_sum(s.value, bias, seen.found, form):
        yield Mistake(NAME, EXPLANATION, REMEDY, HalfSum(bias), read_off=True, less_accurate=True)


def _bias(graph: Graph, node: Node, ndim: int) -> Array | None:
    """The bias that a node's input contains, in a shape that is broadcast to it; None if none is known."""
    maker = next((one for one in graph.nodes if node.inputs[0] in one.outputs), None)
    if maker is None:
        return None
    added = maker.inputs if maker.type == "Add" else maker.inputs[2:]
    bias = next((graph.constants[name] for name in added if name in graph.constants), None)
    if bias is None or maker.type not in ("Add", "Conv", "Gemm") or getattr(maker.operator, "beta", 1.0) != 1:
        return None
    return bias.reshape(-1, *[1] * (ndim - 2)) if maker.type == "Conv" else bias
