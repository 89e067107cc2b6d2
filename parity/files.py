"""Writes files completely or not at all, and checks whether files can be read or written."""

import errno
import glob
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from parity.errors import UserError

Content = bytes | str | Callable[[IO[bytes]], object]
FOLDER, LOCK = "parity-", "in-use"  # the beginning of a temporary folder's name, and its locked file


def write_atomically(path: Path, content: Content) -> None:
    """Write `content` to a temporary file beside `path`, then rename it over `path`.

    The content may be a function that writes it to a file, for what is too large to be held in memory.

    The new file has the owner and the permissions of the old one. What a new file cannot take the place of is
    written to as it is: a device, a pipe, a file with several names (hard links), one of another owner. Of a
    symbolic link the target is replaced. Temporary files that an earlier process left here when it was killed
    are removed.

    Raises:
        UserError: the folder is missing or not writable; an existing file is left untouched.
    """
    write_together({path: content})


def write_together(contents: Mapping[Path, Content]) -> None:
    """Write several files as `write_atomically` does, all or none: none is renamed before all are written.

    Raises:
        UserError: one cannot be written; existing files are left untouched.
    """
    with ExitStack() as stack:
        for path in contents:
            check_writable(path)
        for path, content in contents.items():
            stack.enter_context(_prepared(path, content))


@contextmanager
def _prepared(path: Path, content: Content) -> Iterator[None]:
    """The content is written beside its place at the start of the block, and put there at its end."""
    data = content.encode() if isinstance(content, str) else content
    write = data if callable(data) else lambda file: file.write(data)
    try:
        stream = path.is_relative_to("/dev") or path.is_relative_to("/proc")  # it may be open: /dev/stdout
        path = path if stream else _target(path)
        old = path.stat() if path.exists() else None
        if old is None or (not stream and _can_be_replaced(old)):
            with _beside(path, write, old):
                yield
        else:
            yield
            with path.open("ab" if stream else "wb") as file:
                write(file)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another place") from error


def _target(path: Path) -> Path:
    """What symbolic links lead to."""
    target = Path(os.path.realpath(path))  # of a circle one of its links, whatever the version of Python
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return target


def _can_be_replaced(old: os.stat_result) -> bool:
    """Whether a new file in this place would be the same but for its content."""
    ours = not hasattr(os, "geteuid") or old.st_uid == os.geteuid()
    return stat.S_ISREG(old.st_mode) and old.st_nlink == 1 and ours


def _permissions(old: os.stat_result | None) -> int:
    """Those of the old file, or those of any new one."""
    if old is not None:
        return stat.S_IMODE(old.st_mode)
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


@contextmanager
def _beside(path: Path, write: Callable[[IO[bytes]], object], old: os.stat_result | None) -> Iterator[None]:
    """A temporary file beside `path` for the block, renamed over `path` at its end, with its group and
    permissions."""
    prefix = f".{path.name[:100]}."
    _remove_leftovers(path.parent, prefix)
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=prefix, delete=False) as file:
            temporary = Path(file.name)
            _lock(file)
            write(file)
            file.flush()
            os.fsync(file.fileno())
            if old is not None and hasattr(os, "chown"):
                os.chown(temporary, -1, old.st_gid)
            temporary.chmod(_permissions(old))  # NamedTemporaryFile makes private files
            yield
            temporary.replace(path)
            temporary = None
    finally:
        if temporary is not None:  # removed after an interrupt as well
            temporary.unlink(missing_ok=True)


def _remove_leftovers(folder: Path, prefix: str) -> None:
    """Remove temporary files that no process is writing: those are locked."""
    for leftover in folder.glob(f"{glob.escape(prefix)}{'[a-z0-9_]' * 8}"):
        with suppress(OSError), leftover.open("r+b") as file:
            if _lock(file):
                leftover.unlink(missing_ok=True)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for the block. Those that earlier processes left when they were killed are removed.

    Raises:
        UserError: there is no place for it.
    """
    try:
        tempfile.gettempdir()
    except OSError as error:
        raise UserError("no place for temporary files; set TMPDIR to a folder that may be written") from error
    remove_leftover_folders()
    with tempfile.TemporaryDirectory(prefix=FOLDER) as place, open(f"{place}/locking", "wb") as file:
        _lock(file)
        os.rename(file.name, f"{place}/{LOCK}")  # under this name it is locked from the first
        yield Path(place)


def remove_leftover_folders() -> None:
    """Remove those of `temporary_folder` that no process uses: where the lock is free."""
    for lock in Path(tempfile.gettempdir()).glob(f"{FOLDER}{'[a-z0-9_]' * 8}/{LOCK}"):
        with suppress(OSError), lock.open("r+b") as file:
            if _lock(file):
                shutil.rmtree(lock.parent, ignore_errors=True)


def _lock(file: IO[bytes]) -> bool:
    """Lock a file until it is closed; false if another process holds it, or where there are no such locks."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def check_writable(path: Path | None) -> None:
    """Refuse a file that cannot be written, before any work is done for it."""
    if path is None:
        return
    try:
        if path.is_symlink() and not path.exists():
            _target(path)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        if path.exists() and not path.is_file():
            return
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another place") from error


def refuse_stream(path: Path) -> None:
    """Refuse a pipe or a device, which could block or have no end; what is missing, or a folder, passes.

    Raises:
        UserError: it is a pipe or a device.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UserError(f"{path}: is no ordinary file")


def check_readable(path: Path) -> int:
    """The size in bytes of a readable file. A pipe or device is refused, because it could block.

    Raises:
        UserError: the path is not an ordinary file, or the file may not be read.
    """
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise UserError(f"{path}: is a folder, not a file")
        refuse_stream(path)
        with path.open("rb"):
            pass
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"{path}: cannot be read ({reason})") from error
    return found.st_size
