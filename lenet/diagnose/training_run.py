"""Judges a port's training run step by step, and explains a wrong update rule.

Each step is judged from the port's own parameters before it: their gradient is computed in float64, with
its bound, and the velocity follows from the rule and the gradients so far. So nothing drifts: an error in
one step does not reach the expected parameters of the next.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lenet.diagnose.findings import Diagnosis, Finding, deviation
from lenet.diagnose.mistakes import BACKWARD
from lenet.diagnose.mistakes.base import Kind
from lenet.diagnose.mistakes.optimizer import MISTAKES, Moment, Rule, advance
from lenet.diagnose.mistakes.wrong_backward import Passed, Tape, walk_again, walk_back
from lenet.diagnose.probe_inputs import Course, Observed, Probes
from lenet.diagnose.search.explain import PAIR_SECONDS
from lenet.diagnose.search.segment import Count, within
from parity.arithmetic import Array, Bounded

Gradients = Mapping[str, Bounded]
Explanation = list[tuple[Kind, tuple[str, ...]]]


@dataclass(frozen=True)
class Run:
    """An observed training run: `stations` holds the parameters at the start and after each step."""

    course: Course
    stations: list[dict[str, Array]]
    dtype: str

    @cached_property
    def gradients(self) -> list[Gradients]:
        """The right gradients at each station except the last."""
        return [{key: g for key, g, _ in passed if key != "loss"} for passed in self.right]

    def gradient(self, k: int, changes: Mapping[str, Callable]) -> Gradients:
        """The gradients of step k's batch at the parameters before it, under `changes`."""
        with np.errstate(all="ignore"):
            return dict(walk_again(self.tapes[k], changes, self.right[k]))

    @cached_property
    def right(self) -> list[Passed]:
        """Each step's right backward pass at the parameters before it."""
        with np.errstate(all="ignore"):  # the run may have diverged
            return [list(walk_back(tape, {})) for tape in self.tapes]

    @cached_property
    def tapes(self) -> list[Tape]:
        """Each step's forward pass at the parameters before it."""
        steps = zip(self.stations, self.course.batches, strict=False)
        return [Tape.record(w, batch.images, batch.labels, self.dtype) for w, batch in steps]

    def moment(self, step: int) -> Moment:
        """The facts about step `step` that a rule may use."""
        batches, recipe = self.course.batches, self.course.recipe
        return Moment(
            step,
            tuple(batch.rate for batch in batches),
            tuple(len(batch.labels) for batch in batches),
            len(batches) // recipe.epochs,
            recipe.momentum,
            recipe.weight_decay,
            self.dtype,
        )

    def steps(self, rule: Rule, gradients: Iterable[Gradients]) -> Iterator[tuple[int, str, Bounded]]:
        """The result of each step under a rule: (step, parameter, its value afterwards), small parameters
        first."""
        names = sorted(self.stations[0], key=lambda name: self.stations[0][name].size)
        velocity = {name: _zero(w) for name, w in self.stations[0].items()}
        total: dict[str, Bounded] = {}
        for k, fresh in zip(range(len(self.stations) - 1), gradients, strict=False):
            moment = self.moment(k)
            for name in names:
                g = fresh[name]
                if rule.accumulated and name in total:
                    g = Bounded(g.value + total[name].value, g.bound + total[name].bound)
                total[name] = g
                w, velocity[name] = advance(rule, name, self.stations[k][name], velocity[name], g, moment)
                yield k, name, w

    @cached_property
    def usual(self) -> dict[tuple[int, str], Bounded]:
        """The result of each step under the right rule."""
        return {(k, name): w for k, name, w in self.steps(Rule(), self.gradients)}

    @cached_property
    def first_wrong(self) -> tuple[int, str, Bounded] | None:
        """The first step with a value outside its bound, and the first such parameter of it."""
        for k in range(len(self.stations) - 1):
            for name, w in self.stations[k + 1].items():
                if not within(w, self.usual[k, name], self.dtype).all():
                    return k, name, self.usual[k, name]
        return None

    def explained(self, rule: Rule, changes: Mapping[str, Callable] | None = None) -> bool:
        """Whether every step follows this rule, and its bounds exclude the steps of the right rule."""
        fresh = (
            (self.gradient(k, changes) for k in range(len(self.stations) - 1)) if changes else self.gradients
        )
        count = Count()
        for k, name, bound in self.steps(rule, fresh):
            if not within(self.stations[k + 1][name], bound, self.dtype).all():
                return False
            count.add(self.stations[k + 1][name], bound, self.usual[k, name], self.dtype)
        return count.most


def _zero(w: Array) -> Bounded:
    return Bounded(np.zeros(w.shape), np.zeros(w.shape))


def findings(probes: Probes, observed: Observed) -> list[Finding]:
    """The first wrong step, explained; nothing if all are right."""
    if not observed.trajectory:
        return []
    course = probes.course
    problems = [_problem(params, course.start) for params in observed.trajectory]
    good = next((k for k, problem in enumerate(problems) if problem), len(problems))
    stations = [course.start, *observed.trajectory[:good]]
    wide = [{name: p[name].astype(np.float64) for name in course.start} for p in stations]
    run = Run(course, wide, observed.dtype)
    wrong = run.first_wrong
    if wrong is None:
        return [Finding(f"step {good + 1}", problems[good])] if good < len(problems) else []
    k, name, bound = wrong
    explanations = _singles(run) or ([] if observed.gradients else _by_gradients(run)) or _pairs(run)
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


def _singles(run: Run) -> list[Explanation]:
    return [[(kind, STEP)] for kind, options in MISTAKES if run.explained(Rule().with_options(options))]


def _pairs(run: Run) -> list[Explanation]:
    deadline = time.thread_time() + PAIR_SECONDS
    found: list[Explanation] = []
    for a, (one, first) in enumerate(MISTAKES):
        for two, second in MISTAKES[a + 1 :]:
            if time.thread_time() > deadline:
                return found
            if first.keys() & second.keys():
                continue
            if run.explained(Rule().with_options(first | second)):
                found.append([(one, STEP), (two, STEP)])
    return found


def _by_gradients(run: Run) -> list[Explanation]:
    """Mistakes of loss and gradients under the right rule, for a port that returns no gradients."""
    found: list[Explanation] = []
    for mistake in BACKWARD:
        try:
            with np.errstate(all="ignore"):
                if run.explained(Rule(), mistake.changes):
                    found.append([(mistake.kind, mistake.stages)])
        except ValueError:  # a gradient does not have its parameter's shape
            continue
    return found
