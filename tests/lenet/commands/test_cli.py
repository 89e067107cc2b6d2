"""The command through its real entry point; what needs a planted port runs in this process."""

import dataclasses
import importlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partialmethod
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from rich.console import Console
from rich.text import Text

from lenet import __version__, ports
from lenet.commands.cli import cli
from lenet.network import digits as mnist
from lenet.network import weights
from lenet.network.architecture import ACTIVATION_SHAPES
from lenet.network.recipe import Recipe, initial_params
from lenet.ports import Framework, exact_training, training
from lenet.reference.certificate import certify_range
from lenet.reference.exact import EXACT, pixel_values
from lenet.show import tables
from parity.errors import UserError, pip
from tests.planted.ports import Planted, affine, flipped_kernel, numpy_port

LENET = str(Path(sys.executable).with_name("lenet"))
COMMANDS = list(cli.commands)
ESCAPE = "\x1b"
EXACT_RECIPE = exact_training.ExactRecipe.__init__
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}  # two would wait for each other where tests share the cores


@pytest.fixture
def lenet(tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `lenet` in an empty folder, its output piped."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [LENET, *map(str, arguments)]
        kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "LENET_DATA", "COLUMNS")}
        environment = {**kept, **ONE_THREAD, **environment}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    return run


@pytest.fixture
def in_process(tmp_path, monkeypatch) -> Callable[..., Result]:
    """Runs the command in this process and an empty folder, so that a test can plant something."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(cli, list(map(str, arguments)), prog_name="lenet")


@pytest.fixture
def plant(monkeypatch) -> Callable[[ports.Port], None]:
    """Puts a port in the place of `numpy`."""

    def planted(port: ports.Port) -> None:
        monkeypatch.setattr(ports, "open_port", lambda name, dtype: port)

    return planted


def failed(result: subprocess.CompletedProcess[str] | Result, code: int = 1) -> str:
    """The one line of a failure that printed nothing else."""
    returned = result.returncode if isinstance(result, subprocess.CompletedProcess) else result.exit_code
    assert (returned, result.stdout) == (code, ""), result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def modules_loaded(*arguments: str) -> set[str]:
    """The top-level modules that a command imports."""
    command = [sys.executable, "-X", "importtime", "-m", "lenet", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    names = re.findall(r"^import time:[^|]+\|[^|]+\| +(\w+)", result.stderr, re.MULTILINE)
    assert "click" in names
    return set(names)


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)], ids=["lenet", *COMMANDS])
def test_help_loads_nothing_heavy(command):
    loaded = modules_loaded(*command, "--help")
    heavy = {"torch", "tensorflow", "keras", "jax", "numpy", "rich", "pygments", "jinja2", "PIL"}
    assert not loaded & (heavy | {"multiprocessing", "tempfile"})


@pytest.mark.parametrize(
    "command", [("ports",), ("diff", "torch", "tf"), ("predict", "--digit", "0", "--port", "numpy")]
)
def test_commands_load_no_framework_but_what_they_run(command):
    assert not modules_loaded(*command) & {"torch", "tensorflow", "keras", "jax"}


def test_version_and_help(lenet):
    assert lenet("--version").stdout == f"lenet {__version__}\n"
    text = lenet("--help").stdout
    assert {"compare", "diff", "train", "predict", "ports", "data"} <= set(COMMANDS)
    assert re.findall(r"^  (\w+)  ", text.partition("Commands:")[2], re.MULTILINE) == COMMANDS
    assert "..." not in text.partition("Commands:")[2]  # each is described in one line, whole


def test_python_m_lenet_is_lenet():
    assert subprocess.run([sys.executable, "-m", "lenet", "--version"], check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("nonsense", "No such command"),
        ("compare nope", "unknown port 'nope': `lenet ports` lists all"),
        ("compare trch", "unknown port 'trch': did you mean 'torch'? `lenet ports` lists all"),
        ("compare torch:nope", "unknown port"),
        ("compare numpy --digits 0", "not in the range"),
        ("compare numpy --digits 10001", "not in the range"),
        ("compare numpy --dtype bfloat16", "is not one of"),
        ("compare numpy --nonsense", "No such option"),
        ("diff numpy", "Missing argument"),
        ("diff torch torch:compile", "share one source"),
        ("exact numpy --train x", "--train takes no PORT"),
        ("exact --digits 0", "not in the range"),
        ("train", "give one PORT"),
        ("train numpy torch", "give one PORT"),
        ("train nope", "unknown port"),
        ("train numpy --epochs 0", "not in the range"),
        ("train numpy --epochs 1000001", "not in the range"),
        ("train numpy --batch-size 60001", "not in the range"),
        (f"train numpy --seed {2**64}", "not in the range"),
        ("train numpy --compare 1000001", "not in the range"),
        ("bench numpy --rounds 1000001", "not in the range"),
        ("bench numpy --threads 1025", "not in the range"),
        ("report numpy --steps 1000001", "not in the range"),
        ("check numpy --timeout 1e10", "not in the range"),
        ("check numpy --timeout inf", "not in the range"),
        ("export --timeout 1e300", "not in the range"),
        ("train numpy --learning-rate nan", "not finite"),
        ("train numpy --momentum inf", "not finite"),
        ("train numpy --weight-decay -1", "not in the range"),
        ("train numpy --schedule step", "is not one of"),
        ("predict", "image files or --digit"),
        ("predict 7.png --digit 7", "image files or --digit"),
        ("predict --digit 10000", "not in the range"),
        ("predict --digit -1", "not in the range"),
        ("predict --digit 1 --port nope", "unknown port"),
    ],
)
def test_misuse_exits_2_and_says_how_to_get_help(arguments, said, in_process):
    result = in_process(*arguments.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert "--help" in result.stderr


def test_misuse_is_shown_escaped_and_in_part(in_process):
    result = in_process("diff", "\x1b[31m" + "x" * 10_000, "torch")
    assert result.exit_code == 2
    assert "\\x1b[31mx" in result.stderr
    assert "\x1b" not in result.stderr
    assert len(result.stderr) < 1500


def test_misuse_exits_2_through_the_entry_point(lenet):
    assert lenet("compare", "nope").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("compare numpy --weights none.safetensors", "no such weights file"),
        ("compare numpy --weights broken", "not a readable safetensors file"),
        ("compare numpy --json nowhere/x.json", "nowhere/x.json: cannot be written"),
        ("compare numpy --json .", "it is a folder"),
        ("train numpy --out .", "it is a folder"),
        ("diff numpy torch --html nowhere/x.html", "cannot be written"),
        ("train numpy --out nowhere/x", "cannot be written"),
        ("exact --train nowhere/x", "cannot be written"),
        ("train numpy --data nowhere", "`lenet data` fetches it"),
        ("predict none.png --port numpy", "no such image"),
        ("predict broken --port numpy", "not an image"),
        ("predict --digit 1 --weights broken --port numpy", "not a readable safetensors file"),
        ("data --data broken/folder", "cannot be written"),
    ],
)
def test_failure_is_one_line_and_exits_1(arguments, said, lenet, tmp_path):
    (tmp_path / "broken").write_text("neither weights nor image nor folder")
    assert said in failed(lenet(*arguments.split()))
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]  # nothing written, half or whole


def test_outputs_are_refused_before_the_work(in_process, plant):
    class Unused(Planted):
        def load(self, *_):
            raise AssertionError("ran before the output was checked")

    plant(Unused("", affine))
    for option in ("--json", "--svg"):
        assert "cannot be written" in failed(in_process("compare", "numpy", option, "nowhere/x"))


def test_a_broken_framework_is_reported_and_the_others_are_compared(in_process, monkeypatch):
    real = importlib.import_module

    def broken(name):
        if name == "lenet_torch.port":
            raise RuntimeError("no such\ndevice")
        return real(name)

    monkeypatch.setattr(importlib, "import_module", broken)
    result = in_process("compare", "torch", "numpy", "--digits", 10)
    assert result.exit_code == 1
    assert re.search(r"^numpy .* rounding$", result.stdout, re.MULTILINE)
    assert "torch fails at its import (RuntimeError: no such device)" in " ".join(result.stdout.split())
    assert "torch fails at its import" in failed(in_process("compare", "torch", "--digits", 10))


def test_existing_file_survives_a_failure(lenet, tmp_path):
    (tmp_path / "old.json").write_text("old")
    (tmp_path / "broken").write_text("broken")
    failed(lenet("compare", "numpy", "--weights", "broken", "--json", "old.json"))
    assert (tmp_path / "old.json").read_text() == "old"


def test_compare_prints_the_table_and_writes_the_documented_json(lenet, tmp_path, digits, params):
    result = lenet("compare", "numpy", "numpy", "--digits", 100, "--json", "out.json", "--layers")
    assert (result.returncode, result.stderr) == (0, "")
    assert ESCAPE not in result.stdout
    assert re.search(r"^numpy +\S+ +\d+\.\d\d% +100 .* 1,000  rounding$", result.stdout, re.MULTILINE)
    for layer in ACTIVATION_SHAPES:
        assert re.search(rf"^{layer} +\d\.\d\de.\d\d .* rounding$", result.stdout, re.MULTILINE)
    assert max(map(len, result.stdout.splitlines())) <= 80

    written = json.loads((tmp_path / "out.json").read_text())
    assert list(written) == ["digits", "certified", "logits", "ports"]
    assert [written[name] for name in ("digits", "certified", "logits")] == [100, 100, 1000]
    (report,) = written["ports"]  # named twice, run once
    fields = "name version dtype accuracy same_predictions bits_equal verdict first_different problem layers"
    assert list(report) == fields.split()
    port = numpy_port()
    port.load(params)
    right = (port.logits(digits.images[:100]).argmax(axis=1) == digits.labels[:100]).mean()
    wanted = ["numpy", np.__version__, "float32", right, 100, 1000, "rounding", None, None]
    assert [report[name] for name in fields.split()[:-1]] == wanted
    assert list(report["layers"]) == list(ACTIVATION_SHAPES)
    for layer in report["layers"].values():
        assert list(layer) == ["max_abs_error", "local_ratio", "end_to_end_ratio", "bit_equal"]
        assert 0 <= layer["local_ratio"] <= 1
        assert 0 < layer["end_to_end_ratio"] <= 1
        assert 0 < layer["bit_equal"] <= 1
    assert report["layers"]["logits"]["max_abs_error"] > 0


def test_json_to_standard_output_is_all_there_is(lenet, tmp_path):
    result = lenet("compare", "numpy", "--digits", 60, "--dtype", "float64", "--json", "-")
    written = json.loads(result.stdout)
    assert (written["digits"], written["ports"][0]["dtype"], result.stderr) == (60, "float64", "")
    assert not list(tmp_path.iterdir())


def test_planted_port_is_different_at_its_layer_and_exits_1(in_process, plant, tmp_path):
    plant(Planted("conv2", flipped_kernel))
    result = in_process("compare", "numpy", "--digits", 60, "--json", "out.json")
    assert result.exit_code == 1
    assert result.stderr == ""
    text = " ".join(result.stdout.split())
    said = re.search(
        r"conv2 is another function. Digit (\d+), value \[.*?\]: found (\S+), expected (\S+);", text
    )
    assert said
    assert int(said[1]) < 60
    assert float(said[2]) != pytest.approx(float(said[3]), rel=1e-3)
    assert "different at conv2" in text
    assert "every port: no value" not in text
    report = json.loads((tmp_path / "out.json").read_text())["ports"][0]
    assert (report["verdict"], report["first_different"]) == ("different", "conv2")


def test_outputs_of_wrong_form_are_different_before_any_value(in_process, plant):
    class Short(Planted):
        def _activations(self, images):
            return {name: y for name, y in super()._activations(images).items() if name != "pool1"}

    plant(Short("", affine))
    result = in_process("compare", "numpy", "--digits", 60, "--layers")
    assert result.exit_code == 1
    assert "activations missing: ['pool1']" in " ".join(result.stdout.split())
    assert "in its outputs" in " ".join(result.stdout.split())


def test_hidden_forward_pass_of_its_own_is_told_from_a_wrong_layer(in_process, plant):
    class TwoPaths(Planted):
        def _logits(self, images):
            return super()._logits(images) + np.float32(1)

    plant(TwoPaths("", affine))
    result = in_process("compare", "numpy", "--digits", 60)
    assert result.exit_code == 1
    assert "come from different forward passes" in " ".join(result.stdout.split())


def test_a_port_that_loses_bits_is_told_from_a_right_one(in_process, plant):
    def coarse(layer, x, w, b):  # right within rounding, but with sums of other numbers
        return affine(layer, x * np.float32(1 / 3), w, b * np.float32(1 / 3)) * np.float32(3)

    plant(Planted("fc2", coarse))
    result = in_process("compare", "numpy", "--digits", 60)
    said = " ".join(result.stdout.split())
    assert result.exit_code == 0
    assert re.search(r"other bits numpy \(\d+ of 600\)", said)
    assert "every bit" not in said


def test_exact_shows_the_certificate_and_what_lies_beyond(lenet):
    result = lenet("exact", "numpy", "torch", "--digits", 100)
    assert (result.returncode, result.stderr) == (0, "")
    found = certify_range(weights.read(EXACT), pixel_values())
    for entry in found.sums:
        assert re.search(
            rf"^{entry.name} +2\^{entry.exponent} +{entry.bound:,} ", result.stdout, re.MULTILINE
        )
    said = " ".join(result.stdout.split())
    assert "proven: no sum rounds" in said
    assert "these multiples" in said
    assert re.search(r"\+0 [\d.]+ yes none 0 none", said)
    assert re.search(r"\+4 [\d.]+ no \w+, digit \d+ [\d,]+ torch at", said)
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_exact_trains_again_by_its_recipe(in_process, monkeypatch, mini, tmp_path):
    monkeypatch.setattr(exact_training, "test_set", lambda: mini)
    monkeypatch.setattr(exact_training.ExactRecipe, "__init__", partialmethod(EXACT_RECIPE, epochs=1))
    result = in_process("exact", "--train", "out.safetensors")
    assert result.exit_code == 0, result.output
    params, metadata = weights.read_with_metadata(tmp_path / "out.safetensors")
    assert metadata["training_digits"] == str(len(mini))
    assert metadata["bits_every_image"] in result.stdout
    assert set(np.unique(params["fc1.weight"])) <= {-0.25, 0, 0.25}


def test_nan_gives_valid_json_and_the_verdict_different(in_process, plant, tmp_path):
    def nan(layer, x, w, b):
        return np.full_like(affine(layer, x, w, b), np.nan)

    plant(Planted("fc1", nan))
    result = in_process("compare", "numpy", "--digits", 60, "--json", "out.json")
    assert result.exit_code == 1
    assert "found nan" in " ".join(result.stdout.split())

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    written = json.loads((tmp_path / "out.json").read_text(), parse_constant=refuse)
    assert written["ports"][0]["first_different"] == "fc1"
    assert written["ports"][0]["layers"]["fc1"]["local_ratio"] is None


@pytest.fixture
def ghost(monkeypatch) -> None:
    """A registry of NumPy, one port whose framework is missing, and one without float64."""
    lines = {
        "numpy": ports.FRAMEWORKS["numpy"],
        "ghost": Framework("lenet_ghost.port", "ghost_framework"),
        "single": Framework("lenet_numpy.port", "numpy", dtypes=("float32",)),
    }
    monkeypatch.setattr("lenet.ports.registry.FRAMEWORKS", lines)


@pytest.mark.usefixtures("ghost")
def test_missing_framework_is_listed_or_fatal_if_it_was_named(in_process):
    result = in_process("compare", "--digits", 60)
    assert result.exit_code == 0
    assert f"needs ghost_framework: {pip()} install ghost_framework" in " ".join(result.stdout.split())
    assert re.search(r"^single .* rounding", result.stdout, re.MULTILINE)
    named = failed(in_process("compare", "numpy", "ghost", "--digits", 60))
    assert f"port 'ghost' needs ghost_framework: {pip()} install ghost_framework" in named
    assert "ghost_framework" in failed(in_process("predict", "--digit", 1, "--port", "ghost"))


@pytest.mark.usefixtures("ghost")
def test_port_without_the_dtype_is_listed_or_fatal_if_it_was_named(in_process):
    result = in_process("compare", "--digits", 60, "--dtype", "float64")
    assert result.exit_code == 0
    assert "'single' computes in float32 alone" in " ".join(result.stdout.split())
    assert "float32 alone" in failed(in_process("compare", "single", "--dtype", "float64"))


@pytest.mark.usefixtures("ghost")
def test_ports_says_what_is_missing_and_how_to_get_it(in_process, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")  # narrower than the line, which is not folded
    table = in_process("ports").stdout
    assert re.search(rf"^numpy +numpy +{re.escape(np.__version__)} ", table, re.MULTILINE)
    assert re.search(r"^ghost +ghost_framework +no +— *$", table, re.MULTILINE)
    assert table.endswith(f"all that is missing: {pip()} install ghost_framework\n")


def test_ports_lists_every_port_and_mode(lenet):
    table = lenet("ports").stdout
    rows = re.findall(r"^(\S+) +\w+ +(?:\d\S*|no) +(\S.*?) *$", table, re.MULTILINE)
    assert [name for name, _ in rows] == ports.names(forward_only=True)
    extras = dict(rows)
    assert (extras["numpy"], extras["torch:compile"], extras["tf1"]) == ("—", "torch", "tensorflow")
    assert extras["onnx:torch/opencv"] == "torch, export, opencv"


def terminal(command: list[str], **environment: str) -> str:
    """What a terminal of 100 columns shows of a command's standard output and error."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, **ONE_THREAD, "TERM": "xterm-256color", "COLUMNS": "100", **environment}
    environment = {name: value for name, value in environment.items() if value}
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, env=environment)
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not part:
            break
        seen += part
    os.close(ours)
    process.wait()
    return seen.decode()


COLOURED = re.compile(r"\x1b\[[\d;]*(3[0-7]|38;[25];[\d;]*)m")


@pytest.mark.parametrize(
    "arguments",
    [
        "compare numpy --digits 60",
        "compare numpy --weights none",
        "diff torch tf --no-pager",
        "predict --digit 0 --port numpy",
    ],
)
def test_terminal_gets_colour_unless_told_otherwise(arguments):
    command = [LENET, *arguments.split()]
    assert COLOURED.search(terminal(command, NO_COLOR=""))
    assert not COLOURED.search(terminal(command, NO_COLOR="1"))


def test_progress_is_shown_in_a_terminal_and_gone_at_the_end():
    seen = terminal([LENET, "compare", "numpy", "--digits", "300"])
    assert "judging digits" in seen
    assert "judging digits" not in seen[seen.rindex("\x1b[2K") :]  # the line was erased after it


def test_diff_is_paged_in_a_terminal_and_plain_in_a_pipe(lenet):
    assert "paged:" in terminal([LENET, "diff", "torch", "tf"], PAGER="sed s/^/paged:/")
    assert "paged:" not in terminal([LENET, "diff", "torch", "tf", "--no-pager"], PAGER="sed s/^/paged:/")
    plain = lenet("diff", "torch", "tf")
    assert (plain.returncode, plain.stderr) == (0, "")
    assert ESCAPE not in plain.stdout
    both = re.findall(r"^ *def (\w+)\(.*[ |] +def (\w+)\(", plain.stdout, re.MULTILINE)
    assert len(both) > 10
    assert all(left == right for left, right in both)


def test_diff_writes_a_page(lenet, tmp_path):
    result = lenet("diff", "numpy", "tf", "--html", "page.html")
    said = "page.html: numpy and tf; open it in a browser\n"
    assert (result.returncode, result.stdout, result.stderr) == (0, said, "")
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


def test_compare_draws_the_table_as_svg(lenet, tmp_path):
    result = lenet("compare", "numpy", "--digits", 60, "--svg", "table.svg")
    picture = (tmp_path / "table.svg").read_text()
    assert picture.startswith("<svg")
    assert "lenet&#160;compare" in picture or "lenet compare" in picture
    assert "of&#160;60" in picture
    assert "every digit, every bit" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    "arguments",
    ["compare numpy --digits 60", "compare numpy --digits 60 --json -", "diff torch tf", "ports", "--help"],
)
def test_closed_pipe_is_no_traceback(arguments):
    process = subprocess.Popen(
        [LENET, *arguments.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    assert process.stderr.read() == ""
    process.wait()


@pytest.mark.parametrize("arguments", ["predict --digit 0 --port numpy", "diff torch tf"])
def test_output_that_cannot_show_a_letter_is_no_traceback(arguments, lenet):
    result = lenet(*arguments.split(), PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stderr) == (0, "")


def driver(patch: str, *arguments: str) -> list[str]:
    """A command that runs `lenet` after a patch."""
    code = (
        f"import sys; sys.argv[1:] = {list(arguments)}; {patch}; from lenet.commands.cli import main; main()"
    )
    return [sys.executable, "-c", code]


def test_warnings_of_frameworks_do_not_reach_the_output(tmp_path):
    patch = (
        "import warnings, lenet.ports as p, lenet_numpy.port as n; real = n.Port._setup; "
        "n.Port._setup = lambda self: (warnings.warn('old', FutureWarning), real(self))"
    )
    command = driver(patch, "compare", "numpy", "--digits", "60")
    assert subprocess.run(command, capture_output=True, text=True, check=True).stderr == ""


MINI = (
    "import lenet.network.digits as d; few = d.test_set()[:500]; "
    "d.test_set = lambda: few; d.training_set = lambda folder=None: few"
)


def test_ctrl_c_in_training_leaves_a_checkpoint_and_exits_130(tmp_path):
    arguments = ["train", "numpy", "--digits", "100", "--epochs", "3000"]
    with subprocess.Popen(
        driver(MINI, *arguments),
        cwd=tmp_path,
        env={**os.environ, **ONE_THREAD},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        checkpoint = tmp_path / "numpy.safetensors.checkpoint"
        deadline = time.monotonic() + 60
        while not checkpoint.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (130, "")
    assert stderr == f"error: interrupted; the same command continues from {checkpoint.name}\n"
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.name]


@pytest.fixture
def mini(monkeypatch, digits) -> mnist.Digits:
    """The first 300 test digits in the place of the training set, the next 200 in that of the test set."""
    monkeypatch.setattr(mnist, "training_set", lambda folder=None: digits[:300])
    monkeypatch.setattr(mnist, "test_set", lambda: digits[300:500])
    return digits[:300]


QUICK = ["--digits", 250, "--epochs", 3, "--batch-size", 100, "--learning-rate", 0.02]


def test_train_writes_what_the_recipe_gives_and_its_accuracy(in_process, mini, digits, tmp_path):
    result = in_process("train", "numpy", *QUICK, "--seed", 5, "--momentum", 0.8, "--schedule", "drop")
    assert (result.exit_code, result.stderr) == (0, "")
    recipe = Recipe(5, 3, 100, 0.02, 0.8, 5e-4, "drop")
    port = numpy_port()
    training.train(port, mini[:250], recipe)
    written, metadata = weights.read_with_metadata(tmp_path / "numpy.safetensors")
    for name, array in port.params().items():
        np.testing.assert_array_equal(written[name], array)
    right = (port.logits(digits.images[300:500]).argmax(axis=1) == digits.labels[300:500]).mean()
    assert result.stdout == f"numpy.safetensors: {right:.2%} of the 200 test digits right\n"
    assert (metadata["recipe"], metadata["training_digits"]) == (recipe.to_json(), "250")
    assert float(metadata["test_accuracy"]) == pytest.approx(right, abs=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["numpy.safetensors"]  # no checkpoint left


@pytest.mark.usefixtures("mini")
def test_a_name_that_looks_like_markup_is_printed_as_it_is(in_process):
    assert in_process("train", "numpy", *QUICK, "--out", "[bold]").stdout.startswith("[bold]: ")


def test_interrupted_training_goes_on_to_the_same_weights(in_process, mini, tmp_path, monkeypatch):
    assert in_process("train", "numpy", *QUICK, "--out", "whole").exit_code == 0
    steps, real = iter(range(100)), training.Port.train

    def interrupted(self, batches, recipe):
        for loss in real(self, batches, recipe):
            if next(steps) == 4:  # of 9: in the second epoch
                raise KeyboardInterrupt
            yield loss

    with monkeypatch.context() as patch:
        patch.setattr(training.Port, "train", interrupted)
        stopped = in_process("train", "numpy", *QUICK, "--out", "parts")
    assert failed(stopped, 130) == "error: interrupted; the same command continues from parts.checkpoint\n"
    assert in_process("train", "numpy", *QUICK, "--out", "parts").exit_code == 0
    parts, whole = (weights.read_with_metadata(tmp_path / name) for name in ("parts", "whole"))
    assert parts[1] == whole[1]
    for name in whole[0]:
        np.testing.assert_array_equal(parts[0][name], whole[0][name])
    assert {path.name for path in tmp_path.iterdir()} == {"parts", "whole"}


def test_checkpoint_of_another_run_is_refused_and_kept(in_process, mini, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(training, "write_weights", lambda *_: exec("raise KeyboardInterrupt"))
        said = failed(in_process("train", "numpy", *QUICK), 130)
        assert said == "error: interrupted; the same command continues from numpy.safetensors.checkpoint\n"
    checkpoint = tmp_path / "numpy.safetensors.checkpoint"
    kept = checkpoint.read_bytes()
    assert "checkpoint of another run" in failed(in_process("train", "numpy", *QUICK, "--seed", 1))
    assert checkpoint.read_bytes() == kept
    assert in_process("train", "numpy", *QUICK).exit_code == 0


def test_interrupt_before_the_first_epoch_says_that_nothing_was_kept(in_process, mini, monkeypatch):
    def interrupted(self, batches, recipe):
        raise KeyboardInterrupt

    monkeypatch.setattr(training.Port, "train", interrupted)
    assert "nothing was kept" in failed(in_process("train", "numpy", *QUICK), 130)


def test_train_refuses_an_unwritable_out_before_it_reads_the_digits(in_process, monkeypatch):
    def read(folder=None):
        raise AssertionError("read before the output was checked")

    monkeypatch.setattr(mnist, "training_set", read)
    assert "cannot be written" in failed(in_process("train", "numpy", "--out", "nowhere/x"))


def test_diverging_training_says_so_and_writes_nothing(in_process, mini, tmp_path):
    message = failed(in_process("train", "numpy", *QUICK, "--learning-rate", "1e30"))
    assert "lower the learning rate" in message
    assert not (tmp_path / "numpy.safetensors").exists()


def test_train_has_an_option_for_each_field_of_the_recipe_with_its_default():
    options = {option.name: option.default for option in cli.commands["train"].params}
    for field in dataclasses.fields(Recipe):
        assert (field.name, options[field.name]) == (field.name, field.default)
        assert isinstance(options[field.name], type(field.default))


def test_training_progress_shows_loss_and_accuracy(tmp_path):
    patch = f"{MINI}; import os; os.chdir({str(tmp_path)!r})"
    seen = terminal(driver(patch, "train", "numpy", "--digits", "400", "--epochs", "8"))
    assert re.search(r"loss \d\.\d{4}, \d+\.\d\d% right", re.sub(r"\x1b\[[\d;]*m", "", seen))


def test_predict_shows_a_test_digit_its_label_and_probabilities(lenet, digits, params):
    result = lenet("predict", "--digit", 18, "--port", "numpy")
    assert (result.returncode, result.stderr) == (0, "")
    port = numpy_port()
    port.load(params)
    logits = port.logits(digits.images[18:19]).astype(np.float64)[0]
    powers = np.exp(logits)
    for digit, chance in enumerate(powers / powers.sum()):
        assert re.search(rf"  {digit} +{chance:.4%}", result.stdout)
    assert f"its label is {digits.labels[18]}" in result.stdout
    assert re.search(rf"^predicted +{logits.argmax()} by numpy", result.stdout, re.MULTILINE)
    assert "%%" in result.stdout  # the picture in shades


def test_predict_reads_images_each_in_its_block(lenet, tmp_path, digits):
    for i, name in enumerate(["first.png", "[second].png"]):
        pixels = (digits.images[i, 0] * 255).astype(np.uint8)
        Image.fromarray(255 - pixels if i else pixels).resize((84, 84)).save(tmp_path / name)
    result = lenet("predict", "first.png", "[second].png", "--port", "numpy")
    blocks = result.stdout.partition("[second].png")
    assert blocks[0].startswith("first.png")
    for block, i in ((blocks[0], 0), (blocks[2], 1)):
        assert re.search(rf"^predicted +{digits.labels[i]} by numpy", block, re.MULTILINE)
        assert ("inverted, because its background is light" in block) == bool(i)


def test_predict_answers_for_the_good_images_and_refuses_each_bad_one(lenet, tmp_path, digits):
    Image.fromarray((digits.images[0, 0] * 255).astype(np.uint8)).save(tmp_path / "good.png")
    Image.new("L", (9, 9)).save(tmp_path / "blank.png")
    result = lenet("predict", "bad.png", "good.png", "blank.png", "--port", "numpy")
    assert result.returncode == 1
    assert re.search(rf"^predicted +{digits.labels[0]} by numpy", result.stdout, re.MULTILINE)
    first, second = result.stderr.splitlines()
    assert first == "error: bad.png: no such image"
    assert second.startswith("error: blank.png: blank")
    message = failed(lenet("predict", "bad.png", "blank.png", "--port", "numpy"))
    assert "no such image; blank.png" in message


def test_predict_says_that_there_are_several_digits(lenet, tmp_path, digits):
    page = np.concatenate([digits.images[0, 0], digits.images[1, 0]], axis=1)
    Image.fromarray((page * 255).astype(np.uint8)).save(tmp_path / "page.png")
    result = lenet("predict", "page.png", "--port", "numpy")
    assert "2 separate shapes: give each digit an image of its own" in result.stdout


@pytest.mark.parametrize("title", ["a title that is wider than what is in the table", "two\nlines"])
def test_the_title_of_a_narrow_table_is_not_folded(title):
    table = tables.new_table(title, "a", ">b")
    table.add_row("x", "1")
    console = Console(width=80, file=StringIO())
    console.print(table)
    assert console.file.getvalue().splitlines()[0].rstrip() == title.splitlines()[0]  # type: ignore[attr-defined]


def test_a_certain_answer_takes_one_line_beside_six_ports():
    chances = {name: np.eye(10)[2] for name in ("numpy", "torch", "tf", "jax", "tf1", "theano")}
    console = Console(width=80, file=StringIO())
    console.print(tables.prediction("a digit", Text("picture"), chances, []))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert sum("━" in line for line in lines) == 1


def test_predict_says_who_disagrees(in_process, monkeypatch):
    wrong = Planted("logits", lambda layer, x, w, b: affine(layer, x, w[::-1], b[::-1]))
    wrong.name = "torch"
    real = ports.open_port
    monkeypatch.setattr(
        ports, "open_port", lambda name, dtype: wrong if name == "torch" else real(name, dtype)
    )
    text = in_process("predict", "--digit", 0, "--port", "numpy", "--port", "torch").stdout
    assert re.search(r"^predicted +7 by numpy, 2 by torch", text, re.MULTILINE)
    spread = re.search(r"differ by at most (\S+)", text)
    assert spread
    assert float(spread[1]) > 0.9


def test_predict_uses_the_weights_that_it_is_given(lenet, tmp_path, digits):
    weights.write(tmp_path / "start", initial_params(3), {})
    port = numpy_port()
    port.load(initial_params(3))
    chances = tables.probabilities(port.logits(digits.images[:1]))[0]
    result = lenet("predict", "--digit", 0, "--port", "numpy", "--weights", "start")
    for digit, chance in enumerate(chances):
        assert re.search(rf"  {digit} +{chance:.4%}", result.stdout)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("predict --digit 0 --port numpy", "numpy: a logit is NaN or infinite; with these weights its sums"),
        ("compare numpy --digits 5", "with these weights the sums of fc1"),
        ("bench numpy --batch 1 --rounds 1", "with these weights the sums of fc1"),
        ("export --from numpy", "with these weights the sums of fc1"),
    ],
)
def test_weights_whose_sums_overflow_are_refused(command, said, lenet, tmp_path):
    huge = weights.read() | {"fc1.weight": np.full((120, 400), 3e38, np.float32)}
    weights.write(tmp_path / "huge.safetensors", huge, {})
    message = failed(lenet(*command.split(), "--weights", "huge.safetensors"))
    assert message.startswith(f"error: {said} overflow")


def test_a_working_directory_that_is_gone_is_refused_in_one_line(tmp_path):
    place = tmp_path / "gone"
    place.mkdir()
    command = ["/bin/sh", "-c", f"rmdir {place}; exec {LENET} ports"]
    result = subprocess.run(command, cwd=place, capture_output=True, text=True)
    said = "error: the working directory: No such file or directory; change to another\n"
    assert (result.returncode, result.stdout, result.stderr) == (1, "", said)


def test_probabilities_of_large_logits_do_not_overflow():
    logits = np.array([[1e4, 1e4, -1e4], [-1e4, -1e4, -1e4]], np.float32)
    np.testing.assert_array_equal(tables.probabilities(logits), [[0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3]])


def test_data_goes_to_the_folder_named_by_option_or_environment(in_process, tmp_path, monkeypatch):
    seen = []

    def download(folder):
        seen.append(folder)
        (tmp_path / "file.gz").write_bytes(b"1234")
        return [tmp_path / "file.gz"]

    monkeypatch.setattr("lenet.network.digits.download.download", download)
    monkeypatch.setenv("LENET_DATA", "from-environment")
    assert "from-environment: 60,000 training digits, verified" in in_process("data").stdout
    assert "file.gz  4 bytes" in in_process("data", "--data", "from-option").stdout
    assert seen == [Path("from-environment"), Path("from-option")]


def test_data_that_cannot_be_had_is_one_line(in_process, monkeypatch):
    def download(folder):
        raise UserError("no mirror\ngave it")

    monkeypatch.setattr("lenet.network.digits.download.download", download)
    assert failed(in_process("data", "--data", "x")) == "error: no mirror gave it\n"


def test_shell_completes_ports(lenet):
    words = {"COMP_WORDS": "lenet compare torch", "COMP_CWORD": "2", "_LENET_COMPLETE": "bash_complete"}
    assert lenet(**words).stdout.split() == ["plain,torch", "plain,torch:compile"]
