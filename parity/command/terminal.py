"""The terminal: errors of a command, printing, and a progress bar."""

import os
import sys
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, ClassVar

import click

from parity.errors import UserError, not_installed

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


class Failure(click.ClickException):
    """Ends the command with a line on stderr and exit code 2; exit code 1 is a verdict."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(shown(" ".join(message.split())))

    def show(self, file: IO[Any] | None = None) -> None:
        color = False if os.environ.get("NO_COLOR") else None
        with suppress(OSError, ValueError, AttributeError):  # standard error may be full or closed
            click.secho(f"error: {self.message}", file=file, err=True, fg="red", color=color)


class Interrupted(Failure):
    """Ends the command after Ctrl-C."""

    exit_code = 130  # 128 + SIGINT, as shells have it


class Commands(click.Group):
    """Commands in the order of their definition; errors that the user can fix end in one line.

    Attributes:
        failure: the exception for a command that cannot do its work.
        spare: a hint how to use less memory.
    """

    failure: ClassVar[type[Failure]] = Failure
    spare: ClassVar[str] = "--sample N needs less"

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def main(self, *args: Any, **options: Any) -> Any:
        """As in click, which ends by itself where the reader of a pipe has gone."""
        try:
            return super().main(*args, **options)
        except OSError as error:
            failure = self.failure(f"{error.filename or 'the output'}: {error.strerror or error}")
            failure.show()
            sys.exit(failure.exit_code)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            raise self.failure(str(error)) from error
        except ModuleNotFoundError as error:
            if line := not_installed(error):
                raise self.failure(line) from error
            raise
        except MemoryError as error:
            raise self.failure(f"the memory does not suffice; {self.spare}") from error
        except KeyboardInterrupt as error:
            raise Interrupted("interrupted") from error


def shown(text: str) -> str:
    """Text from a file, safe to print: characters that move the cursor or change colours are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str, width: int) -> str:
    """The text in at most `width` characters, with more of its end, because names differ at their end."""
    if len(text) <= width:
        return text
    tail = (width - 1) * 2 // 3
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"


def output() -> "Console":
    """Standard output, without interpretation of markup."""
    from rich.console import Console

    return Console(markup=False, highlight=False, emoji=False)


def progress_bar(*fields: str) -> "Progress":
    """A progress bar on standard error, removed at the end. Without a terminal, nothing is shown.

    Args:
        fields: fields of a task to show beside the count: "{task.fields[loss]}".
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    if not sys.stderr.isatty():
        return Progress(disable=True)
    # A copy, because standard error itself is held back while a framework prints its greeting.
    copy = os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8", errors="replace")
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        *(TextColumn(field, markup=False) for field in fields),
        TimeRemainingColumn(),
        console=Console(file=copy),
        transient=True,
    )
