"""`lenet compare` and `lenet exact`: the table, the JSON, and the exit code of a port that is different."""

import json
import re
from functools import partialmethod

import numpy as np
import pytest

from lenet.network import weights
from lenet.network.architecture import ACTIVATION_SHAPES
from lenet.ports import exact_training
from lenet.reference.certificate import certify_range
from lenet.reference.exact import EXACT, pixel_values
from tests.lenet.commands.running import ESCAPE
from tests.planted.ports import Planted, affine, flipped_kernel, numpy_port

EXACT_RECIPE = exact_training.ExactRecipe.__init__


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
