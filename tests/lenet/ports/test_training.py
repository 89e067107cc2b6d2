"""Training by the NumPy port: interrupted and resumed without a trace, refused where it must be."""

import json
import os
import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from lenet.network import weights
from lenet.network.architecture import PARAM_SHAPES
from lenet.network.digits import CHECKSUMS, Digits
from lenet.network.recipe import Recipe, batches, initial_params
from lenet.ports import Arrays, Port, open_port, training
from lenet.ports.training import train
from parity.errors import UserError
from tests.helpers import one_line

RECIPE = Recipe(seed=1, epochs=3, batch_size=16, learning_rate=0.02)
COUNT, PER_EPOCH = 40, 3  # 16, 16 and 8 digits


@pytest.fixture(scope="module")
def few(digits) -> Digits:
    return digits[:COUNT]


def numpy_port(dtype: str = "float32") -> Port:
    return open_port("numpy", dtype)


def bits(arrays: Arrays) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in arrays.items()}


def interrupt_at(step: int) -> Callable[[int, float], None]:
    def follow(done: int, loss: float) -> None:
        if done == step:
            raise KeyboardInterrupt

    return follow


def interrupted(checkpoint: Path, digits: Digits, step: int = PER_EPOCH + 2, dtype: str = "float32") -> None:
    """A run that dies in its second epoch (or at `step`), in a process of its own as it were."""
    with pytest.raises(KeyboardInterrupt):
        train(numpy_port(dtype), digits, RECIPE, checkpoint, interrupt_at(step))


@pytest.fixture(scope="module")
def whole(few) -> dict[str, tuple[Port, list[float]]]:
    """A run that nothing interrupted, in each dtype: the port after it, and its losses."""
    ports = {dtype: numpy_port(dtype) for dtype in ("float32", "float64")}
    return {dtype: (port, train(port, few, RECIPE)) for dtype, port in ports.items()}


@pytest.fixture(scope="module")
def stopped(few, tmp_path_factory) -> bytes:
    """What a run that died in its second epoch left behind."""
    path = tmp_path_factory.mktemp("stopped") / "checkpoint"
    interrupted(path, few)
    return path.read_bytes()


# --- the loop ----------------------------------------------------------------------------------


def test_training_goes_through_all_batches_from_the_recipes_weights(few, whole):
    """Epoch by epoch, as checkpoints want it, and in one go: the same losses, the same weights."""
    port, losses = whole["float32"]
    in_one_go = numpy_port()
    in_one_go.load(initial_params(RECIPE.seed))
    assert losses == list(in_one_go.train(batches(few, RECIPE), RECIPE))
    assert bits(port.params()) == bits(in_one_go.params())
    assert np.mean(losses[-PER_EPOCH:]) < np.mean(losses[:PER_EPOCH])


def test_training_reports_each_step_once_with_its_loss(few, whole):
    seen: list[tuple[int, float]] = []
    losses = train(numpy_port(), few, RECIPE, progress=lambda step, loss: seen.append((step, loss)))
    assert losses == whole["float32"][1]
    assert seen == list(enumerate(losses, start=1))
    assert len(seen) == RECIPE.steps(COUNT) == 3 * PER_EPOCH


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("step", [1, PER_EPOCH, PER_EPOCH + 1, 2 * PER_EPOCH + 2])
def test_a_resumed_run_ends_in_the_same_bits_as_an_uninterrupted_one(step, dtype, whole, few, tmp_path):
    (uninterrupted, all_losses), resumed = whole[dtype], numpy_port(dtype)
    checkpoint = tmp_path / "checkpoint"
    interrupted(checkpoint, few, step, dtype)
    kept = (step - 1) // PER_EPOCH * PER_EPOCH  # whole epochs whose checkpoint was written
    assert checkpoint.exists() == (kept > 0)
    steps: list[int] = []
    losses = train(resumed, few, RECIPE, checkpoint, lambda done, loss: steps.append(done))
    assert steps == list(range(kept + 1, 3 * PER_EPOCH + 1))
    assert losses == all_losses[kept:]
    assert bits(resumed.params()) == bits(uninterrupted.params())
    assert bits(resumed.velocity()) == bits(uninterrupted.velocity())


def test_a_finished_run_is_not_run_again(few, tmp_path):
    checkpoint = tmp_path / "checkpoint"
    first, second = numpy_port(), numpy_port()
    train(first, few, RECIPE, checkpoint)
    assert train(second, few, RECIPE, checkpoint) == []
    assert bits(second.params()) == bits(first.params())
    assert bits(second.velocity()) == bits(first.velocity())


def test_a_loss_that_is_no_longer_finite_ends_the_run_with_its_step(few, tmp_path):
    wild = replace(RECIPE, learning_rate=1e30)
    checkpoint = tmp_path / "checkpoint"
    with pytest.raises(UserError, match=r"the loss is \w+ at step 2: lower the learning rate") as refusal:
        train(numpy_port(), few, wild, checkpoint)
    one_line(refusal)
    assert not checkpoint.exists()


def test_no_digits_are_refused(digits):
    with pytest.raises(UserError, match="no digits to train on"):
        train(numpy_port(), digits[:0], RECIPE)


# --- checkpoints -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "count", "dtype"),
    [
        pytest.param(replace(RECIPE, seed=2), COUNT, "float32", id="another seed"),
        pytest.param(replace(RECIPE, learning_rate=0.03), COUNT, "float32", id="another rate"),
        pytest.param(replace(RECIPE, epochs=4), COUNT, "float32", id="more epochs: another schedule"),
        pytest.param(RECIPE, COUNT - 1, "float32", id="other digits"),
        pytest.param(RECIPE, COUNT, "float64", id="another dtype"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_and_kept(recipe, count, dtype, stopped, few, tmp_path):
    checkpoint = tmp_path / "checkpoint"
    checkpoint.write_bytes(stopped)
    with pytest.raises(
        UserError, match="checkpoint of another run; delete it, or choose another --out"
    ) as refusal:
        train(numpy_port(dtype), few[:count], recipe, checkpoint)
    assert one_line(refusal).startswith(f"{checkpoint}: ")
    assert checkpoint.read_bytes() == stopped


def test_a_checkpoint_of_another_port_is_refused(stopped, few, tmp_path):
    checkpoint = tmp_path / "checkpoint"
    checkpoint.write_bytes(stopped)
    other = numpy_port()
    other.name = "torch"
    with pytest.raises(UserError, match="checkpoint of another run"):
        train(other, few, RECIPE, checkpoint)


def without(content: bytes, name: str) -> bytes:
    return edited(content, lambda arrays: arrays.pop(name))


def with_nan(content: bytes) -> bytes:
    return edited(content, lambda arrays: arrays["velocity/fc1.bias"].fill(np.nan))


def edited(content: bytes, edit: Callable[[Arrays], object]) -> bytes:
    """The same checkpoint (header included) with other arrays."""
    arrays = {name: array.copy() for name, array in load(content).items()}
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    edit(arrays)
    return save(arrays, header["__metadata__"])


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: content[:100], id="half a header"),
        pytest.param(lambda content: content[:-1], id="a byte short"),
        pytest.param(lambda content: content.replace(b'"F32"', b'"BF8"'), id="an unknown dtype"),
        pytest.param(lambda content: save({}), id="no run in it"),
        pytest.param(lambda content: without(content, "params/fc1.bias"), id="no fc1.bias"),
        pytest.param(lambda content: without(content, "velocity/fc1.bias"), id="no velocity of fc1.bias"),
        pytest.param(with_nan, id="NaN in the velocity"),
        pytest.param(
            lambda content: edited(
                content, lambda arrays: [arrays.pop(f"velocity/{name}") for name in PARAM_SHAPES]
            ),
            id="no velocity at all",
        ),
    ],
)
def test_a_damaged_checkpoint_is_refused_and_kept(damage, stopped, few, tmp_path):
    checkpoint = tmp_path / "checkpoint"
    damaged = damage(stopped)
    checkpoint.write_bytes(damaged)
    with pytest.raises(UserError) as refusal:
        train(numpy_port(), few, RECIPE, checkpoint)
    assert one_line(refusal).startswith(f"{checkpoint}: ")
    assert checkpoint.read_bytes() == damaged


def test_a_pipe_in_the_place_of_the_checkpoint_is_refused(few, tmp_path):
    os.mkfifo(tmp_path / "checkpoint")
    with pytest.raises(UserError, match="no ordinary file"):
        train(numpy_port(), few, RECIPE, tmp_path / "checkpoint")


def test_no_flipped_bit_is_accepted(stopped, few, tmp_path):
    checkpoint, rng = tmp_path / "checkpoint", np.random.default_rng(0)
    for place in rng.integers(8 * len(stopped), size=40):
        damaged = bytearray(stopped)
        damaged[place // 8] ^= 1 << (place % 8)
        checkpoint.write_bytes(damaged)
        with pytest.raises(UserError) as refusal:
            train(numpy_port(), few, RECIPE, checkpoint)
        assert one_line(refusal).startswith(f"{checkpoint}: ")


def test_weights_that_no_port_returns_are_refused_whatever_the_checksum(stopped, few, tmp_path):
    checkpoint = tmp_path / "checkpoint"
    header = json.loads(stopped[8 : 8 + int.from_bytes(stopped[:8], "little")])
    metadata = {name: header["__metadata__"][name] for name in ("run", "step")}
    arrays = load(with_nan(stopped))
    metadata["sha256"] = training._checksum(arrays, metadata)
    checkpoint.write_bytes(weights.serialized(arrays, metadata))
    with pytest.raises(UserError, match=r"fc1\.bias holds a NaN") as refusal:
        train(numpy_port(), few, RECIPE, checkpoint)
    assert one_line(refusal).startswith(f"{checkpoint}: ")


@pytest.mark.parametrize("step", ["", "-6", "6.0", "x", "7", "600", None])
def test_a_step_that_is_no_end_of_an_epoch_is_refused(step, stopped, few, tmp_path):
    """With a right checksum: as another version may write it."""
    checkpoint = tmp_path / "checkpoint"
    header = json.loads(stopped[8 : 8 + int.from_bytes(stopped[:8], "little")])
    metadata = {"run": header["__metadata__"]["run"]} | ({} if step is None else {"step": step})
    arrays = load(stopped)
    metadata["sha256"] = training._checksum(arrays, metadata)
    checkpoint.write_bytes(weights.serialized(arrays, metadata))
    with pytest.raises(UserError) as refusal:
        train(numpy_port(), few, RECIPE, checkpoint)
    assert one_line(refusal).startswith(f"{checkpoint}: ")


def test_a_folder_in_place_of_a_checkpoint_is_refused(few, tmp_path):
    with pytest.raises(UserError, match="is a folder"):
        train(numpy_port(), few, RECIPE, tmp_path)


def test_a_checkpoint_that_cannot_be_written_is_refused(few, tmp_path):
    with pytest.raises(UserError, match=r"cannot be written \(No such file or directory\)"):
        train(numpy_port(), few, RECIPE, tmp_path / "missing" / "checkpoint")


# --- what is recorded --------------------------------------------------------------------------


def test_the_record_names_all_that_the_weights_depend_on(few):
    port = numpy_port()
    record = training.record(port, RECIPE, few, 0.98765)
    assert Recipe(**json.loads(record["recipe"])) == RECIPE
    assert record["port"] == "numpy"
    assert record["training_digits"] == str(COUNT)
    assert record["training_images_sha256"] == CHECKSUMS["train-images-idx3-ubyte.gz"]
    assert record["test_accuracy"] == "0.9877"
    assert record["framework"] == record["numpy"] == np.__version__
    assert record["python"] == platform.python_version()
    assert record["machine"] == platform.machine()
    assert record["blas"]
    assert all(isinstance(value, str) for value in record.values())  # safetensors takes nothing else


def test_float64_weights_are_written_rounded_to_float32(tmp_path):
    port = numpy_port("float64")
    third = {name: np.full(shape, 1 / 3) for name, shape in PARAM_SHAPES.items()}
    port.load(third)
    training.write_weights(tmp_path / "w", port, {"port": "numpy"})
    params, metadata = weights.read_with_metadata(tmp_path / "w")
    assert all((array == np.float32(1 / 3)).all() for array in params.values())
    assert metadata == {"port": "numpy"}
