"""Files that are whole or absent, never half-written; and which may be read."""

import os
import stat
import tempfile
from pathlib import Path

from parity.errors import UserError


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write `content` to a temporary file beside `path`, then rename it over `path`.

    Raises:
        UserError: the folder is missing or not writable; an existing file is left untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name[:100]}.", delete=False
        ) as file:
            temporary = Path(file.name)
            file.write(data)
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
        if temporary is not None:  # an interrupt, too, leaves nothing behind
            temporary.unlink(missing_ok=True)


def check_writable(path: Path | None) -> None:
    """Refuse, before any work is done, a file that could not be written after it."""
    if path is None:
        return
    try:
        if path.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another place") from error


def check_readable(path: Path) -> int:
    """The size in bytes of a file that can be opened; a pipe or device, which could block, is refused.

    Raises:
        UserError: it is none, or may not be read.
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
