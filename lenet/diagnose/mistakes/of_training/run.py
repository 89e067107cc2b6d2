"""An observed training run, and what other rules, orders of batches or weights would have made of it.

Each step is judged from the port's own parameters before it, so nothing drifts. Where a port's parameters
were never returned (batches in another order), the steps go on from the ones computed here, and each adds its
own bound alone. That is less than the worst case, in which an error also changes every later gradient: so a
mistake is rather missed than named wrongly.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np

from lenet.diagnose.mistakes.of_training.adaptive import Advance, State
from lenet.diagnose.mistakes.of_training.batch_orders import Order
from lenet.diagnose.mistakes.update_rule import Moment, Rule, advance, total
from lenet.diagnose.mistakes.wrong_backward import Passed, Tape, walk_again, walk_back
from lenet.diagnose.probe_inputs import Course
from lenet.diagnose.search.segment import Count, excluded, within
from lenet.network.recipe import Batch
from parity.arithmetic import Array, Bounded

Gradients = Mapping[str, Bounded]
Params = dict[str, Bounded]
Stations = Iterator[tuple[int, str, Bounded]]  # (step, parameter, its value afterwards)


@dataclass(frozen=True)
class Step:
    """One step as a probe of the backward pass: `seen` holds the gradients that the right rule would need."""

    tape: Tape
    right: Passed
    seen: Mapping[str, Array]


@dataclass(frozen=True)
class Run:
    """An observed training run.

    Attributes:
        course: the batches and the recipe.
        stations: the parameters at the start and after each step.
        dtype: the port's dtype.
    """

    course: Course
    stations: list[dict[str, Array]]
    dtype: str
    known: dict[tuple[int, bytes], Gradients] = field(default_factory=dict)

    @cached_property
    def names(self) -> list[str]:
        """The parameters, small ones first: they refute most mistakes at little cost."""
        return sorted(self.stations[0], key=lambda name: self.stations[0][name].size)

    @property
    def count(self) -> int:
        """The number of steps."""
        return len(self.stations) - 1

    @cached_property
    def tapes(self) -> list[Tape]:
        """Each step's forward pass at the parameters before it."""
        steps = zip(self.stations[:-1], self.course.batches, strict=False)
        return [Tape.record(w, batch.images, batch.labels, self.dtype) for w, batch in steps]

    @cached_property
    def right(self) -> list[Passed]:
        """Each step's right backward pass at the parameters before it."""
        with np.errstate(all="ignore"):  # the run may have diverged
            return [list(walk_back(tape, {})) for tape in self.tapes]

    @cached_property
    def gradients(self) -> list[Gradients]:
        """The right gradients of each step."""
        return [{key: g for key, g, _ in passed if key != "loss"} for passed in self.right]

    def changed(self, changes: Mapping[str, Callable]) -> Iterator[Gradients]:
        """The gradients of each step under `changes` of the backward pass."""
        for tape, right in zip(self.tapes, self.right, strict=True):
            yield dict(walk_again(tape, changes, right))

    def refuted(self, gradients: Iterable[tuple[str, Bounded]]) -> bool:
        """Whether these gradients of the first step are not what the port has. They are looked at one after
        the other, in the order of the backward pass, up to the first that is off."""
        start, moment = self.exact(0), self.moment(0)
        for name, g in gradients:
            if name != "loss":
                w, _ = advance(Rule(), name, start[name], None, g, moment)
                if w.shape != self.stations[1][name].shape or not self._inside(1, name, w):
                    return True
        return False

    def first_changed(self, changes: Mapping[str, Callable]) -> Iterator[tuple[str, Bounded]]:
        """The gradients of the first step under `changes` of the backward pass, one after the other."""
        return walk_again(self.tapes[0], changes, self.right[0])

    def shows(self, changes: Mapping[str, Callable]) -> bool:
        """Whether `changes` of the backward pass change a gradient of the first wrong step: otherwise they
        are not what makes it wrong."""
        k = self.first_wrong[0] if self.first_wrong else 0
        right = {name: g for name, g, _ in self.right[k]}
        with np.errstate(all="ignore"):
            changed = walk_again(self.tapes[k], changes, self.right[k])
            return any(excluded(g, right[name]).any() for name, g in changed)

    def first_on(self, batch: Batch, changes: Mapping[str, Callable]) -> Iterator[tuple[str, Bounded]]:
        """The same for another first batch, or under `changes` of the forward pass."""
        tape = Tape.record(self.stations[0], batch.images, batch.labels, self.dtype, changes)
        return ((name, g) for name, g, _ in walk_back(tape, {}))

    def _inside(self, k: int, name: str, w: Bounded) -> bool:
        return bool(within(self.stations[k][name], w, self.dtype).all())

    def moment(self, step: int, rate: float | None = None, batch: int | None = None) -> Moment:
        """The facts about a step that a rule may use; its rate and its batch may be those of another."""
        batches, recipe = self.course.batches, self.course.recipe
        rates, sizes = [b.rate for b in batches], [len(b.labels) for b in batches]
        longer = max(0, step + 1 - len(batches))
        rates, sizes = rates + rates[-1:] * longer, sizes + sizes[-1:] * longer
        rates[step] = rates[step] if rate is None else rate
        sizes[step] = sizes[step] if batch is None else sizes[batch]
        per_epoch = len(batches) // recipe.epochs
        return Moment(
            step, tuple(rates), tuple(sizes), per_epoch, recipe.momentum, recipe.weight_decay, self.dtype
        )

    def exact(self, k: int) -> Params:
        """The returned parameters after k steps."""
        return {name: Bounded(w, np.zeros(w.shape)) for name, w in self.stations[k].items()}

    # --- what would have been returned ---------------------------------------------------------

    def steps(self, step: Advance, gradients: Iterable[Gradients]) -> Stations:
        """The result of each step from the parameters before it."""
        states: dict[str, State] = dict.fromkeys(self.names)
        for k, fresh in zip(range(self.count), gradients, strict=False):
            before, moment = self.exact(k), self.moment(k)
            for name in self.names:
                w, states[name] = step(name, before[name], states[name], fresh[name], moment)
                yield k, name, w

    def by_rule(self, rule: Rule, gradients: Iterable[Gradients] | None = None) -> Stations:
        """The result of each step under an update rule, with the right gradients or others."""
        fresh = self.gradients if gradients is None else gradients
        if rule.accumulated:
            fresh = _summed(fresh)
        if rule.stale:
            fresh = _stale(fresh)
        return self.steps(partial(advance, rule), fresh)

    def accumulated(self, every: int, averaged: bool) -> Stations:
        """A step after every few batches only, with the sum or the mean of their gradients."""
        rule, waiting, states = Rule(), list[Gradients](), dict[str, State]()
        for k, fresh in enumerate(self.gradients):
            waiting.append(fresh)
            before = self.exact(k)
            if len(waiting) < every:
                yield from ((k, name, before[name]) for name in self.names)
                continue
            share = 1 / every if averaged else 1.0
            for name in self.names:
                g = total(self.dtype, *((share, one[name]) for one in waiting))
                w, states[name] = advance(rule, name, before[name], states.get(name), g, self.moment(k))
                yield k, name, w
            waiting = []

    def ordered(self, order: Order, own: bool = False) -> Stations:
        """The result of each call if a port makes other steps of its batches.

        Args:
            order: these steps.
            own: whether every call is computed from the start, not from what a shorter call returned.
        """
        start: tuple[Params, dict[str, State]] = (self.exact(0), dict.fromkeys(self.names))
        ends: dict[tuple, tuple[Params, dict[str, State]]] = {(): start}
        rates, last = tuple(batch.rate for batch in self.course.batches), start
        for k in range(self.count):
            steps = tuple(order.steps(k, rates, self.course.recipe))
            if order.weights or order.velocity:
                done, (w, states) = (
                    0,
                    (
                        last[0] if order.weights else start[0],
                        last[1] if order.velocity else start[1],
                    ),
                )
            else:
                done = max(len(known) for known in ends if steps[: len(known)] == known)
                w, states = ends[steps[:done]]
            for at in range(done, len(steps)):
                w, states = self._one_more(w, states, at, *steps[at])
            yield from ((k, name, w[name]) for name in self.names)
            last = ends[steps] = (w if own else self.exact(k + 1)), states

    def again(self, order: Order) -> Params:
        """The parameters after the first step of a second run, if it begins with what the first one left."""
        rate, still = self.course.batches[0].rate, dict.fromkeys(self.names)
        _, states = self._one_more(self.exact(0), still, 0, 0, rate)
        w = self.exact(1 if order.weights else 0)
        return self._one_more(w, states if order.velocity else still, 0, 0, rate)[0]

    def _one_more(
        self, w: Params, states: dict[str, State], at: int, batch: int, rate: float
    ) -> tuple[Params, dict[str, State]]:
        gradients, moment = self.gradient_at(w, batch), self.moment(at, rate, batch)
        moved = {n: advance(Rule(), n, w[n], states[n], gradients[n], moment) for n in self.names}
        return {n: one for n, (one, _) in moved.items()}, {n: state for n, (_, state) in moved.items()}

    def gradient_at(self, w: Params, batch: int) -> Gradients:
        """The right gradients of a batch at these parameters, which count as exact."""
        values = {name: one.value for name, one in w.items()}
        key = (
            batch,
            b"".join(values[name].tobytes() for name in ("logits.bias", "logits.weight", "conv1.weight")),
        )
        if key not in self.known:
            one = self.course.batches[batch]
            tape = Tape.record(values, one.images, one.labels, self.dtype)
            self.known[key] = {name: g for name, g, _ in walk_back(tape, {}) if name != "loss"}
        return self.known[key]

    def on_other_batches(
        self, alter: Callable[[Batch], Batch], changes: Mapping[str, Callable]
    ) -> Iterator[Gradients]:
        """The gradients of each step if its batch is altered, or the forward pass changed."""
        for k, batch in enumerate(self.course.batches[: self.count]):
            other = alter(batch)
            yield self.gradients[k] if other is batch and not changes else self.on_batch(k, other, changes)

    def on_batch(self, k: int, batch: Batch, changes: Mapping[str, Callable]) -> Gradients:
        """The gradients of another batch at the parameters before step k, or of a changed forward pass."""
        tape = Tape.record(self.stations[k], batch.images, batch.labels, self.dtype, changes)
        return {name: g for name, g, _ in walk_back(tape, {}) if name != "loss"}

    # --- what was returned ---------------------------------------------------------------------

    @cached_property
    def usual(self) -> dict[tuple[int, str], Bounded]:
        """The result of each step under the right rule."""
        return {(k, name): w for k, name, w in self.by_rule(Rule())}

    @cached_property
    def first_wrong(self) -> tuple[int, str, Bounded] | None:
        """The first step with a value outside its bound, and the first such parameter of it."""
        for k in range(self.count):
            for name, w in self.stations[k + 1].items():
                if not within(w, self.usual[k, name], self.dtype).all():
                    return k, name, self.usual[k, name]
        return None

    @cached_property
    def samples(self) -> list[Step]:
        """The steps as probes of the backward pass: their gradients under the right rule."""
        recipe, velocity, found = self.course.recipe, dict.fromkeys(self.names, np.zeros(())), []
        for k, (tape, right) in enumerate(zip(self.tapes, self.right, strict=True)):
            moved = {n: self.stations[k][n] - self.stations[k + 1][n] for n in self.names}
            fresh = {n: step / self.course.batches[k].rate for n, step in moved.items()}
            seen = {
                n: v - recipe.momentum * velocity[n] - recipe.weight_decay * self.stations[k][n]
                for n, v in fresh.items()
            }
            found.append(Step(tape, right, seen))
            velocity = fresh
        return found

    @cached_property
    def decayed(self) -> list[Step]:
        """The same with the decay as a part of the gradients."""
        decay = self.course.recipe.weight_decay
        found = []
        for k, sample in enumerate(self.samples):
            w = self.exact(k)
            right = [
                (name, total(self.dtype, (1.0, g), (decay, w[name])), d)
                for name, g, d in sample.right
                if name != "loss"
            ]
            seen = {name: g + decay * w[name].value for name, g in sample.seen.items()}
            found.append(Step(sample.tape, right, seen))
        return found

    def distance(self, expected: Stations) -> float | None:
        """How far the returned parameters lie from these, root mean square; None if any lies outside its
        bound, or if these bounds do not exclude the right steps (all together, or the first wrong one)."""
        everywhere, first, squares, size = Count(), Count(), 0.0, 0
        with np.errstate(all="ignore"):
            for k, name, bound in expected:
                seen = self.stations[k + 1][name]
                if not within(seen, bound, self.dtype).all():
                    return None
                everywhere.add(seen, bound, self.usual[k, name], self.dtype)
                if self.first_wrong and k == self.first_wrong[0]:
                    first.add(seen, bound, self.usual[k, name], self.dtype)
                squares += float(((seen - bound.value) ** 2).sum())
                size += seen.size
        return float(np.sqrt(squares / max(size, 1))) if everywhere.most or first.most else None


def _summed(gradients: Iterable[Gradients]) -> Iterator[Gradients]:
    """The sum of all gradients so far."""
    so_far: Params = {}
    for fresh in gradients:
        for name, g in fresh.items():
            before = so_far.get(name)
            so_far[name] = g if before is None else Bounded(g.value + before.value, g.bound + before.bound)
        yield dict(so_far)


def _stale(gradients: Iterable[Gradients]) -> Iterator[Gradients]:
    """The gradients of the step before; zeros for the first."""
    last: Gradients | None = None
    for fresh in gradients:
        yield last or {name: Bounded(np.zeros(g.shape), np.zeros(g.shape)) for name, g in fresh.items()}
        last = fresh
