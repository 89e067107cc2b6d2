"""What this distribution asks for, and an environment that has no more than that."""

import importlib.metadata
import os
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
_READ = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT: dict[str, Any] = _READ["project"]
_INCLUDED: list[str] = _READ["tool"]["hatch"]["build"]["targets"]["wheel"]["include"]  # "/lenet_*"
PACKAGES = [path.name for pattern in _INCLUDED for path in sorted(ROOT.glob(pattern.lstrip("/")))]


def requirements(lines: Iterable[str], extra: str = "") -> list[Requirement]:
    """What is asked for under that extra; without one what is always asked for."""
    parsed = [Requirement(line) for line in lines]
    return [one for one in parsed if one.marker is None or one.marker.evaluate({"extra": extra})]


def closure(wanted: Iterable[Requirement]) -> set[str]:
    """The distributions that these requirements bring, as installed here: theirs, and what those need."""
    pending = _asked(wanted)
    for name, extra in pending:  # grows on the way
        lines = importlib.metadata.distribution(name).requires or ()
        pending += [one for one in _asked(requirements(lines, extra)) if one not in pending]
    return {name for name, _ in pending}


def _asked(wanted: Iterable[Requirement]) -> list[tuple[str, str]]:
    return [(canonicalize_name(one.name), extra) for one in wanted for extra in ("", *one.extras)]


def top_level(wanted: set[str]) -> Iterator[tuple[str, Path]]:
    """The entries of site-packages that these distributions own: name, and where it is."""
    seen = {"..", "__pycache__"}
    for name in sorted(wanted):
        distribution = importlib.metadata.distribution(name)
        for top in sorted({file.parts[0] for file in distribution.files or ()} - seen):
            seen.add(top)
            yield top, Path(str(distribution.locate_file(top)))


def run(*command: object, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """A command that sees no other code than its own environment's, which is activated."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    kept["PATH"] = os.pathsep.join([str(Path(str(command[0])).parent), kept["PATH"]])
    return subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=kept | {"PYTHONNOUSERSITE": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def done(*command: object) -> None:
    """Run a command that has to succeed."""
    result = run(*command)
    assert result.returncode == 0, result.stderr
