"""Downloads the training digits from a mirror."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from lenet.network.digits import CHECKSUMS, LARGEST, read_idx
from parity.errors import UserError
from parity.files import check_writable, refuse_stream, temporary_folder, write_atomically

SECONDS = 600.0  # for a file of 10 MB from a mirror
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)


def download(folder: Path, mirrors: tuple[str, ...] = MIRRORS) -> list[Path]:
    """Download the files of the training set that `folder` lacks; each is verified, then renamed into place.

    Raises:
        UserError: no mirror had the right content, or `folder` cannot be written.
    """
    names = [name for name in CHECKSUMS if name.startswith("train")]
    return [_fetch(name, folder, mirrors) for name in names]


def _fetch(name: str, folder: Path, mirrors: tuple[str, ...]) -> Path:
    import pooch
    import requests

    target = folder / name
    refuse_stream(target)
    if target.is_file():
        with suppress(UserError):  # a damaged copy is downloaded again, and replaced only by a good copy
            read_idx(target)
            return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from error
    check_writable(target)
    failures = []
    with temporary_folder() as temporary:
        for mirror in mirrors:
            part = temporary / name
            try:
                with _within(SECONDS):
                    pooch.HTTPDownloader(progressbar=_Progress(name))(mirror + name, str(part), None)
                read_idx(part)
            except (requests.RequestException, OSError, ValueError, UserError) as error:
                failures.append(f"{mirror} ({type(error).__name__})")
            else:
                write_atomically(target, part.read_bytes())
                return target
    raise UserError(f"{name}: no mirror gave it: {', '.join(failures)}; --data takes a folder that has it")


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the block after its time, even where it waits for a byte (not on Windows)."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def over(number: int, frame: object) -> NoReturn:
        raise TimeoutError(f"no whole file after {seconds:g} seconds")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class _Progress:
    """What pooch calls at each piece of a download: refuses too many, and shows a bar on a terminal.

    Attributes:
        total: the size of the file in bytes, which pooch sets.
    """

    total = 0

    def __init__(self, name: str) -> None:
        self._name, self._size = name, 0
        self._bar: Any = None

    def update(self, size: int) -> None:
        """Note that `size` bytes more have come.

        Raises:
            ValueError: these are too many.
        """
        self._size += size
        if self._size > LARGEST:
            raise ValueError(f"more than {LARGEST >> 20} MiB")
        if self._bar is None:
            from tqdm import tqdm  # type: ignore[import-untyped]

            quiet = not sys.stderr.isatty()
            self._bar = tqdm(
                desc=self._name, total=self.total, ncols=79, unit="B", unit_scale=True, disable=quiet
            )
        self._bar.update(size)

    def reset(self) -> None:
        """Begin anew."""
        if self._bar is not None:
            self._bar.reset()

    def close(self) -> None:
        """Leave the bar on the terminal, if there is one."""
        if self._bar is not None:
            self._bar.close()
