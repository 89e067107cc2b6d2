"""The types of a tensor's values, by their numbers in the ONNX standard (`TensorProto.DataType`)."""

import ml_dtypes
import numpy as np

from parity.errors import Unjudged

FLOAT, UINT8, STRING, FLOAT8E8M0 = 1, 2, 8, 24
FLOATS_OF_8_BITS = (17, 18, 19, 20)

ELEMENT_TYPES = {
    number: np.dtype(kind)
    for number, kind in {
        1: np.float32,
        2: np.uint8,
        3: np.int8,
        4: np.uint16,
        5: np.int16,
        6: np.int32,
        7: np.int64,
        8: object,
        9: np.bool_,
        10: np.float16,
        11: np.float64,
        12: np.uint32,
        13: np.uint64,
        14: np.complex64,
        15: np.complex128,
        16: ml_dtypes.bfloat16,
        17: ml_dtypes.float8_e4m3fn,
        18: ml_dtypes.float8_e4m3fnuz,
        19: ml_dtypes.float8_e5m2,
        20: ml_dtypes.float8_e5m2fnuz,
        21: ml_dtypes.uint4,
        22: ml_dtypes.int4,
        23: ml_dtypes.float4_e2m1fn,
        24: ml_dtypes.float8_e8m0fnu,
        25: ml_dtypes.uint2,
        26: ml_dtypes.int2,
    }.items()
}
NUMBERS = {kind: number for number, kind in ELEMENT_TYPES.items()}


def element_type(number: int) -> np.dtype:
    """The NumPy type with this number.

    Raises:
        Unjudged: the number is not known.
    """
    if number not in ELEMENT_TYPES:
        raise Unjudged(f"values of type {number}")
    return ELEMENT_TYPES[number]
