"""`lenet data` against a real server on this machine: right content or none."""

import gzip
import hashlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import numpy as np
import pooch
import pytest

from lenet.network import digits
from lenet.network.digits.download import _Progress, download
from parity.errors import UserError
from tests.helpers import one_line
from tests.lenet.network.idx_files import idx

NAMES = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
CONTENTS = {name: idx(np.arange(7 + i, dtype=np.uint8)) for i, name in enumerate(NAMES)}
FILES = {name: gzip.compress(content) for name, content in CONTENTS.items()}


class Server(ThreadingHTTPServer):
    """Serves `FILES` under /good/, and something wrong of the same names elsewhere; notes what was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)

    def mirror(self, kind: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{kind}/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(unquote(self.path))
        _, kind, name = unquote(self.path).split("/")
        body, length = FILES[name], len(FILES[name])
        match kind:
            case "absent":
                self.send_error(404)
                return
            case "tampered":
                body = gzip.compress(CONTENTS[name][:-1] + b"\xff")
                length = len(body)
            case "cut":  # the connection ends before what was promised
                body = body[:-4]
            case "short":  # a file that is itself incomplete
                body, length = body[:-4], length - 4
            case "page":  # what captive portals answer
                body = b"<html>Please log in</html>"
                length = len(body)
            case "bomb":
                body = gzip.compress(bytes(2**21))
                length = len(body)
            case "encoded bomb":
                body = gzip.compress(body + bytes(2**21))
                length = len(body)
            case "endless":
                body, length = bytes(2**21), 2**40
            case "slow header" | "slow body":
                self.wfile.write(b"HTTP/1.0 200 OK\r\n" + (b"\r\n" if "body" in kind else b"X: "))
                with suppress(OSError):  # the client has gone
                    for _ in range(200):
                        self.wfile.write(b"x")
                        time.sleep(0.05)
                return
        self.send_response(200)
        if kind == "encoded bomb":
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(length))
        self.end_headers()
        with suppress(OSError):  # the client has gone
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    for name, content in CONTENTS.items():
        monkeypatch.setitem(digits.CHECKSUMS, name, hashlib.sha256(content).hexdigest())
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def nobody() -> str:
    """A mirror where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_both_files_come_from_the_first_mirror_that_works(server, nobody, tmp_path, capfd):
    folder = tmp_path / "made" / "on the way"
    assert download(folder, (nobody, server.mirror("good"))) == [folder / name for name in NAMES]
    assert contents(folder) == FILES
    assert server.asked == [f"/good/{name}" for name in NAMES]
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""  # no terminal: no progress bar


def test_on_a_terminal_there_is_a_bar_for_each_file(server, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    download(tmp_path, (server.mirror("good"),))
    assert capfd.readouterr().err.count("100%") == 2


@pytest.mark.parametrize("kind", ["slow header", "slow body"])
def test_a_mirror_that_is_too_slow_is_passed_over(kind, server, tmp_path, monkeypatch):
    monkeypatch.setattr("lenet.network.digits.download.SECONDS", 0.5)
    download(tmp_path, (server.mirror(kind), server.mirror("good")))
    assert contents(tmp_path) == FILES
    assert server.asked == [f"/{at}/{name}" for name in NAMES for at in (kind, "good")]


def test_after_the_download_no_alarm_rings(server, tmp_path, monkeypatch):
    monkeypatch.setattr("lenet.network.digits.download.SECONDS", 0.2)
    before = signal.getsignal(signal.SIGALRM)
    download(tmp_path, (server.mirror("good"),))
    time.sleep(0.3)
    assert signal.getsignal(signal.SIGALRM) == before


@pytest.mark.parametrize("kind", ["bomb", "encoded bomb", "endless"])
def test_a_mirror_that_gives_too_much_is_passed_over(kind, server, tmp_path, monkeypatch):
    monkeypatch.setattr(digits, "LARGEST", 2**20)
    monkeypatch.setattr("lenet.network.digits.download.LARGEST", 2**20)
    download(tmp_path, (server.mirror(kind), server.mirror("good")))
    assert contents(tmp_path) == FILES


def test_a_local_bomb_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(digits, "LARGEST", 2**20)
    path = tmp_path / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(bytes(2**20 + 1)))
    with pytest.raises(UserError, match="holds more than 1 MiB, no digits") as refusal:
        digits.read_idx(path)
    one_line(refusal)


@pytest.mark.parametrize("kind", ["absent", "tampered", "cut", "short", "page"])
def test_a_mirror_that_gives_something_else_is_passed_over(kind, server, tmp_path):
    download(tmp_path, (server.mirror(kind), server.mirror("good")))
    assert contents(tmp_path) == FILES


@pytest.mark.parametrize("kind", ["absent", "tampered", "cut", "short", "page"])
def test_where_no_mirror_is_right_nothing_is_left_behind(kind, server, nobody, tmp_path):
    with pytest.raises(UserError, match=f"{NAMES[0]}: no mirror gave it: ") as refusal:
        download(tmp_path, (nobody, server.mirror(kind)))
    message = one_line(refusal)
    assert nobody in message
    assert server.mirror(kind) in message
    assert message.endswith("--data takes a folder that has it")
    assert contents(tmp_path) == {}


def test_a_whole_local_copy_is_not_fetched_again(server, tmp_path):
    (tmp_path / NAMES[0]).write_bytes(FILES[NAMES[0]])
    download(tmp_path, (server.mirror("good"),))
    assert server.asked == [f"/good/{NAMES[1]}"]


def test_a_damaged_local_copy_is_replaced(server, tmp_path):
    (tmp_path / NAMES[0]).write_bytes(FILES[NAMES[0]][:-1])
    download(tmp_path, (server.mirror("good"),))
    assert contents(tmp_path) == FILES


def test_a_damaged_local_copy_stays_where_nothing_better_comes(server, tmp_path):
    (tmp_path / NAMES[0]).write_bytes(b"half")
    with pytest.raises(UserError, match="no mirror gave it"):
        download(tmp_path, (server.mirror("tampered"),))
    assert contents(tmp_path) == {NAMES[0]: b"half"}


def test_an_interrupted_download_leaves_nothing_behind(server, tmp_path, monkeypatch):
    def interrupted(self, url: str, output_file: str, pooch: object) -> None:
        Path(output_file).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        download(tmp_path, (server.mirror("good"),))
    assert contents(tmp_path) == {}


def test_a_pipe_in_place_of_a_file_is_refused_before_anything_is_fetched(server, tmp_path):
    os.mkfifo(tmp_path / NAMES[0])
    with pytest.raises(UserError, match="is no ordinary file"):
        download(tmp_path, (server.mirror("good"),))
    assert server.asked == []


def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_fetched(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        UserError, match=r"file/folder: cannot be written .*; choose another folder"
    ) as refusal:
        download(tmp_path / "file" / "folder", (server.mirror("good"),))
    one_line(refusal)
    assert server.asked == []


def test_mirrors_that_fail_are_listed(nobody, tmp_path):
    with pytest.raises(UserError) as refusal:
        download(tmp_path, (nobody, nobody))
    first, second = one_line(refusal).partition(" gave it: ")[2].partition("; ")[0].split(", ")
    assert first == second


def test_the_bar_of_a_download_has_its_name_and_counts_bytes(monkeypatch):
    made, sizes = [], list[int]()

    def bar_with(**given):
        made.append(given)
        return SimpleNamespace(update=sizes.append)

    monkeypatch.setattr("tqdm.tqdm", bar_with)
    monkeypatch.setattr("sys.stderr", SimpleNamespace(isatty=lambda: True))
    progress = _Progress("train-images")
    progress.total = 7
    progress.update(3)
    progress.update(4)
    bar = {"desc": "train-images", "total": 7, "unit": "B", "unit_scale": True, "ncols": 79, "disable": False}
    assert made == [bar]
    assert sizes == [3, 4]
