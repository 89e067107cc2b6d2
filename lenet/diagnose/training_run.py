"""Judges a port's training run step by step, and explains a wrong update rule.

Each step is judged from the port's own parameters before it: their gradient is computed in float64, with
its bound, and the velocity follows from the rule and the gradients so far. So nothing drifts: an error in
one step does not reach the expected parameters of the next.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from lenet.diagnose.findings import Diagnosis, Finding, deviation
from lenet.diagnose.mistakes import BACKWARD, data
from lenet.diagnose.mistakes.base import Kind
from lenet.diagnose.mistakes.of_training import hidden
from lenet.diagnose.mistakes.of_training.adaptive import methods
from lenet.diagnose.mistakes.of_training.at_random import flips
from lenet.diagnose.mistakes.of_training.batch_orders import ORDERS, altered
from lenet.diagnose.mistakes.of_training.read_rule import rules
from lenet.diagnose.mistakes.of_training.run import Run, Stations
from lenet.diagnose.mistakes.optimizer import MISTAKES
from lenet.diagnose.mistakes.read_off.limits import limits
from lenet.diagnose.mistakes.read_off.numbers import family
from lenet.diagnose.mistakes.read_off.read_gradients import readings
from lenet.diagnose.mistakes.update_rule import Rule
from lenet.diagnose.probe_inputs import Observed, Probes
from lenet.diagnose.search.explain import PAIR_SECONDS
from lenet.diagnose.search.segment import Count, within
from lenet.network.recipe import Batch
from parity.arithmetic import Array, Bounded

Explanation = list[tuple[Kind, tuple[str, ...]]]
Candidate = tuple[int, tuple[Kind, ...], Stations]  # the smaller the number, the simpler

# Rounding bounds are worst cases, so in float32 a wrong rule may stay within them too. Of the explanations
# that fit, those are given that come nearly as close as the closest one.
AS_CLOSE = 10.0


def findings(probes: Probes, observed: Observed) -> list[Finding]:
    """The first wrong step, explained; nothing if all are right."""
    if not observed.trajectory:
        return []
    run, problem = _run(probes, observed)
    wrong, wide = run.first_wrong, run.stations
    if wrong is None:
        return [Finding(f"step {len(wide)}", problem)] if problem else []
    k, name, bound = wrong
    searches = (_singles(run), _on_other_images(run), _by_gradients(run), _in_a_coarse_format(run))
    explanations = next(filter(None, (_closest(run, one) for one in searches)), None) or _pairs(run)
    causes = [tuple(Diagnosis.of(kind, where) for kind, where in one) for one in explanations]
    return [
        Finding(
            f"step {k + 1}",
            deviation(f"{name} after step {k + 1}", wide[k + 1][name], bound),
            causes[0] if causes else (),
            tuple(causes[1:]),
            "a longer run with other rates and batch sizes" if len(causes) > 1 else "",
        )
    ]


def is_right(probes: Probes, observed: Observed) -> bool:
    """Whether all steps are right; there must be some."""
    run, problem = _run(probes, observed)
    return not problem and run.first_wrong is None


def _run(probes: Probes, observed: Observed) -> tuple[Run, str]:
    """The steps up to the first that returned no parameters of the network, and what is wrong with that."""
    course, good, problem = probes.course, [probes.course.start], ""
    for params in observed.trajectory or ():
        if problem := _problem(params, course.start):
            break
        good.append(params)
    wide = [{name: p[name].astype(np.float64) for name in course.start} for p in good]
    return Run(course, wide, observed.dtype), problem


def kept(probes: Probes, observed: Observed, again: Mapping[str, Array]) -> tuple[Diagnosis, ...]:
    """What a port keeps from one call of `train` to the next, if that explains a second run.

    Args:
        probes: the inputs.
        observed: what it returned; the first step is right.
        again: the parameters after the first step of the second run.
    """
    run, problem = _run(probes, observed)
    if problem or _problem(again, probes.course.start):
        return ()
    seen = {name: np.asarray(again[name], np.float64) for name in run.names}
    for order in ORDERS:
        if not (order.weights or order.velocity):
            continue
        expected, count = run.again(order), Count()
        for name in run.names:
            count.add(seen[name], expected[name], run.usual[0, name], run.dtype)
        inside = all(within(seen[name], expected[name], run.dtype).all() for name in run.names)
        if inside and count.most:
            return (Diagnosis.of(order.kind, STEP),)
    return ()


def _problem(params: Mapping[str, Array], start: Mapping[str, Array]) -> str:
    """A line about a missing, misshapen or non-finite parameter after a step; "" if all are fine."""
    for name, w in start.items():
        if name not in params:
            return f"train returned no {name}"
        if params[name].shape != w.shape:
            return f"train returned {name} of shape {params[name].shape}, expected {w.shape}"
        if not np.isfinite(params[name]).all():
            return f"train returned a {name} that is not finite"
    return ""


STEP: tuple[str, ...] = ("training step",)


def _closest(run: Run, candidates: Iterable[Candidate]) -> list[Explanation]:
    """The explanations that come closest to what was returned, of these the simplest; of a family, the first
    that fits."""
    found: dict[tuple[str, ...], tuple[float, int, Explanation]] = {}
    for tier, kinds, stations in candidates:
        key = tuple(family(kind) for kind in kinds)
        if key in found:
            continue
        try:
            distance = run.distance(stations)
        except ValueError:  # a gradient does not have its parameter's shape
            continue
        if distance is not None:
            found[key] = distance, tier, [(kind, STEP) for kind in kinds]
    best = min((distance for distance, _, _ in found.values()), default=0.0)
    close = [one for one in found.values() if one[0] <= AS_CLOSE * best]
    simplest = min((tier for _, tier, _ in close), default=0)
    return [explanation for _, tier, explanation in sorted(close, key=lambda one: one[0]) if tier == simplest]


def _singles(run: Run) -> Iterator[Candidate]:
    """Mistakes of the optimizer, of its numbers, of the order of the batches, and of what is handed out."""
    for kind, options in MISTAKES:
        yield 0, (kind,), run.by_rule(Rule().with_options(options))
    for order in ORDERS:
        yield 0, (order.kind,), run.ordered(order)
    for every in (2, 3, 4):
        for averaged in (False, True):
            yield 0, (_accumulated(every, averaged),), run.accumulated(every, averaged)
    for kind, method in methods():
        yield 0, (kind,), run.steps(method, run.gradients)
    for kind, stations in hidden.averages(run):
        yield 0, (kind,), stations
    for kind, stations in hidden.rounded(run):
        yield 0, (kind,), stations
    moments = [run.moment(k) for k in range(run.count)]
    for kinds, rule in rules(run.stations, run.gradients, moments):
        yield len(kinds), kinds, run.by_rule(rule)
    for reading in readings(run.samples, penalties=False):
        passed = zip(run.tapes, run.right, strict=True)
        yield 1, (reading.kind,), run.by_rule(Rule(), (dict(reading.expect(*one)) for one in passed))
    yield from _clipped_with_decay(run)


def _in_a_coarse_format(run: Run) -> Iterator[Candidate]:
    yield from ((0, (kind,), stations) for kind, stations in hidden.coarse(run))


def _accumulated(every: int, averaged: bool) -> Kind:
    return Kind(
        f"a step only after every {every} batches",
        f"The gradients of {every} batches are {'averaged' if averaged else 'summed'} before each step.",
        "Make a step for each batch.",
    )


def _clipped_with_decay(run: Run) -> Iterator[Candidate]:
    """Clips of gradients that have the decay in them already."""
    for reading in limits(run.decayed):
        gradients = (dict(reading.expect(sample.tape, sample.right)) for sample in run.decayed)
        text = f"{reading.kind.explanation} They have the decay in them already."
        kind = replace(reading.kind, name=f"{reading.kind.name}, with the decay", explanation=text)
        yield 1, (kind,), run.by_rule(Rule(decay="none"), gradients)


def _on_other_images(run: Run) -> Iterator[Candidate]:
    """Short batches that are filled up, and images that are changed, all of them or some by chance."""
    size = max(len(batch.labels) for batch in run.course.batches)
    for number, (kind, _) in enumerate(altered(run.course.batches[0], size)):
        yield 0, (kind,), run.by_rule(Rule(), run.on_other_batches(partial(_filled, size, number), {}))
    for mistake in data.FAMILY.mistakes:
        try:
            first = run.first_on(run.course.batches[0], mistake.changes)
        except ValueError:  # the shapes do not fit
            continue
        if not _refuted(run, first):
            others = run.on_other_batches(lambda batch: batch, mistake.changes)
            yield 0, (mistake.kind,), run.by_rule(Rule(), others)
    for kind, gradients in flips(run):
        yield 1, (kind,), run.by_rule(Rule(), gradients)


def _by_gradients(run: Run) -> Iterator[Candidate]:
    """Mistakes of loss and gradients that are made in training alone, under the right rule."""
    for mistake in BACKWARD:
        if not _refuted(run, run.first_changed(mistake.changes)) and run.shows(mistake.changes):
            yield 0, (mistake.kind,), run.by_rule(Rule(), run.changed(mistake.changes))


def _refuted(run: Run, gradients: Iterable[tuple[str, Bounded]]) -> bool:
    try:
        with np.errstate(all="ignore"):
            return run.refuted(gradients)
    except ValueError:  # a gradient does not have its parameter's shape
        return True


def _filled(size: int, number: int, batch: Batch) -> Batch:
    """A short batch filled up in one of the ways of `altered`; another as it is."""
    return batch if len(batch.labels) == size else list(altered(batch, size))[number][1]


def _pairs(run: Run) -> list[Explanation]:
    deadline = time.thread_time() + PAIR_SECONDS
    found: list[Explanation] = []
    for a, (one, first) in enumerate(MISTAKES):
        for two, second in MISTAKES[a + 1 :]:
            if time.thread_time() > deadline:
                return found
            if first.keys() & second.keys():
                continue
            if run.distance(run.by_rule(Rule().with_options(first | second))) is not None:
                found.append([(one, STEP), (two, STEP)])
    return found
