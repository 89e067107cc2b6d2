"""`lenet predict`: each image's digit, its probabilities, and who disagrees."""

import re
from io import StringIO

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from rich.text import Text

from lenet import ports
from lenet.network import weights
from lenet.network.recipe import initial_params
from lenet.show import tables
from tests.lenet.commands.running import failed
from tests.planted.ports import Planted, affine, numpy_port


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_predict_uses_the_weights_that_it_is_given(lenet, tmp_path, digits):
    weights.write(tmp_path / "start", initial_params(3), {})
    port = numpy_port()
    port.load(initial_params(3))
    chances = tables.probabilities(port.logits(digits.images[:1]))[0]
    result = lenet("predict", "--digit", 0, "--port", "numpy", "--weights", "start")
    for digit, chance in enumerate(chances):
        assert re.search(rf"  {digit} +{chance:.4%}", result.stdout)


def test_probabilities_of_large_logits_do_not_overflow():
    logits = np.array([[1e4, 1e4, -1e4], [-1e4, -1e4, -1e4]], np.float32)
    np.testing.assert_array_equal(tables.probabilities(logits), [[0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3]])
