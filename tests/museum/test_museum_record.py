"""Recording an original again: the scripts, what passes between two Pythons, and what is told of failures."""

import ast
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from lenet.network.architecture import ACTIVATION_SHAPES, PARAM_SHAPES
from museum import caffe_training, record, recorded
from parity.errors import UserError
from tests.helpers import one_line

SCRIPTS = sorted(path.name for path in record.ORIGINALS.glob("*.py") if path != record.PROTOCOL)
ORIGINS = [recorded.read_origin(path.stem) for path in recorded.FOLDER.glob("*.json")]
HERE = [sys.executable]
STAND_IN = """
import numpy as np
def version(): return "1.0"
SHAPES = {shapes}
def activations(params, images):
    print("a framework that talks")
    assert sorted(params) == {params} and images.dtype == np.float32
    return dict((name, np.zeros((len(images),) + shape, np.float32)) for name, shape in SHAPES.items())
"""
STEPS = """
def steps(params, batches, momentum, weight_decay):
    assert open("solver.prototxt").read().startswith("# Training in Caffe")
    assert len(batches) == 6 and batches[3][2] < batches[2][2] and abs(momentum - 0.9) < 1e-6
    for images, labels, rate in batches:
        assert images.shape == (64, 1, 28, 28) and labels.shape == (64,)
        yield params, dict((name, 0 * w) for name, w in params.items())
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch) -> Callable[[str], str]:
    """Writes a script in place of those of originals/, and returns its name."""
    monkeypatch.setattr(record, "ORIGINALS", tmp_path)
    monkeypatch.setitem(record.NEEDS, "some.py", "pip install some")

    def written(more: str) -> str:
        text = STAND_IN.format(shapes=ACTIVATION_SHAPES, params=sorted(PARAM_SHAPES))
        (tmp_path / "some.py").write_text(text + more, encoding="utf-8")
        return "some.py"

    return written


# --- the scripts -------------------------------------------------------------------------------


def test_every_script_has_a_recording_and_a_way_to_get_its_framework():
    assert len(SCRIPTS) == 10
    assert {one.script for one in ORIGINS} - {None} == set(SCRIPTS) == record.NEEDS.keys()


@pytest.mark.parametrize("name", [*SCRIPTS, record.PROTOCOL.name])
def test_a_script_is_read_by_old_pythons_and_needs_nothing_of_this_project(name):
    tree = ast.parse((record.ORIGINALS / name).read_text(encoding="ascii"), feature_version=(3, 4))
    nodes = list(ast.walk(tree))
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    ours = {"lenet", "parity", "museum", "export", "lenet_caffe"}
    assert not {module.partition(".")[0] for module in modules} & ours
    for node in nodes:  # Python 2.7 has neither
        assert not (isinstance(node, ast.FunctionDef) and (node.args.kwonlyargs or node.returns))
        assert not isinstance(node, ast.AnnAssign | ast.Nonlocal | ast.JoinedStr | ast.YieldFrom)


def test_a_newer_grammar_would_be_seen():
    with pytest.raises(SyntaxError):
        ast.parse("(x := 1)", feature_version=(3, 4))


@pytest.mark.slow
def test_a_script_runs_in_another_process_and_returns_the_bits_of_the_museum(open_port):
    """That of PyTorch, in the PyTorch that is here."""
    open_port("torch")
    found = record.run(HERE, "torch.py", {}, 120)
    assert np.array_equal(found[recorded.EXACT], recorded.read("torch").exact)
    assert str(found["interpreter"]) == f"Python {sys.version.split()[0]}"
    told = list(record.compared("torch", found))
    assert told[0] == "exact logits: 1,000 of 1,000 values are those of the museum's recording"
    assert [line.partition(":")[0] for line in told] == ["exact logits", "logits", "layers"]


# --- what passes between two Pythons -----------------------------------------------------------


@pytest.mark.slow
def test_a_stand_in_is_recorded_with_its_training_steps(stand_in, tmp_path):
    script = stand_in(STEPS)
    found = record.run(HERE, script, {"LENET_KERNELS": "turned"}, 120)
    out = tmp_path / "out"
    record.make_folder(out)
    origin = recorded.read_origin("caffe")
    arrays = {name: array for name, array in found.items() if array.dtype.kind == "f"}
    written = list(record.write(out, "caffe", origin, arrays))
    assert [path.name for path in written] == ["caffe.npz", "caffe_steps.npz"]
    assert not recorded.read("caffe", out).logits.any()
    assert caffe_training.read_steps(out).keys() == caffe_training.SHAPES.keys()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("raise ValueError('no such layer')", "ValueError: no such layer"),
        ("import a_framework", "No module named 'a_framework'; pip install some"),
        ("SHAPES['conv1'] = (6, 24, 24)", r"layers10\.conv1 is float32 \(10, 6, 24, 24\)"),
        ("SHAPES['conv3'] = (6, 24, 24)", r"unknown 'layers10\.conv3'"),
        ("version = None", "TypeError"),
        ("import sys; sys.exit(3)", "exit code 3"),
        ("import os; os._exit(0)", "which is no recording"),
        ("import time; time.sleep(60)", "no answer within 5 seconds"),
    ],
)
def test_what_goes_wrong_there_is_told_in_one_line(more, said, stand_in):
    with pytest.raises(UserError, match=said) as refusal:
        record.run(HERE, stand_in(more), {}, 5 if "sleep" in more else 120)
    one_line(refusal)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["theano"], r"name an interpreter with --python, for theano\.py: .*pip install Theano==1\.0\.5"),
        (["caffe"], r"--python, for caffe\.py: debootstrap"),
        (["theano_project", "--python", "python2"], "no script that records it"),
        (["theano", "--python", "no-such-python"], r"no-such-python: No such file .* Theano==1\.0\.5"),
        (["cntk", "--python", sys.executable], r"cannot import: No module named 'cntk'; .*cntk==2\.7"),
        (["caffe2"], "no recording is called 'caffe2': did you mean 'caffe'"),
        (["caffe_lenet_iter_18760"], "of Caffe's training"),
        (["theano", "--python", ""], "name an interpreter"),
        (["theano", "--python", "'unbalanced"], "No closing quotation"),
        (["theano", "--python", "echo junk"], "echo junk: answered 'junk"),
    ],
)
def test_what_is_missing_is_told_in_one_line(arguments, said, tmp_path):
    result = CliRunner().invoke(record.record, [*arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert re.search(said, result.stderr)
    assert not list(Path(tmp_path).rglob("*.npz"))


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made") as refusal:
        record.make_folder(tmp_path / "file" / "folder")
    one_line(refusal)
