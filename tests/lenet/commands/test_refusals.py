"""Misuse exits 2 and says how to get help; a failure is one line, exits 1, and leaves files as they were."""

import subprocess

import numpy as np
import pytest

from lenet.network import weights
from tests.helpers import LENET
from tests.lenet.commands.running import failed
from tests.planted.ports import Planted, affine


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_existing_file_survives_a_failure(lenet, tmp_path):
    (tmp_path / "old.json").write_text("old")
    (tmp_path / "broken").write_text("broken")
    failed(lenet("compare", "numpy", "--weights", "broken", "--json", "old.json"))
    assert (tmp_path / "old.json").read_text() == "old"


@pytest.mark.slow
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
