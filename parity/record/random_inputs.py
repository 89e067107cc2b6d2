"""Random inputs of the shapes that a graph declares."""

from collections.abc import Mapping
from math import prod

import numpy as np

from parity.arithmetic import Array
from parity.errors import UserError
from parity.graph import Declared, Graph
from parity.onnx.constants import named_dtype

# How values are drawn, in words for the report. Most integers are indices into a table of unknown length, or
# masks: 0 and 1 are valid for all of them.
DRAWN = "floats standard normal, integers 0 or 1, bytes of any value"


def random_inputs(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """A random array for each input.

    Raises:
        UserError: a size, a type or a shape is not known.
    """
    rng = np.random.default_rng(seed)
    return {name: _draw(name, declared, rng) for name, declared in graph.inputs.items()}


def _draw(name: str, declared: Declared, rng: np.random.Generator) -> Array:
    shape = _shape(name, declared)
    dtype = named_dtype(declared.dtype) if declared.dtype else None
    give = "give it in --inputs FILE.npz"
    if dtype is None or dtype.kind in "cOSUT":
        raise UserError(f"the input {name!r} ({declared}) cannot be drawn at random: {give}")
    if prod(shape) * max(dtype.itemsize, 8) > 2**34:
        raise UserError(f"the input {name!r} ({declared}) is too large to be drawn at random: {give}")
    if dtype.kind == "b":
        return np.asarray(rng.random(shape) < 0.5)
    if dtype.kind in "iu":
        whole = np.iinfo(dtype) if dtype.itemsize == 1 else None
        low, high = (whole.min, whole.max) if whole else (0, 1)
        return np.asarray(rng.integers(low, high, shape, dtype, endpoint=True))
    return np.asarray(rng.standard_normal(shape)).astype(dtype)


def _shape(name: str, declared: Declared) -> tuple[int, ...]:
    if declared.shape is None:
        raise UserError(f"the graph declares no shape for the input {name!r}: give it in --inputs FILE.npz")
    for size in declared.shape:
        if not isinstance(size, int):
            raise UserError(f"the input {name!r} {declared} needs a size: --dim {size}=N")
    return tuple(size for size in declared.shape if isinstance(size, int))


def check_inputs(graph: Graph, inputs: Mapping[str, Array]) -> None:
    """Refuse inputs that do not fit the graph: an unknown or a missing name, or another type or shape.

    Raises:
        UserError: an input does not fit; the first such input is named.
    """
    from parity.graph import fits_shape
    from parity.judging.walk import nearest

    for name in inputs:
        if name not in graph.inputs:
            raise UserError(f"{graph.name} has no input {name!r}{nearest(name, graph.inputs)}")
    for name, declared in graph.inputs.items():
        if name not in inputs:
            raise UserError(f"{graph.name} needs the input {name!r} ({declared}), which is not given")
        array = inputs[name]
        if declared.dtype and array.dtype != named_dtype(declared.dtype) and array.dtype.kind not in "SU":
            raise UserError(f"the input {name!r} is {array.dtype}, but the graph declares {declared}")
        if not fits_shape(array.shape, declared.shape):
            raise UserError(
                f"the input {name!r} has shape {list(array.shape)}, but the graph declares {declared}"
            )
