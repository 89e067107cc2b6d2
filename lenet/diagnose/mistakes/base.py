"""What a catalogue entry is, and the decorators that write one."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from lenet.diagnose.mistakes.wrong_forward import Change, Changes, Compute, after, before, instead
from parity.arithmetic import Array

GITHUB = "https://github.com/"


@dataclass(frozen=True)
class Kind:
    """A mistake in words.

    Attributes:
        name: how it is called, lower case, a few words.
        explanation: one sentence: what is computed, and what should be.
        remedy: one sentence: what to do.
        case: URL of a reported case of it; empty where none is known.
    """

    name: str
    explanation: str
    remedy: str
    case: str = ""


@dataclass(frozen=True)
class Mistake:
    """A mistake at its place: what it changes in the right network.

    Attributes:
        changes: by stage of the forward pass ("conv2") or of the backward pass (`backward.STAGES`).
        whole_batch: it mixes digits, so that it cannot be tried on a few of them.
        tier: mistakes with sharp bounds (0) are preferred to those with the bound of a coarse format.
        pending: its later changes may lie beyond the next observed layer (bias added after the ReLU).
        habit: it is one change, made in each of several layers.
        told_by: the stage that must be observed to tell two equivalent entries apart; without it the other
            entry stands for both. "" if there is none.
    """

    kind: Kind
    changes: Changes
    whole_batch: bool = False
    pending: bool = False
    tier: int = 0
    told_by: str = ""
    habit: bool = False

    @property
    def stages(self) -> tuple[str, ...]:
        """What it touches, in order of execution."""
        return tuple(self.changes)

    @property
    def of_precision(self) -> bool:
        """Whether it is a coarse format: with a second one in the same layers it is hardly to be told."""
        return any(word in self.kind.name for word in ("TF32", "bfloat16", "float16"))


@dataclass(frozen=True)
class HandedOut:
    """The layer is right, and its activation was handed out in another form.

    Attributes:
        view: the right array to what was handed out.
        back: what was handed out to the right array.
    """

    kind: Kind
    layers: tuple[str, ...]
    view: Callable[[Array], Array]
    back: Callable[[Array], Array]


@dataclass
class Family:
    """A list of catalogue entries, filled by decorators: one short function is one mistake."""

    mistakes: list[Mistake] = field(default_factory=list)
    handed_out: list[HandedOut] = field(default_factory=list)

    def before(self, on: Iterable[str], kind: Kind, whole_batch: bool = False) -> Callable:
        """Call → Call: the layer is given something else."""
        return self._entry(on, kind, before, whole_batch)

    def after(self, on: Iterable[str], kind: Kind, whole_batch: bool = False) -> Callable:
        """(Bounded, Call) → Bounded: its output is spoilt."""
        return self._entry(on, kind, after, whole_batch)

    def instead(self, on: Iterable[str], kind: Kind, whole_batch: bool = False) -> Callable:
        """Call → Bounded: something else is computed."""
        return self._entry(on, kind, instead, whole_batch)

    def _entry(
        self, on: Iterable[str], kind: Kind, how: Callable[..., Change], whole_batch: bool
    ) -> Callable:
        names = tuple(on)

        def register(function: Callable) -> Callable:
            self.add(names, kind, how(function), whole_batch)
            return function

        return register

    def add(
        self,
        on: Iterable[str],
        kind: Kind,
        change: Change,
        whole_batch: bool = False,
        tier: int = 0,
        told_by: str = "",
    ) -> None:
        """The mistake in each stage alone, and in all of them at once."""
        names = tuple(on)
        for some in [*((name,) for name in names), *([names] if len(names) > 1 else [])]:
            changes = dict.fromkeys(some, change)
            habit = len(some) > 1
            self.mistakes.append(Mistake(kind, changes, whole_batch, tier=tier, told_by=told_by, habit=habit))

    def add_groups(
        self, groups: Iterable[tuple[str, ...]], kind: Kind, change: Change, tier: int = 0
    ) -> None:
        """The mistake in each stage alone, and in all of each group at once."""
        first, *others = groups
        self.add(first, kind, change, tier=tier)
        self.add_sets(others, kind, change, tier)

    def add_sets(self, sets: Iterable[tuple[str, ...]], kind: Kind, change: Change, tier: int = 0) -> None:
        """The mistake in all stages of a set at once, for each of the sets."""
        self.mistakes += [Mistake(kind, dict.fromkeys(some, change), tier=tier) for some in sets]


def case(repository: str, number: int) -> str:
    """URL of an issue on GitHub."""
    return f"{GITHUB}{repository}/issues/{number}"


__all__ = ["Compute", "Family", "HandedOut", "Kind", "Mistake", "case"]
