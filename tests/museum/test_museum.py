"""The recorded originals: judged as ports are, and refused if anything was changed."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from lenet.commands.cli import cli
from lenet.compare import compare
from lenet.diagnose.mistakes.update_rule import Rule
from lenet.network import weights
from lenet.network.architecture import PARAM_SHAPES
from lenet.show.migrations import fingerprint, history
from museum import caffe_training, museum_tables, recorded
from museum.replay import Replay, replay
from parity.errors import UserError
from parity.judging.causes.of_rounding import of_half_sums
from parity.record.npz import read_npz, write_npz
from tests.helpers import one_line

NAMES = recorded.names()
# What the judge must find in the recordings that are not within rounding: {recording: {layer: mistake}}.
FLIPPED, NO_RELU = "kernel flipped", "no activation for ReLU"
HALF_SUM = dict.fromkeys(("relu1", "relu2", "relu3", "relu4"), of_half_sums.NAME)  # of Theano 0.8.2
MISTAKES = {
    "keras_theano": {"conv1": FLIPPED, "conv2": FLIPPED, "flatten": "flattened in H, W, C order"},
    "lasagne": {"conv1": FLIPPED, "conv2": FLIPPED, **HALF_SUM},
    "mxnet": {"relu1": NO_RELU, "relu2": NO_RELU, "relu3": NO_RELU, "relu4": NO_RELU},
}
DIGITS = 200  # of the comparison of every port with the weights that Caffe trained


@pytest.fixture(scope="module")
def judged() -> dict[str, Replay]:
    return {name: replay(recorded.read(name)) for name in NAMES}


# --- what the judge says -----------------------------------------------------------------------


def test_every_framework_of_the_story_is_there():
    frameworks = {recorded.read_origin(name).framework for name in NAMES}
    assert frameworks == {
        "Caffe",
        "Theano",
        "TensorFlow",
        "PyTorch",
        "Chainer",
        "MXNet",
        "CNTK",
        "Keras",
        "Lasagne",
    }
    years = [recorded.read_origin(name).released for name in NAMES]
    assert years == sorted(years)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name not in MISTAKES])
def test_an_original_is_the_same_function(name, judged):
    found = judged[name]
    if name == "lasagne_right":  # its ReLU rounds, which is less accurate, and no other function
        assert (found.verdict, found.causes) == ("less accurate", {of_half_sums.NAME: list(HALF_SUM)})
    else:
        assert (found.verdict, found.causes) == ("rounding", {})
        assert found.report.worst_layer[1] <= 1
    assert found.report.same_predictions == recorded.LOGIT_DIGITS
    assert found.report.bits_equal == found.recording.exact.size


@pytest.mark.slow
def test_an_original_returns_the_bits_of_the_ports(open_port, judged):
    bits = fingerprint(open_port("numpy"))
    same = {name for name, one in judged.items() if one.recording.origin.sha256_exact == bits}
    assert same == set(NAMES) - set(MISTAKES)


@pytest.mark.slow
@pytest.mark.parametrize("name", MISTAKES)
def test_the_mistake_is_named_from_the_recording_alone(name, judged):
    found = judged[name]
    assert found.verdict == "different"
    assert found.report.bits_equal < found.recording.exact.size
    named = {one.where: cause.name for one in found.found.findings for cause in one.causes}
    assert named == MISTAKES[name]
    assert not found.found.ambiguous


@pytest.mark.slow
def test_a_changed_value_is_found_by_the_judge():
    recording = recorded.read("caffe")
    layers = dict(recording.layers) | {"fc2": recording.layers["fc2"].copy()}
    layers["fc2"][3, 5] *= np.float32(1 + 1e-3)
    assert replay(replace(recording, layers=layers)).report.first_different == "fc2"
    logits, exact = recording.logits.copy(), recording.exact.copy()
    logits[-1, 2] += np.float32(1e-2)  # of a digit whose layers were not recorded
    assert replay(replace(recording, logits=logits)).report.first_different == "logits"
    exact[0, 0] = np.nextafter(exact[0, 0], np.float32(np.inf))
    found = replay(replace(recording, exact=exact))
    assert (found.report.bits_equal, found.verdict) == (exact.size - 1, "different")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["caffe", "lasagne_right"])
@pytest.mark.parametrize(
    "wrong", [lambda y: y[::-1], lambda y: y * 0, lambda y: y * np.float32(1.01)], ids=["turned", "0", "1.01"]
)
def test_a_difference_that_the_layers_do_not_show_stays_different(name, wrong, judged):
    """The diagnosis sees ten digits alone; the verdict is on all, whatever was accepted of the ten."""
    one = judged[name]
    logits = one.recording.logits.copy()
    logits[recorded.LAYER_DIGITS :] = wrong(logits[recorded.LAYER_DIGITS :])
    found = replay(replace(one.recording, logits=logits))
    assert found.found.summary == one.found.summary
    assert found.verdict == "different"


# --- Caffe's training --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def steps() -> dict[str, np.ndarray]:
    return caffe_training.read_steps()


@pytest.mark.slow
def test_caffe_follows_its_own_rule(steps):
    found = list(caffe_training.judge_steps(steps))
    assert [one.number for one in found] == [1, 2, 3, 4, 5, 6]
    assert found[2].rate == pytest.approx(10 * found[3].rate)
    assert all(one.velocity <= 1 and one.weights <= 1 for one in found)


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong",
    [
        Rule(),  # the recipe's
        Rule(momentum="rate inside", mu=0.8999),
        Rule(momentum="rate inside", decay_factor=1.001),
        Rule(momentum="rate inside", gain=1.01),
        Rule(momentum="rate inside", reset="rate"),
    ],
    ids=["recipe", "momentum", "decay", "gradient", "reset"],
)
def test_no_other_rule_does(wrong, steps):
    found = list(caffe_training.judge_steps(steps, wrong))
    assert max(one.velocity for one in found) > 1


@pytest.mark.slow
def test_a_changed_step_is_found(steps):
    changed = steps["w5.fc1.weight"].copy()
    changed[7, 9] += np.float32(1e-5)
    found = list(caffe_training.judge_steps(steps | {"w5.fc1.weight": changed}))
    assert [one.number for one in found if one.weights > 1] == [5, 6]  # and the next begins from there


def test_the_weights_move_by_the_velocity_to_the_bit(steps):
    before = weights.read()
    for k in range(1, caffe_training.STEPS + 1):
        for name in PARAM_SHAPES:
            assert np.array_equal(before[name] - steps[f"v{k}.{name}"], steps[f"w{k}.{name}"])
        before = {name: steps[f"w{k}.{name}"] for name in PARAM_SHAPES}


@pytest.mark.slow
def test_the_diagnosis_names_caffes_rule_at_the_drop_of_the_rate(steps):
    verdict = caffe_training.named_rule(steps)
    assert verdict.first == f"step {caffe_training.DROP + 1}"
    assert [cause.name for cause in verdict.diagnoses] == ["learning rate inside the velocity"]
    assert history()["caffe"].momentum == "v ← μ·v + η·g; w ← w − v"


@pytest.fixture(scope="module")
def trained(open_port) -> dict[str, np.ndarray]:
    open_port("caffe")  # reads the file
    return caffe_training.read_trained()


@pytest.mark.slow
def test_the_weights_that_caffe_trained_are_as_accurate_as_caffe_said(open_port, trained, digits):
    port = open_port("numpy:fast")
    port.load(trained)
    assert (port.logits(digits.images).argmax(axis=1) == digits.labels).sum() == 9917


@pytest.mark.slow
def test_every_port_is_the_same_function_with_the_weights_that_caffe_trained(
    port_name, open_port, trained, digits
):
    found = compare([open_port(port_name)], trained, digits[:DIGITS])
    assert found.ports[0].verdict == "rounding", found.ports[0].first_different
    assert found.ports[0].same_predictions == DIGITS


# --- what was changed is refused ---------------------------------------------------------------


@pytest.fixture
def copied(tmp_path) -> Path:
    """A folder with one recording, and the files of Caffe's training."""
    for pattern in ("caffe.*", "caffe_*"):
        for path in recorded.FOLDER.glob(pattern):
            shutil.copy(path, tmp_path)
    return tmp_path


def test_a_copy_is_read(copied):
    assert recorded.names(copied) == ["caffe"]
    assert recorded.read("caffe", copied).name == "caffe"


def rewrite(folder: Path, changes: dict[str, np.ndarray | None], *, hashed: bool) -> None:
    """Change arrays of the recording; `hashed` gives the file's own SHA-256 anew."""
    path = folder / "caffe.npz"
    arrays = dict(read_npz(path)) | changes
    write_npz(path, {name: array for name, array in arrays.items() if array is not None})
    if hashed:
        change_origin(folder, sha256=recorded.sha256(path))


def change_origin(folder: Path, **fields: object) -> None:
    path = folder / "caffe.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def nudged(name: str) -> np.ndarray:
    array = dict(read_npz(recorded.FOLDER / "caffe.npz"))[name].copy()
    array.flat[0] = np.nextafter(array.flat[0], np.float32(np.inf))
    return array


@pytest.mark.parametrize("name", sorted(recorded.SHAPES))
def test_one_changed_value_is_refused(name, copied):
    rewrite(copied, {name: nudged(name)}, hashed=False)
    with pytest.raises(UserError, match="was changed") as refusal:
        recorded.read("caffe", copied)
    one_line(refusal)


@pytest.mark.parametrize("field", ["sha256", "sha256_exact"])
def test_one_changed_hash_is_refused(field, copied):
    change_origin(copied, **{field: "0" * 64})
    with pytest.raises(UserError, match="SHA-256") as refusal:
        recorded.read("caffe", copied)
    one_line(refusal)


LOGITS = np.zeros(recorded.SHAPES[recorded.LOGITS], np.float32)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({recorded.EXACT: nudged(recorded.EXACT)}, "another SHA-256"),
        ({recorded.LOGITS: None}, "no 'logits_trained_1000'"),
        ({"more": LOGITS}, "unknown 'more'"),
        ({recorded.LOGITS: LOGITS[1:]}, r"\(999, 10\), expected"),
        ({recorded.LOGITS: LOGITS.astype(np.float64)}, "is float64"),
        ({recorded.LOGITS: LOGITS * np.float32(np.nan)}, "NaN"),
        ({recorded.LOGITS: LOGITS + np.float32(np.inf)}, "infinity"),
    ],
)
def test_wrong_arrays_are_refused(changes, said, copied):
    """Even where the file's SHA-256 is right."""
    rewrite(copied, changes, hashed=True)
    with pytest.raises(UserError, match=said) as refusal:
        recorded.read("caffe", copied)
    one_line(refusal)


@pytest.mark.parametrize("text", ["", "{}", "[]", "[" * 100_000, '{"released": "2017"}', '{"more": 1}'])
def test_a_wrong_origin_is_refused(text, copied):
    (copied / "caffe.json").write_text(text)
    with pytest.raises(UserError, match=r"caffe\.json") as refusal:
        recorded.read("caffe", copied)
    one_line(refusal)


@pytest.mark.parametrize("file", ["caffe.npz", "caffe_steps.npz", "caffe_lenet_iter_18760.caffemodel"])
def test_a_damaged_or_missing_file_is_refused(file, copied, open_port):
    open_port("caffe")
    read = {
        "caffe.npz": lambda: recorded.read("caffe", copied),
        "caffe_steps.npz": lambda: caffe_training.read_steps(copied),
        "caffe_lenet_iter_18760.caffemodel": lambda: caffe_training.read_trained(copied),
    }[file]
    read()
    content = (copied / file).read_bytes()
    (copied / file).write_bytes(content[:-1])
    with pytest.raises(UserError, match="was changed"):
        read()
    (copied / file).unlink()
    with pytest.raises(UserError, match="cannot be read") as refusal:
        read()
    one_line(refusal)


@pytest.mark.parametrize(("name", "meant"), [("Theano", "theano"), ("caffe2", "caffe"), ("x", None)])
def test_an_unknown_name_is_refused_with_the_nearest(name, meant):
    with pytest.raises(UserError, match=f"no recording is called '{name}'") as refusal:
        recorded.read(name)
    assert (f"did you mean '{meant}'?" in one_line(refusal)) == (meant is not None)


@pytest.mark.parametrize("name", ["../recordings/theano", "", "/etc/passwd"])
def test_a_name_is_no_path(name):
    with pytest.raises(UserError, match="no recording is called"):
        recorded.read(name)


@pytest.mark.parametrize("name", recorded.TRAINING)
def test_caffes_training_is_no_recording_of_a_forward_pass(name):
    assert name not in NAMES
    with pytest.raises(UserError, match="of Caffe's training"):
        recorded.read(name)


@pytest.mark.parametrize("file", ["caffe.json", "caffe.npz"])
def test_a_recording_of_which_a_file_is_gone_is_missed(file, copied):
    (copied / file).unlink()
    with pytest.raises(UserError, match=file.replace(".", r"\.")):
        [recorded.read(name, copied) for name in recorded.names(copied)]


def test_a_recording_without_its_exact_hash_is_refused(copied):
    change_origin(copied, sha256_exact="")
    assert recorded.names(copied) == ["caffe"]
    with pytest.raises(UserError, match="another SHA-256"):
        recorded.read("caffe", copied)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", ["a"]),
        ("framework", None),
        ("port", 3),
        ("released", True),
        ("released", 10**30),
        ("environment", {"A": 1}),
        ("script", "../../x.py"),
        ("script", 5),
    ],
)
def test_a_field_of_another_kind_is_refused(field, value, copied):
    change_origin(copied, **{field: value})
    with pytest.raises(UserError, match=f"'{field}' is not of its kind"):
        recorded.read("caffe", copied)


def test_a_folder_in_the_place_of_an_origin_is_refused(copied):
    (copied / "foo.json").mkdir()
    with pytest.raises(UserError, match=r"foo\.json: cannot be read"):
        recorded.names(copied)


# --- the command -------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_shows_every_recording_and_writes_json(judged, tmp_path):
    result = CliRunner().invoke(cli, ["museum", "--json", str(tmp_path / "found.json")])
    assert result.exit_code == 0
    for row in museum_tables.rows(judged.values()):
        (line,) = [
            line for line in result.stdout.splitlines() if line.startswith(f"{row[0]} ") and row[2] in line
        ]
        assert all(cell in line for cell in row[2:])
    assert "learning rate inside the velocity at step 4" in result.stdout
    found = json.loads((tmp_path / "found.json").read_text())
    assert list(found["recordings"]) == NAMES
    assert found["recordings"]["mxnet"]["diagnosis"]["first"] == "relu1"
    assert [step["number"] for step in found["caffe_steps"]] == [1, 2, 3, 4, 5, 6]


def test_the_command_shows_one_with_its_origin():
    result = CliRunner().invoke(cli, ["museum", "mxnet"])
    assert result.exit_code == 0
    origin = recorded.read_origin("mxnet")
    for told in ("mxnet: different", NO_RELU, origin.sha256, origin.date, origin.processor, "relu3"):
        assert told in result.stdout


def test_the_command_prints_json_of_one():
    one = CliRunner().invoke(cli, ["museum", "tf0", "--json", "-"])
    assert json.loads(one.stdout)["origin"]["version"] == "0.12.1"


def test_the_command_refuses_an_unknown_name():
    result = CliRunner().invoke(cli, ["museum", "caffe2"])
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
