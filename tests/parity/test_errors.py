"""An error's text is one line, whatever names are in it."""

import pytest

from parity.errors import MissingFramework, UserError, described


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
