"""Every use of every operator in `examples`: its bound holds, is tight and carries errors.

A new operator needs examples alone to be tested here.
"""

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity import onnx as reader
from parity.arithmetic import Bounded
from parity.arithmetic import bounded as bounded_module
from parity.floats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format
from parity.operators import OPERATORS
from parity.operators.affine import Conv, Gemm, MatMul
from tests.parity import checks
from tests.parity.examples import EXAMPLES, Example
from tests.parity.examples.affine import normal

# The worst roundings reach more than half of a bound. So this is red if the bound is doubled.
SHARE = 0.5
# Operators whose bound cannot be reached so far, by type, each with the reason. A doubled bound must still be
# red: what is asked is more than half of what is reached.
SHARES: dict[str, float] = {}
# Operators for which onnxruntime has no CPU kernel, by type: the version and the reason.
NO_KERNEL: dict[str, str] = {}

every = pytest.mark.parametrize("example", EXAMPLES, ids=str)
seeds = st.integers(0, 2**32 - 1)


def test_all_operators_have_examples() -> None:
    assert {example.operator.TYPE for example in EXAMPLES} == set(OPERATORS)


@every
@settings(max_examples=40)
@given(
    seed=seeds,
    kind=st.sampled_from(checks.KINDS),
    exponent=st.floats(-1, 1),
    form=st.sampled_from([FLOAT32, FLOAT32, FLOAT64, FLOAT16, BFLOAT16]),
)
def test_bound_holds_in_any_order(
    example: Example, seed: int, kind: str, exponent: float, form: Format
) -> None:
    arrays = checks.drawn(example, seed, kind, exponent, form)
    for order in range(4):
        checks.check_any_order(example, arrays, form, seed + order)


@every
def test_usual_data_does_not_overflow(example: Example) -> None:
    """The test above says something: it leaves nothing out for these."""
    for kind in ("made", "positive", "zeros", "cancelling", "integers", "tiny"):
        assert checks.check_any_order(example, checks.drawn(example, 1, kind), FLOAT32, 1), kind


@every
@settings(max_examples=10)
@given(seed=seeds, kind=st.sampled_from(checks.KINDS), exponent=st.floats(-1, 1))
def test_bound_holds_for_the_worst_roundings(example: Example, seed: int, kind: str, exponent: float) -> None:
    checks.reached(example, checks.drawn(example, seed, kind, exponent))


@every
def test_bound_is_tight(example: Example) -> None:
    checks.check_reaches(example, SHARES.get(example.operator.TYPE, SHARE))


@every
def test_doubled_bound_is_noticed(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    if checks.reached(example, checks.drawn(example, 0)) is None:
        return  # nothing may round
    with monkeypatch.context() as patch:
        kind = type(example.operator)
        evaluate: Any = kind.evaluate
        patch.setattr(kind, "evaluate", lambda self, *inputs: checks.doubled(evaluate(self, *inputs)))
        with pytest.raises(AssertionError, match=r"of its bound, .* is asked"):
            checks.check_reaches(example, SHARES.get(example.operator.TYPE, SHARE))


@every
@settings(max_examples=10)
@given(seed=seeds, relative=st.sampled_from([2.0**-20, 2.0**-10, 0.3, 2.0]))
def test_errors_are_carried(example: Example, seed: int, relative: float) -> None:
    checks.check_carried(example, seed, relative)


@every
@settings(max_examples=5)
@given(seed=seeds, kind=st.sampled_from(checks.KINDS))
def test_sample_is_the_whole_at_its_points(example: Example, seed: int, kind: str) -> None:
    checks.check_sampled(example, checks.drawn(example, seed, kind), seed)


@every
def test_onnxruntime_is_right(example: Example) -> None:
    arrays = checks.drawn(example, 3)
    if example.operator.TYPE in NO_KERNEL:
        with pytest.raises(Exception, match=r"NOT_IMPLEMENTED|NotImplemented"):
            checks.in_onnxruntime(example, arrays)
        return
    report, found = checks.in_onnxruntime(example, arrays)
    assert not report.unjudged, report.unjudged
    for tensor in report.tensors:
        assert tensor.verdict in ("equal", "rounding"), tensor
        assert tensor.ratio <= 1
    expected = checks.outputs(example.operator.evaluate(*checks.bounded(arrays)))
    assert [array.shape for array in found.values()] == [one.shape for one in expected]


@every
def test_outputs_are_those_of_the_standard(example: Example) -> None:
    arrays = checks.drawn(example, 3)
    count = len(checks.outputs(example.operator.evaluate(*checks.bounded(arrays))))
    schema = onnx.defs.get_schema(example.operator.TYPE, example.opset)
    assert schema.min_output <= count <= schema.max_output


@every
def test_node_is_read_as_this_operator(example: Example) -> None:
    model = checks.model_of(example, checks.drawn(example, 3), 1)
    (node,) = reader.read_onnx(model).nodes
    assert node.problem == ""
    for name in vars(example.operator):
        read, written = (np.asarray(getattr(one, name)) for one in (node.operator, example.operator))
        if written.dtype.kind == "f":  # attributes are float32
            read, written = read.astype(np.float32), written.astype(np.float32)
        assert np.array_equal(read, written), name


# --- each check fails where a term of the bound is dropped --------------------------------------


def _large_bias(rng: np.random.Generator) -> list[np.ndarray | None]:
    a, b, c = (rng.standard_normal(shape).astype(np.float32) for shape in ((4, 3), (3, 5), (5,)))
    return [a, b, np.float32(1e4) * c]


PRODUCT = Example(MatMul(), {}, normal((4, 9), (9, 4)))
NUMBER = Example(MatMul(), {}, normal((1, 1), (1, 1)))
DENSE = Example(Gemm(), {}, _large_bias)


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
    monkeypatch.setattr(bounded_module, "gamma", lambda k, u: gamma(k // 2, u))
    with pytest.raises(AssertionError, match="times its bound"):
        checks.reached(PRODUCT, checks.drawn(PRODUCT, 0, "positive"))


def test_dropped_carried_error_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.check_carried(PRODUCT, 0)
    monkeypatch.setattr(bounded_module, "_carried", lambda *_: None)
    with pytest.raises(AssertionError, match="an error of inputs"):
        checks.check_carried(PRODUCT, 0)


@pytest.mark.parametrize("dropped", ["a", "b", "both"])
def test_dropped_part_of_the_carried_error_is_noticed(dropped: str, monkeypatch: pytest.MonkeyPatch) -> None:
    both = bounded_module._both

    def part(product: Any, a: Any, a_error: Any, b: Any, b_error: Any) -> Any:
        if dropped == "both" and a_error is not None and b_error is not None:
            return product(np.abs(a), b_error) + product(a_error, np.abs(b))
        return both(product, a, None if dropped == "a" else a_error, b, None if dropped == "b" else b_error)

    monkeypatch.setattr(bounded_module, "_both", part)
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
