"""No command but `data` opens a connection: the kernel ends any process of the others that tries."""

import ctypes
import os
import platform
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.export.exported import model_of

BIN = Path(sys.executable).parent
CONNECT = {"x86_64": 42, "aarch64": 203}  # the number of this system call
ADDRESS_BYTES = (16, 28)  # of the internet, versions 4 and 6; those of a socket on this machine differ

# See seccomp(2) and linux/bpf_common.h.
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, KILL_PROCESS = 0x7FFF0000, 0x80000000
NUMBER, LENGTH = 0, 32  # places in the kernel's description of a call: its number, and its third argument
NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2  # of prctl(2)


def without_connections() -> None:
    """Let the kernel end this process, and all that it starts, where they connect to an internet address."""
    program = [
        (LOAD, 0, 0, NUMBER),
        (JUMP_IF_EQUAL, 0, 4, CONNECT[platform.machine()]),
        (LOAD, 0, 0, LENGTH),
        (JUMP_IF_EQUAL, 1, 0, ADDRESS_BYTES[0]),
        (JUMP_IF_EQUAL, 0, 1, ADDRESS_BYTES[1]),
        (RETURN, 0, 0, KILL_PROCESS),
        (RETURN, 0, 0, ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    described = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) or prctl(SECCOMP, FILTER, described):
        raise OSError(ctypes.get_errno(), "seccomp")


def run(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, preexec_fn=without_connections, capture_output=True, text=True, timeout=300
    )


COMMANDS = {
    "compare": "lenet compare jax onnx:numpy/onnxruntime --digits 20",
    "exact": "lenet exact numpy --digits 20",
    "train": "lenet train numpy theano --compare 1",
    "export": "lenet export --from torch --digits 20",
    "export --check": "lenet export --check lenet-numpy.onnx --digits 20",
    "check": "lenet check port.py",
    "predict": "lenet predict --digit 3 --port caffe",
    "bench": "lenet bench numpy --batch 16 --rounds 1",
    "report": "lenet report numpy --digits 20 --strip 1 --steps 1",
    "migrations": "lenet migrations",
    "diff": "lenet diff numpy torch",
    "ports": "lenet ports",
    "workshop": "lenet workshop",
    "judge": "parity judge lenet-numpy.onnx --dim batch=2 --runtime onnxruntime --html page.html",
    "probe": "parity probe lenet-numpy.onnx --dim batch=2 --runtime openvino-f32",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("folder")
    (made / "lenet-numpy.onnx").write_bytes(model_of("numpy").SerializeToString())
    (made / "port.py").write_text(run(BIN / "lenet", "check", "--template", folder=made).stdout)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_no_command_opens_a_connection(command, folder):
    program, *rest = command.split()
    done = run(BIN / program, *rest, folder=folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_openvino_keeps_no_statistics(folder, tmp_path):
    """It sends them, except in CI."""
    command = ["judge", "lenet-numpy.onnx", "--dim", "batch=2", "--runtime", "openvino-f32"]
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | {
        "HOME": str(tmp_path)
    }
    subprocess.run([BIN / "parity", *command], cwd=folder, env=environment, check=True, timeout=300)
    assert not list(tmp_path.iterdir())


def test_a_connection_ends_a_process_and_is_seen_in_its_children(tmp_path):
    connecting = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('127.0.0.1', 53))"
    assert run(sys.executable, "-c", connecting, folder=tmp_path).returncode < 0
    child = f"import subprocess as s, sys; sys.exit(s.call([sys.executable, '-c', {connecting!r}]) < 0)"
    assert run(sys.executable, "-c", child, folder=tmp_path).returncode == 1
