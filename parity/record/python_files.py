"""Runs a Python file, and takes a module, a model or a function from it."""

import importlib.util
import inspect
import sys
import traceback
from contextlib import chdir
from pathlib import Path
from types import ModuleType
from typing import Any

from parity.errors import MissingFramework, UserError, described, not_installed
from parity.files import check_readable
from parity.record.candidates import kind
from parity.record.own_names import like


def held_by(path: Path, name: str) -> Any:
    """What a Python file holds under a name; of a function without arguments, what it returns.

    Raises:
        MissingFramework: the file imports a framework that is not installed.
        UserError: the file cannot be run, has no such name, or what it holds cannot be recorded.
    """
    with chdir("."):  # the file may change it
        module = _run(path)
    if not hasattr(module, name):
        known = [one for one in vars(module) if not one.startswith("_")]
        raise UserError(f"{path} has no {name!r}{like(name, known)}")
    found = getattr(module, name)
    if kind(found) in ("function", "JAX function") and not inspect.signature(found).parameters:
        found = _guarded(path, found)
    if kind(found) in ("arrays", "runtime"):
        raise UserError(
            f"{name} of {path} is a {type(found).__name__}: a module, a model or a function is needed"
        )
    return found


def _run(path: Path) -> ModuleType:
    check_readable(path)
    spec = importlib.util.spec_from_file_location("__mp_main__", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path}: no Python file")
    module = importlib.util.module_from_spec(spec)
    # The main module, under the name that multiprocessing gives it in processes that it spawns: so they find
    # its functions, and a block for "__main__" is left out.
    sys.modules[spec.name] = sys.modules["__main__"] = module
    module.__spec__ = None  # as of a main file: they run it by its path
    sys.path.insert(0, str(path.parent.resolve()))  # as Python does for a file that it runs
    loader = spec.loader
    _guarded(path, lambda: loader.exec_module(module))
    return module


def _guarded(path: Path, run: Any) -> Any:
    """What a function of the file returns; whatever goes wrong in it is reported in one line."""
    try:
        return run()
    except (UserError, KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:  # a file may call sys.exit
        if isinstance(error, ModuleNotFoundError) and (line := not_installed(error)):
            raise MissingFramework(f"{path}: {line}") from error
        frames = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if Path(frame.filename).absolute() == path.absolute()
        ]
        where = f"line {frames[-1]}: " if frames else ""
        raise UserError(f"{path} cannot be run: {where}{described(error)}") from error
