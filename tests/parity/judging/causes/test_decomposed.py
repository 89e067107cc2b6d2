"""Mistakes in layers that a graph holds as several nodes: only its input and its result are recorded."""

from itertools import cycle

import numpy as np
import pytest

from tests.parity.judging.causes.case import Case, drawing
from tests.parity.judging.causes.decomposed.activation import GATED, GELU, GELU_BY_TANH, SILU
from tests.parity.judging.causes.decomposed.attention import ATTENTION, HEADS
from tests.parity.judging.causes.decomposed.normalization import IMAGE, LAYER, RMS, layer_norm
from tests.parity.judging.causes.decomposed.rotation import ROTATION

CASES = {
    **{"layer norm": LAYER, "RMS norm": RMS, "GELU": GELU, "GELU by tanh": GELU_BY_TANH, "SiLU": SILU},
    **{"attention": ATTENTION, "heads": HEADS, "rotation": ROTATION, "image": IMAGE},
    "gate": GATED,
}


@pytest.mark.parametrize("name", CASES)
def test_a_right_port_is_not_accused(name: str) -> None:
    case = CASES[name]
    verdict, *causes = case.named(case.right)
    assert verdict in ("equal", "rounding")
    assert causes == []


@pytest.mark.parametrize(
    ("name", "cause"), [(name, cause) for name, case in CASES.items() for cause in case.wrong]
)
def test_a_mistake_is_named(name: str, cause: str) -> None:
    case = CASES[name]
    verdict, *causes = case.named(case.wrong[cause])
    assert verdict in ("different", "coarse")
    assert cause in causes
    assert len(causes) <= 2, "a second name is another view of the same values"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "scale"), list(zip(CASES, cycle((1e-2, 1e-4)), strict=False)))
def test_what_is_unknown_is_not_named(name: str, scale: float) -> None:
    """Large errors and small ones, in turn."""
    case = CASES[name]
    noise = np.random.default_rng(1).standard_normal(case.right(case.x).shape)
    verdict, *causes = case.named(lambda x: case.right(x) * (1 + scale * noise))
    assert verdict == "different"
    assert causes == []


def test_many_epsilons_that_fit_are_one_cause() -> None:
    """The variance is so large that only an ε of 1e-3 would show beside the others."""
    x = drawing(0)(3, 5, 16, scale=3)
    large = Case(LAYER.nodes, {**LAYER.constants, "e": 1e-2}, x, layer_norm, {})
    verdict, *causes = large.named(lambda x: layer_norm(x, 1e-9))
    assert verdict == "different"
    (cause,) = causes
    assert cause.startswith("epsilon between 0 and 1e-0")
    assert cause.endswith("for 0.01")
