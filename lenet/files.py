"""Writes files completely or not at all."""

import os
import tempfile
from pathlib import Path

from lenet.errors import LenetError


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write `content` to a temporary file beside `path`, then rename it over `path`.

    Raises:
        LenetError: the folder is missing or not writable; an existing file is left untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
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
        raise LenetError(f"{path}: cannot be written ({error.strerror}); choose another place") from error
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
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise LenetError(f"{path}: cannot be written ({error.strerror}); choose another place") from error
