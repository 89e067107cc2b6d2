"""A file that `parity record` runs may do much; what is recorded is whole, or the refusal is one line."""

import subprocess
from pathlib import Path

import pytest
from onnx import helper

from parity.record import read_npz
from tests.helpers import PARITY
from tests.parity.small import model, saved

pytestmark = pytest.mark.slow

NET = "\ndef net(x): return x * (x > 0)"


def recorded(source: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """`parity record` of a file in its folder, as a ReLU."""
    (folder / "port.py").write_text(source)
    saved(model([helper.make_node("Relu", ["x"], ["y"])], {"x": [2]}, ["y"]), folder, "m.onnx")
    command = [PARITY, "record", "port.py:net", "out.npz", "--graph", "m.onnx", "--timeout", "100"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    "left",
    [
        "threading.Thread(target=time.sleep, args=(600,)).start()",
        "atexit.register(time.sleep, 600)",
        "atexit.register(os._exit, 3)",
        "os.chdir('/')",
        "os.umask(0o77)",
    ],
)
def test_what_a_file_leaves_does_not_touch_what_was_recorded(left, tmp_path):
    result = recorded(f"import atexit, os, threading, time\n{left}{NET}", tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "out.npz: 2 tensors\n", "")
    assert sorted(read_npz(tmp_path / "out.npz")) == ["x", "y"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_file_may_use_processes(method, tmp_path):
    source = f"""
import multiprocessing
def one(v): return v * (v > 0)
def net(x):
    with multiprocessing.get_context({method!r}).Pool(1) as pool: return pool.map(one, [x])[0]
"""
    result = recorded(source, tmp_path)
    assert (result.returncode, result.stdout) == (0, "out.npz: 2 tensors\n")


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [("GeneratorExit", 2, "GeneratorExit"), ("Odd", 2, "Odd"), ("KeyboardInterrupt", 130, "interrupted")],
)
def test_whatever_a_file_raises_is_one_line(raised, code, said, tmp_path):
    odd = "class Odd(BaseException):\n    def __str__(self): raise SystemExit(0)\n"
    result = recorded(f"{odd}def net(x): raise {raised}()", tmp_path)
    assert result.returncode == code
    (line,) = result.stderr.splitlines()
    assert line.endswith(said)
    assert not (tmp_path / "out.npz").exists()
