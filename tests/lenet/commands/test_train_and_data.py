"""`lenet train` gives the recipe's weights, also when interrupted; `lenet data` fetches into a folder."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lenet.commands.cli import cli
from lenet.network import digits as mnist
from lenet.network import weights
from lenet.network.recipe import Recipe
from lenet.ports import training
from parity.errors import UserError
from tests.lenet.commands.running import MINI, failed, patched, terminal
from tests.planted.ports import numpy_port


@pytest.mark.slow
def test_ctrl_c_in_training_leaves_a_checkpoint_and_exits_130(tmp_path):
    arguments = ["train", "numpy", "--digits", "100", "--epochs", "3000"]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # two would wait for each other, and for tests
    with subprocess.Popen(
        [sys.executable, "-c", patched(MINI), *arguments],
        cwd=tmp_path,
        env=environment,
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


QUICK = ["--digits", 250, "--epochs", 3, "--batch-size", 100, "--learning-rate", 0.02]


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_training_progress_shows_loss_and_accuracy(tmp_path):
    patch = f"{MINI}; import os; os.chdir({str(tmp_path)!r})"
    seen = terminal(patched(patch), "train", "numpy", "--digits", "400", "--epochs", "8")
    assert re.search(r"loss \d\.\d{4}, \d+\.\d\d% right", re.sub(r"\x1b\[[\d;]*m", "", seen))


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
