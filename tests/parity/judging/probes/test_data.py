"""The probes' data are what they claim: no sum of the integers rounds, single products are single."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from parity.arithmetic import Looped
from parity.arithmetic.floats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, TF32, Format
from parity.arithmetic.plain_loop import ORDERS
from parity.judging.probes import integer_data, single_products
from parity.judging.probes.integer_data import PRODUCTS, SUMS, WHOLE
from parity.judging.probes.operand import POOL, NoProbe, Operand, Probe, pooled, required
from parity.operators.affine import Conv, ConvTranspose, Gemm, MatMul
from parity.operators.normalization import BatchNormalization
from parity.operators.operator import Operator
from parity.operators.pooling import AveragePool
from parity.operators.quantization import MatMulInteger
from parity.operators.reduction import ReduceMean
from tests.parity.examples.example import Example
from tests.parity.judging.probes.one_example import examples, operands, shape_only
from tests.parity.operators.one_node import outputs

SUMMED = examples(*PRODUCTS, *SUMS)


def integers(operator: Operator, given: list[Operand | None]) -> Probe:
    return integer_data.probe(operator, given, np.random.default_rng(0))


def singles(operator: Operator, given: list[Operand | None]) -> Probe:
    return single_products.probe(operator, given, np.random.default_rng(0))


@pytest.mark.parametrize("form", [FLOAT32, FLOAT16, BFLOAT16, TF32], ids=lambda form: form.name)
def test_no_sum_of_the_integers_rounds_in_any_format(form: Format) -> None:
    applied = 0
    for example in SUMMED:
        try:
            probe = integers(example.operator, operands(example))
        except NoProbe:
            continue
        applied += 1
        (right,) = outputs(example.operator, probe.inputs)
        for order in ORDERS:
            loops = [None if a is None else Looped(a, form, order) for a in probe.inputs]
            found = example.operator.evaluate(*loops)
            assert isinstance(found, Looped)
            assert np.array_equal(found.value.astype(np.float64), right.value), str(example)
    assert applied > 30


@pytest.mark.parametrize("n", [9, 400, 2304, 28672])
def test_integers_fit_whatever_the_number_of_products(n: int) -> None:
    probe = integers(MatMul(), shape_only(MatMul(), (8, n), (n, 16)))
    a, b = probe.inputs
    assert a is not None
    assert b is not None
    assert (np.abs(a) @ np.abs(b)).max() <= 256
    assert np.count_nonzero(a @ b) > 100  # there is something to see
    assert np.count_nonzero(np.abs(a).sum(0) * np.abs(b).sum(1)) > min(n, 250) / 3  # in many places


def test_integers_of_a_divisor_that_rounds_are_refused() -> None:
    three, two = (AveragePool(kernel_shape=(k, k)) for k in (3, 2))
    given = shape_only(three, (1, 2, 8, 8))
    with pytest.raises(NoProbe, match="division by 9"):
        integers(three, given)
    assert integers(two, given).grid == 0.25
    with pytest.raises(NoProbe, match="every sum rounds"):
        integers(Gemm(alpha=float(np.float32(0.1))), shape_only(Gemm(), (4, 5), (5, 6)))


def test_a_mean_over_the_last_axis_is_divided_by_its_size() -> None:
    axes = Operand((1,), np.dtype(np.int64), np.array([-1]), constant=True)
    given = [*shape_only(ReduceMean(), (2, 3, 4)), axes]
    assert integers(ReduceMean(), given).grid == 0.25


def test_what_an_operator_does_not_have_is_no_float() -> None:
    with pytest.raises(NoProbe, match="no floating-point numbers"):
        required([], 0)


def test_integers_of_8_bits_take_every_value() -> None:
    given: list[Operand | None] = [Operand((50, 100), np.dtype(kind)) for kind in ("uint8", "int8")]
    for one in integers(MatMulInteger(), given).inputs:
        assert one is not None
        assert np.unique(one).size == 256


@pytest.mark.parametrize("kind", WHOLE)
def test_operators_of_integers_get_all_values_of_their_type(kind: str) -> None:
    for example in examples(kind):
        x = integers(example.operator, operands(example)).inputs[0]
        assert x is not None
        limits = np.iinfo(x.dtype)
        assert x.min() < limits.min + 60
        assert x.max() > limits.max - 60


@pytest.mark.parametrize("example", examples(*PRODUCTS, "ReduceSum"), ids=str)
def test_no_sum_has_more_than_one_product(example: Example) -> None:
    given, operator = operands(example), example.operator
    if not any(one is not None and one.is_float for one in given):
        return
    probe = singles(operator, given)
    marks = [a if a is None or a.dtype.kind != "f" else (a != 0).astype(a.dtype) for a in probe.inputs[:2]]
    if isinstance(operator, Gemm):
        operator = replace(operator, alpha=1.0, beta=1.0)
    assert outputs(operator, marks)[0].value.max() == 1


class Doubled(MatMul):
    """Each sum has every product twice."""

    def evaluate(self, *inputs: Any) -> Any:
        found: Any = super().evaluate(*inputs)
        return found + found


def test_sums_that_have_a_product_twice_are_refused() -> None:
    with pytest.raises(NoProbe, match=r"^its sums cannot be made of one product each$"):
        singles(Doubled(), shape_only(Doubled(), (4, 5), (5, 6)))


@pytest.mark.parametrize("example", examples("AveragePool", "GlobalAveragePool", "ReduceMean"), ids=str)
def test_no_mean_has_more_than_one_value(example: Example) -> None:
    """Each result, times a whole divisor, is the mark of one value."""
    given = operands(example)
    probe = singles(example.operator, given)
    x = probe.inputs[0]
    assert x is not None
    marks = np.where(x != 0, 1 + np.random.default_rng(0).random(x.shape), 0)
    (found,) = outputs(example.operator, [marks, *probe.inputs[1:]], FLOAT64)
    values, sizes = found.value[found.value != 0], np.arange(1, x.size + 1)
    products = values[:, None] * sizes
    single = np.abs(products[..., None] - np.unique(marks[marks != 0])).min(-1).min(-1)
    assert (single < 1e-12).all()


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_factors_have_all_digits(dtype: str) -> None:
    x = single_products.full(Operand((1000,), np.dtype(dtype)), np.random.default_rng(0))
    digits = np.finfo(dtype).nmant + 1
    mantissas = np.ldexp(np.abs(x).astype(np.float64), digits - 1)
    assert x.dtype == dtype
    assert np.array_equal(mantissas, np.rint(mantissas))
    assert (mantissas % 2 == 1).all()  # the last digit is set: any shorter format loses it
    assert ((np.abs(x) > 1) & (np.abs(x) < 2)).all()
    assert 400 < (x > 0).sum() < 600


def test_sites_of_a_convolution_cover_its_channels_and_taps() -> None:
    conv = Conv(pads=(1, 1, 1, 1))
    x, w, *_ = singles(conv, shape_only(conv, (2, 8, 30, 30), (4, 8, 3, 3))).inputs
    assert x is not None
    assert (x != 0).any((0, 2, 3)).all()  # all channels
    assert np.count_nonzero(x) == 2 * 10 * 10
    assert w is not None
    assert (w != 0).all()


def test_sites_of_a_transposed_convolution_are_as_near_as_its_windows_allow() -> None:
    for stride, apart in ((1, 5), (2, 3), (3, 2)):  # windows of 5
        conv = ConvTranspose(dilations=(2, 2), strides=(stride, stride))
        x, *_ = singles(conv, shape_only(conv, (1, 2, 30, 30), (2, 4, 3, 3))).inputs
        assert x is not None
        assert np.count_nonzero(x) == (30 // apart) ** 2


def test_every_fourth_number_is_small_where_the_format_has_digits_for_it() -> None:
    for dtype, share in (("float32", 0.25), ("float16", 0)):
        given: list[Operand | None] = [Operand(shape, np.dtype(dtype)) for shape in ((1000, 5), (5, 6))]
        a = singles(MatMul(), given).inputs[0]
        assert a is not None
        numbers = np.abs(a[a != 0])
        assert numbers.size == 1000
        assert abs(np.mean(numbers < 2.0**-16) - share) < 0.05
        assert np.mean(numbers < 1) == np.mean(numbers < 2.0**-16)


@pytest.mark.parametrize("epsilon", [0.0, 1e-12, 1e-6, 1e-5, 1e-3, 0.01, 0.1, 0.5])
def test_variance_and_epsilon_are_a_power_of_four(epsilon: float) -> None:
    stored = np.float32(epsilon)
    norm = BatchNormalization(epsilon=float(stored))
    given = shape_only(norm, (2, 3, 4, 4), (3,), (3,), (3,), (3,))
    variance, deviation = integer_data.square_variance(norm, given)
    assert variance.dtype == np.float32
    assert (variance > 0).all()
    assert np.array_equal(variance + stored, np.full(3, deviation**2, np.float32))
    assert np.frexp(deviation)[0] == 0.5


def test_large_arrays_repeat_a_pool() -> None:
    rng = np.random.default_rng(0)
    large = pooled((3, POOL), lambda count: rng.random(count))
    assert large.shape == (3, POOL)
    assert np.array_equal(large[0], large[1])
    assert pooled((2, 3), lambda count: np.arange(count)).tolist() == [[0, 1, 2], [3, 4, 5]]
