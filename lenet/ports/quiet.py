"""Keeps warnings and greetings of libraries out of the output."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def hide_warnings() -> None:
    """Hide the frameworks' warnings from users, unless -W asks for them."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


@contextmanager
def stderr_held() -> Iterator[None]:
    """Hold back writes to file descriptor 2 in this block; they are shown only if the block raises."""
    import tempfile  # here, because `lenet --help` does not need it

    sys.stderr.flush()
    descriptor = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except KeyboardInterrupt:
            raise
        except BaseException:
            held.seek(0)
            os.write(descriptor, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(descriptor, 2)
            os.close(descriptor)
