"""An error's text is one line, whatever names are in it."""

import shutil
import sys
from pathlib import Path

import pytest

import parity
from parity.errors import (
    MissingFramework,
    UserError,
    described,
    did_you_mean,
    extra_of,
    importing,
    install_line,
    not_installed,
    pip,
    text_of,
)


@pytest.mark.parametrize("kind", [UserError, MissingFramework])
def test_line_breaks_in_names_become_spaces(kind: type[UserError]) -> None:
    error = kind("no layer 'a\nb\r\nc\x85d\u2028e' in the file")
    assert str(error) == "no layer 'a b c d e' in the file"


def test_an_exception_that_cannot_be_told_is_named() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert described(Mute()) == "Mute"
    assert described(ValueError()) == "ValueError"
    assert described(ValueError("a\n  b")) == "ValueError: a b"


def test_a_part_of_a_module_that_is_not_installed_is_told_as_the_module() -> None:
    said = not_installed(ModuleNotFoundError(name="torch.nn"))
    assert said == f"torch is not installed: {install_line('torch')}"
    assert not_installed(ModuleNotFoundError(name="nobody.knows")) is None


def test_a_long_text_is_cut_where_it_is_described() -> None:
    assert text_of(ValueError("a" * 400)) == "a" * 400
    assert described(ValueError("a" * 400)) == "ValueError: " + "a" * 300
    assert described(KeyError()) == "KeyError"


def test_the_nearest_name_is_asked_for() -> None:
    known = ["numpy", "torch", "torchx"]
    assert did_you_mean("troch", iter(known)) == did_you_mean("torch", known) == "did you mean 'torch'? "
    assert did_you_mean("TORCH", known) == ""


@pytest.mark.parametrize(
    ("modules", "end"),
    [
        (("torch", "tf2onnx", "onnxscript"), "install 'lenet-migrations[torch,export]'"),
        (("numpy",), "install numpy"),
        (("numpy", "cv2", "numpy", "onnx"), "install 'lenet-migrations[opencv]' numpy onnx"),
    ],
)
def test_one_line_installs_all_modules(modules: tuple[str, ...], end: str) -> None:
    assert install_line(*modules) == f"{pip()} {end}"
    assert (extra_of("keras"), extra_of("numpy")) == ("tensorflow", None)


def test_pip_is_that_of_this_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "my venv" / "python"))
    monkeypatch.setattr(shutil, "which", lambda name: str(tmp_path / "my venv" / name))
    assert pip() == "pip"
    monkeypatch.setattr(shutil, "which", lambda name: f"/elsewhere/{name}")
    monkeypatch.chdir(tmp_path)
    assert pip() == "'my venv/python' -m pip"
    monkeypatch.chdir("/")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    assert pip() == "usr/bin/python3 -m pip"
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert pip() == "/usr/bin/python3 -m pip"


def test_a_module_that_does_not_import_says_why() -> None:
    with pytest.raises(MissingFramework) as caught, importing("Keras", "keras"):
        raise ModuleNotFoundError(name="keras")
    assert str(caught.value) == f"Keras is not installed: {install_line('keras')}"
    with pytest.raises(MissingFramework) as caught, importing("OpenCV", "cv2", "numpy"):
        raise ImportError("libGL:\n no such file")
    assert (
        str(caught.value) == f"OpenCV does not import (libGL: no such file): {install_line('cv2', 'numpy')}"
    )


def test_names_of_the_package_are_imported_when_they_are_used() -> None:
    assert set(parity.__all__) <= set(dir(parity))
    assert parity.__getattr__("UserError") is UserError
    with pytest.raises(AttributeError, match=r"^module 'parity' has no attribute 'nothing'$"):
        parity.__getattr__("nothing")
