"""`lenet check` and `lenet.testing`: however a file ends, a verdict or a clear refusal."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from lenet.commands.cli import cli
from lenet.diagnose.mistakes import forward
from lenet.diagnose.own_file.process import Checked, check_file
from lenet.network.architecture import ACTIVATION_SHAPES
from lenet.show import check_report
from lenet.testing import explained
from tests.helpers import LENET
from tests.planted.ports import Planted, flipped_kernel

pytestmark = pytest.mark.slow

FLIPPED = next(m.kind for m in forward() if m.kind.name == "kernel flipped")
LAYERS = """
import numpy as np
from lenet.ports import open_port

PORT = open_port("numpy")

def activations(params, images):
    PORT.load(params)
    return PORT.activations(images)
"""
RIGHT = f"""{LAYERS}
def gradients(params, images, labels):
    PORT.load(params)
    return PORT.gradients(images, labels)

def train(params, batches, recipe):
    PORT.load(params)
    list(PORT.train(batches, recipe))
    return PORT.params()
"""
FLIP = """
right = activations

def activations(params, images):
    print("hello from the port")
    params["conv2.weight"] = params["conv2.weight"][:, :, ::-1, ::-1].copy()
    return right(params, images)
"""


@pytest.fixture
def lenet(tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `lenet check` in an empty folder, its output piped; the port lies there as my_port.py."""

    def run(source: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        (tmp_path / "my_port.py").write_text(source)
        command = [LENET, "check", *map(str, arguments or ["my_port.py"])]
        environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS")}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    return run


@pytest.fixture
def checked(tmp_path, monkeypatch) -> Callable[..., Checked]:
    """Judges a source, run in a process of its own, as the command does."""
    monkeypatch.chdir(tmp_path)

    def check(source: str, seconds: float = 60, printed: list[str] | None = None) -> Checked:
        (tmp_path / "my_port.py").write_text(source)
        return check_file(Path("my_port.py"), seconds, (printed if printed is not None else []).append)

    return check


# --- the command -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def template() -> str:
    """The example of a file, as the command prints it."""
    return subprocess.run([LENET, "check", "--template"], capture_output=True, text=True, check=True).stdout


def test_the_template_is_right(lenet, template):
    result = lenet(template)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("my_port.py: ok")
    assert "12 layers, loss, 10 gradients, 9 training steps" in result.stdout
    assert "not judged" not in result.stdout


def test_a_mistake_is_named_with_remedy_and_case_and_prints_do_not_disturb(lenet, tmp_path):
    result = lenet(RIGHT + FLIP, "my_port.py", "--json", "out.json")
    assert (result.returncode, set(result.stderr.splitlines())) == (1, {"hello from the port"})
    found = json.loads((tmp_path / "out.json").read_text(), parse_constant=pytest.fail)  # NaN is no JSON
    assert (found["verdict"], found["first"], found["failure"]) == ("different", "conv2", None)
    assert [cause["name"] for cause in found["findings"][0]["causes"]] == [FLIPPED.name]
    assert found["judged"]["layers"] == list(ACTIVATION_SHAPES)
    assert set(found["unjudged"]) == {"gradients", "train"}
    assert found["judged"]["gradients"] == []
    words = " ".join(result.stdout.split())
    for said in (
        "my_port.py: different at conv2",
        FLIPPED.name,
        FLIPPED.explanation,
        FLIPPED.remedy,
        FLIPPED.case,
    ):
        assert said in words
    assert "not judged gradients, train: an earlier part must be right first" in words
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "\x1b" not in result.stdout


def test_misuse_exits_2_and_is_told_in_json_too(lenet):
    result = lenet("print('hello')\nforward = len\ndef predict(x): pass", "my_port.py", "--json", "-")
    assert result.returncode == 2
    assert re.search("no function activations.* it defines predict$", result.stderr)
    assert result.stderr.startswith("hello\n")
    assert "--help" in result.stderr
    assert "Traceback" not in result.stderr
    found = json.loads(result.stdout)
    assert (found["source"], found["verdict"]) == ("my_port.py", "misused")
    assert "no function activations" in found["message"]


@pytest.mark.parametrize(
    ("seconds", "said"), [("0", "not in the range"), ("inf", "not in the range"), ("nan", "not finite")]
)
def test_a_time_limit_that_is_none_is_refused(seconds, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_port.py").write_text("")
    result = CliRunner().invoke(cli, ["check", "my_port.py", "--timeout", seconds])
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert "--help" in result.stderr


def test_a_wrong_shape_exits_with_1(lenet):
    change = '{"flatten": found["pool2"], "logits": found["logits"]}'
    result = lenet(
        f"{LAYERS}\nright = activations\ndef activations(p, x):\n    found = right(p, x)\n    return {change}"
    )
    assert result.returncode == 1
    assert "shape (16, " in " ".join(result.stdout.split())


def test_equal_findings_are_printed_once(checked):
    line = FLIP.splitlines()[5]
    both = FLIP.replace(line, f"{line.replace('conv2', 'conv1')}\n{line}")
    text = " ".join(check_report.text(checked(LAYERS + both)).split())
    assert text.count(FLIPPED.explanation) == 1
    assert text.count(FLIPPED.remedy) == 1
    assert re.search("values of conv1 lie .* values of conv2 lie", text)


@pytest.mark.usefixtures("no_pairs")
def test_an_unknown_mistake_is_located_in_words(checked):
    slightly = FLIP.replace("[:, :, ::-1, ::-1].copy()", " + params['conv2.weight'] ** 2 * np.float32(0.1)")
    slightly = slightly.replace("conv2", "conv1")
    text = " ".join(check_report.text(checked(LAYERS + slightly)).split())
    assert "unknown" in text
    assert "conv1 is wrong even from the port's own input: the images that it was given." in text


def test_a_port_of_the_registry_can_be_named(lenet):
    result = lenet("", "numpy")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("numpy: ok")


def test_the_report_in_the_guide_is_the_report(lenet, template):
    flipped = template.replace('p["conv2.weight"], p', 'p["conv2.weight"].flip(2, 3), p')
    flipped = flipped.replace("def train(", "def untold(")  # what comes after the layers is not judged
    verdict, finding, *_ = lenet(flipped).stdout.split("\n\n")
    told = [f"    {line}".rstrip() for line in f"{verdict}\n\n{finding}".splitlines()]
    guide = (Path(__file__).parents[4] / "docs" / "verdicts.md").read_text(encoding="utf-8")
    assert "\n".join(told) in guide


# --- how a file can end ------------------------------------------------------------------------

ENDINGS = {
    "exception": (
        RIGHT + "def helper(x):\n    return x @ np.zeros((3, 4))\n\n"
        "def gradients(params, images, labels):\n    return helper(images)\n",
        "gradients",
        [r'"my_port\.py", line \d+, in gradients', "return helper", "in helper", "x @", "ValueError: matmul"],
    ),
    "import": (
        "import my_framework_is_missing",
        "import",
        [r'File "my_port\.py", line 1, in <module>', "ModuleNotFoundError", re.escape(sys.executable)],
    ),
    "syntax": ("def f(:\n", "import", [r'File "my_port\.py", line 1$', r"def f\(:", r"\^", "SyntaxError"]),
    "null": ("x = 1\0", "import", ["null bytes"]),
    "sys.exit": ("import sys\nsys.exit(3)", "import", ["SystemExit: 3"]),
    "os._exit": (RIGHT + "import os\ndef train(*a): os._exit(7)", "train", ["exit code 7"]),
    "kill": ("import os\nos.kill(os.getpid(), 9)", "import", [r"SIGKILL \(killed\).* memory"]),
    "segfault": (
        RIGHT + "import ctypes\ndef gradients(*a):\n    ctypes.string_at(0)",
        "gradients",
        ["SIGSEGV", r'File "my_port\.py", line \d+, in gradients'],
    ),
    "input": ("input()", "import", ["EOFError"]),
    "hang": (
        "def wait():\n    while True: pass\nwait()",
        "import",
        ["no answer after 1 seconds", r'File "my_port\.py", line 2, in wait'],
    ),
    "signature": (RIGHT + "def activations(images): pass", "activations", ["takes 1 positional argument"]),
    "deep": (RIGHT + "def activations(*a):\n    return activations(*a)", "activations", ["RecursionError"]),
}  # fmt: skip


@pytest.mark.parametrize(("source", "during", "said"), ENDINGS.values(), ids=ENDINGS)
def test_how_it_ended_is_told_and_what_came_before_is_judged(source, during, said, checked):
    found = checked(source, 1 if "while True" in source else 60)
    assert found.summary == "failed"
    assert found.failure is not None
    assert found.failure.during == during
    lines = iter(found.failure.lines)
    for pattern in said:  # in this order
        assert any(re.search(pattern, line) for line in lines), (pattern, found.failure.lines)
    assert len(found.failure.lines) <= 8
    assert not [line for line in found.failure.lines if "check_child" in line or "probes.py" in line]
    assert (found.verdict is not None) == (during not in ("import", "activations"))
    assert len(found.judged["layers"]) == (12 if found.verdict else 0)
    text = check_report.text(found)
    assert text.startswith(f"my_port.py: failed {'at' if during == 'import' else 'in'} {during}")
    assert "the run ended before" in text
    assert json.dumps(found.to_json(), allow_nan=False)


def test_the_file_is_run_as_python_would_run_it_but_for_its_name(checked, tmp_path):
    (tmp_path / "beside.py").write_text("WORD = 'beside'")
    (tmp_path / "lenet.py").write_text("raise SystemExit('shadows the package')")
    (tmp_path / "data.txt").write_text("data")
    printed: list[str] = []
    found = checked(
        "import sys, beside\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass A:\n    x: 'int' = 1\n"
        "print(open('data.txt').read(), beside.WORD, __name__ != '__main__', __file__, sys.argv)\n"
        "print('and this', file=sys.stderr)\nactivations = None\n1 / 0",
        printed=printed,
    )
    path = tmp_path / "my_port.py"
    assert printed == [f"data beside True {path} {[str(path)]}\n", "and this\n"]
    assert found.failure is not None
    assert found.failure.lines[-1] == "ZeroDivisionError: division by zero"


# --- for other tests ---------------------------------------------------------------------------


def test_three_lines_of_pytest_judge_somebodys_own_port(tmp_path):
    (tmp_path / "my_port.py").write_text(RIGHT)
    (tmp_path / "wrong_port.py").write_text(RIGHT + FLIP)
    (tmp_path / "test_mine.py").write_text(
        "from lenet.testing import assert_same_network\nimport my_port, wrong_port\n\n"
        "def test_my_port():\n"
        "    assert_same_network(my_port.activations, my_port.gradients, my_port.train)\n\n"
        "def test_wrong_port():\n    assert_same_network(wrong_port.activations)\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "test_mine.py"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "1 failed, 1 passed" in result.stdout, result.stdout + result.stderr
    words = " ".join(line.removeprefix("E").strip() for line in result.stdout.splitlines())
    assert "AssertionError: wrong_port: different at conv2" in words
    assert FLIPPED.remedy in words
    assert "__tracebackhide__" not in result.stdout  # nothing of ours is shown, only the line of the test


def test_a_failing_parity_test_can_explain_itself():
    text = explained(Planted("conv2", flipped_kernel))
    assert "different at conv2" in text
    assert FLIPPED.remedy in " ".join(text.split())
