"""Uses of operators that move, select and create values, and of changes of type."""

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper

from parity.operators import OPERATORS
from tests.parity.examples.example import Example, Make

Part = tuple[int, ...] | np.ndarray | list[Any] | None  # the shape of random floats, or fixed values


def _inputs(*parts: Part) -> Make:
    def make(rng: np.random.Generator) -> list[np.ndarray | None]:
        return [
            np.array(rng.standard_normal(part), np.float32)
            if isinstance(part, tuple)
            else None
            if part is None
            else np.asarray(part)
            for part in parts
        ]

    return make


def _use(kind: str, *parts: Part, opset: int = 22, **attributes: Any) -> Example:
    """An operator with attributes; lists become int64, tuples are shapes of random floats."""
    data = tuple(k for k, part in enumerate(parts) if isinstance(part, tuple))
    return Example(OPERATORS[kind](**attributes), attributes, _inputs(*parts), opset, data)


def _cast(to: int, make: Callable[[np.random.Generator], np.ndarray]) -> Example:
    return Example(OPERATORS["Cast"](to=to), {"to": to}, lambda rng: [make(rng)])  # type: ignore[call-arg]


def _constant_of_shape() -> Example:
    value = np.array([7], np.int64)
    node = {"value": numpy_helper.from_array(value)}
    return Example(OPERATORS["ConstantOfShape"](value=value), node, _inputs([2, 3]))  # type: ignore[call-arg]


def floats(rng: np.random.Generator) -> np.ndarray:
    """Normally distributed, of several magnitudes."""
    return (rng.standard_normal((4, 9)) * 10.0 ** rng.integers(-3, 2, (4, 9))).astype(np.float32)


def scalar(x: float, dtype: type = np.float32) -> np.ndarray:
    """A tensor without axes."""
    return np.array(x, dtype)


EXAMPLES = [
    _use("Reshape", (2, 3, 4), [0, -1]),
    _use("Reshape", (2, 0, 4), [4, 0], allowzero=1),
    _use("Flatten", (2, 3, 4, 5)),
    _use("Flatten", (2, 3, 4), axis=-1),
    _use("Flatten", (2, 3), axis=0),
    _use("Flatten", (2, 3, 2), axis=-1),
    _use("Transpose", (2, 3, 4)),
    _use("Transpose", (2, 3, 4), perm=(1, 2, 0)),
    _use("Squeeze", (1, 3, 1, 2), [-2]),
    _use("Squeeze", (1, 3, 1)),
    _use("Squeeze", (1, 3, 1), opset=11, axes=(0,)),
    _use("Unsqueeze", (3, 2), [0, -1]),
    _use("Unsqueeze", (3, 2), opset=11, axes=(1,)),
    _use("Expand", (3, 1), [2, 1, 4]),
    _use("Slice", (5, 6, 7), [1, -2, 9], [4, -99, 0], [0, 1, 2], [2, -1, -3]),
    _use("Slice", (5, 6), [0, 1], [99, -1]),
    _use("Slice", (5, 6), opset=9, starts=(1,), ends=(-1,), axes=(1,)),
    _use("Concat", (2, 3), (2, 1), (2, 4), axis=-1),
    _use("Split", (2, 7), [2, 5], axis=1),
    _use("Split", (2, 7), axis=1, num_outputs=3),
    _use("Tile", (2, 3), [2, 2]),
    _use("DepthToSpace", (1, 8, 2, 3), blocksize=2),
    _use("DepthToSpace", (1, 8, 2, 3), blocksize=2, mode="CRD"),
    _use("SpaceToDepth", (2, 1, 4, 6), blocksize=2),
    _use("Shape", (2, 3, 4)),
    _use("Shape", (2, 3, 4), start=-2, end=2),
    _use("Size", (2, 3)),
    _use("Gather", (4, 3, 2), [[2, -1], [0, 0]], axis=1),
    _use("Gather", (4, 3), scalar(2, np.int64)),
    _use("GatherElements", (3, 4), [[0, -1], [1, 2]], axis=1),
    _use("GatherND", (2, 3, 4), [[[0], [-1]], [[2], [1]]], batch_dims=1),
    _use("GatherND", (2, 3, 4), [[0, 1], [-1, 2]]),
    _use("ScatterElements", (3, 4), [[1, 0, 2], [0, -1, 1]], (2, 3), axis=1),
    _use("ScatterElements", (3, 4), [[1, 1, 2], [0, 0, 0]], (2, 3), axis=1, reduction="add"),
    _use("ScatterElements", (3, 4), [[1, 1, 2], [0, 0, 0]], (2, 3), axis=1, reduction="mul"),
    _use("ScatterElements", (3, 4), [[1, 1, 2], [0, 0, 0]], (2, 3), axis=1, reduction="max"),
    _use("ScatterElements", (3, 4), [[1, 1, 2], [0, 0, 0]], (2, 3), axis=1, reduction="min"),
    _use("Scatter", (3, 4), [[1, 0, 2], [0, 2, 1]], (2, 3), opset=9, axis=0),
    _use("ScatterND", (4, 3), [[1], [-1]], (2, 3)),
    _use("ScatterND", (4, 3), [[1, 2], [1, 2], [0, 0]], (3,), reduction="add"),
    _use("Pad", (2, 3), [1, 0, 0, 2]),
    _use("Pad", (2, 3), [1, 2], (), [-1]),
    _use("Pad", (3, 4), [2, 1, 1, 3], mode="reflect"),
    _use("Pad", (3, 4), [2, 1, 1, 3], mode="edge"),
    _use("Pad", (3, 4), [2, 1, 1, 3], mode="wrap"),
    _use("Pad", (3, 4), [-1, 1, 2, -2]),
    _use("Pad", (2, 3), opset=10, pads=(1, 0, 0, 2), value=2.5),
    _use("CenterCropPad", (5, 4), [2, 7]),
    _use("ReverseSequence", (4, 3), [1, 2, 4]),
    _use("ReverseSequence", (3, 4), [1, 2, 4], batch_axis=0, time_axis=1),
    _use("Trilu", (2, 3, 4), scalar(-1, np.int64), upper=0),
    _use("Trilu", (3, 3)),
    _use("Compress", (3, 4), [False, True, True], axis=0),
    _use("Compress", (2, 3), [True, False, True, True]),
    _use("OneHot", [1, 0, -2], scalar(4, np.int64), (2,)),
    _use("OneHot", [[1, 9], [0, 2]], scalar(3, np.int64), (2,), axis=1),
    _use("NonZero", np.array([[1, 0], [0, 2]], np.float32)),
    _use("Unique", np.array([2, 1, 1, 3, 4, 3], np.float32)),
    _use("Unique", np.array([2, 1, 1, 3, 4, 3], np.float32), sorted=0),
    _use("Unique", np.array([[1, 0, 0], [1, 0, 0], [2, 3, 4]], np.float32), axis=0),
    _constant_of_shape(),
    _use("EyeLike", (3, 4), k=1, dtype=TensorProto.INT32),
    _use("Range", scalar(3, np.int64), scalar(-5, np.int64), scalar(-2, np.int64)),
    _use("Range", scalar(0.1), scalar(2.05), scalar(0.15)),
    _cast(TensorProto.FLOAT16, floats),
    _cast(TensorProto.DOUBLE, floats),
    _cast(TensorProto.INT32, floats),
    _cast(TensorProto.BOOL, lambda rng: rng.integers(0, 2, (3, 4)).astype(np.float32)),
    _cast(TensorProto.FLOAT, lambda rng: rng.integers(0, 2**40, (3, 4))),
    _cast(TensorProto.INT8, lambda rng: rng.integers(-1000, 1000, (3, 4))),
    _use("CastLike", (3, 4), np.zeros(1, np.float16)),
]
