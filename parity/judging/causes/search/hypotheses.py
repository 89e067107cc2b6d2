"""The mistakes that may explain a wrong tensor, in the order in which they are tried."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest
from time import thread_time

from parity.graph import Graph, Node
from parity.judging.causes.mistake import Mistake, Seen, mistakes
from parity.judging.causes.of_places.of_dropout import dropout
from parity.judging.causes.of_places.of_layout import layouts
from parity.judging.causes.of_rounding.of_constants import folded
from parity.judging.causes.of_rounding.of_precision import whole_stretch
from parity.judging.causes.of_rounding.of_results import on_the_way
from parity.judging.causes.of_rounding.of_storage import stored
from parity.judging.causes.search.neighbours import neighbours
from parity.judging.causes.search.parameters import others
from parity.judging.causes.search.stretch import Stretch
from parity.judging.causes.search.wrong import Wrong
from parity.operators import Operator


@dataclass
class Clock:
    """The time for one tensor.

    Attributes:
        end: when it is over, by `time.thread_time`, which does not count what other programs take.
        each: what a mistake takes, about.
    """

    end: float
    each: float

    def is_out(self) -> bool:
        """Whether another mistake would take too long."""
        return thread_time() + self.each > self.end

    def shorten(self, seconds: float) -> None:
        """End in so many seconds at the latest."""
        self.end = min(self.end, thread_time() + seconds)


@dataclass(frozen=True)
class Made:
    """A stretch in which mistakes are made.

    Attributes:
        nodes: where.
        mistakes: which, one for each node.
        operator: the stretch with them.
        places: of the nodes in the stretch; () if the mistake is none of a single node.
        start: the first node that is changed; None if a first look does not tell.
    """

    nodes: tuple[Node, ...]
    mistakes: tuple[Mistake, ...]
    operator: Operator
    places: tuple[int, ...] = ()
    start: int | None = None

    @property
    def name(self) -> str:
        """What is wrong, and where if that is in two nodes."""
        first, *more = self.mistakes
        where = [""] + [f"in {node.name}: " * (node != self.nodes[0]) for node in self.nodes[1:]]
        return ", and ".join([first.name, *(at + one.name for at, one in zip(where[1:], more, strict=True))])


def one_mistake(wrong: Wrong, graph: Graph) -> Iterator[Made]:
    """Each known mistake at each node, then at all nodes at once, then those of the whole stretch.

    The first mistakes of all nodes come before the second ones: those that are made most often stand first.
    """
    stretch = wrong.question.operator
    assert isinstance(stretch, Stretch)
    before = replace(stretch, nodes=stretch.nodes[:-1])  # the last node computes the tensor itself
    values = before.values(wrong.question.bounded)
    made: dict[str, dict[int, Mistake]] = {}  # by name, the mistake at the place of each node
    known: list[Iterator[Made]] = []
    for place, node in enumerate(stretch.nodes):
        assert node.operator is not None
        inputs = [values[name] if name else None for name in node.inputs]
        last = node.outputs[0] == stretch.result
        seen = Seen(inputs, wrong.found if last else None, node, stretch.nodes, values)
        known.append(_at(stretch, place, seen, made))
    yield from (_at_several(stretch, min(one), one) for one in stored(graph, stretch.nodes))
    together: dict[str, int] = {}  # by name, at how many nodes at once the mistake was tried
    for some in zip_longest(*known):
        yield from (one for one in some if one is not None)
        for name, several in made.items():
            if len(several) > together.get(name, 1):
                together[name] = len(several)
                yield _together(stretch, several)
    for mistake in (
        *dropout(stretch, wrong.found, wrong.right),
        *layouts(stretch, wrong.found, wrong.right),
    ):
        yield Made((stretch.nodes[-1],), (mistake,), mistake.operator)
    yield from (_at_several(stretch, *one) for one in neighbours(stretch))
    yield from (_at_several(stretch, min(one), one) for one in on_the_way(stretch.nodes))
    for place, mistake in others(stretch, graph):
        yield Made((stretch.nodes[place],), (mistake,), stretch.with_mistakes({place: mistake}), (), place)
    yield from (_at_several(stretch, min(one), one) for one in folded(graph, stretch.nodes))
    for mistake in whole_stretch(stretch, wrong.found):
        yield Made((stretch.nodes[-1],), (mistake,), mistake.operator)


def _at_several(stretch: Stretch, place: int, changes: dict[int, Mistake]) -> Made:
    """One mistake that changes several nodes, of which the first one is at this place."""
    return Made((stretch.nodes[place],), (changes[place],), stretch.with_mistakes(changes), (), place)


def _together(stretch: Stretch, several: dict[int, Mistake]) -> Made:
    """The same mistake at several nodes at once."""
    first = min(several)
    named = replace(several[first], name=f"{several[first].name}, at {len(several)} nodes")
    return Made((stretch.nodes[first],), (named,), stretch.with_mistakes(several), (), first)


def _at(stretch: Stretch, place: int, seen: Seen, made: dict[str, dict[int, Mistake]]) -> Iterator[Made]:
    """The mistakes at one node; `made` gathers them by name."""
    node = stretch.nodes[place]
    assert node.operator is not None
    for mistake in mistakes(node.operator, seen):
        made.setdefault(f"{node.type}: {mistake.name}", {})[place] = mistake
        yield Made((node,), (mistake,), stretch.with_mistakes({place: mistake}), (place,), place)
