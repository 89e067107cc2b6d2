"""What a known mistake is, and the register of all of them by the operator in which they are made."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from typing import Any, ClassVar

from parity.arithmetic import Array, Number
from parity.errors import Unjudged
from parity.graph import Graph, Node
from parity.judging import walk
from parity.operators import Operator
from parity.operators.operator import Points

Inputs = Sequence[Number | None]
MISFITS = (*walk.MISFITS, AssertionError)  # what is raised where a mistake does not fit the shapes


@dataclass(frozen=True)
class Mistake:
    """A known mistake in one use of an operator.

    Attributes:
        name: what was done instead, in a few words, with the attribute that is concerned.
        explanation: what the mistake is and where it comes from, in a sentence.
        remedy: what to do about it.
        operator: the operator with the mistake.
        case: where it was reported, as "owner/repository#number"; "" if no report is known.
        read_off: whether the candidate's values show it by themselves, so that its bound may be wide.
        inputs: names of the tensors that the operator takes; () if it takes those of the node.
        value: what was used instead, and stands in the name: a word, or a number if the numbers between
            two that explain a tensor explain it, too.
        alike: what it is called together with others of the same node, if the values do not tell them apart.
        wider: whether it explains what others explain more precisely: it is named only if none of them does.
        less_accurate: whether it is the same function, in which more rounds than the operator's worst case
            allows: then the tensor is coarse, not different.
        exact: whether it is one of integers, which round nothing: beside it, none is named that comes less
            near to the values.
    """

    name: str
    explanation: str
    remedy: str
    operator: Operator
    case: str = ""
    read_off: bool = False
    inputs: tuple[str, ...] = ()
    value: float | str | None = None
    alike: str = ""
    wider: bool = False
    less_accurate: bool = False
    exact: bool = False


@dataclass(frozen=True)
class Seen:
    """What a mistake may be read off from: a slope, say, from what the candidate made of negative values.

    Attributes:
        inputs: of the operator, with the candidate's possible distance from them.
        found: the candidate's values of the tensor that is wrong; None if other operators follow before it.
        node: whose operator it is.
        nodes: all between recorded tensors and the one that is wrong, in order of execution.
        values: all tensors that are known before the last of them, by name, as `inputs`.
        graph: the whole reference; None if the operator is looked at by itself.
    """

    inputs: Inputs
    found: Array | None
    node: Node | None = None
    nodes: tuple[Node, ...] = ()
    values: Mapping[str, Number] = field(default_factory=dict)
    graph: Graph | None = None

    @property
    def constant(self) -> bool:
        """Whether all of the candidate's values are one number, which many a function returns."""
        return (
            self.found is not None and self.found.size > 1 and bool((self.found == self.found.flat[0]).all())
        )


Find = Callable[[Any, Seen], Iterable[Mistake]]
FAMILIES = ("of_products", "layers", "decomposed", "of_places", "of_rounding", "written_out")  # likely first
_FOUND: dict[str, list[Find]] = {}


@cache
def catalogue() -> dict[str, list[Find]]:
    """What lists the mistakes for each type of operator; imported when a tensor is wrong: it takes 0.2 s."""
    for family in FAMILIES:
        import_module(f"parity.judging.causes.{family}")
    return {kind: sorted(finds, key=_place) for kind, finds in _FOUND.items()}


def _place(find: Find) -> tuple[int, str, int]:
    """The place of a function in the catalogue, whichever module was imported first: of two mistakes that are
    the same, the first is named."""
    family, module = find.__module__.removeprefix("parity.judging.causes.").split(".", 1)
    return FAMILIES.index(family), module, find.__code__.co_firstlineno


def made_in(*kinds: str) -> Callable[[Find], Find]:
    """Register a function that lists mistakes for one use of an operator of these types."""

    def add(find: Find) -> Find:
        for kind in kinds:
            _FOUND.setdefault(kind, []).append(find)
        return find

    return add


def mistakes(operator: Operator, seen: Seen) -> Iterator[Mistake]:
    """All known mistakes for this use of an operator."""
    for find in catalogue().get(operator.TYPE, ()):
        with suppress(Unjudged, *MISFITS):
            yield from find(operator, seen)


def pattern(one: Mistake) -> str:
    """The name without what was used instead: the same for mistakes that can be said as one."""
    if one.alike:
        return one.alike
    if one.value is None:
        return one.name
    return one.name.replace(one.value if isinstance(one.value, str) else f"{one.value:g}", "{}", 1)


def in_one(several: Sequence[Mistake]) -> Mistake:
    """The first of some mistakes of one pattern that explain the same, in the name of all of them.

    Where the variance is large, every small ε explains the same values.
    """
    names = {one.name for one in several}
    words = [one.value for one in several if isinstance(one.value, str)]
    numbers = [one.value for one in several if isinstance(one.value, float | int)]
    if len(names) < 2:
        return several[0]
    if not numbers and not words:
        return replace(several[0], name=several[0].alike)
    span = f"between {min(numbers):g} and {max(numbers):g}" if numbers else " or ".join(dict.fromkeys(words))
    return replace(several[0], name=pattern(several[0]).replace("{}", span))


@dataclass(frozen=True)
class Changed(Operator):
    """An operator whose inputs or first output are changed.

    Attributes:
        right: the operator.
        before: changes its inputs.
        after: changes its first output; it is given the inputs, too.
    """

    TYPE: ClassVar[str] = "changed"

    right: Operator
    before: Callable[[list[Number | None]], list[Number | None]] = lambda inputs: inputs
    after: Callable[[Number, Inputs], Number] | None = None

    def evaluate(self, *inputs: Number | None) -> Number | tuple[Number, ...]:
        result = self.right.evaluate(*self.before(list(inputs)))
        if self.after is None:
            return result
        if isinstance(result, tuple):
            return (self.after(result[0], inputs), *result[1:])
        return self.after(result, inputs)

    def sample(self, points: Points, *inputs: Number | None) -> Number:
        if self.after is not None:
            return super().sample(points, *inputs)
        return self.right.sample(points, *self.before(list(inputs)))


@dataclass(frozen=True)
class WithOutputs(Operator):
    """An operator of several outputs, in whose place others are returned.

    Attributes:
        right: the operator.
        made: the outputs from those of the operator.
    """

    TYPE: ClassVar[str] = "with outputs"

    right: Operator
    made: Callable[[tuple[Number, ...]], tuple[Number, ...]]

    def evaluate(self, *inputs: Number | None) -> tuple[Number, ...]:
        result = self.right.evaluate(*inputs)
        assert isinstance(result, tuple)
        return self.made(result)


def with_input(operator: Operator, place: int, change: Callable[[Number], Number | None]) -> Changed:
    """The operator, with one of its inputs changed, or left out."""

    def before(inputs: list[Number | None]) -> list[Number | None]:
        one = inputs[place]
        assert one is not None
        return [*inputs[:place], change(one), *inputs[place + 1 :]]

    return Changed(operator, before)


def given(inputs: Inputs, place: int) -> Number | None:
    """An optional input."""
    return inputs[place] if len(inputs) > place else None


def first(inputs: Inputs) -> Number:
    """The input that every operator has."""
    x = inputs[0]
    assert x is not None
    return x


def second(inputs: Inputs) -> Number:
    """The input that every operator with two operands has: weights, say."""
    w = inputs[1]
    assert w is not None
    return w
