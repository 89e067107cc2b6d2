"""A file is whole or absent, whatever happens while it is written."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from parity.errors import UserError
from parity.files import write_atomically


@pytest.mark.parametrize("content", ["ε: text is UTF-8\n", b"\x00\xff bytes", b""])
def test_content_is_written_and_replaces_what_was_there(tmp_path, content):
    path = tmp_path / "file"
    path.write_text("old")
    write_atomically(path, content)
    assert path.read_bytes() == (content if isinstance(content, bytes) else content.encode("utf-8"))
    assert os.listdir(tmp_path) == ["file"]


def test_permissions_are_those_of_any_new_file(tmp_path):
    write_atomically(tmp_path / "ours", "")
    (tmp_path / "plain").write_text("")
    ours, plain = (stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ours", "plain"))
    assert ours == plain


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("missing/file", "No such file or directory"),
        ("a file/file", "Not a directory"),
        ("a folder", "Is a directory"),
        ("n" * 300, "File name too long"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_in_one_line(tmp_path, place, reason):
    (tmp_path / "a file").write_text("old")
    (tmp_path / "a folder").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError) as refusal:
        write_atomically(tmp_path / place, "new")
    assert str(refusal.value) == f"{tmp_path / place}: cannot be written ({reason}); choose another place"
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "a file").read_text() == "old"


def test_a_full_disk_is_refused_and_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_an_interrupt_in_the_middle_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("old")

    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_process_that_dies_in_the_middle_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    dies = (
        "import os, sys; from pathlib import Path; from parity.files import write_atomically;"
        "os.fsync = lambda descriptor: os._exit(9);"
        "write_atomically(Path(sys.argv[1]), 'new')"
    )
    root = Path(__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", dies, path], cwd=root).returncode == 9
    assert path.read_text() == "old"
    beside = [path.name for path in tmp_path.iterdir() if path.name.startswith(".file.")]
    assert len(beside) == 1  # what it was writing: on the same filesystem, or no rename could be atomic
