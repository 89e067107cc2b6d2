"""`lenet check` runs somebody's file: what the file may do to the machine and the judge, and what is left."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from lenet.commands.cli import cli
from lenet.diagnose.own_file import running
from lenet.diagnose.own_file.interface import Misused
from lenet.diagnose.own_file.running import Answers, run_file
from lenet.diagnose.own_file.surroundings import environment
from tests.helpers import LENET

pytestmark = pytest.mark.slow

LOGITS = "import numpy as np\ndef activations(params, images): return np.zeros((len(images), 10))\n"
# A process of its own session, whose parent has ended, and one below the file's process.
DAEMONS = """
import os, subprocess, sys, time
sleep = [sys.executable, "-S", "-c", "import time; time.sleep(100)"]
starts = f"import subprocess; print(subprocess.Popen({sleep}, start_new_session=True, stdout=2).pid)"
orphan = subprocess.check_output([sys.executable, "-S", "-c", starts], text=True).strip()
child = subprocess.Popen(sleep).pid
open("pids.part", "w").write(f"{os.getpid()} {orphan} {child}")
os.rename("pids.part", "pids")
"""
HANG = "time.sleep(100)\n"


@pytest.fixture
def run(tmp_path, monkeypatch) -> Callable[..., Answers]:
    """Runs a source in a process of its own, without a judgement of its values."""
    monkeypatch.chdir(tmp_path)

    def run(source: str, seconds: float = 60, printed: list[str] | None = None) -> Answers:
        (tmp_path / "my_port.py").write_text(source)
        echo = (printed if printed is not None else []).append
        return run_file(Path("my_port.py"), seconds, echo, lambda done, total: None)

    return run


def within(seconds: float, what: Callable[[], bool]) -> bool:
    """Whether it comes true in that time."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def still_running(folder: Path) -> list[int]:
    """The processes named in the file `pids` that have not ended; a zombie has."""
    found = []
    for pid in map(int, (folder / "pids").read_text().split()):
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
        if state.strip() and not state.startswith("Z"):
            found.append(pid)
    return found


def lines(answers: Answers) -> str:
    assert answers.failure is not None
    return "\n".join(answers.failure.lines)


# --- what is left behind -----------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_ends_all_that_the_file_started(number, tmp_path):
    (tmp_path / "my_port.py").write_text(DAEMONS + HANG)
    (tmp_path / "temporary").mkdir()
    environment = os.environ | {"TMPDIR": str(tmp_path / "temporary")}
    process = subprocess.Popen(
        [LENET, "check", "my_port.py"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    assert within(20, (tmp_path / "pids").exists)
    assert len(still_running(tmp_path)) == 3
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    if number == signal.SIGINT:
        assert (process.returncode, said) == (130, "error: interrupted\n")
        assert not still_running(tmp_path)
    else:
        assert (process.returncode, said) == (-number, "")
    assert within(30, lambda: not still_running(tmp_path))
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize("end", ["raise SystemExit", "os._exit(0)", "os.kill(os.getpid(), 9)", HANG])
def test_what_the_file_started_ends_with_it(end, run, tmp_path):
    run(DAEMONS + end, seconds=4)
    assert not still_running(tmp_path)


# --- memory ------------------------------------------------------------------------------------


def test_the_memory_of_all_its_processes_is_limited(run, monkeypatch):
    monkeypatch.setattr(running, "memory_limit", lambda: 2**29)
    hungry = "import subprocess, sys\nkept = bytearray(b'x') * 2**28\n"
    below = f"subprocess.run([sys.executable, '-c', '''import time\n{hungry}time.sleep(100)'''])"
    assert "took more than 0.5 GiB of memory, so they were ended" in lines(run(hungry + below))


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("np.broadcast_to(np.float32(0), (2**30, 10))", r"shape \(1073741824, 10\), which is too large"),
        ("{'conv1': np.zeros(2**24), 'pool1': np.zeros(2**24), 'fc1': np.zeros(2**24)}", "384 MiB in all"),
    ],
    ids=["an array", "an answer"],
)
def test_too_large_an_answer_is_not_sent(returned, said, run):
    with pytest.raises(Misused, match=said):
        run(LOGITS + f"def activations(params, images): return {returned}")


def test_what_is_printed_without_an_end_is_cut_into_lines(run):
    printed: list[str] = []
    run("print('x' * 10**6)\n" + LOGITS + "1 / 0", printed=printed)
    assert len(printed) > 10
    assert sum(map(len, printed)) == 10**6 + 1


def test_a_long_exception_is_shortened(run):
    assert len(lines(run("raise ValueError('x' * 10**7)"))) < 2_000


# --- the judge is out of reach -----------------------------------------------------------------

PIPE = "import os, struct, sys\nlast = sys.orig_argv[-2:]\npipe = int(last[0])\n"
JUNK = {
    "junk": "os.write(pipe, b'junk and more junk')",
    "an event": "text = b'[1, 2]'; os.write(pipe, struct.pack('>cQ', b'e', len(text)) + text)",
    "of another type": "text = b'{\"phase\": 3}'; os.write(pipe, struct.pack('>cQ', b'e', len(text)) + text)",
    "no end": "os.write(pipe, struct.pack('>cQ', b'e', 2**60))",
    "an answer": "os.write(pipe, struct.pack('>cQ', b'a', 3) + b'xxx')",
    "another layer": (
        "from safetensors.numpy import save; import numpy\n"
        "text = save({'x': numpy.zeros(3)}); os.write(pipe, struct.pack('>cQ', b'a', len(text)) + text)"
    ),
    "without end": "text = b'{}'\nwhile True: os.write(pipe, struct.pack('>cQ', b'e', len(text)) + text)",
}  # fmt: skip


@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK)
def test_what_the_file_writes_to_the_judge_is_refused(junk, run):
    said = lines(run(f"{PIPE}{junk}\nimport time; time.sleep(100)"))
    assert "cannot be read" in said


def test_a_closed_pipe_is_a_failed_run(run):
    assert "exited early with exit code 1" in lines(run(f"{PIPE}os.close(pipe)\n1 / 0"))


def test_a_module_of_python_that_the_file_replaces_is_not_used(run):
    answers = run(LOGITS + "import json\njson.dumps = lambda *a, **k: 'x'\n")
    assert answers.failure is None
    assert answers.observed.activations


def test_a_copy_of_the_process_sends_no_answers(run):
    alone = run(LOGITS)
    both = run(LOGITS + "import os\nos.fork()\n")
    assert both.failure is None
    assert both.count == alone.count > 0


def test_a_function_of_the_file_runs_in_spawned_processes(run, tmp_path):
    answers = run(
        "import multiprocessing\nimport numpy as np\n"
        "def half(x): return x / 2\n"
        "POOL = None\n"
        "def activations(params, images):\n"
        "    global POOL\n"
        "    POOL = POOL or multiprocessing.get_context('spawn').Pool(1)\n"
        "    return np.array(POOL.map(half, [images.sum()])).repeat(10 * len(images)).reshape(-1, 10)\n"
        "if __name__ == '__main__': raise SystemExit('run as a script')\n"
    )
    assert answers.failure is None, answers.failure
    assert answers.observed.activations


def test_secrets_of_the_environment_are_kept_from_the_file(run, monkeypatch):
    given = {
        "GITHUB_TOKEN": "1",
        "DATABASE_URL": "2",
        "TORCH_API_KEY": "3",
        "OMP_NUM_THREADS": "1",
        "LC_X": "5",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    printed: list[str] = []
    run("import os\nprint(*sorted(os.environ))\n1 / 0", printed=printed)
    assert given.keys() & printed[0].split() == {"OMP_NUM_THREADS", "LC_X"}
    assert environment(["DATABASE_URL"])["DATABASE_URL"] == "2"


# --- the command -------------------------------------------------------------------------------


def test_what_cannot_be_looked_at_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, said in (
        ("x" * 300 + ".py", "File name too long"),
        ("x" * 300, "unknown port"),
        ("\x1b[31mred.py", r"\x1b[31mred.py: no such file"),
    ):
        result = CliRunner().invoke(cli, ["check", name])
        assert (result.exit_code, result.stdout) == (2, "")
        assert said in result.stderr
        assert "\x1b" not in result.stderr


def test_what_the_file_prints_and_raises_cannot_move_the_cursor(tmp_path):
    said = r"print('\x1b[31mred\x07\ttab'); print('half\rdone', file=sys.stderr)"
    (tmp_path / "my_port.py").write_text(f"import sys\n{said}\nraise ValueError('\\x1b[31mred')")
    result = subprocess.run([LENET, "check", "my_port.py"], cwd=tmp_path, capture_output=True)
    assert b"\\x1b[31mred\\x07" in result.stderr
    assert b"\ndone\n" in b"\n" + result.stderr
    assert rb"ValueError: \x1b[31mred" in result.stdout
    assert not {0x1B, 0x07, 0x0D} & {*result.stderr, *result.stdout}
