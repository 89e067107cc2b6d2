"""An error's text is one line, whatever names are in it."""

import pytest

from parity.errors import MissingFramework, UserError, described, install_line, not_installed


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
