"""Weights and other constants of an ONNX graph, read at each access and not kept.

Weights in a file of their own ("external data") are mapped into memory, so that a model larger than memory
can be judged: pages are read when they are needed, and freed when the array is dropped.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import ml_dtypes
import numpy as np
from onnx import SparseTensorProto, TensorProto, helper, numpy_helper

from parity.arithmetic import Array
from parity.errors import UserError
from parity.files import check_readable

LARGEST = 2**40  # bytes of one constant; a larger size means that the file is damaged
Stored = TensorProto | SparseTensorProto | Array
PACKED = ("INT4", "UINT4", "FLOAT4E2M1", "INT2", "UINT2")  # several values share a byte


@dataclass(frozen=True)
class Place:
    """Where external data lie: the file, the first byte, and the number of bytes."""

    path: Path
    offset: int
    length: int


class Constants(Mapping[str, Array]):
    """Arrays by name, as an ONNX file stores them.

    Args:
        stored: tensors by name.
        folder: the model's folder, which holds external data; None if the model is not a file.

    Raises:
        UserError: a tensor is damaged, or its external data are missing, too short or outside of `folder`.
    """

    def __init__(self, stored: Mapping[str, Stored], folder: Path | None) -> None:
        self._stored = dict(stored)
        self._places: dict[str, Place] = {}
        for name, one in self._stored.items():
            if isinstance(one, TensorProto):
                _check(name, one)
                if one.data_location == TensorProto.EXTERNAL:
                    self._places[name] = _place(name, one, folder)
            elif isinstance(one, SparseTensorProto):
                _check_sparse(name, one)

    def __getitem__(self, name: str) -> Array:
        one = self._stored[name]
        if isinstance(one, np.ndarray):
            return one
        if isinstance(one, SparseTensorProto):
            return _dense(name, one)
        return _mapped(one, self._places[name]) if name in self._places else _array(name, one)

    def __contains__(self, name: object) -> bool:
        return name in self._stored

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)


def constant(name: str, stored: Stored) -> Array:
    """The array of a tensor that is stored within the model.

    Raises:
        UserError: the tensor is damaged.
    """
    return Constants({name: stored}, None)[name]


def count(stored: Stored) -> int:
    """How many values a tensor has."""
    return stored.size if isinstance(stored, np.ndarray) else prod(stored.dims)


def dtype_of(name: str, data_type: int) -> np.dtype:
    """The NumPy type of an ONNX element type.

    Raises:
        UserError: there is no such type.
    """
    try:
        return helper.tensor_dtype_to_np_dtype(data_type)
    except (KeyError, ValueError) as error:
        raise UserError(f"{name} has an element type that is not known: {data_type}") from error


def named_dtype(name: str) -> np.dtype:
    """The NumPy type with this name, which may be one of ml_dtypes (bfloat16, int4) or a type of strings."""
    if name in ("object", "str", "StringDType128"):
        return np.dtype(object)
    return np.dtype(getattr(ml_dtypes, name, name))


def _check(name: str, tensor: TensorProto) -> None:
    dtype = dtype_of(name, tensor.data_type)
    if any(size < 0 for size in tensor.dims) or prod(tensor.dims) * dtype.itemsize > LARGEST:
        raise UserError(f"{name} has an impossible shape: {list(tensor.dims)}")
    if tensor.data_location != TensorProto.EXTERNAL and tensor.HasField("raw_data"):
        found, wanted = len(tensor.raw_data), _bytes(tensor, dtype)
        if found != wanted:
            raise UserError(f"{name} has {found} bytes, but its shape {list(tensor.dims)} needs {wanted}")


def _bytes(tensor: TensorProto, dtype: np.dtype) -> int:
    count, kind = prod(tensor.dims), TensorProto.DataType.Name(tensor.data_type)
    if kind in PACKED:
        return -(-count * (2 if kind.endswith("2") else 4) // 8)
    return count * dtype.itemsize


def _array(name: str, tensor: TensorProto) -> Array:
    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{name} cannot be read: {error}") from error


def _place(name: str, tensor: TensorProto, folder: Path | None) -> Place:
    """Where a tensor's external data lie.

    Raises:
        UserError: they are outside of the model's folder, or incomplete.
    """
    said = {entry.key: entry.value for entry in tensor.external_data}
    location, dtype = said.get("location", ""), dtype_of(name, tensor.data_type)
    if not all(isinstance(text, str) for pair in said.items() for text in pair):
        raise UserError(f"{name}: a damaged ONNX file: the place of its external data is no text")
    if folder is None:
        raise UserError(
            f"{name} is stored in the file {location!r}: pass the path of the model instead of the model"
        )
    if dtype.kind in "OSUT":
        raise UserError(f"{name} is stored as external data, which strings cannot be")
    path = _inside(name, folder, location)
    size, wanted = check_readable(path), _bytes(tensor, dtype)
    try:
        offset = int(said.get("offset") or 0)
        length = int(said.get("length") or 0) or wanted
    except ValueError as error:
        raise UserError(f"{name}: offset and length of its external data are no numbers") from error
    if length != wanted:
        raise UserError(f"{name} has {length} bytes, but its shape {list(tensor.dims)} needs {wanted}")
    if offset < 0 or offset + length > size:
        raise UserError(f"{path}: too short ({size} bytes) for {name}, which ends at byte {offset + length}")
    return Place(path, offset, length)


def _inside(name: str, folder: Path, location: str) -> Path:
    """The path of external data. A model may not read files outside of its folder.

    Raises:
        UserError: the path leaves the model's folder.
    """
    outside = f"{name} is stored in {location!r}, outside of the model's folder"
    if not location or Path(location).is_absolute() or ".." in Path(location).parts or "\\" in location:
        raise UserError(outside)
    path = folder / location
    try:
        real = path.resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{name} is stored in {location!r}, which cannot be read") from error
    if not real.is_relative_to(folder.resolve()):
        raise UserError(outside)
    return path


def _mapped(tensor: TensorProto, place: Place) -> Array:
    dtype = dtype_of("", tensor.data_type)
    if place.length == 0:
        return np.zeros(tuple(tensor.dims), dtype)
    try:
        if TensorProto.DataType.Name(tensor.data_type) not in PACKED:
            return np.memmap(place.path, dtype, "r", place.offset, tuple(tensor.dims)).view(np.ndarray)
        raw = np.memmap(place.path, np.uint8, "r", place.offset, (place.length,)).tobytes()
    except (OSError, ValueError) as error:  # the file was removed after the model was opened
        raise UserError(f"{place.path}: cannot be read any more") from error
    whole = TensorProto(data_type=tensor.data_type, dims=tensor.dims, raw_data=raw)
    return numpy_helper.to_array(whole)


def _check_sparse(name: str, sparse: SparseTensorProto) -> None:
    dtype = dtype_of(name, sparse.values.data_type)
    if any(size < 0 for size in sparse.dims) or prod(sparse.dims) * dtype.itemsize > LARGEST:
        raise UserError(f"{name} has an impossible shape: {list(sparse.dims)}")
    for part in (sparse.values, sparse.indices):
        if part.data_location == TensorProto.EXTERNAL:
            raise UserError(f"{name} is sparse and stored as external data, which is not supported")
        _check(name, part)


def _dense(name: str, sparse: SparseTensorProto) -> Array:
    """A sparse tensor written out: its indices are flat, or one row of coordinates for each value."""
    values, indices = _array(name, sparse.values), _array(name, sparse.indices)
    try:
        dense = np.zeros(tuple(sparse.dims), values.dtype)
        if indices.ndim == 2:
            dense[tuple(indices.T)] = values
        else:
            dense.reshape(-1)[indices] = values
    except (IndexError, ValueError, MemoryError) as error:
        raise UserError(f"{name} is a sparse tensor whose indices do not fit {list(sparse.dims)}") from error
    return dense
