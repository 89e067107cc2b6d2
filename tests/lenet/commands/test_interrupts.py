"""Ctrl-C, closed and full streams: each command ends at once, in one line, and leaves nothing running."""

import os
import signal
import subprocess
import sys
import time

import pytest

from parity.command import interrupts
from tests.helpers import LENET, as_command, ended, running
from tests.prepared import COMMANDS, prepared
from tests.prepared import LENET as RUN_LENET

READY = 'print("ready", flush=True)\n'
BODIES = {
    "seen": "time.sleep(60)",
    "swallowed": """
while True:
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        pass""",
    "another error": """
try:
    time.sleep(60)
except KeyboardInterrupt:
    raise RuntimeError('something failed')""",
    "a thread computes": """
with ThreadPoolExecutor(1) as pool:
    pool.submit(time.sleep, 60)
    time.sleep(60)""",
    "a library complains": """
try:
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.2)
    os.write(2, b'Aborted: the worker was interrupted')
    raise""",
    "swallowed, and then the command ends": """
try:
    time.sleep(60)
except KeyboardInterrupt:
    pass""",
    "in a destructor": """
class Library:
    def __del__(self):
        time.sleep(60)
one = Library()
del one
time.sleep(60)""",
}


def pressed(source: str) -> tuple[subprocess.Popen[str], float]:
    """A process that was sent SIGINT as soon as it printed a line, and the seconds until it ended."""
    process = subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.wait(timeout=50)
    return process, time.monotonic() - start


def test_the_command_is_interrupted_even_if_the_thread_that_watches_was_first(monkeypatch):
    watched = interrupts.Interrupts()
    monkeypatch.setattr(watched, "_see", lambda: setattr(watched, "seen", True))
    watched._see()  # as the thread does
    with pytest.raises(KeyboardInterrupt):
        watched._raise(signal.SIGINT, None)
    watched._raise(signal.SIGINT, None)  # a second signal disturbs nothing


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_an_interrupt_ends_whatever_runs_in_one_line(body):
    process, seconds = pressed(as_command(READY + body.strip()))
    with process:
        assert process.stderr is not None
        assert (process.returncode, process.stderr.read()) == (130, "error: interrupted\n")
    assert seconds < 10  # of 60; alone on a machine it is less than 1


def test_a_worker_ends_with_its_parent(tmp_path):
    source = (
        "import os, time\nfrom lenet.ports.workers import Worker\n"
        "if __name__ == '__main__':\n"
        "    worker = Worker('x', time.sleep, 60)\n"
        "    print(worker._process.pid, flush=True)\n    time.sleep(60)\n"
    )
    (tmp_path / "main.py").write_text(source)
    with subprocess.Popen(
        [sys.executable, tmp_path / "main.py"], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert running(pid)
        parent.kill()
    assert ended(pid)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", ["ports", "predict --digit 3 --port numpy", "check --template", "--help"]
)
def test_without_standard_error_a_command_works_as_with_it(arguments, lenet):
    closed = shell(f'"{LENET}" {arguments} 2>&-')
    assert closed.returncode == 0
    assert closed.stdout == lenet(*arguments.split()).stdout != ""


@pytest.mark.slow
@pytest.mark.parametrize("arguments", ["ports", "predict --digit 3 --port numpy", "--help"])
def test_an_output_that_takes_nothing_is_one_line(arguments, tmp_path):
    closed = shell(f'"{LENET}" {arguments} >&-')
    with open("/dev/full", "w") as full:
        process = prepared(*COMMANDS)
        result = process.run(RUN_LENET, *arguments.split(), folder=tmp_path, output=full)
    for found in (closed, result):
        assert found.returncode == 1
        assert found.stderr.startswith("error: the output: ")
        assert found.stderr.count("\n") == 1


def shell(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=os.environ)


HELD = """
import os, signal, sys
from lenet.ports.quiet import stderr_held
try:
    with stderr_held():
        os.write(2, b"\\x1b[2Jthe\\tlibrary says\\rwhy\\n")
        {body}
except ValueError:
    pass
"""


@pytest.mark.parametrize("body", ["os.abort()", "os._exit(1)", "os.kill(os.getpid(), 9)", "raise ValueError"])
def test_what_a_dying_library_said_is_shown(body):
    result = subprocess.run([sys.executable, "-c", HELD.format(body=body)], stderr=subprocess.PIPE, text=True)
    assert result.stderr == "[2Jthe\tlibrary sayswhy\n"  # without what controls a terminal


def test_what_a_library_says_that_lives_on_is_not_shown():
    result = subprocess.run([sys.executable, "-c", HELD.format(body="")], stderr=subprocess.PIPE, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_what_a_library_said_before_an_interrupt_is_not_shown():
    held = """
from lenet.ports.quiet import stderr_held
with stderr_held():
    os.write(2, b"the library says why")
    print("ready", flush=True)
    while True:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            pass"""
    process, _ = pressed(as_command(held))
    with process:
        assert process.stderr is not None
        assert (process.returncode, process.stderr.read()) == (130, "error: interrupted\n")


# --- while the command is imported ----------------------------------------------------------------


def test_ctrl_c_while_the_command_is_imported_is_one_line():
    code = """
from parity.command.interrupts import answer_until_installed
import time
answer_until_installed()
print("importing", flush=True)
time.sleep(60)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "error: interrupted\n")


@pytest.mark.parametrize("package", ["lenet", "parity"])
def test_ctrl_c_is_answered_before_anything_large_is_imported(package):
    code = f"""
import sys, signal
from {package} import __main__
from parity.command import interrupts
assert "click" not in sys.modules
interrupts.answer_until_installed = lambda: sys.exit(7)
__main__.main()
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 7


def test_an_ignored_signal_stays_ignored():
    code = """
import signal
from parity.command.interrupts import CTRL_C, answer_until_installed
signal.signal(signal.SIGINT, signal.SIG_IGN)
answer_until_installed()
CTRL_C.install()
assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
"""
    subprocess.run([sys.executable, "-c", code], check=True)
