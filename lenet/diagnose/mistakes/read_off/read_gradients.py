"""Reads the number of a mistake off the gradients: a factor, a limit, a penalty, a slope, a missing part."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from lenet.diagnose.mistakes.base import Kind
from lenet.diagnose.mistakes.gates import RELUS, leaked, leaky
from lenet.diagnose.mistakes.read_off.limits import limits
from lenet.diagnose.mistakes.read_off.numbers import (
    Expected,
    Reading,
    Seen,
    changed,
    fitted,
    gradients_of,
    is_finite,
    multiplied,
    typed,
    whole,
)
from lenet.diagnose.mistakes.read_off.other_losses import penalised
from lenet.diagnose.mistakes.read_off.quotients import coarse, quotients
from lenet.diagnose.mistakes.read_off.read_loss import readings as of_the_loss
from lenet.diagnose.mistakes.wrong_backward import Passed, Tape, walk_again
from lenet.diagnose.mistakes.wrong_forward import Changes
from lenet.network.architecture import PARAM_SHAPES
from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import FORMATS

BIASES = tuple(name for name in PARAM_SHAPES if name.endswith("bias"))
WEIGHTS = tuple(name for name in PARAM_SHAPES if name.endswith("weight"))


def readings(samples: Sequence[Seen], penalties: bool = True) -> Iterator[Reading]:
    """Mistakes with their numbers, the simplest first. Each is to be held against all values.

    Args:
        samples: probes, or the steps of a training run.
        penalties: whether multiples of the weights are looked for; in a training run they are its decay.
    """
    finite = [
        sample for sample in samples if is_finite(sample) and len(sample.seen) > ("loss" in sample.seen)
    ]
    if not finite:
        return
    with np.errstate(all="ignore"):
        yield from _factors(finite)
        yield from limits(finite)
        yield from of_the_loss(finite)
        yield from _penalties(finite) if penalties else ()
        yield from _slopes(finite)
        yield from _missing_parts(finite)
        if penalties:
            yield from quotients(finite)
            yield from coarse(finite)


def _factors(samples: Sequence[Seen]) -> Iterator[Reading]:
    """All gradients times one number, with the loss right or times the same number."""
    seen, right = [], []
    for sample in samples:
        for key, g in gradients_of(sample.right).items():
            if key in sample.seen:
                seen.append(sample.seen[key])
                right.append(g.value)
    number = fitted(seen, right)
    if not number or abs(number - 1) < 1e-6:
        return
    for one in whole(number):
        for with_loss in (False, True) if any("loss" in sample.seen for sample in samples) else (False,):
            as_well = "as well" if with_loss else "right"
            text = f"All gradients are {one:.6g} times the right ones; the loss is {as_well}."
            kind = multiplied("loss and gradients" if with_loss else "gradients", one, text)
            yield Reading(
                kind,
                ("gradients",),
                partial(_multiplied, factor=one, with_loss=with_loss),
            )


def _multiplied(tape: Tape, right: Passed, *, factor: float, with_loss: bool) -> Expected:
    u = FORMATS[tape.dtype].u
    for key, g, _ in right:
        own = factor if with_loss or key != "loss" else 1.0
        yield key, Bounded(own * g.value, abs(own) * (g.bound + 4 * u * np.abs(g.value)))


FORMS: tuple[tuple[str, str, Callable[[Array], Array], int, float], ...] = (
    ("L2", "w", lambda w: w, 2, 0.5),
    ("L1", "sign(w)", np.sign, 1, 1.0),
)


def _penalties(samples: Sequence[Seen]) -> Iterator[Reading]:
    """A multiple of the weights, or of their signs, in the gradients, and its sum in the loss."""
    for word, text, form, power, share in FORMS:
        factors = {
            name: fitted(
                [s.seen[name] - gradients_of(s.right)[name].value for s in samples],
                [form(s.tape.params[name]) for s in samples],
            )
            for name in PARAM_SHAPES
            if all(name in s.seen for s in samples)
        }
        strong = max((abs(f) for f in factors.values()), default=0.0)
        if strong > 1e-9:
            # The gradients of small parameters tell a factor badly in float32, so some sets are tried too.
            near = tuple(name for name, f in factors.items() if abs(f) > 0.5 * strong)
            for on in dict.fromkeys([near, tuple(factors), tuple(n for n in WEIGHTS if n in factors)]):
                largest = max(
                    on, key=lambda name: PARAM_SHAPES[name][0] * len(PARAM_SHAPES[name]), default=""
                )
                if not largest:
                    continue
                number = fitted(
                    [s.seen[n] - gradients_of(s.right)[n].value for s in samples for n in on],
                    [form(s.tape.params[n]) for s in samples for n in on],
                )
                for one in typed(number):
                    for in_loss in (share * one, 0.0):
                        yield _penalty(word, text, on, one, in_loss, penalised(on, one, in_loss, form, power))
        yield from _in_the_loss_alone(samples, word, text, form, power)


def _in_the_loss_alone(
    samples: Sequence[Seen], word: str, text: str, form: Callable[[Array], Array], power: int
) -> Iterator[Reading]:
    for on in (tuple(PARAM_SHAPES), WEIGHTS):
        rows = [s for s in samples if "loss" in s.seen]
        extra = [s.seen["loss"] - next(v.value for key, v, _ in s.right if key == "loss") for s in rows]
        sums = [np.asarray(sum((np.abs(s.tape.params[n]) ** power).sum() for n in on)) for s in rows]
        number = fitted(extra, sums)
        if abs(number) > 1e-12:
            for one in typed(number):
                yield _penalty(word, text, on, 0.0, one, penalised(on, 0.0, one, form, power))


def _penalty(
    word: str, text: str, on: tuple[str, ...], one: float, in_loss: float, changes: Changes
) -> Reading:
    which = (
        "all parameters"
        if set(on) == set(PARAM_SHAPES)
        else "all weights"
        if on == WEIGHTS
        else ", ".join(on)
    )
    if not one:
        name = f"{word} penalty in the returned loss alone"
        text = f"{in_loss:.4g} times the penalty of {which} is added to the loss; the gradients are right."
    elif in_loss:
        name = f"{word} penalty in the loss"
        text = f"The loss has a penalty on {which}, which adds {one:.4g} · {text} to the gradients."
    else:
        name = f"{word} penalty in the gradients"
        text = f"{one:.4g} · {text} is added to the gradients of {which}; the loss is right."
    kind = Kind(
        name, text, "Return the loss and gradients of the data alone; decay belongs to the optimizer."
    )
    return changed(kind, changes)


def _slopes(samples: Sequence[Seen]) -> Iterator[Reading]:
    """The slope of a leaky backward pass: the gradients of fc2 see it once, behind the last ReLU."""
    first = RELUS[0]
    keys = ("fc2.weight", "fc2.bias")
    rows = [s for s in samples if all(key in s.seen for key in keys)]
    target, part = [], []
    for sample in rows:
        right, open_gate = gradients_of(sample.right), dict[str, Bounded]()
        for key, value in walk_again(sample.tape, {first: leaked(1.0)}, sample.right):
            open_gate[key] = value
            if key == keys[-1]:
                break
        target += [sample.seen[key] - right[key].value for key in keys]
        part += [open_gate[key].value - right[key].value for key in keys]
    number = fitted(target, part)
    if not 1e-4 < abs(number) < 0.99:
        return
    for one in typed(number):
        yield changed(leaky(one), dict.fromkeys(RELUS, leaked(one)))
        yield changed(leaky(one), {first: leaked(one)})


def _missing_parts(samples: Sequence[Seen]) -> Iterator[Reading]:
    """Some rows or columns of gradients are zero, as if only one map had been summed."""
    kept: dict[str, tuple[int, Array]] = {}
    for name, shape in PARAM_SHAPES.items():
        for axis in range(min(2, len(shape))):
            part = _kept(samples, name, axis)
            if part is not None:
                kept[name] = axis, part
                break
    if not kept:
        return
    texts = []
    for name, (axis, part) in kept.items():
        side = "output" if axis == 0 else "input"
        texts.append(
            f"{name}: only {side} {', '.join(map(str, np.flatnonzero(part)[:4]))}"
            f"{' …' if part.sum() > 4 else ''} of {len(part)}"
        )
    firsts = all(part.sum() == 1 and part[0] for _, part in kept.values())
    kind = Kind(
        "gradient of the first map alone" if firsts else "gradient of some maps alone",
        f"The other parts of the gradient are zero ({'; '.join(texts)}).",
        "Compute the gradient of every output and input of the layer.",
    )

    def expect(tape: Tape, right: Passed) -> Expected:
        for key, g, _ in right:
            if key in kept:
                axis, part = kept[key]
                shape = [1] * g.value.ndim
                shape[axis] = -1
                mask = part.reshape(shape)
                yield key, Bounded(g.value * mask, g.bound * mask)
            else:
                yield key, g

    yield Reading(kind, tuple(kept), expect)


def _kept(samples: Sequence[Seen], name: str, axis: int) -> Array | None:
    """Which slices of a gradient along an axis are not zero; None if none is missing, or all are."""
    shown = np.zeros(PARAM_SHAPES[name][axis], bool)
    missing = shown.copy()
    for sample in samples:
        if name not in sample.seen:
            return None
        g = gradients_of(sample.right)[name]
        others = tuple(k for k in range(g.value.ndim) if k != axis)
        shown |= (sample.seen[name] != 0).any(axis=others)
        missing |= (np.abs(g.value) > g.bound).any(axis=others) & ~(sample.seen[name] != 0).any(axis=others)
    if not missing.any() or not shown.any() or (missing & shown).any():
        return None
    return ~missing
