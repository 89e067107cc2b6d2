"""The exceptions whose messages are written for users, and the command that installs a missing module."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

DISTRIBUTION = "lenet-migrations"
# {extra of the distribution: the modules that it installs}. All other modules are always installed.
EXTRAS = {
    "page": ("jinja2",),
    "lenet": ("pygments", "pooch", "requests", "tqdm", "PIL", "matplotlib"),
    "torch": ("torch",),
    "tensorflow": ("tensorflow", "keras"),
    "jax": ("jax",),
    "flax": ("flax", "optax"),
    "history": ("pytensor",),
    "export": ("onnxscript", "tf2onnx"),
    "opencv": ("cv2",),
    "openvino": ("openvino",),
    "litert": ("ai_edge_litert",),
    "workshop": ("jupyterlab", "ipykernel", "nbformat", "nbconvert", "nbclient", "latex2mathml", "scipy"),
}


class UserError(Exception):
    """An error that the user can fix. Its text is one line: what is wrong, and what to do."""

    def __str__(self) -> str:
        return " ".join(super().__str__().splitlines())  # a name in a file may have line breaks


class MissingFramework(UserError):
    """A requested framework or runtime is not installed; the text tells how to install it."""


class Unjudged(Exception):
    """No bound is known for an operator, or for this use of it. Its text names both."""


def text_of(error: BaseException) -> str:
    """What an exception says, in one line; its type, if it says nothing or cannot."""
    try:
        return " ".join(str(error).split()) or type(error).__name__
    except (Exception, SystemExit, GeneratorExit):
        return type(error).__name__


def described(error: BaseException) -> str:
    """An exception of somebody else's code in one line: "ValueError: its text"."""
    kind, text = type(error).__name__, text_of(error)
    return kind if text == kind else f"{kind}: {text[:300]}"


@contextmanager
def importing(what: str, *modules: str) -> Iterator[None]:
    """Report a module that cannot be imported as a missing framework.

    Args:
        what: the framework or runtime, in words.
        modules: the modules that it needs, for the line that installs them.

    Raises:
        MissingFramework: with the line that installs it.
    """
    try:
        yield
    except ImportError as error:
        gone = isinstance(error, ModuleNotFoundError)
        reason = "is not installed" if gone else f"does not import ({' '.join(str(error).split())})"
        raise MissingFramework(f"{what} {reason}: {install_line(*modules)}") from error


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ "did you mean 'torch'? " for the known name that is nearest to another; "" if none is near."""
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}? " if near else ""


def install_line(*modules: str) -> str:
    """The command that installs these modules.

    It works for a wheel and for a clone: pip finds the installed distribution and adds the packages of the
    extra: "pip install 'lenet-migrations[torch,export]'" for torch and tf2onnx. A module that belongs to no
    extra is installed by its own name: "pip install numpy".
    """
    extras = dict.fromkeys(extra for module in modules if (extra := extra_of(module)))
    others = dict.fromkeys(module for module in modules if extra_of(module) is None)
    brought = [f"'{DISTRIBUTION}[{','.join(extras)}]'"] if extras else []
    return f"{pip()} install {' '.join([*brought, *others])}"


def pip() -> str:
    """The command of the pip that installs for this interpreter: "pip", if a shell finds the right one."""
    import shlex
    import shutil
    from pathlib import Path

    found, python = shutil.which("pip"), Path(sys.executable)
    if found is not None and Path(found).parent == python.parent:
        return "pip"
    with suppress(OSError, ValueError):  # another folder, or one that is gone
        python = python.relative_to(Path.cwd())
    return f"{shlex.quote(str(python))} -m pip"


def reinstall_line() -> str:
    """What to do about a damaged file of this package."""
    return f"it is part of the package: {pip()} install --force-reinstall --no-deps {DISTRIBUTION}"


def extra_of(module: str) -> str | None:
    """The extra that installs a module; None if there is none."""
    return next((extra for extra, brought in EXTRAS.items() if module in brought), None)


def not_installed(error: ModuleNotFoundError) -> str | None:
    """A line about a module that an extra installs; None for other modules, whose absence is a bug."""
    module = (error.name or "").partition(".")[0]
    return f"{module} is not installed: {install_line(module)}" if extra_of(module) else None
