"""The exceptions that a user of the project is meant to read, and the line that installs what is missing."""

DISTRIBUTION = "lenet-migrations"
# Extra of the distribution: the modules that it brings. What stands nowhere here is always installed.
EXTRAS = {
    "lenet": ("jinja2", "pygments", "pooch", "requests", "tqdm", "PIL", "matplotlib"),
    "torch": ("torch",),
    "tensorflow": ("tensorflow", "keras"),
    "jax": ("jax",),
    "history": ("pytensor",),
    "export": ("onnxscript", "tf2onnx"),
    "opencv": ("cv2",),
    "openvino": ("openvino",),
    "workshop": ("jupyterlab", "ipykernel", "nbformat", "scipy"),
}


class UserError(Exception):
    """Something the user can mend. Its text is one line: what is wrong, and what to do."""


class MissingFramework(UserError):
    """A framework or runtime was asked for that is not installed; the text says how to install it."""


class Unjudged(Exception):
    """No bound is known for an operator, or for this use of it. Its text names both."""


def install_line(*modules: str) -> str:
    """The line that installs these modules.

    It holds for a wheel and for a clone alike: pip finds the distribution installed and adds what the extra
    asks for. A module that no extra brings is installed by its own name.

    >>> install_line("torch", "tf2onnx", "torch")
    "pip install 'lenet-migrations[torch,export]'"
    >>> install_line("numpy")
    'pip install numpy'
    """
    extras = dict.fromkeys(extra for module in modules if (extra := extra_of(module)))
    others = dict.fromkeys(module for module in modules if extra_of(module) is None)
    brought = [f"'{DISTRIBUTION}[{','.join(extras)}]'"] if extras else []
    return f"pip install {' '.join([*brought, *others])}"


def extra_of(module: str) -> str | None:
    """The extra that brings a module; None if none does."""
    return next((extra for extra, brought in EXTRAS.items() if module in brought), None)


def not_installed(error: ModuleNotFoundError) -> str | None:
    """One line for a module that an extra brings; None if the error is about another, and so a bug."""
    module = (error.name or "").partition(".")[0]
    return f"{module} is not installed: {install_line(module)}" if extra_of(module) else None
