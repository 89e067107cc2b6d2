"""Parameters that were handed out in place of those that were trained: an average, or rounded ones."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from lenet.diagnose.mistakes.base import Kind
from lenet.diagnose.mistakes.of_training.batch_orders import Order
from lenet.diagnose.mistakes.of_training.run import Params, Run, Stations
from lenet.diagnose.mistakes.precision import FORMATS, gridded, half_spacing, to_bits
from lenet.diagnose.mistakes.read_off.numbers import fitted, typed
from lenet.diagnose.mistakes.update_rule import Rule, total
from parity.arithmetic import Bounded
from parity.arithmetic.floats import Format
from parity.judging.causes.of_rounding.shortened import NAMES, are_in

REMEDY = "Return the parameters themselves after the last step."
USUAL = Order(
    Kind("", "", ""), lambda k, rates, recipe: [(i, rates[i]) for i in range(k + 1)]
)  # the right order: one step for each batch
Shares = Callable[[int], list[float]]  # the shares of the start and of the parameters after each of k steps


def averages(run: Run) -> Iterator[tuple[Kind, Stations]]:
    """Averages of the parameters of a right run, with the factor that was read off."""
    path = [run.exact(0)]
    for k, name, w in run.ordered(USUAL, own=True):
        if len(path) < k + 2:
            path.append({})
        path[k + 1][name] = w
        if (
            k + 1 == min(2, run.count)
            and len(path[k + 1]) == len(run.names)
            and not _may_be_average(run, path)
        ):
            return
    for kind, shares in _candidates(run, path):
        yield kind, _mixed(run, path, shares)


def _may_be_average(run: Run, path: list[Params]) -> bool:
    """Whether what was returned after the second call lies between the parameters of a right run."""
    k = min(2, run.count)
    parts = [np.concatenate([p[n].value.ravel() for n in run.names]) for p in path[: k + 1]]
    seen = np.concatenate([run.stations[k][n].ravel() for n in run.names])
    columns = np.stack(parts, axis=1)
    found, *_ = np.linalg.lstsq(columns, seen, rcond=None)
    miss = np.linalg.norm(columns @ found - seen)
    return bool(miss < 1e-3 * np.linalg.norm(seen - parts[-1]))


def _candidates(run: Run, path: list[Params]) -> Iterator[tuple[Kind, Shares]]:
    def kind(name: str, text: str) -> Kind:
        return Kind(name, text, REMEDY)

    def between(k: int, one: Params, two: Params) -> float:
        """The share of `one` in what was returned after k steps, if it lies between one and two."""
        target = [run.stations[k][n] - two[n].value for n in run.names]
        return fitted(target, [one[n].value - two[n].value for n in run.names])

    name = "moving average of the weights handed out"
    for d in typed(between(1, path[0], path[1])):
        if 1e-4 < d < 1:
            yield kind(name, f"e = {d:.6g} · e + {1 - d:.6g} · w, from the initial weights."), _moving(d)
    if len(path) > 2:
        share = between(2, path[1], path[2])
        if 1e-4 < share < 0.4998:  # a half is the plain mean, which comes below
            for d in (d for d in typed(share / (1 - share)) if d < 1):
                text = f"e = {d:.6g} · e + {1 - d:.6g} · w from zero, divided by 1 − {d:.6g}^t."
                yield kind(name, text), _corrected(d)
    for first in (0, 1):
        text = f"The factor grows: (1 + t) / (10 + t), with t from {first}."
        yield kind(name, text), _growing(first)
    zero = 1 - fitted([run.stations[1][n] for n in run.names], [path[1][n].value for n in run.names])
    for d in typed(zero):
        if 1e-4 < d < 1:
            text = f"e = {d:.6g} · e + {1 - d:.6g} · w, from zero and without a correction."
            yield kind(name, text), _from_zero(d)
    yield (
        kind("mean of the weights of all steps handed out", "The weights after each step are averaged."),
        lambda k: [0.0, *[1 / k] * k],
    )
    yield (
        kind("mean of the weights of all steps and the start handed out", "The start counts as well."),
        lambda k: [1 / (k + 1)] * (k + 1),
    )
    for last in (2, 3, 4, 5):
        yield (
            kind(f"mean of the weights of the last {last} steps handed out", "Older weights do not count."),
            _last(last),
        )


def _last(count: int) -> Shares:
    return lambda k: [0.0] * max(1, k + 1 - count) + [1 / min(k, count)] * min(k, count)


def _moving(d: float) -> Shares:
    return lambda k: [d**k, *((1 - d) * d ** (k - i) for i in range(1, k + 1))]


def _from_zero(d: float) -> Shares:
    return lambda k: [0.0, *_moving(d)(k)[1:]]


def _corrected(d: float) -> Shares:
    return lambda k: [0.0, *(share / (1 - d**k) for share in _moving(d)(k)[1:])]


def _growing(first: int) -> Shares:
    def shares(k: int) -> list[float]:
        found = [1.0]
        for t in range(first, first + k):
            d = (1 + t) / (10 + t)
            found = [*(d * share for share in found), 1 - d]
        return found

    return shares


def _mixed(run: Run, path: list[Params], shares: Shares) -> Stations:
    for k in range(run.count):
        for name in run.names:
            parts = [(share, path[i][name]) for i, share in enumerate(shares(k + 1))]
            yield k, name, total(run.dtype, *parts)


def rounded(run: Run) -> Iterator[tuple[Kind, Stations]]:
    """Parameters that are rounded to a coarse format after every step of the right rule."""
    for form in _formats(run):
        name = NAMES[form.name]
        kind = Kind(
            f"weights rounded to {name} after each step",
            f"Every returned parameter is a number of {name} ({form.digits} significant bits).",
            "Keep the parameters in the format that the port claims; only copies may be coarser.",
        )
        yield kind, _spaced(run.by_rule(Rule()), form)
        start = {n: form.round(w).astype(np.float64) for n, w in run.stations[0].items()}
        started = replace(run, stations=[start, *run.stations[1:]])
        yield kind, _spaced(started.by_rule(Rule()), form)


def coarse(run: Run) -> Iterator[tuple[Kind, Stations]]:
    """Training in a coarse format: of the returned parameters, nothing but their format is judged."""
    for form in _formats(run):
        name = NAMES[form.name]
        kind = Kind(
            f"training in {name}",
            f"Every returned parameter is a number of {name} ({form.digits} significant bits); whether "
            "there is another mistake, too, cannot be told.",
            "Train in the format that the port claims: no half(), no bfloat16(), no cast of the model.",
        )
        seen = [(k, n, run.stations[k + 1][n]) for k in range(run.count) for n in run.names]
        yield kind, ((k, name, Bounded(w, np.zeros(w.shape))) for k, name, w in seen)


def _formats(run: Run) -> Iterator[Format]:
    """The coarse format whose numbers all returned parameters are, if they are not those of a coarser one."""
    returned = [w for station in run.stations[1:] for w in station.values()]
    for form in FORMATS[::-1]:  # float16 before TF32, which has all of its numbers
        fine = all(are_in(w, form) for w in returned)
        if fine and not all((to_bits(w, form.digits - 1) == w).all() for w in returned):
            yield form
            return


def _spaced(stations: Stations, form: Format) -> Stations:
    """The values rounded to a format: their bounds grow by half of the distance of two of its numbers."""
    for k, name, w in stations:
        yield k, name, gridded(w.value, w.bound + half_spacing(w, form), form)
