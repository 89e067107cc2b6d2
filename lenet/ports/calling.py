"""Says which port is at work: an error that it raises names it, and so does the end of the process."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from lenet.ports.contract import Port
from parity.command.copies import busy
from parity.errors import UserError, described

Made = TypeVar("Made")


class PortFailed(UserError):
    """A port raised an error of its own, the `__cause__`.

    Attributes:
        said: the error: "raises ValueError: its text".
    """

    def __init__(self, name: str, said: str) -> None:
        super().__init__(f"port {name!r} {said}")
        self.said = said


@contextmanager
def calling(port: Port) -> Iterator[None]:
    """Hold this while a port is at work.

    Raises:
        PortFailed: it raised anything, even SystemExit, except an error for users and Ctrl-C.
    """
    busy(port.name)
    try:
        yield
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise PortFailed(port.name, f"raises {described(error)}") from error
    finally:
        busy("")


def each(port: Port, values: Iterable[Made]) -> Iterator[Made]:
    """The values that a port makes one by one, with `calling` while it makes each."""
    makes = iter(values)
    while True:
        with calling(port):
            try:
                value = next(makes)
            except StopIteration:
                return
        yield value
