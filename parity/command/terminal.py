"""The terminal: errors of a command, printing, and a progress bar."""

import errno
import os
import sys
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, ClassVar

import click

from parity.command import interrupts
from parity.errors import UserError, not_installed

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


OF_OUTPUT = {errno.EBADF, errno.EFBIG, errno.EIO, errno.ENOSPC, errno.EPIPE}
LONGEST = 1000  # characters of an error that are shown: a name in a file may have millions


class Failure(click.ClickException):
    """Ends the command with a line on stderr and exit code 2; exit code 1 is a verdict."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(shortened(shown(" ".join(message.split())), LONGEST))

    def show(self, file: IO[Any] | None = None) -> None:
        color = False if os.environ.get("NO_COLOR") else None
        with suppress(OSError, ValueError, AttributeError):  # standard error may be full or closed
            click.secho(f"error: {self.message}", file=file, err=True, fg="red", color=color)


class Interrupted(Failure):
    """Ends the command after Ctrl-C."""

    exit_code = interrupts.CODE

    def show(self, file: IO[Any] | None = None) -> None:
        if interrupts.CTRL_C.seen or interrupts.CTRL_C.is_copy:  # then the process that waits says it
            interrupts.CTRL_C.end(f"error: {self.message}")
        super().show(file)


class Command(click.Command):
    """A command whose errors, if the user can fix them, end in one line.

    Attributes:
        failure: the exception for a command that cannot do its work.
        spare: a hint how to use less memory.
    """

    failure: ClassVar[type[Failure]] = Failure
    spare: ClassVar[str] = "--sample N needs less"

    def main(self, *args: Any, **options: Any) -> Any:
        """As in click, which ends in silence where the reader of a pipe has gone."""
        standard = sys.stdout
        try:
            return super().main(*args, **options)
        except SystemExit as end:
            # Nobody reads the pipe: click has put something else in its place, or rich has ended the program.
            if sys.stdout is not standard or isinstance(end.__context__, BrokenPipeError):
                sys.exit(self.failure.exit_code)
            raise
        except OSError as error:
            where = error.filename or ("the output" if error.errno in OF_OUTPUT else "the system")
            failure = self.failure(f"{where}: {error.strerror or error}")
            failure.show()
            if sys.stdout is sys.__stdout__ and sys.stdout is not None:
                with suppress(OSError):
                    sys.stdout.close()  # otherwise Python tries to write the rest at the end
            sys.exit(failure.exit_code)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return self._invoke(ctx)
        except Interrupted:
            raise
        except Exception as error:
            if interrupts.CTRL_C.seen:  # a library made another error of it
                raise Interrupted(interrupts.CTRL_C.says()) from error
            raise

    def _invoke(self, ctx: click.Context) -> Any:
        interrupts.CTRL_C.says = interrupts.plainly
        try:
            os.getcwd()
        except OSError as error:
            raise self.failure(f"the working directory: {error.strerror}; change to another") from error
        try:
            result = super().invoke(ctx)
            if interrupts.CTRL_C.seen:  # a library swallowed it, and the command went on to its end
                raise KeyboardInterrupt
            return result
        except click.UsageError as error:
            message = shortened(shown(error.format_message()), LONGEST)
            raise click.UsageError(message, error.ctx) from error
        except UserError as error:
            raise self.failure(str(error)) from error
        except ModuleNotFoundError as error:
            if line := not_installed(error):
                raise self.failure(line) from error
            raise
        except MemoryError as error:
            raise self.failure(f"the memory does not suffice; {self.spare}") from error
        except KeyboardInterrupt as error:
            raise Interrupted(interrupts.CTRL_C.says()) from error


class Commands(Command, click.Group):
    """Commands in the order of their definition, whose errors end as those of `Command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def open_streams() -> None:
    """Make standard output and standard error usable, whatever they are.

    A closed one is opened: otherwise Python has none, and the next file that is opened takes its number and
    gets the messages of libraries. A closed standard error takes all and shows nothing; a closed standard
    output refuses what is written to it. Characters that a stream cannot show are replaced.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            flags = os.O_RDONLY if number < 2 else os.O_WRONLY
            opened = os.open(os.devnull, flags)
            if opened != number:
                os.dup2(opened, number, inheritable=True)
                os.close(opened)
            stream = os.fdopen(number, mode)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # not a file of its own
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]


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
        redirect_stderr=False,  # where Ctrl-C sends it to nowhere, it stays there
    )
