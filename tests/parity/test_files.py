"""A file is whole or absent, whatever happens while it is written."""

import errno
import os
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from parity.errors import UserError
from parity.files import check_writable, write_atomically, write_together


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
        ("a folder", "it is a folder"),
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


def test_of_several_files_all_or_none_are_written(tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("old")

    def full(file) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(UserError, match=r"second: cannot be written \(No space"):
        write_together({first: "new", second: full})
    assert os.listdir(tmp_path) == ["first"]
    assert first.read_text() == "old"
    write_together({first: "new", second: "new"})
    assert [one.read_text() for one in (first, second)] == ["new", "new"]


def test_a_folder_in_the_place_of_a_later_file_leaves_the_earlier_ones(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("old")
    second.mkdir()
    with pytest.raises(UserError, match=r"second: cannot be written \(it is a folder"):
        write_together({first: "new", second: "new"})
    assert first.read_text() == "old"


def test_links_that_lead_to_each_other_are_refused(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.symlink_to(two)
    two.symlink_to(one)
    for write in (partial(write_atomically, one, "new"), partial(check_writable, one)):
        with pytest.raises(UserError, match="one: cannot be written"):
            write()


@pytest.mark.parametrize("to", ["pipe", "file"])
def test_a_stream_that_is_open_already_is_written_to(tmp_path, to):
    program = (
        "from pathlib import Path; from parity.files import check_writable, write_atomically;"
        "path = Path('/dev/stdout'); print('first', flush=True);"
        "check_writable(path); write_atomically(path, 'second')"
    )
    command = [sys.executable, "-c", program]
    path = tmp_path / "file"
    with path.open("wb") as file:
        done = subprocess.run(command, stdout=subprocess.PIPE if to == "pipe" else file, check=True)
    assert (done.stdout if to == "pipe" else path.read_bytes()) == b"first\nsecond"


def test_the_group_of_the_old_file_is_kept(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(os, "chown", lambda path, user, group: asked.append((user, group)))
    path = tmp_path / "file"
    path.write_text("old")
    write_atomically(path, "new")
    assert asked == [(-1, path.stat().st_gid)]


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
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", dies, path], cwd=root).returncode == 9
    assert path.read_text() == "old"
    beside = [path.name for path in tmp_path.iterdir() if path.name.startswith(".file.")]
    assert len(beside) == 1  # what it was writing: on the same filesystem, or no rename could be atomic


def test_what_a_killed_process_left_is_removed_and_what_another_writes_is_not(tmp_path):
    import fcntl

    path = tmp_path / "file [1]"
    left, written, other = (tmp_path / name for name in (".file [1].0a_bcdef", ".file [1].12345678", ".file"))
    for one in (left, written, other):
        one.write_text("half")
    with written.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_atomically(path, "new")
    assert sorted(os.listdir(tmp_path)) == sorted([path.name, written.name, other.name])
    assert path.read_text() == "new"


def test_the_permissions_of_the_old_file_are_kept(tmp_path):
    path = tmp_path / "private"
    path.write_text("old")
    path.chmod(0o600)
    write_atomically(path, "new")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o600)


def test_a_file_with_two_names_keeps_both(tmp_path):
    path, second = tmp_path / "file", tmp_path / "second"
    path.write_text("old and longer")
    os.link(path, second)
    write_atomically(path, "new")
    assert second.read_text() == "new"


def test_of_a_link_the_target_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    path, target = tmp_path / "link", tmp_path / "there" / "target"
    path.symlink_to(target)
    write_atomically(path, "new")
    assert path.is_symlink()
    assert target.read_text() == "new"


def test_a_pipe_is_written_to(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with subprocess.Popen(["cat", path], stdout=subprocess.PIPE, text=True) as reader:
        write_atomically(path, "new")
        assert reader.communicate()[0] == "new"
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_the_owner_of_a_file_stays(tmp_path, monkeypatch):
    path = tmp_path / "theirs"
    path.write_text("old")
    before = path.stat()
    monkeypatch.setattr(os, "geteuid", lambda: before.st_uid + 1)
    write_atomically(path, "new")
    assert path.read_text() == "new"
    assert path.stat().st_ino == before.st_ino  # a new file would be ours
