"""Each operation of `Looped` against a plain loop in scalars of the format."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.arithmetic import Function, Looped
from parity.arithmetic.floats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format, gamma
from parity.arithmetic.number import Number, largest

formats = pytest.mark.parametrize("form", [FLOAT32, FLOAT64, FLOAT16, BFLOAT16], ids=lambda form: form.name)
seeds = st.integers(0, 2**32 - 1)
CUBE = Function("cube", lambda x: x**3, ulps=1.5, monotone=True)


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
