"""Writes files completely or not at all, and checks whether files can be read or written."""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from parity.errors import UserError


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write `content` to a temporary file beside `path`, then rename it over `path`.

    A device or a pipe is written to as it is, and of a link the target is replaced.

    Raises:
        UserError: the folder is missing or not writable; an existing file is left untouched.
    """
    with opened_atomically(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def opened_atomically(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to, as `write_atomically` does; it takes its name when the context ends without an error.

    Raises:
        UserError: the folder is missing or not writable; an existing file is left untouched.
    """
    temporary = None
    try:
        path = path.resolve()  # a link stays a link: its target is replaced
        if path.exists() and not path.is_file():  # a device or a pipe is written to
            with path.open("wb") as stream:
                yield stream
            return
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name[:100]}.", delete=False
        ) as file:
            temporary = Path(file.name)
            yield file  # type: ignore[misc]  # it acts as a file
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # NamedTemporaryFile makes private files
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another place") from error
    finally:
        if temporary is not None:  # removed after an interrupt as well
            temporary.unlink(missing_ok=True)


def check_writable(path: Path | None) -> None:
    """Refuse a file that cannot be written, before any work is done for it."""
    if path is None:
        return
    try:
        if path.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        if path.exists() and not path.is_file():
            return
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another place") from error


def check_readable(path: Path) -> int:
    """The size in bytes of a readable file. A pipe or device is refused, because it could block.

    Raises:
        UserError: the path is not an ordinary file, or the file may not be read.
    """
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise UserError(f"{path}: is a folder, not a file")
        if not stat.S_ISREG(found.st_mode):
            raise UserError(f"{path}: is no ordinary file")
        with path.open("rb"):
            pass
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"{path}: cannot be read ({reason})") from error
    return found.st_size
