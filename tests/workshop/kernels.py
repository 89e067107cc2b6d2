"""Kernels for notebooks, forked from one process that has imported what notebooks import.

    python -m tests.workshop.kernels ADDRESS

is that process. It makes a socket at the path ADDRESS and waits there for requests, one for each kernel.
"""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jupyter_client.manager import AsyncKernelManager

from lenet.show.notebooks import ROOT
from parity.command.copies import end_with_parent

SHARED = (
    "matplotlib.pyplot",
    "matplotlib_inline.backend_inline",
    "ipykernel.kernelapp",
    "torch",
    "torch._dynamo",  # which the first optimizer imports
    "keras",
    "jax.numpy",
    "onnxruntime",
    "lenet.diagnose",
    "lenet.show.plots",
    "workshop.checks.migration",
)
# Jupyter starts and ends this program as it would a kernel; it lives as long as the kernel that it asks for.
ASK = """
import json, os, socket, sys
asked = {"folder": os.getcwd(), "environment": dict(os.environ), "arguments": sys.argv[2:]}
with socket.socket(socket.AF_UNIX) as pipe:
    pipe.connect(sys.argv[1])
    pipe.sendall(json.dumps(asked).encode() + b"\\n")
    pipe.recv(1)
"""
SECONDS = 120  # for the imports


@contextmanager
def forked_kernels() -> Iterator[type[AsyncKernelManager]]:
    """A kernel manager for nbclient; the process behind it, and all its kernels, end with this context."""
    with TemporaryDirectory() as folder:  # not pytest's: on macOS its path is too long for a socket
        address = Path(folder, "kernels")

        class Forked(AsyncKernelManager):
            def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
                asks = [sys.executable, "-I", "-S", "-c", ASK, str(address)]
                return [*asks, "-f", self.connection_file, *(extra_arguments or [])]

        with _server(address):
            yield Forked


@contextmanager
def _server(address: Path) -> Iterator[None]:
    """The process that forks kernels, once it has imported what they share."""
    server = subprocess.Popen(
        [sys.executable, "-P", "-m", __name__, str(address)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # what frameworks say when they are imported
        start_new_session=True,
    )
    try:
        last = time.monotonic() + SECONDS
        while not address.exists():
            assert server.poll() is None, "the imports failed"
            assert time.monotonic() < last, "the imports take too long"
            time.sleep(0.1)
        yield
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def serve(address: str) -> None:
    """Import what is shared, and fork a kernel for each request, until this process is ended."""
    end_with_parent()
    for name in SHARED:
        with suppress(ImportError):
            importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a kernel
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{address}.new")
        server.listen()
        os.rename(f"{address}.new", address)
        while True:
            pipe, _ = server.accept()
            if not os.fork():
                server.close()
                kernel(**json.loads(pipe.makefile().readline()))
            pipe.close()


def kernel(folder: str, environment: dict[str, str], arguments: list[str]) -> None:
    """Become a kernel. Its end closes the pipe, which ends the program that asked for it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    os.environ.pop("JPY_PARENT_PID", None)  # that of the program that asked
    application: Any = importlib.import_module("ipykernel.kernelapp")
    try:
        application.launch_new_instance(arguments)
    finally:
        os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
