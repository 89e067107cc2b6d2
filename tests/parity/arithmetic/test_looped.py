"""Each operation of `Looped` against a plain loop in scalars of the format."""

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add, mul
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.arithmetic import Function, Looped
from parity.arithmetic.floats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format, gamma
from parity.arithmetic.number import Number, largest
from parity.arithmetic.plain_loop import Order, watched

formats = pytest.mark.parametrize("form", [FLOAT32, FLOAT64, FLOAT16, BFLOAT16], ids=lambda form: form.name)
seeds = st.integers(0, 2**32 - 1)
CUBE = Function("cube", lambda x: x**3, ulps=1.5, monotone=True)
LARGER = Function("larger", np.maximum, exact=True)


def loop_dot(a: Sequence[Any], b: Sequence[Any], bias: Any = None) -> Any:
    """In scalars of the format, which round each operation."""
    total = a[0] * b[0]
    for x, y in zip(a[1:], b[1:], strict=True):
        total = total + x * y
    return total if bias is None else total + bias


@formats
@given(seed=seeds, n=st.integers(1, 12))
def test_looped_dot_and_sum_are_plain_loops(form: Format, seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    a, b, c = (form.round(rng.standard_normal(s) * 3) for s in ((2, 1, 3, n), (2, n, 2), (2,)))
    dot = Looped(a, form).dot(Looped(b, form), Looped(c, form)).value
    assert dot.dtype == form.dtype
    assert dot.shape == (2, 2, 3, 2)
    for i, j, row, column in np.ndindex(*dot.shape):
        one = loop_dot(list(a[i, 0, row]), list(b[j, :, column]), c[column])
        assert one.dtype == form.dtype
        assert dot[i, j, row, column] == one
    total = Looped(b, form).sum((1,)).value
    assert total.dtype == form.dtype
    for i, column in np.ndindex(2, 2):
        assert total[i, 0, column] == loop_dot(list(b[i, :, column]), [form.dtype.type(1)] * n)


@formats
@pytest.mark.parametrize(
    ("n", "rows", "columns"), [(300, 1, 1), (300, 1, 2), (300, 2, 1), (40, 100, 100), (5, 300, 300)]
)
def test_looped_dot_is_a_plain_loop_of_any_size(form: Format, n: int, rows: int, columns: int) -> None:
    """To the bit: NumPy adds up in pairs where it can, which must not happen here."""
    rng = np.random.default_rng([n, rows, columns])
    a, b = (form.round(rng.standard_normal(shape)) for shape in ((rows, n), (n, columns)))
    total = a[:, :1] * b[:1]
    for k in range(1, n):
        total = total + a[:, k : k + 1] * b[k : k + 1]
    np.testing.assert_array_equal(Looped(a, form).dot(Looped(b, form)).value, total)


@formats
@given(seed=seeds)
def test_looped_rounds_each_operation_once(form: Format, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (form.round(rng.standard_normal(5) * 3) for _ in range(2))
    x, y = Looped(a, form), Looped(b, form)
    with np.errstate(all="ignore"):
        for found, values in (
            (x + y, [p + q for p, q in zip(a, b, strict=True)]),
            (x - y, [p - q for p, q in zip(a, b, strict=True)]),
            (x * y, [p * q for p, q in zip(a, b, strict=True)]),
            (x / y, [p / q for p, q in zip(a, b, strict=True)]),
            (x * 0.1, [p * form.dtype.type(0.1) for p in a]),
            (x.divided(3), [p / form.dtype.type(3) for p in a]),
            (x.maximum(y), [max(p, q) for p, q in zip(a, b, strict=True)]),
            (x.minimum(0.0), [min(p, form.dtype.type(0)) for p in a]),
        ):
            assert found.value.dtype == form.dtype
            assert found.value.tolist() == [float(one) for one in values]


def test_looped_casts_its_operands_to_the_format() -> None:
    a = Looped(np.array([1.1, 2.2]), FLOAT16)
    assert (a + 1.0).value.dtype == np.float16
    assert a.wide().value.tolist() == np.array([1.1, 2.2], np.float16).tolist()
    assert a.reshape(1, 2).dot(a.reshape(2, 1)).value.dtype == np.float16
    assert (Looped(np.ones(1, np.float16)) * 0.1).value.tolist() == [np.float32(0.1)]


def test_looped_function_is_off_by_its_accuracy() -> None:
    """No more than what is stated and one rounding, no less than half of it for some."""
    x = np.linspace(1, 2, 1000).astype(np.float32)
    y = Looped(x).apply(CUBE).value.astype(np.float64)
    true = x.astype(np.float64) ** 3
    relative = np.abs(y - true) / true / FLOAT32.u
    assert 1.5 <= relative.max() <= 2 * CUBE.ulps + 1


def test_what_every_arithmetic_inherits() -> None:
    """Formulas from other operations: reflected ones, scale and shift, products and sums one by one."""
    rng = np.random.default_rng(0)
    value = rng.standard_normal((3, 4, 2)).astype(np.float32)
    x = Looped(value)
    np.testing.assert_array_equal((2.0 + x).value, np.float32(2) + value)
    np.testing.assert_array_equal((2.0 - x).value, np.float32(2) - value)
    np.testing.assert_array_equal((2.1 * x).value, np.float32(2.1) * value)
    np.testing.assert_array_equal(x.minimum(0.5).value, np.minimum(value, 0.5))
    np.testing.assert_array_equal(Number.min(x, (1,)).value, value.min(1, keepdims=True))
    found = Number.cumsum(x, -2).value
    np.testing.assert_array_equal(found[:, 0], value[:, 0])
    np.testing.assert_array_equal(found[:, 2], (value[:, 0] + value[:, 1]) + value[:, 2])
    assert found.shape == value.shape
    assert Number.cumsum(Looped(value[:0]), 0).shape == (0, 4, 2)
    found = Number.prod(x, (0, 2)).value
    assert found.shape == (1, 4, 1)
    one = value[0, 1, 0]
    for k in range(1, 6):
        one = one * value[k // 2, 1, k % 2]
    assert found[0, 1, 0] == one
    c, s, b = (Looped(part) for part in rng.standard_normal((3, 3, 4, 2)).astype(np.float32))
    np.testing.assert_array_equal(x.affine(c, s, None).value, value * s.value - c.value * s.value)
    np.testing.assert_array_equal(x.affine(c, s, b).value, value * s.value + (b.value - c.value * s.value))
    assert x.mean((1, 2)).shape == (3, 1, 1)
    exact, sizes = (one.astype(float).mean((1, 2), keepdims=True) for one in (value, np.abs(value)))
    assert (np.abs(x.mean((1, 2)).value - exact) <= gamma(8, FLOAT32.u) * sizes).all()  # 7 sums, a division


@pytest.mark.parametrize("axes", [(1,), (2, 3), (0, 2), (-1,)])
@pytest.mark.parametrize("shape", [(5, 3, 4, 6), (9, 2, 2, 7), (1, 1, 1, 3), (2, 70, 3, 3)])
def test_largest_over_few_values_and_many(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    a = np.random.default_rng(0).standard_normal(shape)
    kept = a.copy()
    np.testing.assert_array_equal(largest(a, axes), a.max(axis=axes, keepdims=True))
    np.testing.assert_array_equal(a, kept)


@formats
@pytest.mark.parametrize("order", ["forwards", "backwards"])
@given(seed=seeds)
def test_sums_and_products_go_one_way(form: Format, order: Order, seed: int) -> None:
    """Over several axes, the last one fastest; a bias is the last term."""
    rng, step = np.random.default_rng(seed), -1 if order == "backwards" else 1
    value = form.round(1 + rng.random((3, 2, 4)))
    x = Looped(value, form, order)
    places = list(np.ndindex(3, 4))[::step]
    for k in range(2):
        terms = [value[i, k, j] for i, j in places]
        assert x.sum((0, 2)).value[0, k, 0] == reduce(add, terms)
        assert x.prod((0, 2)).value[0, k, 0] == reduce(mul, terms)
    a, b, bias = (form.round(rng.standard_normal(shape)) for shape in ((2, 5), (5, 3), (2, 1)))
    rows = Looped(a, form, order)
    found = rows.dot(Looped(b, form), Looped(bias, form))
    assert (found.order, found.format) == (order, form)
    for i, j in np.ndindex(2, 3):
        products = [a[i, k] * b[k, j] for k in range(5)]
        terms = [bias[i, 0], *products[::-1]] if step < 0 else [*products, bias[i, 0]]
        assert found.value[i, j] == reduce(add, terms)
    row, column = Looped(bias[:, 0], form).reshape(1, 2), Looped(b, form, order).transpose(1, 0)
    across = column.dot(Looped(a, form).transpose(1, 0), row).value
    assert across.tolist() == found.value.T.tolist()
    assert rows.dot(Looped(b, form)).value[1, 2] == loop_dot(list(a[1, ::step]), list(b[::step, 2]))


@formats
def test_running_sums_ends_and_constants_are_in_the_format(form: Format) -> None:
    value = form.round(np.random.default_rng(0).standard_normal((2, 5)))
    x = Looped(value.astype(np.float64), form)
    assert (x.cumsum(1).value[:, 4] == x.sum((1,)).value[:, 0]).all()
    assert x.cumsum(1).value.dtype == x.min((1,)).value.astype(form.dtype).dtype == form.dtype
    assert (x.cumsum(0).value[1] == value[0] + value[1]).all()
    assert (x.min((1,)).value == value.min(1, keepdims=True)).all()
    assert x.like(0.1).value == form.round(np.array(0.1))
    assert x.like(0.1, plain=np.array(0.2)).value == form.round(np.array(0.2))
    assert x.like(0.1).value.dtype == form.dtype
    assert (3.0 / x).value.tolist() == (form.dtype.type(3) / value).tolist()
    no_products = x.move(lambda a: a[:, :0]).dot(Looped(np.zeros((3, 0, 4)), form)).value
    assert no_products.shape == (3, 2, 4)
    assert no_products.dtype == form.dtype
    assert not no_products.any()
    no_products = x.move(lambda a: np.zeros((3, 2, 0))).dot(Looped(np.zeros((0, 4)), form)).value
    assert no_products.shape == (3, 2, 4)
    nothing = x.move(lambda a: a[:0])
    assert nothing.sum((0,)).value.tolist() == [[0] * 5]
    assert nothing.prod((0,)).value.tolist() == [[1] * 5]
    assert x.either(x + 1.0).value.tolist() == (value + form.dtype.type(1)).tolist()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.bool_])
def test_integers_and_truth_values_stay_what_they_are(dtype: type) -> None:
    value: np.ndarray = np.array([[3, 0, 7], [5, 1, 2]]).astype(dtype)
    x, counts = Looped(value), np.int64 if dtype is np.bool_ else dtype
    for found, expected in (
        (x.wide(), value),
        (x.sum((1,)), value.sum(1, keepdims=True, dtype=counts)),
        (x.cumsum(1), value.cumsum(1, dtype=counts)),
        (x.min((0,)), value.min(0, keepdims=True)),
        (x.maximum(Looped(value[::-1])), np.maximum(value, value[::-1])),
        (x * Looped(value), value * value),
        (x.dot(x.transpose(1, 0)), value @ value.T),
        (x.dot(x.transpose(1, 0), Looped(value[:, :1])), (value @ value.T) + value[:, :1]),
        (x.apply(LARGER, Looped(value[::-1])), np.maximum(value, value[::-1])),
    ):
        assert found.value.dtype == expected.dtype
        assert found.value.tolist() == expected.tolist()
    if dtype is not np.bool_:
        assert (x + 3).value.dtype == x.apply(LARGER, 3).value.dtype == dtype
        assert x.prod((1,)).value.tolist() == [[0], [10]]
    for float_too in (x * Looped(np.full((2, 3), 0.5)), Looped(np.full((2, 3), 0.5)) * x):
        assert float_too.value.tolist() == (value * np.float32(0.5)).tolist()
        assert float_too.value.dtype == np.float32
    assert x.dot(Looped(np.full((3, 1), 0.5))).value.dtype == np.float32
    assert Looped(np.full((1, 2), 0.5)).dot(x).value.dtype == np.float32


def test_exact_functions_see_numbers_of_the_format() -> None:
    """And constants as well: 2^24 + 1 is not one."""
    same = Function("equal", np.equal, exact=True)
    assert Looped(np.array([0.1])).apply(same, 0.1).value.tolist() == [True]
    assert Looped(np.array([0.1], np.float16)).apply(same, 0.1).value.tolist() == [False]
    assert Looped(np.array([2.0**24])).apply(same, 2**24 + 1).value.tolist() == [True]
    assert Looped(np.array([2**24])).apply(same, 2**24 + 1).value.tolist() == [False]
    assert Looped(np.array(["a", "b"])).apply(same, Looped(np.array("b"))).value.tolist() == [False, True]
    assert Looped(np.array([0.1])).apply(LARGER, 0.0).value.dtype == np.float32


@pytest.mark.parametrize("ulps", [0.5, 1.5, 4])
@pytest.mark.parametrize("floor", [0, 3])
@pytest.mark.parametrize("form", [FLOAT16, BFLOAT16], ids=lambda form: form.name)
def test_a_function_is_off_by_all_that_is_allowed_and_no_more(
    form: Format, ulps: float, floor: float
) -> None:
    """With its last rounding, upwards and downwards, and the same each time."""
    x = np.unique(form.round(np.linspace(0.25, 1, 2000)))
    parts = []
    for factor in np.linspace(1, 2, 20):
        function = Function("times", lambda v, f=factor: v * f, ulps=ulps, floor=floor)
        found = Looped(x, form).apply(function).value
        true = factor * x.astype(np.float64)
        parts.append((found.astype(np.float64) - true) / ((2 * ulps * true + floor) * form.u))
        assert found.tolist() == Looped(x, form).apply(function).value.tolist()
    part = np.concatenate(parts)
    assert 0.97 < part.max() <= 1 + 1e-9
    assert -0.97 > part.min() >= -1 - 1e-9


def test_a_list_is_kept_of_what_a_loop_has_met() -> None:
    big, one = Looped(np.array([3e38], np.float32)), Looped(np.array([1.0], np.float32))
    with watched() as outer:
        with watched() as inner:
            assert one + one
            assert not inner
            assert (big + big) * 2.0
            assert inner == [True]  # once
        assert not outer
        assert big * -2.0
        assert outer == [True]
    assert big + big
    assert inner == outer == [True]
    with watched() as met:
        Looped(np.array([1, 2])).apply(Function("infinite", lambda x: x / 0.0 > 1, exact=True))
        one.move(lambda a: a[:0])
        assert not met
        one.move(lambda a: np.concatenate([a, a * np.nan]))
        assert met


NOISY: dict[str, Callable[[Looped], Looped]] = {
    "sum": lambda a: a.sum((0,)),
    "prod": lambda a: a.prod((0,)),
    "long prod": lambda a: Looped(np.tile(a.value, (9, 1))).prod((0,)),
    "cumsum": lambda a: a.cumsum(0),
    "dot": lambda a: a.transpose(1, 0).dot(a),
    "dot of ones": lambda a: a.transpose(1, 0).dot(a.move(np.ones_like)),
    "+": lambda a: a + a,
    "/": lambda a: a / (a - a),
    "exp": lambda a: a.apply(Function("exp", np.exp)),
    "exact": lambda a: a.apply(Function("root", np.sqrt, exact=True)),
    "float16": lambda a: Looped(a.value, FLOAT16).wide(),
    "bfloat16": lambda a: Looped(a.value, BFLOAT16).wide(),
}


@pytest.mark.parametrize("operation", NOISY)
def test_a_loop_that_leaves_its_format_warns_nobody(operation: str) -> None:
    x = np.array([[3e38], [3e38], [-1e-38], [1e-38], [-np.inf], [np.inf], [np.nan]], np.float32)
    with np.errstate(over="raise", invalid="raise", divide="raise"):  # of which NumPy warns
        for some in (x, x[:5], x[:4], x[2:4], x[:2]):
            NOISY[operation](Looped(some))
