"""Operands that are known within an error, and rounded to a shorter format."""

import numpy as np
import pytest

from parity.arithmetic import Bounded
from parity.judging.causes import mistakes
from parity.judging.causes.mistake import Seen
from parity.operators.affine import MatMul


@pytest.mark.parametrize("name", ["TF32", "bfloat16", "float16"])
def test_the_bound_holds_whichever_way_an_uncertain_operand_is_rounded(name: str) -> None:
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal((40, 9)), rng.standard_normal((9, 5))
    error = np.full(x.shape, 1e-4)
    inputs = [Bounded(x, error), Bounded(w)]
    (wrong,) = (m for m in mistakes(MatMul(), Seen(inputs, None)) if m.name == f"operands rounded to {name}")
    bounded = wrong.operator.evaluate(*inputs)
    assert isinstance(bounded, Bounded)
    for _ in range(20):
        other = Bounded(x + error * rng.uniform(-1, 1, x.shape))
        found = wrong.operator.evaluate(other, inputs[1])
        assert isinstance(found, Bounded)
        assert (np.abs(found.value - bounded.value) <= bounded.bound).all()
