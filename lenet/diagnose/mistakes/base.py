"""The form of a catalogue entry, and the decorators that make entries."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from lenet.diagnose.mistakes.wrong_forward import Change, Changes, Compute, after, before, instead
from parity.arithmetic import Array
from parity.judging.causes.mistake import Mistake as Known

GITHUB = "https://github.com/"


@dataclass(frozen=True)
class Kind:
    """The description of a mistake.

    Attributes:
        name: a few words in lower case.
        explanation: a sentence: what is computed, and what should be.
        remedy: a sentence: what to do.
        case: URL of a reported case; empty if none is known.
        valid: whether it is no mistake but another right choice, of which only a note is made.
    """

    name: str
    explanation: str
    remedy: str
    case: str = ""
    valid: bool = False


@dataclass(frozen=True)
class Mistake:
    """A mistake in given stages, as changes to the right network.

    Attributes:
        changes: {stage: change}, for stages of the forward ("conv2") or the backward pass ("conv2.input").
        whole_batch: whether it mixes digits, so that it cannot be tried on a few of them.
        tier: mistakes with sharp bounds (0) are preferred to those with the bounds of a coarse format (1, 2),
            and both to what is seldom done (3).
        pending: whether its later changes may lie after the next observed layer (bias added after the ReLU).
        habit: whether it is the same change in each of several layers.
        told_by: the stage that must be observed to tell two equivalent entries apart; without it, the other
            entry represents both. "" if there is none.
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
        """The stages that it changes, in order of execution."""
        return tuple(self.changes)

    @property
    def of_precision(self) -> bool:
        """Whether it is a coarse format. Two of these in the same layers are hard to tell apart."""
        return any(word in self.kind.name for word in ("TF32", "bfloat16", "float16"))


@dataclass(frozen=True)
class HandedOut:
    """A mistake in returning a right activation: the port returned it in another form.

    Attributes:
        view: maps the right array to the returned form.
        back: maps the returned form to the right array.
    """

    kind: Kind
    layers: tuple[str, ...]
    view: Callable[[Array], Array]
    back: Callable[[Array], Array]


@dataclass
class Family:
    """A list of catalogue entries. Decorators fill it: each decorated function is a mistake."""

    mistakes: list[Mistake] = field(default_factory=list)

    def before(self, on: Iterable[str], kind: Kind, whole_batch: bool = False) -> Callable:
        """Decorates a function Call → Call that changes the layer's input or parameters."""
        return self._entry(on, kind, before, whole_batch)

    def after(self, on: Iterable[str], kind: Kind, whole_batch: bool = False) -> Callable:
        """Decorates a function (Bounded, Call) → Bounded that changes the layer's output."""
        return self._entry(on, kind, after, whole_batch)

    def instead(self, on: Iterable[str], kind: Kind, whole_batch: bool = False) -> Callable:
        """Decorates a function Call → Bounded that replaces the layer."""
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
        """Add the mistake in each stage alone, and in all of them at once."""
        names = tuple(on)
        for some in [*((name,) for name in names), *([names] if len(names) > 1 else [])]:
            changes = dict.fromkeys(some, change)
            habit = len(some) > 1
            self.mistakes.append(Mistake(kind, changes, whole_batch, tier=tier, told_by=told_by, habit=habit))

    def add_groups(
        self, groups: Iterable[tuple[str, ...]], kind: Kind, change: Change, tier: int = 0
    ) -> None:
        """Add the mistake in each stage of the first group alone, and in all stages of each group at once."""
        first, *others = groups
        self.add(first, kind, change, tier=tier)
        self.add_sets(others, kind, change, tier)

    def add_sets(self, sets: Iterable[tuple[str, ...]], kind: Kind, change: Change, tier: int = 0) -> None:
        """Add, for each set, the mistake in all of its stages at once."""
        self.mistakes += [Mistake(kind, dict.fromkeys(some, change), tier=tier) for some in sets]


def case(repository: str, number: int) -> str:
    """The URL of an issue on GitHub."""
    return f"{GITHUB}{repository}/issues/{number}"


def of_parity(known: Known) -> Kind:
    """The description of a mistake of parity's catalogue, whose case is "owner/repository#number" or ""."""
    repository, _, number = known.case.partition("#")
    url = case(repository, int(number)) if known.case else ""
    return Kind(known.name, known.explanation, known.remedy, url)


__all__ = ["Compute", "Family", "HandedOut", "Kind", "Mistake", "case", "of_parity"]
