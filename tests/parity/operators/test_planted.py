"""The checks of `checks` fail where they should: bounds and formulas are broken, one at a time."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from parity.arithmetic import Bounded
from parity.arithmetic import bounded as bounded_module
from parity.arithmetic.floats import FLOAT32, Format
from parity.operators import OPERATORS
from parity.operators.affine import Conv, Gemm, MatMul
from tests.parity.examples import EXAMPLES, FAMILIES, Example
from tests.parity.examples.affine import normal
from tests.parity.operators import checks
from tests.parity.operators.shares import stated


def _large_bias(rng: np.random.Generator) -> list[np.ndarray | None]:
    a, b, c = (rng.standard_normal(shape).astype(np.float32) for shape in ((4, 3), (3, 5), (5,)))
    return [a, b, np.float32(1e4) * c]


PRODUCT = Example(MatMul(), {}, normal((4, 9), (9, 4)))
NUMBER = Example(MatMul(), {}, normal((1, 1), (1, 1)))
DENSE = Example(Gemm(), {}, _large_bias)


def uses(kind: str) -> list[Example]:
    """All examples of one operator."""
    return [one for one in EXAMPLES if kind == one.operator.TYPE]


def rounds(example: Example) -> bool:
    """Whether the bound of any output is more than zero."""
    found = checks.outputs(example.operator.evaluate(*checks.bounded(checks.drawn(example, 0))))
    return any(isinstance(one, Bounded) and bool(one.bound.any()) for one in found)


ROUNDING = {one.operator.TYPE: one for one in reversed(EXAMPLES) if rounds(one)}  # the first of each operator


def wrong(patch: pytest.MonkeyPatch, kind: str, formula: Callable[..., Any]) -> None:
    """Replace an operator's formula by one that is given the right one first."""
    of = OPERATORS[kind]
    evaluate: Any = of.evaluate
    patch.setattr(of, "evaluate", lambda self, *inputs: formula(evaluate, self, *inputs))


# --- a bound of any operator -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ROUNDING)
def test_doubled_bound_is_noticed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong(monkeypatch, kind, lambda right, self, *inputs: checks.doubled(right(self, *inputs)))
    with pytest.raises(AssertionError, match=r"of its bound .* is asked"):
        checks.check_reaches(ROUNDING[kind], stated)


# --- a formula of any family --------------------------------------------------------------------

# For each family: an operator, and a mistake that people make with it.
MISTAKES: dict[str, tuple[str, Callable[..., Any]]] = {
    "activation": ("LeakyRelu", lambda right, self, x: right(replace(self, alpha=2 * self.alpha), x)),
    "affine": (
        "Conv",
        lambda right, self, x, w, *b: right(self, x, w.move(lambda a: a[..., ::-1]), *b),
    ),
    "attention": ("Attention", lambda right, self, *inputs: right(replace(self, scale=1.0), *inputs)),
    "elementwise": ("Sub", lambda right, self, a, b: right(self, b, a)),
    "normalization": (
        "LayerNormalization",
        lambda right, self, *inputs: right(replace(self, epsilon=1e-3), *inputs),
    ),
    "pooling": (
        "AveragePool",
        lambda right, self, x: right(replace(self, count_include_pad=1 - self.count_include_pad), x),
    ),
    "quantization": ("DequantizeLinear", lambda right, self, x, scale, *zero: right(self, x, scale)),
    "recurrent": (
        "GRU",
        lambda right, self, *inputs: right(
            replace(self, linear_before_reset=1 - self.linear_before_reset), *inputs
        ),
    ),
    "reduction": ("ReduceL2", lambda right, self, *inputs: right(self, *inputs) * right(self, *inputs)),
    "resize": (
        "Resize",
        lambda right, self, *inputs: right(
            replace(self, coordinate_transformation_mode="asymmetric"), *inputs
        ),
    ),
    "shape": ("DepthToSpace", lambda right, self, x: right(replace(self, mode="CRD"), x)),
    "softmax": ("Softmax", lambda right, self, x: right(replace(self, axis=0), x)),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_wrong_formula_is_noticed(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, formula = MISTAKES[family]
    wrong(monkeypatch, kind, formula)
    noticed = 0
    for example in (one for one in uses(kind) if not checks.no_kernel(one)):
        try:
            checks.check_onnxruntime(example, checks.drawn(example, 3))
        except AssertionError as error:
            noticed += "verdict='different'" in str(error)
    assert noticed


# --- a term of an operation ---------------------------------------------------------------------

Operation = Callable[..., Bounded]
FINE = Format("fine", 100, -1022, FLOAT32.dtype)  # rounds nothing that a float64 could show


def forgetful(operation: Operation) -> Operation:
    """What the operands are off by is not carried."""

    def without(*operands: Any, **named: Any) -> Bounded:
        return operation(*(_recorded(one) for one in operands), **named)

    return without


def _recorded(x: Any) -> Any:
    return replace(x, error=None) if isinstance(x, Bounded) else x


def exact(operation: Operation) -> Operation:
    """What the operation itself rounds is left out."""

    def without(*operands: Any, **named: Any) -> Bounded:
        fine = (replace(one, format=FINE) if isinstance(one, Bounded) else one for one in operands)
        return replace(operation(*fine, **named), format=operands[0].format)

    return without


# For each operation that rounds an operator that is made of it.
MADE_OF = {
    "dot": "MatMul",
    "sum": "ReduceSum",
    "prod": "ReduceProd",
    "cumsum": "CumSum",
    "divided": "HardSwish",
    "apply": "Exp",
    "affine": "BatchNormalization",
    "__add__": "Add",
    "__mul__": "Mul",
    "__truediv__": "Div",
}
# And for each that carries errors. (A divisor that may be anything is no usual datum.)
CARRIED_BY = MADE_OF | {"__truediv__": "Softmax", "max": "MaxPool", "min": "ReduceMin", "maximum": "Relu"}


def in_every_use(kind: str, check: Callable[[Example], object]) -> None:
    """Check all examples of an operator."""
    for example in uses(kind):
        check(example)


@pytest.mark.parametrize("name", MADE_OF)
def test_operation_that_forgets_its_own_rounding_is_noticed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bounded, name, exact(getattr(Bounded, name)))
    with pytest.raises(AssertionError, match="times its bound, rounding"):
        in_every_use(MADE_OF[name], lambda one: checks.reached(one, checks.drawn(one, 0)))


@pytest.mark.parametrize("name", CARRIED_BY)
def test_operation_that_forgets_errors_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bounded, name, forgetful(getattr(Bounded, name)))
    with pytest.raises(AssertionError, match="an error of inputs"):
        in_every_use(CARRIED_BY[name], lambda one: checks.check_carried(one, 0))


# --- a term of the bound of a product ------------------------------------------------------------


def any_orders(example: Example, kind: str = "made") -> None:
    """Twenty right implementations."""
    for order in range(20):
        checks.check_any_order(example, checks.drawn(example, order, kind), FLOAT32, order)


def carried(example: Example) -> None:
    """Errors of up to twice the values, fifty times."""
    for seed in range(50):
        checks.check_carried(example, seed, 2.0)


def test_dropped_rounding_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    gamma = bounded_module.gamma
    monkeypatch.setattr(bounded_module, "gamma", lambda k, u: gamma(max(k - 1, 0), u))
    with pytest.raises(AssertionError, match="times its bound"):
        checks.reached(PRODUCT, checks.drawn(PRODUCT, 0, "positive"))


def test_dropped_carried_error_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.check_carried(PRODUCT, 0)
    monkeypatch.setattr(bounded_module, "carried_by", lambda *_: None)
    with pytest.raises(AssertionError, match="an error of inputs"):
        checks.check_carried(PRODUCT, 0)


@pytest.mark.parametrize("dropped", ["a", "b", "both"])
def test_dropped_part_of_the_carried_error_is_noticed(dropped: str, monkeypatch: pytest.MonkeyPatch) -> None:
    both = bounded_module.carried_by

    def part(product: Any, a: Any, a_error: Any, b: Any, b_error: Any) -> Any:
        if dropped == "both" and a_error is not None and b_error is not None:
            return product(np.abs(a), b_error) + product(a_error, np.abs(b))
        return both(product, a, None if dropped == "a" else a_error, b, None if dropped == "b" else b_error)

    monkeypatch.setattr(bounded_module, "carried_by", part)
    with pytest.raises(AssertionError, match="an error of inputs"):
        carried(NUMBER if dropped == "both" else PRODUCT)


def test_dropped_bias_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    dot = Bounded.dot

    def without(
        self: Bounded, other: Bounded, bias: Bounded | None = None, products: int | None = None
    ) -> Bounded:
        y = dot(self, other, None, products)
        return y if bias is None else Bounded(y.value + bias.value, y.error, y.format)

    any_orders(DENSE)
    monkeypatch.setattr(Bounded, "dot", without)
    with pytest.raises(AssertionError, match="times its bound"):
        any_orders(DENSE)


@pytest.mark.parametrize("operator", [MatMul(), Conv()], ids=str)
def test_dropped_underflow_is_noticed(operator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = ((4, 9), (9, 4)) if isinstance(operator, MatMul) else ((1, 2, 5, 5), (3, 2, 2, 2))
    example = Example(operator, {}, normal(*shapes))
    monkeypatch.setattr(Format, "smallest", property(lambda self: 0.0))
    monkeypatch.setattr(Format, "flush", property(lambda self: 0.0))
    with pytest.raises(AssertionError, match="times its bound"):
        any_orders(example, "tiny")


def test_wrong_sample_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = MatMul.sample
    arrays = checks.drawn(PRODUCT, 0)
    monkeypatch.setattr(MatMul, "sample", lambda self, points, *inputs: sample(self, points, *inputs) * 1.0)
    with pytest.raises(AssertionError, match="other bounds"):
        checks.check_sampled(PRODUCT, arrays, 0)
    monkeypatch.setattr(MatMul, "sample", lambda self, points, *inputs: -sample(self, points, *inputs))
    with pytest.raises(AssertionError, match="other values"):
        checks.check_sampled(PRODUCT, arrays, 0)
