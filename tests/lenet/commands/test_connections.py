"""No command but `data` opens a connection: the kernel ends any process of the others that tries.

They run in one process, one after the other, since most of their time is the import of frameworks.
"""

import ctypes
import json
import os
import platform
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from lenet.commands.cli import cli
from tests.export.exported import model_of

pytestmark = pytest.mark.timeout(1200)  # half a minute; many times that where others use the cores too

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


def python(code: str, folder: Path, asked: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        input=asked,
        cwd=folder,
        preexec_fn=without_connections,
        capture_output=True,
        text=True,
        timeout=1000,
    )


COMMANDS = {
    "compare": "lenet compare jax onnx:numpy/onnxruntime --digits 20",
    "exact": "lenet exact numpy --digits 20",
    "train": "lenet train numpy numpy:fast --compare 1",
    "export": "lenet export --from torch --digits 20",
    "export --check": "lenet export --check lenet-numpy.onnx --digits 20",
    "check": "lenet check port.py",
    "predict": "lenet predict --digit 3 --port caffe --port theano",
    "bench": "lenet bench numpy --batch 16 --rounds 1",
    "report": "lenet report numpy --digits 20 --strip 1 --steps 1",
    "migrations": "lenet migrations",
    "diff": "lenet diff numpy torch",
    "ports": "lenet ports",
    "workshop": "lenet workshop",
    "judge": "parity judge lenet-numpy.onnx --dim batch=2 --runtime onnxruntime --html page.html",
    "probe": "parity probe lenet-numpy.onnx --dim batch=2 --runtime openvino-f32",
}


IN_TURN = """
import json, sys
from click.testing import CliRunner
from lenet.commands.cli import cli as lenet
from parity.command.main import cli as parity
for line in sys.stdin:
    program, *arguments = line.split()
    result = CliRunner().invoke({"lenet": lenet, "parity": parity}[program], arguments)
    print(json.dumps([result.exit_code, result.output]), flush=True)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("folder")
    (made / "lenet-numpy.onnx").write_bytes(model_of("numpy").SerializeToString())
    (made / "port.py").write_text(CliRunner().invoke(cli, ["check", "--template"]).output)
    return made


@pytest.fixture(scope="module")
def process(folder):
    """The process, which has ended."""
    return python(IN_TURN, folder, "\n".join(COMMANDS.values()))


@pytest.fixture(scope="module")
def ended(process):
    """{command: its exit code and output}, without those that came after the end of the process."""
    return dict(zip(COMMANDS, map(json.loads, process.stdout.splitlines()), strict=False))


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_opens_a_connection(command, ended):
    assert command in ended, "the process had ended: it, or one of those before it, opened a connection"
    code, output = ended[command]
    assert code == 0, output


@pytest.mark.slow
def test_no_connection_is_opened_when_python_ends(process):
    """Statistics are often sent then, or by a thread that the last command has left."""
    assert process.returncode == 0, process.stderr


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
    assert python(connecting, tmp_path).returncode < 0
    child = f"import subprocess as s, sys; sys.exit(s.call([sys.executable, '-c', {connecting!r}]) < 0)"
    assert python(child, tmp_path).returncode == 1
