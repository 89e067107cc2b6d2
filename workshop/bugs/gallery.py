"""The form of a bug of the gallery: a function of a right port, replaced by a wrong function.

    @bug("true convolution", "numpy", "lenet_numpy.model.conv2d", ...)
    def true_convolution(right, x, w, b, **geometry):
        return right(x, w[:, :, ::-1, ::-1], b, **geometry)

The decorated function is the wrong function. It takes the right function and then the arguments of the call.
Its name, with hyphens, is the name of the bug ("true-convolution"); notebooks use it, so it must not change.
Frameworks are imported inside the functions, so that the gallery can be listed without any of them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pkgutil import resolve_name
from typing import Any
from unittest.mock import patch

from lenet import ports
from lenet.ports import Port
from parity.errors import UserError

Wrong = Callable[..., Any]


@dataclass(frozen=True)
class Bug:
    """A port with exactly one mistake.

    Attributes:
        name: the name in `python -m workshop.bugs NAME`.
        title: a few words.
        port: the right port with the bug planted in it, as in `lenet ports`.
        patches: the replaced function: "lenet_numpy.model.conv2d".
        story: how the mistake came about; a sentence.
        where: the first place where the diagnosis must find it: "conv2", "loss", "gradient of conv1.weight",
            "step 4".
        named: its name in the catalogue (`lenet.diagnose.mistakes`).
        coincides: other mistakes with the same values on the standard probes; the diagnosis reports them too.
        case: URL of a reported case, or "".
        dtype: the dtype of the port.
        wrong: the wrong function; it takes the right function and the arguments.
    """

    name: str
    title: str
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
        """The file of the bug: "forward", "loss", …"""
        return self.wrong.__module__.rpartition(".")[2]

    @contextmanager
    def planted(self) -> Iterator[Port]:
        """The port with the mistake, inside this context.

        Raises:
            MissingFramework: its framework is not installed.
        """
        ports.open_port(self.port, self.dtype)  # imports the framework as the port needs it
        right = resolve_name(self.patches)

        def wrong(*args: Any, **options: Any) -> Any:
            return self.wrong(right, *args, **options)

        with patch(self.patches, wrong):
            yield ports.open_port(self.port, self.dtype)


BUGS: dict[str, Bug] = {}


def bug(
    title: str,
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
    """Add the decorated function to the gallery; for the arguments see `Bug`."""

    def register(wrong: Wrong) -> Wrong:
        name = wrong.__name__.replace("_", "-")
        if name in BUGS:
            raise ValueError(f"two bugs are called {name!r}")
        BUGS[name] = Bug(name, title, port, patches, story, where, named, coincides, case, dtype, wrong)
        return wrong

    return register


def issue(repository: str, number: int) -> str:
    """The URL of an issue on GitHub."""
    return f"https://github.com/{repository}/issues/{number}"


def find(name: str) -> Bug:
    """The bug with this name.

    Raises:
        UserError: there is none; the text lists the nearest names.
    """
    if name in BUGS:
        return BUGS[name]
    near = get_close_matches(name, BUGS, cutoff=0.4)
    known = f"nearest: {', '.join(near)}" if near else "`python -m workshop.bugs` lists them"
    raise UserError(f"no bug is called {name!r}; {known}")
