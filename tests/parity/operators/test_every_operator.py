"""Every use of every operator in `examples`: its bound holds, is tight and carries errors.

A new operator needs examples alone to be tested here. `test_planted` breaks bounds and formulas and sees them
fail.
"""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity import onnx as reader
from parity.arithmetic.floats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format
from parity.operators import OPERATORS
from tests.parity.examples import EXAMPLES, Example
from tests.parity.operators import checks, one_node
from tests.parity.operators.shares import STATED, stated

BY_TYPE: dict[str, list[Example]] = {}
for _one in EXAMPLES:
    BY_TYPE.setdefault(_one.operator.TYPE, []).append(_one)
every = pytest.mark.parametrize("example", EXAMPLES, ids=str)
every_type = pytest.mark.parametrize("kind", BY_TYPE)
seeds = st.integers(0, 2**32 - 1)
exponents = st.floats(-1, 1)


def some(kind: str) -> st.SearchStrategy[Example]:
    """One use of an operator."""
    return st.sampled_from(BY_TYPE[kind])


def test_all_operators_have_examples() -> None:
    assert set(BY_TYPE) == set(OPERATORS)


# --- in every use, the same data each time ------------------------------------------------------


@every
def test_bound_holds_in_some_orders(example: Example) -> None:
    """And nothing overflows: the tests that leave that out do not leave these out."""
    for order, data in enumerate(("made", "zeros", "cancelling", "tiny")):
        assert checks.check_any_order(example, checks.drawn(example, 1, data), FLOAT32, order), data


@every
def test_plain_loop_is_within_the_bound(example: Example) -> None:
    checks.check_plain_loop(example, checks.drawn(example, 2))


@every
def test_bound_is_tight_and_holds_for_the_worst_roundings(example: Example) -> None:
    checks.check_reaches(example, stated)


@every
def test_errors_are_carried(example: Example) -> None:
    checks.check_carried(example, 1)


@every
def test_sample_is_the_whole_at_its_points(example: Example) -> None:
    checks.check_sampled(example, checks.drawn(example, 4), 4)


# --- in some uses of every operator, with data that hypothesis chooses ---------------------------


@every_type
@settings(max_examples=12)
@given(
    at=st.data(),
    seed=seeds,
    data=st.sampled_from(checks.KINDS),
    exponent=exponents,
    form=st.sampled_from([FLOAT32, FLOAT32, FLOAT64, FLOAT16, BFLOAT16]),
)
def test_bound_holds_in_any_order(
    kind: str, at: st.DataObject, seed: int, data: str, exponent: float, form: Format
) -> None:
    example = at.draw(some(kind))
    arrays = checks.drawn(example, seed, data, exponent, form)
    for order in range(2):
        checks.check_any_order(example, arrays, form, seed + order)


@every_type
@settings(max_examples=6)
@given(at=st.data(), seed=seeds, data=st.sampled_from(checks.KINDS), exponent=exponents)
def test_bound_holds_for_the_worst_roundings_of_any_data(
    kind: str, at: st.DataObject, seed: int, data: str, exponent: float
) -> None:
    example = at.draw(some(kind))
    checks.reached(example, checks.drawn(example, seed, data, exponent))


@every_type
@settings(max_examples=6)
@given(at=st.data(), seed=seeds, relative=st.sampled_from([2.0**-20, 2.0**-10, 0.3, 2.0]))
def test_errors_of_any_size_are_carried(kind: str, at: st.DataObject, seed: int, relative: float) -> None:
    checks.check_carried(at.draw(some(kind)), seed, relative)


@every_type
@settings(max_examples=6)
@given(at=st.data(), seed=seeds, data=st.sampled_from(checks.KINDS))
def test_sample_of_any_data_is_the_whole_at_its_points(
    kind: str, at: st.DataObject, seed: int, data: str
) -> None:
    example = at.draw(some(kind))
    checks.check_sampled(example, checks.drawn(example, seed, data), seed)


# --- the table of shares -----------------------------------------------------------------------


@pytest.mark.slow
def test_every_stated_share_is_of_some_bound() -> None:
    """An entry that no bound needs is to be removed."""
    needed = set()
    for example in EXAMPLES:
        for name in checks.bounds(example):
            needed.add(stated(f"{example} {name}"))
    assert {share for share, _ in STATED.values()} <= needed
    assert all(reason for _, reason in STATED.values())


# --- in onnxruntime, and in the standard --------------------------------------------------------


@every
def test_onnxruntime_is_right(example: Example) -> None:
    arrays = checks.drawn(example, 3)
    if reason := checks.no_kernel(example):
        with pytest.raises(Exception, match=reason):
            one_node.in_onnxruntime(example, arrays)
    else:
        checks.check_onnxruntime(example, arrays)


@pytest.mark.parametrize("example", [one for one in EXAMPLES if "." not in one.operator.TYPE], ids=str)
def test_outputs_are_those_of_the_standard(example: Example) -> None:
    arrays = checks.drawn(example, 3)
    count = len(checks.outputs(example.operator.evaluate(*checks.bounded(arrays))))
    schema = onnx.defs.get_schema(example.operator.TYPE, example.opset)
    assert schema.min_output <= count <= schema.max_output


@every
def test_node_is_read_as_this_operator(example: Example) -> None:
    arrays = checks.drawn(example, 3)
    count = len(checks.outputs(example.operator.evaluate(*checks.bounded(arrays))))
    model = one_node.model(example, arrays, count)
    (node,) = reader.read_onnx(model).nodes
    assert node.problem == ""
    right = example.operator.with_outputs(count)
    for name in vars(right):
        read, written = (np.asarray(getattr(one, name)) for one in (node.operator, right))
        if written.dtype.kind == "f":  # attributes are float32
            read, written = read.astype(np.float32), written.astype(np.float32)
        assert np.array_equal(read, written), name
