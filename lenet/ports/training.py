"""Trains any port by a recipe: the loop, checkpoints, and the metadata of the weights."""

import json
import platform
import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from lenet import __version__
from lenet.network import weights
from lenet.network.digits import CHECKSUMS, Digits
from lenet.network.recipe import Recipe, batches, initial_params
from lenet.ports.calling import calling, each
from lenet.ports.contract import Arrays, Port
from parity.errors import UserError
from parity.files import check_readable, write_atomically

STEP = re.compile(r"\d{1,18}", re.ASCII)
START_AGAIN = "delete it to start again"


@dataclass
class Checkpoint:
    """The state of a run after `step` steps: parameters and velocity in the shared layout."""

    step: int
    params: Arrays
    velocity: Arrays


@np.errstate(over="ignore", invalid="ignore")  # a diverging run is reported once, by its loss
def train(
    port: Port,
    digits: Digits,
    recipe: Recipe,
    checkpoint: Path | None = None,
    progress: Callable[[int, float], None] = lambda step, loss: None,
) -> list[float]:
    """Train `port` from the recipe's initial weights, or continue from `checkpoint`.

    After each epoch the state is written to `checkpoint`, completely or not at all. A run that continues
    from it sees the same batches and ends with the same weights as a run without interruption.

    Args:
        port: an opened port; its weights are replaced.
        digits: the training digits.
        recipe: the recipe of the run.
        checkpoint: the file for checkpoints; if it exists, of an interrupted run of the same port and recipe.
        progress: called after each step with the number of steps done and the loss before the step.

    Returns:
        the loss of each step of this call.

    Raises:
        UserError: there are no digits; the checkpoint is damaged, belongs to another run, or cannot be
            written; or the loss is no longer finite. PortFailed: the port raises an error.
    """
    if not len(digits):
        raise UserError("no digits to train on: give at least one")
    run = _identity(port, digits, recipe)
    state = Checkpoint(0, initial_params(recipe.seed), {})
    if checkpoint is not None and checkpoint.exists():
        state = read_checkpoint(checkpoint, run, port.dtype)
    steps = recipe.steps(len(digits))
    per_epoch = steps // recipe.epochs
    if state.step not in range(0, steps + 1, per_epoch):
        raise UserError(f"{checkpoint}: step {state.step} is no end of an epoch; {START_AGAIN}")
    with calling(port):
        port.load(state.params, state.velocity or None)
    losses: list[float] = []
    for start in range(state.step, steps, per_epoch):
        for loss in each(port, port.train(batches(digits, recipe, start, start + per_epoch), recipe)):
            step = state.step + len(losses) + 1
            if not np.isfinite(loss):
                raise UserError(f"the loss is {loss} at step {step}: lower the learning rate")
            losses.append(loss)
            progress(step, loss)
        if checkpoint is not None:
            write_checkpoint(checkpoint, port, start + per_epoch, run)
    return losses


def write_checkpoint(path: Path, port: Port, step: int, run: str) -> None:
    """Write the state of the run, from which it can continue, to a safetensors file with a checksum."""
    with calling(port):
        arrays = {f"params/{name}": array for name, array in port.params().items()}
        arrays |= {f"velocity/{name}": array for name, array in port.velocity().items()}
    metadata = {"run": run, "step": str(step)}
    sealed = metadata | {"sha256": _checksum(arrays, metadata)}
    write_atomically(path, weights.serialized(arrays, sealed))


def _checksum(arrays: Arrays, metadata: dict[str, str]) -> str:
    return sha256(weights.serialized(arrays, metadata)).hexdigest()


def read_checkpoint(path: Path, run: str, dtype: str) -> Checkpoint:
    """Read the state in `path`, which must be complete, in `dtype`, and of the same `run`.

    Raises:
        UserError: the file is damaged, or belongs to another port, recipe or training set.
    """
    check_readable(path)  # a pipe would wait for a writer
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, TypeError) as error:
        raise UserError(f"{path}: not a readable checkpoint ({error}); {START_AGAIN}") from error
    if metadata.get("run") != run:
        raise UserError(f"{path}: checkpoint of another run; delete it, or choose another --out")
    checksum = metadata.pop("sha256", None)
    if checksum != _checksum(arrays, metadata) or not STEP.fullmatch(metadata.get("step", "")):
        raise UserError(f"{path}: a damaged checkpoint (its checksum is missing or wrong); {START_AGAIN}")
    params, velocity = (
        {name.removeprefix(kind): array for name, array in arrays.items() if name.startswith(kind)}
        for kind in ("params/", "velocity/")
    )
    for half in (params, velocity):
        weights.check(half, dtype, source=str(path))
    return Checkpoint(int(metadata["step"]), params, velocity)


def record(port: Port, recipe: Recipe, digits: Digits, accuracy: float) -> dict[str, str]:
    """The metadata of a weights file: all that is needed to make the weights again."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "port": port.name,
        "recipe": recipe.to_json(),
        "training_digits": str(len(digits)),
        "training_images_sha256": CHECKSUMS["train-images-idx3-ubyte.gz"],
        "test_accuracy": f"{accuracy:.4f}",
        "lenet": __version__,
        "framework": port.version,
        "numpy": np.__version__,
        "blas": f"{blas['name']} {blas['version']}",
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def _identity(port: Port, digits: Digits, recipe: Recipe) -> str:
    return json.dumps([port.name, port.dtype, len(digits), recipe.to_json()])


def write_weights(path: Path, port: Port, metadata: dict[str, str]) -> None:
    """Write the port's weights as shared weights, rounded to float32 if it trained in float64."""
    with calling(port):
        params = {name: w.astype(np.float32) for name, w in port.params().items()}
    weights.write(path, params, metadata)


def accuracy(port: Port, digits: Digits) -> float:
    """The share of `digits` that the port classifies correctly."""
    size = 1000
    starts = range(0, len(digits), size)
    with calling(port):
        right = [
            (port.logits(part.images).argmax(axis=1) == part.labels).sum()
            for part in (digits[start : start + size] for start in starts)
        ]
    return float(sum(right)) / len(digits)
