"""What a port does to digits by chance in training alone: the gradients tell what it did to each of them.

The gradients of the last layer are a sum over the digits. If each digit is either as it is or changed, least
squares give which of them were changed, and the whole step is then judged with these images.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from lenet.diagnose.mistakes.base import Kind
from lenet.diagnose.mistakes.of_training.run import Gradients, Run
from lenet.diagnose.mistakes.wrong_backward import LossCall, Tape, right_loss
from parity.arithmetic import Array

LAST = "logits"
SURE = 0.25  # a digit is changed if its share is nearer to one than to zero by this
CHANGES: dict[str, Callable[[Array], Array]] = {
    "flipped left to right": lambda x: x[..., ::-1],
    "flipped upside down": lambda x: x[..., ::-1, :],
    "turned by 180 degrees": lambda x: x[..., ::-1, ::-1],
    "transposed": lambda x: x.swapaxes(-1, -2),
    "inverted": lambda x: 1 - x,
    "replaced by zeros": lambda x: x * 0,
}


def flips(run: Run) -> Iterator[tuple[Kind, Iterator[Gradients]]]:
    """For each change of an image, the gradients of the steps if the digits that show it are changed."""
    for words, change in CHANGES.items():
        chosen = []
        for k in range(run.count):
            mask = _changed(run, k, change)
            if mask is None:
                break
            chosen.append(mask)
        some = any(mask.any() for mask in chosen) and not all(mask.all() for mask in chosen)
        if len(chosen) == run.count and some:
            kind = Kind(
                f"some images {words} in training",
                "The images of "
                + "; ".join(
                    f"step {k + 1}: {', '.join(map(str, np.flatnonzero(mask)))}"
                    for k, mask in enumerate(chosen)
                    if mask.any()
                )
                + f" are {words}: a random augmentation.",
                "Train on the images as they are given.",
            )
            yield kind, _gradients(run, change, chosen)


def _changed(run: Run, k: int, change: Callable[[Array], Array]) -> Array | None:
    """Which digits of a step are changed, (N,) bool; None if that does not explain the last layer."""
    batch, seen = run.course.batches[k], run.samples[k].seen
    other = Tape.record(run.stations[k], change(batch.images), batch.labels, run.dtype)
    parts = [_columns(tape) for tape in (run.tapes[k], other)]
    target = np.concatenate([seen[f"{LAST}.weight"].ravel(), seen[f"{LAST}.bias"]]) - parts[0].sum(axis=1)
    difference = parts[1] - parts[0]
    found, *_ = np.linalg.lstsq(difference, target, rcond=None)
    mask = found > 0.5
    if (np.abs(found - mask) > SURE).any():
        return None
    return np.asarray(mask)


def _columns(tape: Tape) -> Array:
    """The gradient of the last layer from each digit: (850, N)."""
    d = right_loss(LossCall(tape.inputs["loss"], tape.labels, tape.dtype)).d.value
    h = tape.inputs[LAST].value
    return np.stack([np.concatenate([np.outer(a, b).ravel(), a]) for a, b in zip(d, h, strict=True)], axis=1)


def _gradients(run: Run, change: Callable[[Array], Array], chosen: list[Array]) -> Iterator[Mapping]:
    for k, mask in enumerate(chosen):
        batch = run.course.batches[k]
        images = batch.images.copy()
        images[mask] = change(images[mask])
        yield run.on_batch(k, replace(batch, images=images), {})
