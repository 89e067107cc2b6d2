"""What a bug of the gallery is: one function of a right port, replaced by one that is wrong.

    @bug("true convolution", "numpy", "lenet_numpy.model.conv2d", ...)
    def true_convolution(right, x, w, b, **geometry):
        return right(x, w[:, :, ::-1, ::-1], b, **geometry)

The decorated function is the wrong one. It is handed the right one, and then the arguments of the call. Its
name, with hyphens, is the bug's name: "true-convolution". It must not change, since notebooks use it.
Frameworks are imported inside: the gallery can be listed without any of them.
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
        name: the key, as in `python -m workshop.bugs NAME`.
        title: a few words.
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
    """Put the decorated function into the gallery; arguments as in `Bug`."""

    def register(wrong: Wrong) -> Wrong:
        name = wrong.__name__.replace("_", "-")
        if name in BUGS:
            raise ValueError(f"two bugs are called {name!r}")
        BUGS[name] = Bug(name, title, port, patches, story, where, named, coincides, case, dtype, wrong)
        return wrong

    return register


def issue(repository: str, number: int) -> str:
    """URL of an issue on GitHub."""
    return f"https://github.com/{repository}/issues/{number}"


def find(name: str) -> Bug:
    """The bug of that name.

    Raises:
        UserError: there is none; the text gives the nearest names.
    """
    if name in BUGS:
        return BUGS[name]
    near = get_close_matches(name, BUGS, cutoff=0.4)
    known = f"nearest: {', '.join(near)}" if near else "`python -m workshop.bugs` lists them"
    raise UserError(f"no bug is called {name!r}; {known}")
