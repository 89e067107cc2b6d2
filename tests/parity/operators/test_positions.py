"""Positions (indices, shapes, axes): nothing is judged where they are not known exactly, or do not exist."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from parity.arithmetic import Bounded
from parity.errors import Unjudged
from parity.judging.walk import MISFITS
from parity.operators import OPERATORS
from tests.parity.examples import EXAMPLES
from tests.parity.examples.example import Example
from tests.parity.operators import checks

END = " that was not recorded"
AN_INDEX, A_SHAPE, AXES, COMPARED = "an index", "a shape", "axes", "a value to be compared"
# Operator → what it calls those of its inputs.
POSITIONS: dict[str, set[str]] = {
    **{kind: {AN_INDEX} for kind in ("Gather", "GatherElements", "GatherND")},
    **{kind: {AN_INDEX} for kind in ("Scatter", "ScatterElements", "ScatterND")},
    **{kind: {A_SHAPE} for kind in ("CenterCropPad", "ConstantOfShape", "Expand", "Reshape")},
    **{f"Reduce{name}": {AXES} for name in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min")},
    **{f"Reduce{name}": {AXES} for name in ("Prod", "Sum", "SumSquare")},
    **{kind: {AXES} for kind in ("Squeeze", "Unsqueeze")},
    **{kind: {f"sequence_lens of {kind}"} for kind in ("GRU", "LSTM", "RNN")},
    "AffineGrid": {"size of AffineGrid"},
    "Attention": {"nonpad_kv_seqlen"},
    "Compress": {"a mask"},
    "CumSum": {"an axis"},
    "Dropout": {"ratio", "training_mode"},
    "Hardmax": {"Hardmax of a tensor"},
    "NonZero": {"a value to be tested against zero"},
    "OneHot": {AN_INDEX, "a depth"},
    "Pad": {AXES, "the widths of a Pad"},
    "Pow": {"an exponent"},
    "Range": {"an end of a range"},
    "Resize": {"roi of Resize", "scales of Resize", "sizes of Resize"},
    "ReverseSequence": {"the length of a sequence"},
    "RotaryEmbedding": {"position_ids of RotaryEmbedding"},
    "Slice": {"a start", "an end", AXES, "a step"},
    "Split": {"the lengths of a split"},
    "Tile": {"the repeats of a Tile"},
    "TopK": {"a number of values", COMPARED},
    "Trilu": {"a diagonal"},
    "Unique": {COMPARED},
    "Upsample": {"scales of Resize"},
}


@pytest.mark.parametrize("kind", OPERATORS)
def test_position_that_was_not_recorded_is_named(kind: str) -> None:
    refused = set()
    for example in (one for one in EXAMPLES if kind == one.operator.TYPE):
        arrays = checks.drawn(example, 0)
        for place, array in enumerate(arrays):
            if array is not None:
                inputs = checks.bounded(arrays)
                inputs[place] = Bounded(array, np.ones(array.shape))
                try:
                    example.operator.evaluate(*inputs)
                except Unjudged as error:
                    refused.add(str(error))
    assert refused == {what + END for what in POSITIONS.get(kind, set())}


# How many axes more than its first input has the operator may name, from the end and from the start.
ROOM = {"Flatten": (0, 1), "OneHot": (1, 1), "Unsqueeze": (1, 1)}
# The standard ignores the axis of one scale for all values, and where there is one axis.
AXES_OF = [
    one
    for one in EXAMPLES
    if ("axis" in vars(one.operator) or vars(one.operator).get("axes"))
    and one.operator.TYPE not in ("QuantizeLinear", "DequantizeLinear")
]


@pytest.mark.parametrize("example", AXES_OF, ids=str)
def test_an_axis_that_the_input_does_not_have_is_none(example: Example) -> None:
    arrays = checks.drawn(example, 0)
    assert arrays[0] is not None
    below, above = ROOM.get(example.operator.TYPE, (0, 0))
    for axis in (arrays[0].ndim + above, -arrays[0].ndim - below - 1):
        operator: Any = example.operator
        changed = {"axis": axis} if "axis" in vars(operator) else {"axes": (axis, *operator.axes[1:])}
        with pytest.raises((Unjudged, *MISFITS)):
            replace(operator, **changed).evaluate(*checks.bounded(arrays))


@pytest.mark.parametrize("axis", [2, -3])
def test_an_axis_that_does_not_exist_has_no_samples(axis: int) -> None:
    x, points = Bounded(np.ones((2, 3), np.float32)), (np.array([0]), np.array([0]))
    for operator, other in ((OPERATORS["Concat"], x), (OPERATORS["Gather"], Bounded(np.array([0])))):
        with pytest.raises(MISFITS):
            replace(operator(), axis=axis).sample(points, x, other)  # type: ignore[call-arg]


@pytest.mark.parametrize("kind", ["QuantizeLinear", "DequantizeLinear"])
@pytest.mark.parametrize("axis", [2, -3])
def test_scales_along_an_axis_that_does_not_exist_are_refused(axis: int, kind: str) -> None:
    x = np.ones((3, 3), np.float32 if kind == "QuantizeLinear" else np.uint8)
    operator = replace(OPERATORS[kind](), axis=axis)  # type: ignore[call-arg]
    for blocks, scales in ((0, (3,)), (3, (1, 3)), (3, (3, 1))):
        with pytest.raises(MISFITS):
            replace(operator, block_size=blocks).evaluate(  # type: ignore[call-arg]
                *checks.bounded([x, np.ones(scales, np.float32)])
            )
    for one, scale in ((x, np.ones((), np.float32)), (x[0], np.ones(3, np.float32))):
        operator.evaluate(*checks.bounded([one, scale]))  # of these the standard ignores the axis


@pytest.mark.parametrize("axis", [2, -3])
def test_an_axis_that_is_an_input_is_one_of_the_other_input(axis: int) -> None:
    for kind in ("CumSum", "ReduceSum"):
        with pytest.raises(MISFITS):
            OPERATORS[kind]().evaluate(*checks.bounded([np.ones((2, 3), np.float32), np.array([axis])]))
