"""Random answers: what a function returns when it is called twice with the same input.

The second question has the weights of `exact`, where no order of summation changes a sum. So an order that is
random gives the same answer twice; dropout, noise and memory that was never written do not.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from lenet.diagnose.findings import Diagnosis, Finding
from lenet.diagnose.mistakes.base import Kind, case
from lenet.diagnose.probe_inputs import FIRST, Observed, Probes, alike
from lenet.diagnose.training_run import is_right, kept
from lenet.network.architecture import ACTIVATION_SHAPES
from lenet.reference.forward import reference
from parity.arithmetic import Array

RANDOM = Kind(
    "random output",
    "The same input gives another output: dropout, noise, augmentation or shuffling is on, or memory is read "
    "that was never written.",
    "Switch to evaluation (model.eval(), training=False), and allocate with zeros, not with empty.",
    case("pytorch/pytorch", 52758),
)
STATE = Kind(
    "state kept between calls",
    "The first call is right, and the same call once more is not: something of the first is still there.",
    "Make weights, buffers and optimizer anew in each call, or set them to their start.",
)
Answers = Mapping[str, Array]


def findings(probes: Probes, observed: Observed) -> list[Finding]:
    """The first function that returns something else for the same input; empty if there is none."""
    one, two = (observed.activations.get(name) for name in FIRST)
    if one is not None and two is not None:
        in_order = {name: one[name] for name in ACTIVATION_SHAPES if name in one}
        if name := _changed(in_order, two, observed.dtype):
            return [_finding(name, one[name], two.get(name), _is_right(probes, observed, name))]
    gradients = [observed.gradients.get(name) for name in FIRST]
    if all(gradients):
        (_, first), (_, second) = (answer for answer in gradients if answer)
        changed = _changed(first, second, observed.dtype)
        if changed and not _doubled(first, second):  # gradients that add up are a mistake of the catalogue
            return [_finding(f"gradient of {changed}", first[changed], second.get(changed), False)]
    steps = observed.trajectory or []
    for count, again in ((1, observed.first_step_again), (len(steps), observed.last_step_again)):
        if not steps or again is None:
            continue
        once = steps[count - 1]
        if changed := _changed(once, again, observed.dtype, count):
            right = is_right(probes, replace(observed, trajectory=steps[:count]))
            causes = kept(probes, observed, again) if right and count == 1 else ()
            where = f"{changed} after step {count}"
            return [_finding(where, once[changed], again.get(changed), right, causes)]
    return []


def _changed(one: Answers, two: Answers, dtype: str, steps: int = 1) -> str | None:
    """The first array that is another the second time."""
    return next((name for name, array in one.items() if not alike(array, two.get(name), dtype, steps)), None)


def _doubled(one: Answers, two: Answers) -> bool:
    """Whether the second gradients are twice the first: they were added to them."""
    return all(
        name in two and two[name].shape == array.shape and alike(2 * array, two[name], "float32")
        for name, array in one.items()
    )


def _is_right(probes: Probes, observed: Observed, name: str) -> bool:
    """Whether the first answer is right."""
    probe = probes.named(FIRST[0])
    assert probe is not None
    right = reference(probe.params, probe.images, observed.dtype)[name].value
    return alike(right, observed.activations[FIRST[0]][name], observed.dtype)


def _finding(
    where: str, one: Array, two: Array | None, first_is_right: bool, causes: tuple[Diagnosis, ...] = ()
) -> Finding:
    kind = STATE if first_is_right else RANDOM
    return Finding(where, _evidence(where, one, two), causes or (Diagnosis.of(kind, (where,)),))


def _evidence(where: str, one: Array, two: Array | None) -> str:
    if two is None or two.shape != one.shape:
        return f"{where} has shape {one.shape}, and {'none' if two is None else two.shape} for the same input"
    differs = ~((one == two) | (np.isnan(one) & np.isnan(two)))
    with np.errstate(invalid="ignore"):
        off = np.abs(one.astype(np.float64) - two)
    worst = np.unravel_index(int(np.argmax(np.where(differs, off, 0))), off.shape)
    return (
        f"{int(differs.sum())} of {one.size} values of {where} change when it is called again; "
        f"the largest change is from {one[worst]:.6g} to {two[worst]:.6g}"
    )
