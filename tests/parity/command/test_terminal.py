"""The terminal: how errors end a command, streams that are closed, and the progress bar."""

import errno
import io
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from parity.command import interrupts
from parity.command.terminal import (
    Command,
    Commands,
    Failure,
    Interrupted,
    open_streams,
    output,
    progress_bar,
    shortened,
)
from parity.errors import UserError, install_line


def ended(work: Callable[[], object], *arguments: str, **options: Any) -> Result:
    """What becomes of a command that does this."""

    @click.command(cls=Command)
    @click.option("--n", type=int)
    def command(n: int | None) -> None:
        work()

    return CliRunner().invoke(command, arguments, **options)


def raising(error: BaseException) -> Callable[[], object]:
    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UserError("no\nsuch file"), "no such file"),
        (MemoryError(), "the memory does not suffice; --sample N needs less"),
        (ModuleNotFoundError(name="torch.nn"), f"torch is not installed: {install_line('torch')}"),
        (OSError(errno.ENOSPC, "No space left"), "the output: No space left"),
        (OSError(errno.EMFILE, "Too many files"), "the system: Too many files"),
        (OSError(errno.ENOENT, "No such file", "a.txt"), "a.txt: No such file"),
        (OSError("strange"), "the system: strange"),
    ],
)
def test_errors_that_the_user_can_mend_end_in_one_line(error: BaseException, said: str) -> None:
    result = ended(raising(error))
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"error: {said}\n")


@pytest.mark.parametrize("error", [ValueError("a bug"), ModuleNotFoundError("x", name="nobody.knows")])
def test_bugs_are_not_hidden(error: Exception) -> None:
    assert ended(raising(error)).exception is error


def test_a_folder_that_is_gone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getcwd", raising(FileNotFoundError(2, "No such file or directory")))
    result = ended(lambda: None)
    said = "error: the working directory: No such file or directory; change to another\n"
    assert (result.exit_code, result.stderr) == (2, said)


def test_ctrl_c_ends_a_command_even_if_a_library_swallows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    result = ended(raising(KeyboardInterrupt()))
    assert (result.exit_code, result.stderr) == (interrupts.CODE, "error: interrupted\n")
    shown: list[str] = []
    monkeypatch.setattr(interrupts.CTRL_C, "end", shown.append)

    def seen() -> None:
        monkeypatch.setattr(interrupts.CTRL_C, "seen", True)

    def seen_and_renamed() -> None:
        seen()
        raise ValueError("a library made this of it")

    for work in (seen, seen_and_renamed):
        monkeypatch.setattr(interrupts.CTRL_C, "seen", False)
        assert ended(work).exit_code == interrupts.CODE
    assert shown == ["error: interrupted"] * 2


def test_a_copy_leaves_the_line_to_the_process_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(interrupts.CTRL_C, "end", shown.append)
    monkeypatch.setattr(interrupts.CTRL_C, "is_copy", True)
    assert ended(raising(KeyboardInterrupt())).exit_code == interrupts.CODE
    assert shown == ["error: interrupted"]


def test_what_a_command_returns_and_its_usage_errors_pass() -> None:
    @click.command(cls=Command)
    @click.option("--n", type=int)
    def command(n: int) -> int:
        return n + 1

    assert command.main(["--n", "3"], standalone_mode=False) == 4
    assert "Invalid value for '--n': 'x' is not a valid integer" in ended(lambda: None, "--n", "x").stderr
    result = ended(raising(click.UsageError("a\x1b[31m" + "y" * 2000)))
    assert result.exit_code == 2
    message = result.stderr[result.stderr.index("Error: ") + len("Error: ") :].strip()
    assert len(message) == 1000
    assert message.startswith("a\\x1b[31myyy")
    assert result.stderr.startswith("Usage: command [OPTIONS]\n")


@pytest.mark.parametrize("variable", ["", "1"])
def test_an_error_is_red_unless_nobody_wants_colours(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", variable)
    result = ended(raising(UserError("x")), color=True)
    assert result.stderr == ("error: x\n" if variable else "\x1b[31merror: x\x1b[0m\n")


def test_an_error_may_be_shown_in_a_file() -> None:
    file = io.StringIO()
    Failure("x").show(file)
    assert file.getvalue() == "error: x\n"


def test_a_standard_error_that_is_closed_is_no_further_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    Failure("x").show()
    Interrupted("x").show()


def test_commands_have_the_order_of_their_definition() -> None:
    group = Commands("all", [click.Command(name) for name in ("b", "c", "a")])
    assert group.list_commands(click.Context(group)) == ["b", "c", "a"]


@pytest.mark.parametrize(
    ("width", "text"), [(6, "abcdef"), (5, "ab…ef"), (4, "a…ef"), (3, "a…f"), (2, "a…"), (1, "…")]
)
def test_a_name_is_shortened_in_its_middle(width: int, text: str) -> None:
    assert shortened("abcdef", width) == text


# --- streams -----------------------------------------------------------------------------------


def in_a_fork(work: Callable[[], bool]) -> None:
    """Whether this is true in a process of its own, whose streams are closed."""
    with warnings.catch_warnings(action="ignore"):
        process = os.fork()
    if not process:
        right = False
        try:
            right = work()
        finally:
            os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


def closed(*names: str) -> None:
    for name in names:
        os.close(("stdin", "stdout", "stderr").index(name))
        setattr(sys, name, None)
        setattr(sys, f"__{name}__", None)


def test_closed_streams_are_opened_where_libraries_look_for_them() -> None:
    def right() -> bool:
        closed("stdin", "stdout", "stderr")
        open_streams()
        streams: list[Any] = [sys.stdin, sys.stdout, sys.stderr]
        numbers = [one.fileno() for one in streams] == [0, 1, 2]
        own = [sys.__stdin__, sys.__stdout__, sys.__stderr__] == streams
        quiet = sys.stdin.read() == "" and sys.stderr.write("é\ud800") == 2
        sys.stderr.flush()
        sys.stdout.write("to nobody")
        try:
            sys.stdout.flush()
        except OSError as error:
            return numbers and own and quiet and error.errno == errno.EBADF
        return False

    open_streams()  # nothing is closed here
    in_a_fork(right)


def test_a_stream_that_is_open_elsewhere_gets_its_number_and_is_inherited() -> None:
    def right() -> bool:
        closed("stdin", "stdout")
        taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(2)] == [0, 1]  # and Python has no streams
        before = len(os.listdir("/proc/self/fd"))
        open_streams()
        after = len(os.listdir("/proc/self/fd"))
        numbers = (sys.stdin.fileno(), sys.stdout.fileno()) == (0, 1)
        inherited = os.get_inheritable(0) and os.get_inheritable(1)
        return taken and numbers and inherited and after == before

    in_a_fork(right)


def test_characters_that_a_stream_cannot_show_are_replaced() -> None:
    def right() -> bool:
        sys.stdout = open(os.devnull, "w", encoding="ascii")  # noqa: SIM115 (the process ends)
        sys.stderr = None
        open_streams()
        sys.stdout.write("é")
        sys.stdout.flush()
        return sys.stdout.errors == "replace"

    in_a_fork(right)


def test_output_takes_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    output().print("[bold]layer[/bold] :smile: 3")
    assert capsys.readouterr().out == "[bold]layer[/bold] :smile: 3\n"


def everything(master: int) -> bytes:
    """What was written to a terminal so far."""
    found = b""
    os.set_blocking(master, False)
    with suppress(OSError):  # there is no more
        while part := os.read(master, 2**16):
            found += part
    os.close(master)
    return found


def test_a_progress_bar_takes_names_as_they_are_and_vanishes(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = os.openpty()
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "100")
        with progress_bar("{task.fields[loss]}") as bar:
            bar.add_task("[bold]reading[/bold]", total=3, completed=1, loss="[red]0.5[/red]")
            bar.refresh()
            assert sys.stderr is terminal
    text = everything(master).decode()
    assert "[bold]reading[/bold]" in text
    assert "1/3" in text
    assert "[red]0.5[/red]" in text
    assert "-:--:--" in text
    assert text.rstrip().endswith("\x1b[2K")


def test_without_a_terminal_there_is_no_progress_bar() -> None:
    assert progress_bar().disable
