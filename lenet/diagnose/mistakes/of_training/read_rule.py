"""Reads the numbers of the update rule off the steps: the momentum, the decay, the rates.

With v the distance of a step divided by its rate, the right rule is v = g + λ·w + μ·(v of the step before):
three factors, which least squares give from thousands of parameters.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from lenet.diagnose.mistakes.base import Kind
from lenet.diagnose.mistakes.optimizer import MISTAKES
from lenet.diagnose.mistakes.read_off.numbers import fitted, multiplied, typed, whole
from lenet.diagnose.mistakes.update_rule import Moment, Rule
from lenet.network.architecture import LAYERS
from parity.arithmetic import Array, Bounded

Arrays = Mapping[str, Array]
Named = tuple[tuple[Kind, ...], Rule]
CLEAR = 1e-4  # relative difference between two factors that were read off, from weights in float32
CATALOGUE = {kind.name: kind for kind, _ in MISTAKES}
DECAYS = {
    0.0: "weight decay missing",
    0.5: "weight decay half as large",
    2.0: "weight decay twice as large",
    -1.0: "weight decay with the wrong sign",
}
UPDATE = "v = mu * v + g + decay * w; w -= rate * v."


def rules(
    stations: Sequence[Arrays], gradients: Sequence[Mapping[str, Bounded]], moments: Sequence[Moment]
) -> Iterator[Named]:
    """Rules with other numbers than the recipe's, the simplest first.

    Args:
        stations: the parameters at the start and after each step.
        gradients: the right gradients of each step.
        moments: the facts about each step.
    """
    steps = [
        {name: (stations[k][name] - stations[k + 1][name]) for name in stations[0]}
        for k in range(len(stations) - 1)
    ]
    yield from _constants(stations, gradients, moments, steps)
    yield from _rates(stations, gradients, moments, steps)


def _constants(
    stations: Sequence[Arrays],
    gradients: Sequence[Mapping[str, Bounded]],
    moments: Sequence[Moment],
    steps: Sequence[Arrays],
) -> Iterator[Named]:
    """Another momentum, another decay, another factor on the gradient; one, two or all three of them."""
    rows, seen = [], []
    for k in range(1, len(steps)):
        rate, last = moments[k].rates[k], moments[k - 1].rates[k - 1]
        if rate != moments[0].rates[0]:
            break  # the smaller the rate, the larger the rounding of what is read off
        for name in stations[0]:
            w = stations[k][name]
            parts = (gradients[k][name].value, w, steps[k - 1][name] / last, np.sign(w))
            rows.append(np.stack([part.ravel() for part in parts]))
            seen.append(steps[k][name].ravel() / rate)
    if not rows:
        return
    columns, target = np.concatenate(rows, axis=1), np.concatenate(seen)
    if not (np.isfinite(columns).all() and np.isfinite(target).all()):
        return
    gain, decay, mu, sign = np.linalg.lstsq(columns.T, target, rcond=None)[0]
    if abs(sign) < CLEAR:
        sign = 0.0
        gain, decay, mu = np.linalg.lstsq(columns[:3].T, target, rcond=None)[0]
    moment = moments[0]
    same = [abs(gain - 1) < CLEAR, abs(decay / moment.decay - 1) < 1e-3, abs(mu - moment.momentum) < 1e-5]
    for g in [1.0] if same[0] else whole(gain):
        for d in [moment.decay] if same[1] else _or_none(decay):
            for m in [moment.momentum] if same[2] else _or_none(mu):
                kinds = _kinds(g, d, m, moment)
                for one in typed(sign) if sign else (0.0,):
                    if kinds or one:
                        more = (_l1(one),) if one else ()
                        yield (*more, *kinds), Rule(gain=g, decay_factor=d / moment.decay, mu=m, l1=one)


def _kinds(gain: float, decay: float, mu: float, moment: Moment) -> tuple[Kind, ...]:
    """Names for another factor on the gradient, another decay, another momentum; those of the catalogue where
    it has them."""
    found = []
    if _all_by(gain, decay, moment.decay):
        found.append(_kind("learning rate multiplied by", gain))
    else:
        if gain != 1 and decay == 0 and abs(gain / (1 - moment.momentum) - 1) < CLEAR:
            found.append(CATALOGUE["momentum dampened"])
        elif gain != 1:
            text = f"The gradient is {gain:.6g} times what it should be in each step; the decay is right."
            found.append(multiplied("gradients", gain, text))
        if decay != moment.decay:
            named = DECAYS.get(round(decay / moment.decay, 9))
            found.append(CATALOGUE[named] if named else _instead("weight decay", decay, moment.decay))
    if mu != moment.momentum:
        found.append(CATALOGUE["momentum missing"] if mu == 0 else _instead("momentum", mu, moment.momentum))
    return tuple(found)


def _l1(number: float) -> Kind:
    return Kind(
        f"L1 penalty of {number:.6g}",
        f"{number:.6g} · sign(w) is added to the gradient.",
        f"The decay is that of λ/2 · Σw² alone: {UPDATE}",
    )


def _or_none(number: float) -> Iterator[float]:
    """The number as typed, or zero if it is nearly that."""
    yield from (0.0,) if abs(number) < CLEAR else typed(number)


def _all_by(gain: float, decay: float, usual: float) -> bool:
    return gain != 1 and abs(decay / (gain * usual) - 1) < 1e-3


def _kind(name: str, number: float) -> Kind:
    return Kind(f"{name} {number:.6g}", f"It is {number:.6g} times what it should be in each step.", UPDATE)


def _instead(name: str, number: float, usual: float) -> Kind:
    return Kind(
        f"{name} of {number:.6g}",
        f"The {name} is {number:.6g}, that of the recipe is {usual:g}.",
        f"Use the {name} of the recipe.",
    )


def _rates(
    stations: Sequence[Arrays],
    gradients: Sequence[Mapping[str, Bounded]],
    moments: Sequence[Moment],
    steps: Sequence[Arrays],
) -> Iterator[Named]:
    """Other rates: of each step, or of some parameters."""
    moment, velocity = moments[0], {name: np.zeros(w.shape) for name, w in stations[0].items()}
    velocities: list[dict[str, Array]] = []
    for k in range(len(steps)):
        velocity = {
            name: moment.momentum * v + gradients[k][name].value + moment.decay * stations[k][name]
            for name, v in velocity.items()
        }
        velocities.append(velocity)
    found = np.array([fitted(step.values(), v.values()) for step, v in zip(steps, velocities, strict=True)])
    usual = np.array(moment.rates[: len(found)])
    if not np.isfinite(found).all():
        return
    yield from _of_steps(found, usual)
    yield from _decays(stations, gradients, moments, steps)
    factors = {
        name: fitted(
            [step[name] for step in steps],
            [rate * v[name] for rate, v in zip(usual, velocities, strict=True)],
        )
        for name in stations[0]
    }
    yield from _of_parameters(factors)


def _decays(
    stations: Sequence[Arrays],
    gradients: Sequence[Mapping[str, Bounded]],
    moments: Sequence[Moment],
    steps: Sequence[Arrays],
) -> Iterator[Named]:
    """One factor on the decay of some parameters, and 1 for the others."""
    moment, last = moments[0], {name: np.zeros(w.shape) for name, w in stations[0].items()}
    extra: dict[str, list[Array]] = {name: [] for name in last}
    for k, step in enumerate(steps):
        fresh = {name: a / moments[k].rates[k] for name, a in step.items()}
        for name, v in fresh.items():
            extra[name].append(v - moment.momentum * last[name] - gradients[k][name].value)
        last = fresh
    parts = {name: [moment.decay * station[name] for station in stations[:-1]] for name in last}
    factors = {name: fitted(extra[name], parts[name]) for name in last}
    other = {name: f for name, f in factors.items() if abs(f - 1) > 1e-2}
    if not other or len(other) == len(factors) or np.ptp(list(other.values())) > 1e-2:
        return
    middle = float(np.median(list(other.values())))
    for one in _or_none(middle):
        name = f"weight decay multiplied by {one:.6g} for {_which(tuple(other))}"
        kind = Kind(
            f"no weight decay on {_which(tuple(other))}" if one == 0 else name,
            f"λ is multiplied by {one:.6g} for {', '.join(other)}.",
            "Apply the decay to all parameters alike.",
        )
        yield (kind,), Rule(decay_factors=dict.fromkeys(other, one))


def _of_steps(found: Array, usual: Array) -> Iterator[Named]:
    share = found / usual
    if np.ptp(share) <= 1e-3 * np.abs(share).max():
        for one in whole(float(np.mean(share))):
            yield (_kind("learning rate multiplied by", one),), Rule(rates=_extended(usual * one))
        return
    if np.ptp(found) <= 1e-3 * np.abs(found).max():
        for one in typed(float(np.median(found))):
            kind = Kind(
                f"learning rate fixed at {one:.6g}",
                f"Each step uses the rate {one:.6g}, not that of its batch.",
                "Use the rate of each batch.",
            )
            yield (kind,), Rule(rates=_extended(np.full(len(usual), one)))
        return
    for digits in (2, 3, 6):
        rates = np.array([float(f"{rate:.{digits}g}") for rate in found])
        listed = ", ".join(f"{rate:.{digits}g}" for rate in found)
        kind = Kind(
            "learning rates of its own",
            f"The rates of the steps are {listed}; those of the batches are "
            f"{', '.join(f'{rate:g}' for rate in usual)}.",
            "Use the rate of each batch; no warm-up and no schedule beside it.",
        )
        yield (kind,), Rule(rates=_extended(rates))


def _extended(rates: Array) -> tuple[float, ...]:
    return tuple(float(rate) for rate in rates)


def _of_parameters(factors: Mapping[str, float]) -> Iterator[Named]:
    """One factor for some parameters, and 1 for the others."""
    other = {name: f for name, f in factors.items() if abs(f - 1) > 1e-3}
    if not other or len(other) == len(factors):
        return
    values = list(other.values())
    if max(values) - min(values) > 1e-2 * max(abs(f) for f in values):
        rounded = {name: next(typed(f)) if f else 0.0 for name, f in other.items()}
        listed = ", ".join(f"{f:.4g} for {name}" for name, f in rounded.items())
        kind = Kind("learning rates of some parameters changed", f"They are multiplied by {listed}.", UPDATE)
        yield (kind,), Rule(rate_factors=rounded)
        return
    for one in typed(float(np.median(values))):
        kind = Kind(
            f"learning rate multiplied by {one:.6g} for {_which(tuple(other))}",
            f"The rate of {', '.join(other)} is {one:.6g} times that of the others.",
            "Use the same rate for all parameters.",
        )
        yield (kind,), Rule(rate_factors=dict.fromkeys(other, one))


def _which(names: tuple[str, ...]) -> str:
    """A set of parameters in a few words."""
    for word, end in (("all weights", "weight"), ("all biases", "bias")):
        if set(names) == {f"{layer.name}.{end}" for layer in LAYERS if layer.affine}:
            return word
    layers = list(dict.fromkeys(name.partition(".")[0] for name in names))
    whole_layers = len(names) == 2 * len(layers)
    return ", ".join(layers if whole_layers else names)
