"""The numbers of ONNX's types are those of the standard."""

import pytest
from onnx import TensorProto, helper

from parity.operators.element_types import ELEMENT_TYPES, FLOAT, FLOAT8E8M0, NUMBERS, STRING, UINT8


@pytest.mark.slow
def test_types_are_those_of_the_standard() -> None:
    for number, kind in ELEMENT_TYPES.items():
        if number != STRING:  # text is no fixed type of NumPy's
            assert helper.tensor_dtype_to_np_dtype(number) == kind, number
            assert NUMBERS[kind] == helper.np_dtype_to_tensor_dtype(kind)
    named = (TensorProto.FLOAT, TensorProto.UINT8, TensorProto.STRING, TensorProto.FLOAT8E8M0)
    assert named == (FLOAT, UINT8, STRING, FLOAT8E8M0)
