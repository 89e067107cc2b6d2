"""Arithmetic, comparisons and logic against plain Python, libraries, and all that an interval allows."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from parity.arithmetic import Bounded
from parity.arithmetic.floats import FLOAT16, FLOAT32, U64
from parity.errors import Unjudged
from parity.judging import judge
from parity.onnx import read_onnx
from parity.operators import OPERATORS
from parity.operators.operator import Elementwise
from tests.parity import small
from tests.parity.examples import EXAMPLES as ALL_EXAMPLES
from tests.parity.examples.elementwise import EXAMPLES
from tests.parity.examples.example import Example
from tests.parity.operators.one_node import in_onnxruntime, in_reference, outputs, share

every = pytest.mark.parametrize("example", EXAMPLES, ids=str)


def _sign(x: float) -> int:
    return (x > 0) - (x < 0)


def _of_math(name: str) -> Callable[..., Any]:
    return lambda at, x: getattr(math, name)(x)


# The definition of each operator, of its attributes and of one value of each input.
DEFINITIONS: dict[str, Callable[..., Any]] = {
    **{
        name.capitalize(): _of_math(name)
        for name in ("exp", "log", "sqrt", "erf", "sin", "cos", "tan", "asin", "acos", "atan")
    },
    **{
        name.capitalize(): _of_math(name)
        for name in ("sinh", "cosh", "asinh", "acosh", "atanh", "floor", "ceil")
    },
    "Round": lambda at, x: round(x),
    "Sign": lambda at, x: _sign(x),
    "Abs": lambda at, x: abs(x),
    "Neg": lambda at, x: -x,
    "Reciprocal": lambda at, x: 1 / x,
    "IsNaN": lambda at, x: math.isnan(x),
    "IsInf": lambda at, x: math.isinf(x) and bool(at.detect_positive if x > 0 else at.detect_negative),
    "Identity": lambda at, x: x,
    "Dropout": lambda at, x, *rest: x,
    "Add": lambda at, a, b: a + b,
    "Sub": lambda at, a, b: a - b,
    "Mul": lambda at, a, b: a * b,
    "Div": lambda at, a, b: int(a / b) if isinstance(a, int) else a / b,
    "Mod": lambda at, a, b: math.fmod(a, b) if at.fmod else a % b,
    "Pow": lambda at, a, b: a**b,
    "Max": lambda at, *xs: max(xs),
    "Min": lambda at, *xs: min(xs),
    "Sum": lambda at, *xs: math.fsum(xs),
    "Mean": lambda at, *xs: math.fsum(xs) / len(xs),
    "Where": lambda at, c, a, b: a if c else b,
    "Equal": lambda at, a, b: a == b,
    "Greater": lambda at, a, b: a > b,
    "GreaterOrEqual": lambda at, a, b: a >= b,
    "Less": lambda at, a, b: a < b,
    "LessOrEqual": lambda at, a, b: a <= b,
    "And": lambda at, a, b: a and b,
    "Or": lambda at, a, b: a or b,
    "Xor": lambda at, a, b: a != b,
    "Not": lambda at, a: not a,
    "BitwiseAnd": lambda at, a, b: a & b,
    "BitwiseOr": lambda at, a, b: a | b,
    "BitwiseXor": lambda at, a, b: a ^ b,
    "BitwiseNot": lambda at, a: ~a,
    "BitShift": lambda at, a, b: a << b if at.direction == "LEFT" else a >> b,
}


@every
def test_values_are_those_of_the_definition(example: Example) -> None:
    arrays = example.make(np.random.default_rng(0))
    expected = outputs(example.operator, arrays)[0]
    given = [np.broadcast_to(a, expected.shape).ravel().tolist() for a in arrays if a is not None]
    for value, *args in zip(expected.value.ravel(), *given, strict=True):
        right = DEFINITIONS[example.operator.TYPE](example.operator, *args)
        if value.dtype.kind in "iu":
            bits = 8 * value.dtype.itemsize
            assert (int(value) - right) % 2**bits == 0  # in its own dtype, wrapped around
        elif value.dtype.kind == "b" or not np.isfinite(value):
            assert bool(value) == right or (np.isnan(value) and math.isnan(right))
        else:
            size = max(abs(right), *(abs(arg) for arg in args))
            assert abs(float(value) - right) <= 8 * U64 * size


@every
def test_integers_and_booleans_have_no_error(example: Example) -> None:
    expected = outputs(example.operator, example.make(np.random.default_rng(0)))[0]
    assert expected.value.dtype.kind == "f" or expected.error is None


@every
def test_libraries_are_within_the_bound(example: Example) -> None:
    arrays = example.make(np.random.default_rng(1))
    expected = outputs(example.operator, arrays)[0]
    assert share(in_reference(example, arrays, 1)[0], expected) <= 1
    assert share(in_onnxruntime(example, arrays, 1)[0], expected) <= 1


# --- errors that are carried -------------------------------------------------------------------

MOVED = (
    [
        (kind, 1)
        for kind in ("Exp", "Erf", "Sin", "Cos", "Sinh", "Cosh", "Atan", "Asinh", "Sign", "Floor", "Ceil")
    ]
    + [
        (kind, 1)
        for kind in ("Round", "Abs", "Neg", "Reciprocal", "Log", "Sqrt", "Tan", "Asin", "Atanh", "IsInf")
    ]
    + [(kind, 2) for kind in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "Pow", "Equal")]
    + [(kind, 2) for kind in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")]
    + [("Where", 3)]
)


@pytest.mark.parametrize(("kind", "inputs"), MOVED)
def test_bound_holds_for_all_inputs_in_their_intervals(kind: str, inputs: int) -> None:
    """In float64, at random places of the intervals, a millionth short of their ends since float64 rounds."""
    rng = np.random.default_rng(8)
    low, high = {"Log": (0.1, 3), "Sqrt": (0.1, 3), "Asin": (-0.9, 0.9), "Atanh": (-0.9, 0.9)}.get(
        kind, (-3, 3)
    )
    values: list[Any] = [rng.uniform(low, high, 4000) for _ in range(inputs)]
    if kind == "Pow":
        values = [values[0], rng.integers(-3, 4, 4000).astype(np.float64)]
    if inputs == 2 and kind != "Pow":
        values[1] = np.where(rng.random(4000) < 0.2, values[0], values[1])
    errors = [rng.choice([0, 1e-9, 1e-3, 0.5], 4000) for _ in range(inputs)]
    if kind in ("Log", "Sqrt", "Asin", "Atanh"):
        errors = [np.minimum(error, 0.09) for error in errors]
    if kind == "Pow":
        errors[1] = np.zeros(4000)
    if kind == "Where":
        values[0], errors[0] = rng.random(4000) < 0.5, rng.choice([0.0, 1.0], 4000)
    bounded = [Bounded(v, None if not e.any() else e) for v, e in zip(values, errors, strict=True)]
    expected: Any = OPERATORS[kind]().evaluate(*bounded)
    for _ in range(30):
        moved = [
            v + 0.999999 * e * rng.choice([-1, 1, rng.uniform(-1, 1)], 4000)
            for v, e in zip(values, errors, strict=True)
        ]
        if kind == "Where":
            moved[0] = np.where(errors[0] > 0, rng.random(4000) < 0.5, values[0])
        with np.errstate(all="ignore"):
            found: Any = OPERATORS[kind]().evaluate(*(Bounded(m) for m in moved))
            apart = np.abs(found.value.astype(np.float64) - expected.value.astype(np.float64))
        assert not (apart > expected.bound).any()


def test_error_of_a_step_is_the_step_or_nothing() -> None:
    x = Bounded(np.array([0.5, 0.95, -0.05]), np.array([0.1, 0.1, 0.1]))
    expected = {"Floor": [0, 1, 1], "Ceil": [0, 1, 1], "Sign": [0, 0, 2], "Round": [1, 0, 0]}
    for kind, bound in expected.items():
        y: Any = OPERATORS[kind]().evaluate(x)
        np.testing.assert_allclose(y.bound, bound, atol=1e-12)


def test_error_of_a_comparison_and_of_what_it_chooses() -> None:
    a, b = Bounded(np.array([1.0, 1.0, 1.0]), np.array([0.2, 0.2, 0.0])), Bounded(np.array([2.0, 1.1, 1.0]))
    less: Any = OPERATORS["Less"]().evaluate(a, b)
    equal: Any = OPERATORS["Equal"]().evaluate(a, b)
    assert less.value.tolist() == [True, True, False]
    np.testing.assert_allclose(less.bound, [0, 1, 0], atol=1e-12)
    assert equal.value.tolist() == [False, False, True]
    np.testing.assert_allclose(equal.bound, [0, 1, 0], atol=1e-12)
    ten, two = Bounded(np.full(3, 10.0), np.full(3, 0.5)), Bounded(np.full(3, 2.0), np.full(3, 0.25))
    chosen: Any = OPERATORS["Where"]().evaluate(less, ten, two)
    np.testing.assert_allclose(chosen.bound, [0.5, 8.25, 0.25], rtol=1e-12)


def test_logic_of_uncertain_conditions() -> None:
    a = Bounded(np.array([True, True, False, False]), np.array([1.0, 1, 1, 0]))
    b = Bounded(np.array([True, False, True, True]))
    expected = {"And": [1, 0, 1, 0], "Or": [0, 1, 0, 0], "Xor": [1, 1, 1, 0]}
    for kind, bound in expected.items():
        y: Any = OPERATORS[kind]().evaluate(a, b)
        np.testing.assert_allclose(y.bound, bound, atol=1e-12)


def test_quotient_of_a_divisor_that_may_be_zero_is_unknown() -> None:
    y: Any = OPERATORS["Div"]().evaluate(
        Bounded(np.array([1.0, 1.0])), Bounded(np.array([0.1, 0.1]), np.array([0.2, 0.01]))
    )
    assert np.isinf(y.bound[0])
    assert y.bound[1] == pytest.approx(10 * 0.01 / 0.09, rel=1e-5)


def test_masked_with_infinity_stays_exact() -> None:
    """As in attention: scores with an error, and −∞ where nothing is to be seen."""
    scores = Bounded(np.array([1.0, 2.0]), np.array([0.1, 0.1]))
    mask = Bounded(np.array([0.0, -np.inf]))
    added: Any = OPERATORS["Add"]().evaluate(scores, mask)
    chosen: Any = OPERATORS["Where"]().evaluate(Bounded(np.array([True, False])), scores, mask)
    shares: Any = OPERATORS["Softmax"]().evaluate(added)
    assert added.bound[1] == chosen.bound[1] == 0
    assert np.isfinite(shares.bound).all()


def test_constants_are_rounded_to_the_format() -> None:
    """0.3 is no number of float16: a factor that is held in it is off by a rounding."""
    x, alpha = np.array([-1], np.float16), float(np.float32(0.3))
    found = x * np.float16(alpha)
    in_half: Any = OPERATORS["LeakyRelu"](alpha).evaluate(Bounded(x, None, FLOAT16))  # type: ignore[call-arg]
    in_single: Any = OPERATORS["LeakyRelu"](alpha).evaluate(Bounded(x, None, FLOAT32))  # type: ignore[call-arg]
    assert abs(float(found[0]) - in_half.value[0]) <= in_half.bound[0]
    assert abs(float(found[0]) - in_single.value[0]) > in_single.bound[0]


@pytest.mark.parametrize("kind", ["Mul", "Add", "Div", "Exp", "Log"])
def test_subnormal_numbers_may_be_taken_for_zero(kind: str) -> None:
    """As TensorFlow and XLA do."""
    import jax
    import tensorflow as tf

    a, b = np.array([1e-20, 1e-40, 3e-39, 0.5], np.float32), np.array([1e-20, 2, 1e-40, 1e-38], np.float32)
    a = np.array([-88, -95, 1e-40, 1], np.float32) if kind == "Exp" else a
    arrays = [a] if kind in ("Exp", "Log") else [a, b]
    expected: Any = OPERATORS[kind]().evaluate(*(Bounded(x) for x in arrays))
    name = {"Mul": "multiply", "Div": "divide", "Add": "add"}.get(kind, kind.lower())
    of_tf = getattr(tf.math, name)(*map(tf.constant, arrays)).numpy()
    of_jax = np.asarray(jax.jit(getattr(jax.numpy, name))(*arrays))
    assert share(of_tf, expected) <= 1
    assert share(of_jax, expected) <= 1


# --- the rest ----------------------------------------------------------------------------------


def test_cotangents_of_a_sum_are_added_up_where_it_was_broadcast() -> None:
    a, b, c = (np.ones(shape, np.float32) for shape in ((2, 3, 4), (3, 1), (2, 3, 4)))
    add = OPERATORS["Add"]()
    inputs, total = [Bounded(a), Bounded(b)], Bounded(a + b)
    whole, summed = (add.gradient(k, inputs, total, Bounded(c)) for k in (0, 1))
    assert whole.comparable.tolist() == c.tolist()
    assert summed.comparable.tolist() == [[8.0]] * 3
    assert OPERATORS["Identity"]().gradient(0, [Bounded(a)], Bounded(a), Bounded(c)).comparable is c


def test_mod_of_floats_takes_the_sign_of_the_divisor() -> None:
    import torch

    rng = np.random.default_rng(10)
    a, b = (rng.standard_normal(2000).astype(np.float32) for _ in range(2))
    expected: Any = OPERATORS["Mod"]().evaluate(Bounded(a), Bounded(b))
    right = [x % y for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    np.testing.assert_allclose(expected.value, right, rtol=0, atol=4 * U64)
    assert share(torch.remainder(torch.from_numpy(a), torch.from_numpy(b)).numpy(), expected) <= 1


def test_quotients_of_integers_are_cut_off() -> None:
    a, b = Bounded(np.array([-7, 7, -7, 7, -6])), Bounded(np.array([2, 2, -2, -2, 2]))
    assert OPERATORS["Div"]().evaluate(a, b).value.tolist() == [-3, 3, 3, -3, -3]  # type: ignore[union-attr]


def test_mask_of_dropout_is_true() -> None:
    x = Bounded(np.array([1, 2], np.float32), np.array([0.5, 0.5]))
    outputs: Any = OPERATORS["Dropout"]().evaluate(x)
    y, mask = outputs
    assert y is x
    assert mask.value.tolist() == [True, True]
    assert not mask.bound.any()


def test_mask_of_dropout_is_either_where_the_standard_says_nothing() -> None:
    """onnxruntime returns 0 in opsets 7 to 11."""
    x = small.normal(4, 5)
    node = helper.make_node("Dropout", ["x"], ["y", "mask"])
    for opset, kind in ((9, TensorProto.FLOAT), (11, TensorProto.BOOL), (13, TensorProto.BOOL)):
        model = small.model([node], {"x": [4, 5]}, ["y", "mask"], opset=opset)
        model.graph.output[1].type.tensor_type.elem_type = kind
        values = small.computed(model, {"x": x})
        report = judge(read_onnx(model), values)
        assert [one.verdict for one in report.tensors] == ["equal", "equal"]
        values["mask"][0] = 1 - values["mask"][0]
        assert judge(read_onnx(model), values).verdict == "different"


@pytest.mark.parametrize(
    "example", [one for one in ALL_EXAMPLES if isinstance(one.operator, Elementwise)], ids=str
)
def test_scalars(example: Example) -> None:
    """Arrays without axes, of which NumPy makes numbers, with and without errors."""
    first = [None if a is None else np.asarray(a.ravel()[0]) for a in example.make(np.random.default_rng(0))]
    for off in (None, np.asarray(2.0**-20)):
        inputs = [None if a is None else Bounded(a, off if a.dtype == np.float32 else None) for a in first]
        try:
            made = example.operator.evaluate(*inputs)
        except Unjudged:
            continue
        assert all(one.shape == () for one in (made if isinstance(made, tuple) else (made,)))


def test_what_is_not_covered_is_said() -> None:
    x, n = Bounded(np.array([1.5], np.float32)), Bounded(np.array([2]))
    for kind, attributes, inputs, text in (
        ("Dropout", {}, (x, x, Bounded(np.array(True))), "Dropout in training mode"),
        ("Pow", {}, (n, x), "Pow of integers with an exponent that is negative or no integer"),
        ("Pow", {}, (n, -n), "Pow of integers with an exponent that is negative or no integer"),
        ("BitShift", {}, (n, n), "BitShift with direction ''"),
    ):
        with pytest.raises(Unjudged, match=f"^{text}$"):
            OPERATORS[kind](**attributes).evaluate(*inputs)
