"""Reads the number of another loss off the gradients of the last layer.

The gradients of the last layer are linear in the cotangent d of the logits: dᵀh and Σd, with h its input. A
family of losses whose cotangent is a sum of known parts gives the factors of the parts by least squares.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from lenet.diagnose.mistakes.base import Kind
from lenet.diagnose.mistakes.loss import one_hot
from lenet.diagnose.mistakes.read_off.numbers import Reading, Seen, changed, fitted, typed
from lenet.diagnose.mistakes.read_off.other_losses import focal, smoothed, tempered, weighted
from lenet.diagnose.mistakes.wrong_backward import LossCall
from lenet.network.architecture import CLASSES
from parity.arithmetic import Array

LAST = "logits"
POWERS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)
CLEAR = 1e-2  # a digit whose gradient is at least this, relative to the largest, is read well
EQUAL = 1e-3  # relative difference of two weights that were read off, from gradients in float32
MEAN = "Use the mean of softmax cross-entropy over all digits, each of them with weight 1."


def readings(samples: Sequence[Seen]) -> Iterator[Reading]:
    """Losses with their numbers, the simplest first; nothing if the last layer's gradients are missing."""
    given = [s for s in samples if f"{LAST}.weight" in s.seen and f"{LAST}.bias" in s.seen]
    if not given:
        return
    yield from _smoothings(given)
    yield from _temperatures(given)
    yield from _weights(given)
    yield from _focals(given)


def _flat(sample: Seen) -> Array:
    """What the port returned for the last layer, in one row."""
    return np.concatenate([sample.seen[f"{LAST}.weight"].ravel(), sample.seen[f"{LAST}.bias"].ravel()])


def _gradient(sample: Seen, d: Array) -> Array:
    """The last layer's gradients for a cotangent d (N, 10) of the logits, in one row."""
    h = sample.tape.inputs[LAST].value
    return np.concatenate([(d.T @ h).ravel(), d.sum(axis=0)])


def _off(sample: Seen) -> Array:
    """p − one-hot labels, (N, 10): the right cotangent times N."""
    d = next(d for key, _, d in sample.right if key == "loss")
    return d.value * len(sample.tape.labels)


def _smoothings(samples: Sequence[Seen]) -> Iterator[Reading]:
    target, part = [], []
    for sample in samples:
        n = len(sample.tape.labels)
        target.append(_flat(sample) - _gradient(sample, _off(sample) / n))
        part.append(_gradient(sample, (one_hot(sample.tape.labels) - 1 / CLASSES) / n))
    share = fitted(target, part)
    if not 1e-4 < abs(share) < 1.2:
        return
    over_others = share * (CLASSES - 1) / CLASSES
    usual = float(f"{share:.2g}")  # of the two forms, that in which the number looks as if it was typed
    if abs(usual / share - 1) > EQUAL and abs(float(f"{over_others:.2g}") / over_others - 1) < EQUAL:
        yield from _smoothed_over_others(over_others)
        return
    for one in typed(share):
        yield changed(
            Kind(
                "label smoothing",
                f"{one:.4g} of the label's weight is spread over all classes.",
                "Set label_smoothing=0.",
            ),
            smoothed(one),
        )


def _smoothed_over_others(share: float) -> Iterator[Reading]:
    for one in typed(share):
        yield changed(
            Kind(
                "label smoothing over the other classes",
                f"{one:.4g} of the label's weight is spread over the nine other classes.",
                "Set the label smoothing to zero.",
            ),
            smoothed(one * CLASSES / (CLASSES - 1)),
        )


def _temperatures(samples: Sequence[Seen]) -> Iterator[Reading]:
    """The divisor of the logits that fits the first sample's gradient best."""
    sample = samples[0]
    z, hot, n = sample.tape.inputs["loss"].value, one_hot(sample.tape.labels), len(sample.tape.labels)

    def miss(divisor: float) -> float:
        shifted = (z - z.max(axis=1, keepdims=True)) / divisor
        p = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
        return float(np.linalg.norm(_gradient(sample, (p - hot) / (n * divisor)) - _flat(sample)))

    grid = np.geomspace(1 / 64, 64, 97)
    best = int(np.argmin([miss(x) for x in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    for _ in range(60):
        third = (high - low) / 3
        if miss(low + third) < miss(high - third):
            high -= third
        else:
            low += third
    divisor = (low + high) / 2
    if miss(divisor) > 1e-2 * np.linalg.norm(_flat(sample)) or abs(divisor - 1) < EQUAL:
        return
    for one in [*typed(divisor), *(1 / x for x in typed(1 / divisor))]:
        yield changed(
            Kind(
                "temperature in the softmax",
                f"The loss divides the logits by {one:.4g}.",
                "Pass the logits to the loss as they are.",
            ),
            tempered(one),
        )


def _weights(samples: Sequence[Seen]) -> Iterator[Reading]:
    """Weights of the digits, as a function of the label or of the place in the batch."""
    shares = [_shares(sample) for sample in samples]
    known = [(s.tape.labels, *found) for s, found in zip(samples, shares, strict=True) if found is not None]
    if not known:
        return
    by_class = [(labels, _by_class(labels, share, weight)) for labels, share, weight in known]
    if all(weights is not None for _, weights in by_class):
        yield from _class_weights([(k, w) for k, w in by_class if w is not None])
    yield from _first_digits([np.where(weight > CLEAR, share, np.nan) for _, share, weight in known])


def _shares(sample: Seen) -> tuple[Array, Array] | None:
    """The factor of each digit's own loss in the returned gradients (the right one is 1/N), and how well it
    can be read: the size of the digit's gradient, relative to the largest. None if no factors fit."""
    off, seen = _off(sample), _flat(sample)
    columns = np.stack([_gradient(sample, off * row[:, None]) for row in np.eye(len(off))], axis=1)
    sizes = np.linalg.norm(columns, axis=0)
    least = 64 * np.finfo(sample.tape.dtype).eps / EQUAL
    known = sizes > least * sizes.max()
    if not known.any():
        return None
    found, _, rank, _ = np.linalg.lstsq(columns[:, known] / sizes[known], seen, rcond=1e-10)
    miss = columns[:, known] @ (found / sizes[known]) - seen
    if rank < known.sum() or np.linalg.norm(miss) > EQUAL * np.linalg.norm(seen):
        return None
    shares = np.full(len(off), np.nan)
    shares[known] = found / sizes[known]
    return shares, np.where(known, sizes / sizes.max(), 0)


def _by_class(labels: Array, shares: Array, weight: Array) -> Array | None:
    """The share of each class, NaN where no digit tells it; None if digits of one class differ."""
    found = np.full(CLASSES, np.nan)
    for label in np.unique(labels):
        own = (labels == label) & (weight > 0)
        if own.any():
            found[label] = np.average(shares[own], weights=weight[own] ** 2)
            clear = shares[own & (weight > CLEAR)]
            if len(clear) and np.ptp(clear) > 0.02 * np.abs(shares[weight > CLEAR]).max():
                return None
    return found


def _class_weights(found: Sequence[tuple[Array, Array]]) -> Iterator[Reading]:
    for averaged in (True, False):
        weights = _joined(found, averaged)
        if weights is None:
            continue
        usual = _most_common(weights)
        if abs(usual) < 1e-9:
            continue
        if averaged:
            weights = weights / usual
        rounded = np.array([_plain(w) for w in np.where(np.isnan(weights), 1.0, weights)])
        if (rounded == 1).all():
            continue
        yield from _named_weights(rounded, averaged)


def _named_weights(weights: Array, averaged: bool) -> Iterator[Reading]:
    def factors(call: LossCall) -> Array:
        own = weights[call.labels]
        total = own.sum() if averaged else len(own)
        return own / total if total else np.zeros(len(own))

    how = "the sum is divided by the sum of the weights" if averaged else "the sum is divided by N"
    ignored = np.flatnonzero(weights == 0)
    if len(ignored) and set(weights) <= {0.0, 1.0}:
        which = ", ".join(map(str, ignored))
        count = "the number of the others" if averaged else "the number of all digits"
        kind = Kind(
            f"label {which} ignored in the loss",
            f"Digits with label {which} do not count; the sum is divided by {count}.",
            "Remove ignore_index (or the mask): all ten labels are classes.",
        )
    else:
        listed = ", ".join(f"{w:.4g}" for w in weights)
        kind = Kind("class weights in the loss", f"The classes have weights {listed}; {how}.", MEAN)
    yield changed(kind, weighted(factors))


def _joined(found: Sequence[tuple[Array, Array]], averaged: bool) -> Array | None:
    """The weights of all classes from the shares of each batch; None if batches contradict one another."""
    weights = np.full(CLASSES, np.nan)
    waiting = list(found)
    while waiting:
        labels, share = max(waiting, key=lambda one: int((~np.isnan(weights + one[1])).sum()))
        waiting = [one for one in waiting if one[1] is not share]
        both = ~np.isnan(weights + share) & (np.abs(share) > 1e-9)
        scale = 1.0 if averaged else float(len(labels))
        if averaged and both.any():
            scale = float(np.median(weights[both] / share[both]))
        own = share * scale
        if (np.abs(own - weights)[both] > 0.05 * np.abs(weights)[both].max(initial=0)).any():
            return None
        weights = np.where(np.isnan(weights), own, weights)
    return weights


def _most_common(weights: Array) -> float:
    known = weights[~np.isnan(weights)]
    near = [int((np.abs(known - w) <= 1e-2 * abs(w)).sum()) for w in known]
    return float(np.median(known[np.abs(known - known[int(np.argmax(near))]) <= 1e-2 * np.abs(known).max()]))


def _plain(weight: float) -> float:
    """The weight as it may have been typed; 0 if it is nearly none."""
    return 0.0 if abs(weight) < EQUAL else next(iter(typed(weight)))


def _first_digits(shares: Iterable[Array]) -> Iterator[Reading]:
    """Some digits of each batch do not count at all: those behind the first few, or every second one."""
    patterns: dict[str, tuple[slice, str]] = {
        f"only the first {m} digits of the batch": (slice(0, m), "the others do not count")
        for m in (2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 15)
    }
    patterns["only the first digit of the batch"] = slice(0, 1), "the others do not count"
    patterns["only the last digit of the batch"] = slice(-1, None), "the others do not count"
    patterns["all but the first digit of the batch"] = slice(1, None), "the first does not count"
    patterns["all but the last digit of the batch"] = slice(0, -1), "the last does not count"
    patterns["every second digit of the batch"] = slice(0, None, 2), "the others do not count"
    rows = list(shares)
    for name, (kept, rest) in patterns.items():
        masks = [np.isin(np.arange(len(row)), np.arange(len(row))[kept]) for row in rows]
        if any(
            (np.abs(row[~mask & ~np.isnan(row)]) > EQUAL).any() for row, mask in zip(rows, masks, strict=True)
        ):
            continue
        if all(mask.all() for mask in masks):
            continue
        for averaged in (True, False):

            def factors(call: LossCall, kept: slice = kept, averaged: bool = averaged) -> Array:
                own = np.zeros(len(call.labels))
                own[kept] = 1.0
                return own / (own.sum() if averaged else len(own))

            over = "their number" if averaged else "the batch size"
            yield changed(
                Kind(
                    f"{name} in the loss",
                    f"The loss is that of {name}, divided by {over}; {rest}.",
                    "Average over all digits of the batch.",
                ),
                weighted(factors),
            )


def _focals(samples: Sequence[Seen]) -> Iterator[Reading]:
    fits = []
    for power in POWERS:
        target, part = [], []
        for sample in samples:
            z, labels = sample.tape.inputs["loss"].value, sample.tape.labels
            shifted = z - z.max(axis=1, keepdims=True)
            p = (np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True))[np.arange(len(labels)), labels]
            rest, log_p = np.maximum(1 - p, 2.0**-60), np.log(np.maximum(p, 1e-300))
            factor = rest**power - power * p * log_p * rest ** (power - 1)
            target.append(_flat(sample))
            part.append(_gradient(sample, factor[:, None] * _off(sample) / len(labels)))
        scale = fitted(target, part)
        miss = sum(float(((t - scale * x) ** 2).sum()) for t, x in zip(target, part, strict=True))
        fits.append((miss / sum(float((t**2).sum()) for t in target), power, scale))
    miss, power, scale = min(fits)
    if miss > 1e-4:
        return
    for one in typed(scale):
        yield changed(
            Kind(
                "focal loss",
                f"Each digit's loss is multiplied by {one:.4g} · (1 − p)^{power:g}, with p its label's "
                "probability.",
                "Use softmax cross-entropy, without the focal factor (γ = 0).",
            ),
            focal(power, one),
        )
