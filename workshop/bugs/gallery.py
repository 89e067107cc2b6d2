"""What a bug of the gallery is: one function of a right port, replaced by one that is wrong.

    @bug("flipped kernel", "numpy", "lenet_numpy.model.conv2d", ...)
    def _(right, x, w, b, **geometry):
        return right(x, w[:, :, ::-1, ::-1], b, **geometry)

The decorated function is the wrong one. It is handed the right one, and then the arguments of the call.
Frameworks are imported inside: the gallery can be listed without any of them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any
from unittest.mock import patch

from lenet import ports
from lenet.errors import LenetError
from lenet.ports import Port

Wrong = Callable[..., Any]


@dataclass(frozen=True)
class Bug:
    """A port with exactly one mistake.

    Attributes:
        name: a few words.
        port: the right port that it is planted in, as in `lenet ports`.
        patches: the function that is replaced: "lenet_numpy.model.conv2d".
        story: what the programmer meant, or how it came about; one sentence.
        where: where the diagnosis must find it first: "conv2", "loss", "gradient of conv1.weight", "step 4".
        named: how the catalogue (`lenet.diagnose.mistakes`) calls it.
        coincides: what else explains it on the standard probes: an ambiguity that the diagnosis reports.
        case: URL of a reported case, or "".
        dtype: what the port computes in.
        wrong: the wrong function: the right one, and its arguments.
    """

    name: str
    port: str
    patches: str
    story: str
    where: str
    named: str
    coincides: tuple[str, ...]
    case: str
    dtype: str
    wrong: Wrong

    @property
    def family(self) -> str:
        """ "forward", "loss", …: the file that it stands in."""
        return self.wrong.__module__.rpartition(".")[2]

    @contextmanager
    def planted(self) -> Iterator[Port]:
        """The port with the mistake in it, as long as the context lasts.

        Raises:
            MissingFramework: its framework is not installed.
        """
        ports.open_port(self.port, self.dtype)  # the framework, imported as the port wants it
        right = resolve_name(self.patches)

        def wrong(*args: Any, **options: Any) -> Any:
            return self.wrong(right, *args, **options)

        with patch(self.patches, wrong):
            yield ports.open_port(self.port, self.dtype)


BUGS: dict[str, Bug] = {}


def bug(
    name: str,
    port: str,
    patches: str,
    *,
    story: str,
    where: str,
    named: str,
    coincides: tuple[str, ...] = (),
    case: str = "",
    dtype: str = "float32",
) -> Callable[[Wrong], Wrong]:
    """Put the decorated function into the gallery; arguments as in `Bug`."""

    def register(wrong: Wrong) -> Wrong:
        if name in BUGS:
            raise ValueError(f"two bugs are called {name!r}")
        BUGS[name] = Bug(name, port, patches, story, where, named, coincides, case, dtype, wrong)
        return wrong

    return register


def issue(repository: str, number: int) -> str:
    """URL of an issue on GitHub."""
    return f"https://github.com/{repository}/issues/{number}"


def find(key: str) -> Bug:
    """The bug of that name or number (from 1).

    Raises:
        LenetError: there is none.
    """
    if key in BUGS:
        return BUGS[key]
    if key.isdigit() and 1 <= int(key) <= len(BUGS):
        return list(BUGS.values())[int(key) - 1]
    raise LenetError(f"no bug is called {key!r}: give a number from 1 to {len(BUGS)}, or a name of the table")
