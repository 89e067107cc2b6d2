"""The image that the first convolution must have seen: fitted to its output, and compared with the right one.

Six filters see every pixel in 25 places, so that the image follows from the output by least squares.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from lenet.diagnose.mistakes.base import Kind, Mistake
from lenet.diagnose.mistakes.data import linear
from lenet.diagnose.mistakes.second_look.fitted_lines import number
from lenet.diagnose.mistakes.second_look.fitted_orders import ZERO, first_of_same, move_of, nearest, taken
from lenet.diagnose.mistakes.second_look.shown import LINE, Example, Shown, listed
from lenet.diagnose.mistakes.wrong_forward import Call, after, moved
from lenet.network.architecture import LAYERS
from parity.arithmetic import Array, Bounded

FIRST = LAYERS[0].name
MOST = 1024  # gray levels of a table
ONCE = "Scale once: pixel / 255, float32."


@dataclass(frozen=True)
class Seen:
    """The right images of a probe and those that the layer must have seen; (N, pixels) each."""

    right: Array
    found: Array


NO_IMAGE = Seen(np.zeros(0), np.zeros(0))


def mistakes(shown: Shown) -> Iterator[Mistake]:
    """Another image in front of the first convolution."""
    if shown.stages != ("image", FIRST):
        return
    fits = [_fitted(shown, one) for one in shown.examples]
    if any(one is NO_IMAGE for one in fits):
        return
    some = [one for one in fits if one is not None]
    if some:
        yield from _line(some)
        yield from _table(some)
        yield from _subtracted(shown, some)
        yield from _pixels_moved(some)
        yield from _mixed(shown, some)


def _fitted(shown: Shown, one: Example) -> Seen | None:
    """The images that give this output; NO_IMAGE if there are none, None if there are several."""
    x = one.x.value
    pixels = int(np.prod(x.shape[1:]))
    unit = np.eye(pixels).reshape(pixels, *x.shape[1:])
    w, b = one.params[f"{FIRST}.weight"], one.params[f"{FIRST}.bias"]
    matrix = _convolved(unit, w, shown.layer.padding).reshape(pixels, -1)
    target = (one.seen - b[:, None, None]).reshape(len(x), -1)
    square = matrix @ matrix.T
    values = np.linalg.eigvalsh(square)
    if values[0] <= 1e-8 * values[-1]:
        return None
    found = np.linalg.solve(square, matrix @ target.T).T
    if np.abs(found @ matrix - target).max() > LINE * np.abs(target).max():
        return NO_IMAGE
    return Seen(x.reshape(len(x), -1), found)


def _convolved(x: Array, w: Array, p: int) -> Array:
    k = w.shape[-1]
    padded = np.pad(x[:, 0], ((0, 0), (p, p), (p, p)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(1, 2))
    return np.einsum("nhwij,oij->nohw", windows, w[:, 0], optimize=True)


def _image(
    name: str,
    text: str,
    change: Callable[..., Bounded],
    remedy: str = ONCE,
    mixes: bool = False,
    rank: int = 0,
) -> Mistake:
    return Mistake(Kind(name, text, remedy), {"image": after(change)}, mixes, tier=rank)


def _line(known: list[Seen]) -> Iterator[Mistake]:
    """a · x + b for all pixels of all probes."""
    x, y = (np.concatenate([getattr(one, part).ravel() for one in known]) for part in ("right", "found"))
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
    shift = float(y.mean() - slope * x.mean())
    if np.abs(slope * x + shift - y).max() > LINE * np.abs(y).max():
        return
    if abs(shift) <= 1e-5 * abs(slope):
        yield _image(f"pixels multiplied by {number(slope)}", "All pixels have a factor.", linear(slope, 0.0))
        return
    yield _image(
        f"pixels scaled and shifted: {number(slope)} x + {number(shift)}",
        "All pixels are scaled and shifted; these weights need 0 to 1.",
        linear(slope, shift),
    )


def _table(known: list[Seen]) -> Iterator[Mistake]:
    """Another value for each gray level."""
    x, y = (np.concatenate([getattr(one, part).ravel() for one in known]) for part in ("right", "found"))
    levels, which = np.unique(x, return_inverse=True)
    if len(levels) > MOST:
        return
    values = np.bincount(which, y) / np.bincount(which)
    size = np.abs(values).max()
    if np.abs(values[which] - y).max() > LINE * np.abs(y).max():
        return
    values = np.where(np.abs(values) < 1e-6 * size, 0, values)

    def change(image: Bounded, call: Call) -> Bounded:
        place = np.minimum(np.searchsorted(levels, image.value), len(levels) - 1)
        if (levels[place] != image.value).any():
            raise ValueError("a gray level of which nothing is known")
        return Bounded(values[place], np.full(image.shape, 16 * call.u * size))

    yield _image(
        _said(levels, values),
        "Each gray level is replaced by another value: a contrast, a gamma, a limit, a cast.",
        change,
        "Use the pixels as they are: pixel / 255 in float32.",
        rank=2,
    )


def _said(levels: Array, values: Array) -> str:
    """The name of a function of gray levels."""
    some = (levels > 0.02) & (levels < 0.98)
    power = float(np.median(np.log(np.maximum(values[some], 1e-9)) / np.log(levels[some])))
    if np.abs(values - np.maximum(levels, 0) ** power).max() < 1e-4:
        return f"gamma {power:.4g}: pixels raised to this power"
    if np.abs(values - np.clip(levels, values.min(), values.max())).max() < 1e-5:
        return f"pixels cut off to {values.min():.4g}..{values.max():.4g}"
    few = np.unique(np.round(values, 5))
    if len(few) == 2:
        limit = levels[values > values.mean()].min()
        return f"pixels reduced to {few[0]:.4g} and {few[1]:.4g}, from {limit:.4g} on"
    lows = np.linspace(0, len(levels) - 1, 5).astype(int)
    return "pixels replaced by a function of them: " + ", ".join(
        f"{levels[k]:.3g} → {values[k]:.4g}" for k in lows
    )


def _subtracted(shown: Shown, known: list[Seen]) -> Iterator[Mistake]:
    """The same image added to all digits of all probes."""
    added = [one.found - one.right for one in known]
    if any(np.ptp(one, axis=0).max() > LINE * np.abs(one).max() for one in added):
        return
    first, *others = added
    if any(np.abs(first.mean(0) - one.mean(0)).max() > LINE * np.abs(first).max() for one in others):
        return
    by = np.concatenate(added).mean(0).reshape(shown.examples[0].x.shape[1:])

    yield _image(
        "a mean image subtracted",
        "The same image is subtracted from, or added to, every digit of every call: the mean of the training "
        f"images, say. It is {by.min():.3g} to {by.max():.3g}.",
        lambda image, call: Bounded(
            image.value + by, image.bound + 8 * call.u * (np.abs(image.value) + np.abs(by))
        ),
        "Subtract no mean; these weights need pixels from 0 to 1.",
    )


def _pixels_moved(known: list[Seen]) -> Iterator[Mistake]:
    """The right pixels in other places."""
    rows = [one.right.T for one in known]
    order = nearest([one.found.T for one in known], rows)
    if order is None or (order == np.arange(len(order))).all():
        return
    side = int(np.sqrt(len(order)))
    moves = move_of(order, (side, side), first_of_same(rows))
    lost = order == ZERO
    name = moves[0].replace("maps", "image") if moves else "pixels in other places"
    if (lost | (order == np.arange(len(order)))).all():
        name = f"{int(lost.sum())} pixels of every image set to zero"
    text = f"The pixels of every image are in another order: {listed(order)}" + (
        f"; {lost.sum()} are zero." if lost.any() else "."
    )

    def change(image: Bounded, call: Call) -> Bounded:
        return moved(image, lambda a: taken(a.reshape(len(a), -1), order, 1).reshape(a.shape))

    yield _image(name, text, change, "Use the pixels as they are: rows from the top, columns from the left.")


def _mixed(shown: Shown, known: list[Seen]) -> Iterator[Mistake]:
    """Each image a mixture of those of the batch, the same one on every probe."""
    mixtures = []
    for one in known:
        if np.linalg.matrix_rank(one.right) < len(one.right):
            return
        mixture = np.linalg.lstsq(one.right.T, one.found.T, rcond=None)[0].T
        if np.abs(mixture @ one.right - one.found).max() > LINE * np.abs(one.found).max():
            return
        mixtures.append(mixture)
    if np.ptp(mixtures, axis=0).max() > LINE:
        return
    mixture = np.where(np.abs(mixtures[0]) < LINE, 0, mixtures[0])
    words = " + ".join(f"{mixture[0, k]:.4g} · digit {k}" for k in np.flatnonzero(mixture[0])[:4])

    def change(image: Bounded, call: Call) -> Bounded:
        if len(image.value) != len(mixture):
            raise ValueError("another number of digits")
        flat = image.value.reshape(len(mixture), -1)
        error = np.abs(mixture) @ image.bound.reshape(flat.shape) + 32 * call.u * np.abs(mixture) @ np.abs(
            flat
        )
        return Bounded((mixture @ flat).reshape(image.shape), error.reshape(image.shape))

    yield _image(
        f"digits mixed: the first image is {words}",
        "Each image is a mixture of several of the batch (mixup).",
        change,
        "Give the model each image by itself.",
        mixes=True,
        rank=2,
    )
