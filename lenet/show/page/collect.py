"""Computes every number of the page when the page is built."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from lenet.compare import Comparison, LayerReport, compare, exact_bits, judge_layers, outputs_problem
from lenet.network.digits import Digits
from lenet.network.recipe import Recipe
from lenet.ports import FRAMEWORKS, Port, open_port
from lenet.ports.calling import calling
from lenet.ports.lockstep import Lockstep, lockstep
from lenet.reference import forward
from lenet.reference.certificate import RangeCertificate, certify_range
from lenet.reference.exact import pixel_values
from lenet.show.migrations import Layouts, folders, layouts
from lenet.show.page.arrays import Values, joined, stack
from lenet.show.page.chosen_digits import Chosen, choose
from parity.arithmetic import Bounded
from parity.errors import UserError

Progress = Callable[[str, int], None]
STEP, CHOSEN = 150, 50  # a training step and a chosen digit take as long as the judging of so many digits


@dataclass(frozen=True)
class Shown:
    """A digit shown on the page, with each port's results: {port: {layer: numbers}}."""

    chosen: Chosen
    pixels: np.ndarray
    answers: dict[str, int]
    layers: dict[str, dict[str, dict]]

    def to_json(self) -> dict[str, Any]:
        """The digit for the page; pixels are (28, 28) bytes in base64."""
        return {
            "index": self.chosen.index,
            "label": self.chosen.label,
            "answer": self.chosen.answer,
            "margin": self.chosen.margin,
            "pixels": base64.b64encode(self.pixels.tobytes()).decode(),
            "answers": self.answers,
            "layers": self.layers,
        }


@dataclass(frozen=True)
class Training:
    """A short run of all ports that can train, from the same initialization, on the same batches."""

    recipe: Recipe
    names: list[str]
    run: Lockstep


@dataclass(frozen=True)
class Report:
    """All data of the page."""

    comparison: Comparison
    shown: list[Shown]
    values: Values
    certificate: RangeCertificate
    training: Training | None
    layouts: dict[str, Layouts]
    params: Mapping[str, np.ndarray]


def collect(
    ports: Sequence[Port],
    params: Mapping[str, np.ndarray],
    exact: Mapping[str, np.ndarray],
    digits: Digits,
    count: int,
    steps: int,
    progress: Progress = lambda doing, done: None,
) -> Report:
    """Judge the ports on all `digits`, keep all values of `count` digits, and train for `steps` steps.

    Args:
        ports: opened float32 ports.
        params: trained weights.
        exact: exact weights.
        digits: the first test digits.
        count: the number of digits shown.
        steps: the steps of the training run.
        progress: called with the current task and the part of `work` done since the last call.

    Raises:
        UserError: a port's outputs cannot be judged.
    """
    right = exact_bits.right(exact, digits.images)
    found = compare(list(ports), params, digits, lambda done: progress("judging digits", done), right)
    for report in found.ports:
        if report.problem:
            raise UserError(f"{report.name}: {report.problem}")
    shown, values = look(ports, params, digits, count, progress)
    training = train(ports, digits, steps, progress)
    axes = {port.name: layouts(port.name) for port in ports if port.name in folders()}
    return Report(found, shown, values, certify_range(exact, pixel_values()), training, axes, params)


def work(digits: int, count: int, steps: int) -> int:
    """The total that `progress` reaches."""
    return digits + CHOSEN * count + STEP * steps


def look(
    ports: Sequence[Port],
    params: Mapping[str, np.ndarray],
    digits: Digits,
    count: int,
    progress: Progress = lambda doing, done: None,
) -> tuple[list[Shown], Values]:
    """Run the chosen digits through all ports, one at a time, and collect their values and numbers."""
    progress("choosing digits", 0)
    for port in ports:
        with calling(port):
            port.load(params)
    with calling(ports[0]):
        chosen = choose(params, digits, ports[0], count)
    outputs: list[list[np.ndarray]] = [[] for _ in ports]
    shown, expected = [], []
    with threadpool_limits(1):
        for one in chosen:
            image = digits.images[one.index : one.index + 1]
            expected.append(forward.reference(params, image))
            answers, layers = {}, {}
            for port, kept in zip(ports, outputs, strict=True):
                with calling(port):
                    activations, logits = port.activations(image), port.logits(image)
                if problem := outputs_problem(activations, logits, 1, port.dtype):
                    raise UserError(f"{port.name}: {problem}")
                rounded = forward.rounded(expected[-1], port.dtype)
                judged = judge_layers(params, image, activations, logits, expected[-1], rounded, one.index)
                answers[port.name] = int(logits.argmax())
                layers[port.name] = {
                    name: _numbers(report, activations[name], expected[-1][name])
                    for name, report in judged.items()
                }
                kept.append(joined(activations))
            pixels = (image[0, 0] * 255).round().astype(np.uint8)
            shown.append(Shown(one, pixels, answers, layers))
            progress("collecting values", CHOSEN)
    return shown, stack(expected, outputs)


def _numbers(report: LayerReport, found: np.ndarray, expected: Bounded) -> dict[str, Any]:
    """The numbers of `lenet compare --json`, and the bound of the value with the largest error."""
    worst = np.abs(found - expected.value).argmax()
    return report.to_json() | {"bound": float(expected.bound.flat[worst])}


def train(
    ports: Sequence[Port], digits: Digits, steps: int, progress: Progress = lambda doing, done: None
) -> Training | None:
    """Train all ports that can, in lockstep with NumPy in float64; None if no port can train."""
    able = [port for port in ports if not FRAMEWORKS[port.name.partition(":")[0]].forward_only]
    if not able:
        return None
    epochs = -(-steps // Recipe(epochs=1).steps(len(digits)))
    recipe = Recipe(epochs=epochs, schedule="cosine")
    run = lockstep(
        open_port("numpy", "float64"),
        able,
        digits,
        recipe,
        steps,
        lambda: progress("training in lockstep", STEP),
    )
    return Training(recipe, [f"{port.name} {port.dtype}" for port in able], run)
