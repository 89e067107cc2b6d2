"""A command on a foreign file ends within limits of time and memory, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from parity.command.copies import memory_limit
from parity.errors import UserError
from parity.files import temporary_folder
from tests.helpers import PARITY, as_command, ended, running
from tests.parity.small import convolutions, loop, model, saved


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A model with a loop of 2⁶² rounds."""
    weights = {"rounds": np.array(2**62), "zero": np.array(0, np.float32)}
    nodes = [loop("rounds", "zero", "more"), helper.make_node("Add", ["x", "more"], ["y"])]
    return saved(model(nodes, {"x": [1]}, ["y"], weights), tmp_path)


def started(*arguments: object, folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "TMPDIR": str(folder)}
    command = [PARITY, *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def at_work(process: subprocess.Popen[str], place: Path) -> bool:
    """Wait until the command, which does not end by itself, has made its temporary folder; or has ended."""
    while not (made := any(place.glob("*/optimised.onnx"))) and process.poll() is None:
        time.sleep(0.02)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("command", ["judge", "record"])
def test_what_takes_too_long_is_ended_in_one_line(command, endless, tmp_path):
    place = tmp_path / "temporary"
    place.mkdir()
    out = [tmp_path / "out.npz"] if command == "record" else []
    seconds = 2
    while True:
        line = command, endless, *out, "--runtime", "onnxruntime-all", "--timeout", seconds
        process = started(*line, folder=place)
        made = at_work(process, place)
        printed, errors = process.communicate(timeout=60)
        if made:
            break
        seconds *= 2  # to import took longer, and nothing was there to be left behind
    assert (printed, process.returncode) == ("", 2)
    assert errors == f"error: {endless} took more than {seconds} seconds (--timeout), and was ended\n"
    assert not any(place.iterdir())
    assert {one.name for one in tmp_path.iterdir()} == {endless.name, place.name}


@pytest.mark.slow
def test_the_folder_of_a_killed_process_is_removed_by_the_next(endless, tmp_path):
    place = tmp_path / "temporary"
    place.mkdir()
    process = started("judge", endless, "--runtime", "onnxruntime-all", folder=place)
    assert at_work(process, place)
    (left,) = place.iterdir()
    next_one = "judge", saved(convolutions(1), tmp_path, "next.onnx"), "--runtime", "onnxruntime-all"
    assert started(*next_one, folder=place).wait(timeout=60) == 0
    assert [*place.iterdir()] == [left]  # it is in use
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert started(*next_one, folder=place).wait(timeout=60) == 0
    assert not any(place.iterdir())


def test_what_is_not_ours_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "parity-abcdefgh").mkdir()  # of somebody else, or just being made
    with temporary_folder() as mine, temporary_folder() as second:
        assert mine.is_dir()
        assert second.is_dir()
    assert [one.name for one in tmp_path.iterdir()] == ["parity-abcdefgh"]


def test_no_place_for_temporary_files_is_refused_in_one_line(monkeypatch):
    def nowhere() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", nowhere)
    with pytest.raises(UserError, match="set TMPDIR"), temporary_folder():
        pass


# --- the copy ----------------------------------------------------------------------------------


def run(body: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", as_command(body)], capture_output=True, text=True, timeout=60
    )


@pytest.mark.slow
def test_a_copy_that_takes_too_much_memory_is_ended():
    result = run(
        """
        death = copies.go_on("it", memory=2**28)
        kept = bytearray(b"x") * 2**29
        time.sleep(60)
        """
    )
    said = "error: it took more than 0.2 GiB of memory, and was ended\n"
    assert (result.returncode, result.stderr) == (2, said)


def test_addresses_without_memory_are_free():
    result = run(
        """
        import mmap
        copies.go_on("it", memory=2**28)
        kept = mmap.mmap(-1, 2**32)
        time.sleep(0.5)
        """
    )
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("body", "how"),
    [("os.abort()", "by signal SIGABRT"), ("os._exit(0)", "with exit code 0")],
)
def test_a_library_that_ends_the_process_gives_no_verdict(body, how):
    result = run(f"copies.within_limits('model.onnx', 60)\n{body}")
    said = f"error: model.onnx: the process that ran it ended {how}\n"
    assert (result.returncode, result.stderr.splitlines(keepends=True)[-1]) == (2, said)


def test_what_a_library_has_said_is_shown_before_all_processes_are_ended():
    later = "subprocess.Popen(['sh', '-c', 'sleep 0.2; echo said >&2'], start_new_session=True)"
    result = run(f"import subprocess\ncopies.within_limits('it', 60)\n{later}\nos.abort()")
    assert result.stderr.splitlines()[0] == "said"


STARTED = """
copies.within_limits('it', 60, 2**30)
import subprocess
code = "import os, time; {first}print(os.getpid(), flush=True); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stderr=subprocess.DEVNULL)
{then}
"""


@pytest.mark.slow
@pytest.mark.parametrize("first", ["", "os.fork() and os._exit(0); "], ids=["child", "orphan"])
@pytest.mark.parametrize(
    ("then", "number", "code"),
    [
        ("time.sleep(0.5)", 0, 0),
        ("time.sleep(0.5)\nos._exit(3)", 0, 2),
        ("time.sleep(60)", signal.SIGTERM, -signal.SIGTERM),
        ("time.sleep(60)", signal.SIGHUP, -signal.SIGHUP),
        ("time.sleep(60)", signal.SIGINT, 130),
    ],
)
def test_processes_that_it_started_end_with_the_command(first, then, number, code):
    source = as_command(STARTED.format(first=first, then=then))
    process = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    started = int(process.stdout.readline())
    if number:
        process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == code
    assert ended(started)


def test_the_exit_of_a_process_that_it_forked_is_not_its_own():
    quiet = "import warnings\nwarnings.simplefilter('ignore')"  # Python 3.12 warns of a fork beside threads
    forked = "if not os.fork(): sys.exit(0)\nos.wait()\nos._exit(0)"
    result = run(f"{quiet}\ncopies.within_limits('it', 60)\n{forked}")
    said = "error: it: the process that ran it ended with exit code 0\n"
    assert (result.returncode, result.stderr) == (2, said)


@pytest.mark.slow
def test_a_second_signal_does_not_disturb_the_end():
    source = as_command("copies.within_limits('it', 60)\nprint('ready', flush=True)\ntime.sleep(60)")
    for pause in (0.0, 0.001, 0.003, 0.01):
        process = subprocess.Popen(
            [sys.executable, "-c", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        time.sleep(pause)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (-signal.SIGTERM, "")


@pytest.mark.slow
def test_processes_that_a_shell_has_left_to_the_command_are_spared(tmp_path):
    graph = saved(model([helper.make_node("Relu", ["x"], ["y"])], {"x": [2]}, ["y"]), tmp_path)
    shell = f"sleep 600 >/dev/null 2>&1 & echo $!; exec {PARITY} judge {graph} --json /dev/null"
    result = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, timeout=60)
    others = int(result.stdout.splitlines()[0])
    assert result.returncode == 0
    assert running(others)
    os.kill(others, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", ["judge m.onnx", "judge m.onnx --json -", "--help"])
def test_a_reader_that_has_gone_is_no_verdict(arguments, tmp_path):
    saved(model([helper.make_node("Relu", ["x"], ["y"])], {"x": [2]}, ["y"]), tmp_path, "m.onnx")
    reading, writing = os.pipe()
    os.close(reading)
    command = [PARITY, *arguments.split()]
    result = subprocess.run(
        command, cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60
    )
    os.close(writing)
    assert (result.returncode, result.stderr) == (2, "")


@pytest.mark.slow
def test_the_memory_of_processes_that_it_started_counts():
    code = "import time; kept = bytearray(b'x') * 2**29; time.sleep(60)"
    result = run(
        f"""
        copies.go_on("it", memory=2**28)
        import subprocess
        subprocess.run([sys.executable, "-c", {code!r}])
        """
    )
    said = "error: it took more than 0.2 GiB of memory, and was ended\n"
    assert (result.returncode, result.stderr) == (2, said)


@pytest.mark.parametrize("code", [0, 1, 2, 130])
def test_the_exit_code_is_that_of_the_copy(code):
    result = run(f"copies.within_limits('model.onnx', 60)\nsys.exit({code})")
    assert result.returncode == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
@pytest.mark.parametrize("work", ["time.sleep(60)", "sum(range(10**11))"], ids=["waits", "no thread can run"])
def test_the_copy_ends_with_the_process_that_waits(work, number):
    source = as_command(f"copies.within_limits('it', 60)\nprint(os.getpid(), flush=True)\n{work}")
    process = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    copy = int(process.stdout.readline())
    process.send_signal(number)
    process.communicate(timeout=60)
    assert ended(copy)


@pytest.mark.slow
def test_ctrl_c_leaves_no_folder(endless, tmp_path):
    place = tmp_path / "temporary"
    place.mkdir()
    process = started("judge", endless, "--runtime", "onnxruntime-all", folder=place)
    assert at_work(process, place)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "error: interrupted\n")
    assert not any(place.iterdir())


@pytest.mark.slow
def test_a_name_that_is_no_text_is_noted(tmp_path):
    graph = model([helper.make_node("Relu", ["x"], ["y"])], {"x": [2]}, ["y"])
    path = saved(graph, tmp_path, os.fsdecode(b"\xff.onnx"))
    process = started("judge", path, folder=tmp_path)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "1 tensor judged: 1 equal." in printed


def test_the_limit_is_below_what_the_machine_has():
    assert 2**20 < memory_limit() < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
