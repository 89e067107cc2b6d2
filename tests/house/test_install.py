"""What the distribution asks for: a small base without a framework, the rest by extras, all of it pinned."""

import ast
import importlib.metadata
import json
import re
import sys
from functools import cache
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from parity.errors import EXTRAS, install_line, not_installed, pip
from tests.conftest import unavailable
from tests.house.installed import PACKAGES, PROJECT, ROOT, closure, requirements

BASE = requirements(PROJECT["dependencies"])
DECLARED: dict[str, list[str]] = PROJECT["optional-dependencies"]
MEGABYTES = 250  # of the base; PyTorch and TensorFlow without CUDA are ten times as much


@cache
def providers() -> dict[str, set[str]]:
    """Which distributions bring a module here."""
    found = importlib.metadata.packages_distributions()
    return {module: set(map(canonicalize_name, names)) for module, names in found.items()}


def names(lines: list[str]) -> set[str]:
    """The distributions that the lines name."""
    return {canonicalize_name(Requirement(line).name) for line in lines}


@pytest.mark.parametrize(("extra", "module"), [(extra, one) for extra in EXTRAS for one in EXTRAS[extra]])
def test_an_extra_brings_the_modules_whose_line_names_it(extra: str, module: str) -> None:
    named = names(DECLARED[extra])
    if module in named:  # of the same name; `make test` does not install JupyterLab
        return
    if module not in providers():
        unavailable(f"{module} is not installed")
    if module == "keras":  # comes with TensorFlow
        named = closure([Requirement("tensorflow")])
    assert providers()[module] & named


def test_the_line_names_each_extra_once_and_what_no_extra_brings_by_itself() -> None:
    assert install_line("torch") == f"{pip()} install 'lenet-migrations[torch]'"
    assert (
        install_line("torch", "tf2onnx", "onnxscript") == f"{pip()} install 'lenet-migrations[torch,export]'"
    )
    assert install_line("ghost", "numpy", "ghost") == f"{pip()} install ghost numpy"
    assert install_line("ghost", "PIL") == f"{pip()} install 'lenet-migrations[lenet]' ghost"


def test_the_line_names_the_pip_of_this_interpreter(tmp_path, monkeypatch) -> None:
    here, other = tmp_path / "here dir" / "bin", tmp_path / "other" / "bin"
    for folder in (here, other):
        folder.mkdir(parents=True)
        (folder / "pip").touch(mode=0o755)
    monkeypatch.setattr("sys.executable", str(here / "python"))
    monkeypatch.setenv("PATH", f"{here}:{other}")
    assert pip() == "pip"
    monkeypatch.setenv("PATH", str(other))
    assert pip() == f"'{here}/python' -m pip"
    monkeypatch.chdir(tmp_path / "here dir")
    assert pip() == "bin/python -m pip"
    monkeypatch.setenv("PATH", "")
    assert pip() == "bin/python -m pip"


def test_only_a_module_that_an_extra_brings_is_told_as_missing() -> None:
    """Any other missing module is a mistake of ours, and keeps its traceback."""
    told = not_installed(ModuleNotFoundError(name="PIL.Image"))
    assert told == f"PIL is not installed: {install_line('PIL')}"
    assert not_installed(ModuleNotFoundError(name="lenet.gone")) is None
    assert not_installed(ModuleNotFoundError()) is None


def test_set_ups_elsewhere_name_targets_and_extras_that_exist() -> None:
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    (target,) = re.findall(r"^make (\S+)", container["postCreateCommand"])
    assert f"\n{target}:" in (ROOT / "Makefile").read_text()
    told = "".join(
        (ROOT / name).read_text() for name in (".binder/postBuild", "workshop/README.md", "README.md")
    )
    asked = re.findall(r"(?:'\.|'project)\[(.*?)\]'", told)
    assert len(asked) >= 4
    for extras in asked:
        assert set(extras.split(",")) <= DECLARED.keys()


def test_every_extra_is_known_and_all_of_them_are_in_all() -> None:
    assert DECLARED.keys() == EXTRAS.keys() | {"all", "dev", "mutants"}
    (whole,) = map(Requirement, DECLARED["all"])
    assert whole.extras == EXTRAS.keys() - {"workshop"}


def test_the_base_has_no_framework_and_is_small() -> None:
    base = closure(BASE)
    for extra in EXTRAS.keys() - {"lenet"}:
        assert not base & names(DECLARED[extra])
    files = chain.from_iterable(importlib.metadata.files(name) or () for name in base)
    paths = {Path(str(file.locate())) for file in files}
    size = sum(path.stat().st_size for path in paths if path.is_file())
    assert 50 * 2**20 < size < MEGABYTES * 2**20


ORIGINALS = ROOT / "museum" / "originals"


def imported_modules(folder: Path) -> set[str]:
    """The top-level modules that the sources of a folder import, wherever in a file they do. The scripts for
    the original frameworks run in another Python."""
    found = set()
    for path in sorted(folder.rglob("*.py")):
        if path.parent == ORIGINALS:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("package", [*PACKAGES, "workshop"])
def test_whatever_is_imported_is_declared(package: str) -> None:
    """By the distribution itself: what another one brings today it may not bring tomorrow."""
    own = {*PACKAGES, "workshop", *sys.stdlib_module_names, "my_port"}  # the last in a docstring's example
    brought = {module for modules in EXTRAS.values() for module in modules}
    base = names(PROJECT["dependencies"])
    for module in sorted(imported_modules(ROOT / package) - own - brought):
        assert providers()[module] & base, module


def pins() -> dict[str, str]:
    """The versions of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found: dict[str, str] = {}
    for line in filter(None, (line.partition("#")[0].strip() for line in lines)):
        name, pinned, version = line.partition("==")
        assert pinned, line
        assert canonicalize_name(name) not in found, line
        found[canonicalize_name(name)] = version
    return found


def test_every_requirement_is_pinned_to_a_version_that_it_allows() -> None:
    pinned = pins()
    for one in map(Requirement, chain(PROJECT["dependencies"], *DECLARED.values())):
        if one.name != PROJECT["name"]:
            assert pinned[canonicalize_name(one.name)] in one.specifier, one


def test_whatever_make_installs_is_pinned() -> None:
    """Or else `make test` breaks by itself, on the day of somebody else's release."""
    wanted = [f"{PROJECT['name']}[all,dev]"]
    try:
        installed = closure(map(Requirement, wanted)) - {PROJECT["name"]}
    except importlib.metadata.PackageNotFoundError as lacking:
        unavailable(f"{lacking.name} is not installed")
        raise
    cuda = {name for name in installed if name.partition("-")[0] in ("nvidia", "cuda", "triton")}
    assert sorted(installed - cuda - pins().keys()) == []  # PyTorch pins CUDA's by itself
