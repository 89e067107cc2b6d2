"""Runs a command, and ends it together with every process that it started.

    python -I -S keeper.py LINK DESCRIPTORS BYTES COMMAND...

LINK is a socket to the process that started this one. When that process ends, by whatever signal, the
socket closes, and all processes of COMMAND are ended. A byte received on it does the same, after COMMAND was
asked for its Python stack. DESCRIPTORS, separated by commas, are passed on to COMMAND. BYTES limits the
memory of all its processes together. At the end a line of JSON is sent:
{"code": exit code or minus the signal, "ended": null or "time" or "memory"}.

It loads nothing but the standard library, because it is started for each file.
"""

import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Set
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)
POLL = 0.02  # seconds between two looks
LAST_WORDS = 0.5  # seconds for the command to write where it hangs
END = 5.0  # seconds after which processes that cannot be ended are left


def main() -> None:
    """Run the command, and send how it ended."""
    link = socket.socket(fileno=int(sys.argv[1]))
    passed, most = list(map(int, sys.argv[2].split(","))), int(sys.argv[3])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # not SIG_IGN, which the command would inherit
    inherit_orphans()
    command = subprocess.Popen(sys.argv[4:], start_new_session=True, pass_fds=passed)
    for descriptor in passed:
        os.close(descriptor)
    codes: dict[int, int] = {}
    ended = watch(command.pid, link, most, codes)
    end_all(command.pid, codes)
    report = {"code": codes.get(command.pid, -signal.SIGKILL), "ended": ended}
    with suppress(OSError):  # the process that started this one has ended
        link.sendall(json.dumps(report).encode() + b"\n")
    os._exit(0)


def inherit_orphans() -> None:
    """Become the parent of the processes below this one whose own parent ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)


def watch(pid: int, link: socket.socket, most: int, codes: dict[int, int]) -> str | None:
    """Wait for the command's end; return "time" or "memory" if it is to be ended for that."""
    pause = POLL
    while pid not in codes:
        if select.select([link], [], [], pause)[0]:
            if link.recv(1):
                with suppress(OSError):
                    os.kill(pid, signal.SIGUSR1)
                time.sleep(LAST_WORDS)
            return "time"
        start = time.monotonic()
        if exceeds(most):
            return "memory"
        pause = POLL + 10 * (time.monotonic() - start)  # on a machine with many processes a look takes long
        reap(codes)
    return None


def exceeds(most: float, spared: Set[int] = frozenset()) -> bool:
    """Whether the processes below this one, except those spared, hold more bytes together (Linux)."""
    return memory(descendants(spared)) > most and memory(descendants(spared), shared=True) > most


def reap(codes: dict[int, int]) -> None:
    """Collect the exit codes of children and of inherited orphans that have ended."""
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            codes[found[0]] = os.waitstatus_to_exitcode(found[1])


def end_all(pid: int, codes: dict[int, int]) -> None:
    """End all processes of the command, those too that left its group or session."""
    with suppress(OSError):
        os.killpg(pid, signal.SIGKILL)
    end_descendants(codes, {pid})


def end_descendants(
    codes: dict[int, int], awaited: Set[int] = frozenset(), spared: Set[int] = frozenset()
) -> None:
    """End the processes below this one, except those spared (Linux); wait for them and for those awaited."""
    deadline = time.monotonic() + END
    while time.monotonic() < deadline:
        for one in descendants(spared):
            with suppress(OSError):
                os.kill(one, signal.SIGKILL)
        reap(codes)
        if not descendants(spared) and awaited <= codes.keys():
            return
        time.sleep(POLL / 4)


def descendants(spared: Set[int] = frozenset(), of: int | None = None) -> list[int]:
    """The processes below this one, or another, on Linux, except those spared and what is below them."""
    children: dict[int, list[int]] = {}
    for entry in os.scandir(PROC) if sys.platform == "linux" else ():
        if entry.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                # PID (NAME) STATE PARENT ..., and NAME may hold anything
                after = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
                children.setdefault(int(after[1]), []).append(int(entry.name))
    found, todo = [], [os.getpid() if of is None else of]
    while todo:
        below = [one for one in children.pop(todo.pop(), []) if one not in spared]
        found += below
        todo += below
    return found


def memory(pids: list[int], *, shared: bool = False) -> int:
    """Bytes that the processes hold; `shared` counts what several hold once, which takes longer."""
    total = 0
    for pid in pids:
        with suppress(OSError, ValueError, IndexError, StopIteration):
            if not shared:
                total += int((PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
                continue
            lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
            total += int(next(line for line in lines if line.startswith("Pss:")).split()[1]) * 1024
    return total


if __name__ == "__main__":
    main()
