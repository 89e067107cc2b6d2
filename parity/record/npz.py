"""Arrays in an npz file, read and written one at a time and without pickle."""

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO

import ml_dtypes
import numpy as np

from parity.arithmetic import Array
from parity.errors import UserError
from parity.files import check_readable, write_atomically

# np.savez writes bfloat16 as values of two bytes without a type, because NumPy does not know bfloat16.
BFLOAT16 = np.dtype("V2")
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, NotImplementedError)


@dataclass(frozen=True)
class _Entry:
    """What the header of one array says, and where it lies in the archive."""

    member: zipfile.ZipInfo
    shape: tuple[int, ...]
    dtype: np.dtype


class Recorded(Mapping[str, Array]):
    """Arrays by name; each is read when it is asked for.

    Attributes:
        path: the npz file.
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile, entries: Mapping[str, _Entry]) -> None:
        self.path, self._archive, self._entries = path, archive, dict(entries)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every array, without reading the arrays."""
        return {name: entry.shape for name, entry in self._entries.items()}

    def __getitem__(self, name: str) -> Array:
        entry = self._entries[name]
        try:
            with self._archive.open(entry.member) as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
        except (*DAMAGED, MemoryError) as error:
            raise UserError(f"{self.path}: {name} cannot be read: {error or type(error).__name__}") from error
        if array.dtype == BFLOAT16:
            return array.view(ml_dtypes.bfloat16)
        return array.astype(array.dtype.newbyteorder("="), copy=False)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def read_npz(path: Path) -> Recorded:
    """The arrays of an npz file by name, as np.savez writes it.

    Raises:
        UserError: the file is missing, is not an npz file, or holds anything but arrays of numbers.
    """
    check_readable(path)
    entries: dict[str, _Entry] = {}
    try:
        archive = zipfile.ZipFile(path)  # stays open, because reading its list of members takes long
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if name == member.filename:
                raise UserError(f"{path}: holds {name!r}, which is no array: write the file with np.savez")
            if name in entries:
                raise UserError(f"{path}: holds {name!r} twice")
            entries[name] = _entry(path, name, archive, member)
    except DAMAGED as error:
        raise UserError(f"{path}: not an npz file, or a damaged one: write it with np.savez") from error
    return Recorded(path, archive, entries)


def write_npz(path: Path | str, values: Mapping[str, Array]) -> None:
    """Write arrays to an npz file, one at a time: completely, or not at all.

    Args:
        path: the file. An existing one is replaced at the end.
        values: {name: array}; bfloat16 is written as values of two bytes, as `read_npz` reads it.

    Raises:
        UserError: the file cannot be written, a value is no array of numbers, or a name cannot be kept.
    """

    def write(file: IO[bytes]) -> None:
        with zipfile.ZipFile(file, "w", allowZip64=True) as archive:
            for name in values:
                array = np.asarray(values[name])
                if array.dtype.hasobject:
                    raise UserError(f"{name} holds Python objects, not numbers")
                with archive.open(_member(name), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)

    write_atomically(Path(path), write)


def _member(name: str) -> str:
    """The name of an array's member of the archive.

    Raises:
        UserError: the format has no place for the name.
    """
    member = f"{name}.npy"
    try:
        size = len(member.encode())
    except UnicodeEncodeError as error:
        raise UserError(f"{name!r} is no Unicode text, as a name in an npz file is") from error
    if "\0" in name:
        raise UserError(f"{name!r} has a null character, at which an npz file ends a name")
    if size >= 2**16:
        raise UserError(f"a name of {size:,} bytes is too long for an npz file: {name}")
    return member


def _entry(path: Path, name: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> _Entry:
    with archive.open(member) as file:
        shape, dtype, start = _header(path, name, file)
    if dtype.hasobject:
        raise UserError(
            f"{path}: {name} holds Python objects (a pickle), which are not read: save arrays of numbers"
        )
    if dtype != BFLOAT16 and dtype.kind not in "biufcSU":
        raise UserError(f"{path}: {name} is of type {dtype}, no array of numbers")
    if any(size < 0 for size in shape) or start + prod(shape) * dtype.itemsize != member.file_size:
        raise UserError(
            f"{path}: {name} is damaged: its {member.file_size} bytes are no array of shape {shape}"
        )
    return _Entry(member, shape, dtype)


def _header(path: Path, name: str, file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype, int]:
    """The shape and the type of an array, and the byte at which its values begin."""
    try:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
        return shape, dtype, file.tell()
    except Exception as error:  # NumPy parses the header as Python, which may fail in any way
        raise UserError(f"{path}: {name} is no array, or a damaged one") from error
