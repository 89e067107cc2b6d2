"""Operators that move, select and create values: the same bits as ONNX's reference and as onnxruntime."""

from typing import Any

import numpy as np
import pytest

from parity.arithmetic import Bounded, Looped
from parity.arithmetic.floats import BFLOAT16, FLOAT16, FLOAT32
from parity.errors import Unjudged
from parity.operators import OPERATORS, Operator
from parity.operators.cast import Cast, CastLike, cast, type_of
from parity.operators.element_types import ELEMENT_TYPES, FLOAT8E8M0, FLOATS_OF_8_BITS
from parity.operators.select import Pad, ScatterElements
from parity.operators.shape import DepthToSpace, Flatten, Reshape, Shape, Slice, SpaceToDepth, Transpose
from tests.parity.examples.example import Example
from tests.parity.examples.shape import EXAMPLES
from tests.parity.operators import one_node

ADDING = ("add", "mul")
every = pytest.mark.parametrize("example", EXAMPLES, ids=str)
movers = pytest.mark.parametrize(
    "example",
    [
        one
        for one in EXAMPLES
        if one.data
        and one.node.get("reduction") not in ADDING
        and one.operator.TYPE not in ("Cast", "CastLike")
    ],
    ids=str,
)
REFUSED = {  # what the reference evaluator cannot do, by type
    "GatherElements": "indices that are fewer than the values on another axis",
    "Scatter": "deprecated, so that it has none",
    "Pad": "widths below zero",
}


@every
def test_reference_evaluator_agrees(example: Example) -> None:
    arrays = one_node.drawn(example)
    try:
        expected = one_node.in_reference(example, arrays)
    except (ValueError, RuntimeError):
        if example.operator.TYPE not in REFUSED:
            raise
        return
    for one, right in zip(one_node.outputs(example.operator, arrays), expected, strict=True):
        assert one.shape == right.shape
        if example.operator.TYPE == "OneHot":  # computed as off + hot · (on − off), which rounds three times
            assert (np.abs(right - one.value) <= 6 * FLOAT32.u * np.abs(arrays[2]).sum()).all()  # type: ignore[arg-type]
        elif one.error is None:
            np.testing.assert_array_equal(one.value, right, strict=one.value.dtype.kind != "f")
        else:
            assert (np.abs(right.astype(np.float64) - one.value) <= one.error).all()


@movers
def test_errors_move_as_values_do(example: Example) -> None:
    """An eighth of each value is an eighth of each result, and nothing where a zero is filled in."""
    arrays = one_node.drawn(example)
    assert example.data is not None
    errors = {k: np.abs(one.astype(np.float64)) / 8 for k in example.data if (one := arrays[k]) is not None}
    if example.operator.TYPE == "Range":
        return  # its ends must be known
    for y in one_node.outputs(example.operator, arrays, errors=errors):
        eighth = np.abs(y.value) / 8
        if y.error is None:
            assert y.value.dtype.kind in "iu"
        elif example.node.get("value"):  # a constant in an attribute is known
            np.testing.assert_array_equal(y.error, np.where(y.value == example.node["value"], 0, eighth))
        elif example.node.get("reduction") in ("max", "min"):
            assert (y.error >= eighth).all()
        else:
            np.testing.assert_array_equal(y.error, eighth)


@pytest.mark.parametrize(
    ("operator", "more"),
    [
        (Flatten(), ()),
        (Reshape(), (np.array([6, 20]),)),
        (Transpose(), ()),
        (Slice(), (np.array([1]), np.array([3]))),
        (OPERATORS["Squeeze"](), ()),
        (OPERATORS["Unsqueeze"](), (np.array([0]),)),
        (OPERATORS["Expand"](), (np.array([2, 1, 1, 1, 1]),)),
    ],
)
def test_views_copy_nothing(operator: Operator, more: tuple[np.ndarray, ...]) -> None:
    x = np.zeros((2, 3, 4, 5), np.float32)
    y = operator.evaluate(Bounded(x), *map(Bounded, more))
    assert isinstance(y, Bounded)
    assert np.shares_memory(y.value, x)


def test_backward_of_moves_undoes_them() -> None:
    rng = np.random.default_rng(0)
    x = Bounded(rng.standard_normal((2, 3, 4)))
    for operator, more in (
        (Flatten(), ()),
        (Transpose(perm=(2, 0, 1)), ()),
        (Reshape(), (Bounded(np.array([4, 6])),)),
    ):
        y = operator.evaluate(x, *more)
        back = operator.gradient(0, (x, *more), y, y)
        assert isinstance(back, Bounded)
        np.testing.assert_array_equal(back.value, x.value)


def test_positions_that_are_not_known() -> None:
    shape = Bounded(np.array([4, 6]), np.array([0.0, 1.0]))
    with pytest.raises(Unjudged, match="a shape that was not recorded"):
        Reshape().evaluate(Bounded(np.zeros(24)), shape)


def test_two_values_to_one_place() -> None:
    x, k, u = Bounded(np.zeros(3)), Bounded(np.array([1, 1])), Bounded(np.ones(2))
    with pytest.raises(Unjudged, match="left open"):
        ScatterElements().evaluate(x, k, u)


def test_scattered_sums_are_bounded_by_their_terms() -> None:
    """Three terms round twice; what no update lands on is exact."""
    x, u = np.array([1.0, 2.0, 3.0], np.float32), np.array([0.1, 0.2], np.float32)
    y = ScatterElements(reduction="add").evaluate(Bounded(x), Bounded(np.array([1, 1])), Bounded(u))
    assert isinstance(y, Bounded)
    assert y.bound[0] == y.bound[2] == 0
    size = 2 + float(u[0]) + float(u[1])
    assert 2 * FLOAT32.u * size < y.bound[1] < 2.001 * FLOAT32.u * size


def test_pad_refuses_what_it_does_not_know() -> None:
    with pytest.raises(Unjudged, match="Pad in mode"):
        Pad(mode="mirror").evaluate(Bounded(np.zeros((2, 2))), Bounded(np.zeros(4, np.int64)))


def test_cast_rounds_once_and_only_where_needed() -> None:
    x = np.array([1.0, 1.0 + 2.0**-12, 65504.0, 1e6, -1e6, 2.0**-26, np.nan], np.float32)
    y = cast(Bounded(x), FLOAT16.dtype)
    assert isinstance(y, Bounded)
    assert y.format is FLOAT16
    assert y.bound[0] == y.bound[2] == y.bound[3] == 0
    assert FLOAT16.u <= y.bound[1] < 1.01 * FLOAT16.u
    assert (y.value[3:5] == [np.inf, -np.inf]).all()
    assert y.bound[5] >= 2.0**-26
    found = FLOAT16.round(x).astype(np.float64)
    finite = np.isfinite(found)
    assert (np.abs(found[finite] - y.value[finite]) <= y.bound[finite]).all()


def test_cast_to_bfloat16_is_that_of_its_own_library() -> None:
    """onnxruntime returns no bfloat16 to NumPy."""
    x = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    y = cast(Bounded(x), BFLOAT16.dtype)
    assert isinstance(y, Bounded)
    found = x.astype(BFLOAT16.dtype)
    assert (np.abs(found.astype(np.float64) - y.value) <= y.bound).all()
    cut = (x.view(np.uint32) & 0xFFFF0000).view(np.float32)  # cut off instead of rounded
    assert not (np.abs(cut.astype(np.float64) - y.value) <= y.bound).all()


def test_cast_of_uncertain_values_to_integers() -> None:
    y = cast(Bounded(np.array([1.5, 1.99, -0.5, 0.2]), np.array([0.1, 0.1, 0.6, 0.0])), np.dtype(np.int32))
    assert isinstance(y, Bounded)
    np.testing.assert_array_equal(y.value, [1, 1, 0, 0])
    np.testing.assert_array_equal(y.bound, [0, 1, 1, 0])
    flag = cast(Bounded(np.array([0.0, 0.1, 1.0]), np.array([0.0, 0.2, 0.2])), np.dtype(bool))
    assert isinstance(flag, Bounded)
    np.testing.assert_array_equal(flag.bound, [0, 1, 0])


def test_cast_out_of_range_is_undefined() -> None:
    y = cast(Bounded(np.array([300.0, -1.0, np.nan, 255.0])), np.dtype(np.uint8))
    assert isinstance(y, Bounded)
    np.testing.assert_array_equal(np.isinf(y.bound), [True, True, True, False])


@pytest.mark.parametrize(
    ("mode", "saturate", "powers"),
    [
        ("up", 1, [2, 2, 127]),
        ("down", 1, [1, 1, 127]),
        ("nearest", 1, [1, 2, 127]),
        ("nearest", 0, [1, 2, None]),
    ],
)
def test_cast_to_powers_of_two_rounds_as_is_asked(
    mode: str, saturate: int, powers: list[float | None]
) -> None:
    x = Bounded(np.array([2.5, 3.5, 1.5 * 2.0**127], np.float32))
    y = Cast(FLOAT8E8M0, saturate, mode).evaluate(x)
    assert isinstance(y, Bounded)
    wanted = [np.nan if power is None else 2.0**power for power in powers]
    np.testing.assert_array_equal(y.value.astype(np.float64), wanted)


@pytest.mark.parametrize(("saturate", "largest"), [(1, 448), (0, np.nan)])
def test_cast_to_a_float_of_8_bits_saturates_if_asked(saturate: int, largest: float) -> None:
    y = Cast(FLOATS_OF_8_BITS[0], saturate).evaluate(Bounded(np.array([0.3, -1e9], np.float32)))
    assert isinstance(y, Bounded)
    np.testing.assert_array_equal(y.value.astype(np.float64), [0.3125, -largest])


def test_cast_to_text_is_unjudged() -> None:
    with pytest.raises(Unjudged, match="text"):
        Cast(8).evaluate(Bounded(np.zeros(2)))


def test_shape_arithmetic_stays_exact() -> None:
    """Shapes above 2^24, where float32 has no odd numbers."""
    big = np.array([2**24 + 1, 3], np.int64)
    for kind in (Bounded, Looped):
        product = kind(big).prod((0,))
        assert product.value.dtype == np.int64
        assert product.value.item() == 3 * (2**24 + 1)
        assert kind(big).sum((0,)).value.item() == 2**24 + 4


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_space_to_depth_undoes_depth_to_space(mode: str) -> None:
    x = Bounded(np.arange(48.0).reshape(1, 12, 2, 2))
    spread: Any = DepthToSpace(blocksize=2, mode=mode).evaluate(x)
    back: Any = SpaceToDepth(blocksize=2, mode=mode).evaluate(spread)
    np.testing.assert_array_equal(back.value, x.value)


def test_shape_of_a_scalar_is_made_of_integers() -> None:
    shape: Any = Shape().evaluate(Bounded(np.array(1.0)))
    assert shape.value.dtype == np.int64


def test_integers_of_four_bits_become_bytes_without_their_high_bits() -> None:
    few = np.array([-1, 7], "int4")
    y: Any = cast(Bounded(few), np.dtype(np.uint8))
    np.testing.assert_array_equal(y.value, [255, 7])
    assert y.error is None


@pytest.mark.parametrize(("x", "off", "error"), [(65515, 10, np.inf), (65540, 10, 0), (-65515, 10, np.inf)])
def test_overflow_of_a_cast_is_known_where_both_ends_overflow(x: float, off: float, error: float) -> None:
    y: Any = cast(Bounded(np.array([x], np.float32), np.array([off])), np.dtype(np.float16))
    assert y.bound == error


def test_type_of_what_is_computed_is_that_of_the_candidate() -> None:
    x = np.ones(2)
    assert type_of(Bounded(x, x, FLOAT16)) == np.float16
    assert type_of(Bounded(x, None, FLOAT16)) == np.float64
    assert type_of(Bounded(np.arange(2), x, FLOAT16)) == np.int64
    unit: Any = OPERATORS["EyeLike"]().evaluate(Bounded(np.ones((2, 3), np.float16)))
    assert unit.value.dtype == np.float16


def test_a_sample_of_a_cast_like_another_saturates_or_not_as_the_whole() -> None:
    x, like = (
        Bounded(np.array([1e6, 2.0], np.float32)),
        Bounded(np.zeros(1, ELEMENT_TYPES[FLOATS_OF_8_BITS[0]])),
    )
    for saturate in (0, 1):
        operator = CastLike(saturate=saturate)
        whole: Any = operator.evaluate(x, like)
        some: Any = operator.sample((np.array([1, 0]),), x, like)
        np.testing.assert_array_equal(some.value.astype(float), whole.value[[1, 0]].astype(float))
