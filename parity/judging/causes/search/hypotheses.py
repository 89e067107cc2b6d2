"""The mistakes that may explain a wrong tensor, in the order in which they are tried."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from math import inf
from time import perf_counter, thread_time

from parity.arithmetic import Number
from parity.graph import Graph, Node
from parity.judging.causes.mistake import Mistake, Seen, mistakes
from parity.judging.causes.of_places.of_dropout import dropout
from parity.judging.causes.of_places.of_layout import layouts
from parity.judging.causes.of_places.of_pieces import pieces
from parity.judging.causes.of_products.of_saturation import saturated
from parity.judging.causes.of_rounding.of_constants import folded
from parity.judging.causes.of_rounding.of_half_precision import whole_stretch
from parity.judging.causes.of_rounding.of_quantization import unquantized
from parity.judging.causes.of_rounding.of_results import on_the_way
from parity.judging.causes.of_rounding.of_storage import stored
from parity.judging.causes.search.rewiring.branches import branched_elsewhere
from parity.judging.causes.search.rewiring.neighbours import neighbours
from parity.judging.causes.search.rewiring.parameters import exchanged, others
from parity.judging.causes.search.rewiring.residual_norms import normalized_elsewhere
from parity.judging.causes.search.stretch import Stretch
from parity.judging.causes.search.wrong import Wrong
from parity.operators import Operator


@dataclass
class Clock:
    """The time for one tensor.

    Attributes:
        end: when it is over, by `time.thread_time`, which does not count what other programs take.
        each: what a mistake takes, about.
        sure: until when it is not over, by `time.perf_counter`. A thread takes no more time than passes, and
            to ask how much it has taken costs milliseconds on a busy machine.
    """

    end: float
    each: float
    sure: float = -inf

    def is_out(self) -> bool:
        """Whether another mistake would take too long."""
        now = perf_counter()
        if now < self.sure:
            return False
        left = self.end - self.each - thread_time()
        self.sure = now + left
        return left < 0

    def half(self) -> "Clock":
        """A clock for the first half of the time that is left."""
        now = thread_time()
        return Clock(now + (self.end - now) / 2, self.each)

    def shorten(self, seconds: float) -> None:
        """End in so many seconds at the latest."""
        self.end, self.sure = min(self.end, thread_time() + seconds), -inf


@dataclass(frozen=True)
class Made:
    """A stretch in which mistakes are made.

    Attributes:
        nodes: where.
        mistakes: which, one for each node.
        operator: the stretch with them.
        places: of the nodes in the stretch; () if the mistake is none of a single node.
        start: the first node that is changed; None if a first look does not tell.
        single: whether it is made in computing one number: where that is used, its meaning is known.
    """

    nodes: tuple[Node, ...]
    mistakes: tuple[Mistake, ...]
    operator: Operator
    places: tuple[int, ...] = ()
    start: int | None = None
    single: bool = False

    @property
    def name(self) -> str:
        """What is wrong, and where if that is in two nodes."""
        first, *more = self.mistakes
        where = [""] + [f"in {node.name}: " * (node != self.nodes[0]) for node in self.nodes[1:]]
        return ", and ".join([first.name, *(at + one.name for at, one in zip(where[1:], more, strict=True))])


def one_mistake(wrong: Wrong, graph: Graph) -> Iterator[Made]:
    """Each known mistake at each node, then at all nodes at once, then those of the whole stretch.

    The first mistakes of all nodes come before the second ones: those that are made most often stand first.
    Exchanges of two layers or parts, of which a deep stretch has hundreds, come last.
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
        if not last and _counts(node, inputs):
            continue
        seen = Seen(inputs, wrong.found if last else None, node, stretch.nodes, values, graph)
        known.append(_at(stretch, place, seen, made))
    for one in (*saturated(stretch.nodes, stretch.names, graph), *stored(graph, stretch.nodes)):
        yield _at_several(stretch, min(one), one)
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
    for changed in (
        *pieces(stretch.nodes, values, graph.constants),
        *neighbours(stretch),
        *branched_elsewhere(stretch.nodes, stretch.names, graph),
    ):
        yield _at_several(stretch, *changed)
    for one in (*unquantized(stretch.nodes), *on_the_way(stretch.nodes)):
        yield _at_several(stretch, min(one), one)
    for place, mistake in others(stretch, graph):
        yield Made(
            (stretch.nodes[place],), (mistake,), stretch.with_mistakes({place: mistake}), (place,), place
        )
    yield from (_at_several(stretch, min(one), one) for one in folded(graph, stretch.nodes))
    for mistake in whole_stretch(stretch, wrong.found):
        yield Made((stretch.nodes[-1],), (mistake,), mistake.operator)
    for exchange in (*normalized_elsewhere(stretch.nodes), *exchanged(stretch, graph)):
        yield _at_several(stretch, *exchange)


def _counts(node: Node, inputs: Sequence[Number | None]) -> bool:
    """Whether a node computes with integers: lengths and places, which exporters write, and nobody ports."""
    kinds = {x.comparable.dtype.kind for x in inputs if x is not None}
    return node.type in ("Add", "Sub", "Mul", "Div") and kinds <= {"i", "u"}


def _at_several(stretch: Stretch, place: int, changes: dict[int, Mistake]) -> Made:
    """One mistake that changes several nodes, of which the first one is at this place."""
    return Made((stretch.nodes[place],), (changes[place],), stretch.with_mistakes(changes), (), place)


def _together(stretch: Stretch, several: dict[int, Mistake]) -> Made:
    """The same mistake at several nodes at once."""
    first = min(several)
    one, where = several[first], f", at {len(several)} nodes"
    named = replace(one, name=one.name + where, alike=one.alike and one.alike + where)
    return Made((stretch.nodes[first],), (named,), stretch.with_mistakes(several), (), first)


def _at(stretch: Stretch, place: int, seen: Seen, made: dict[str, dict[int, Mistake]]) -> Iterator[Made]:
    """The mistakes at one node; `made` gathers them by name."""
    node = stretch.nodes[place]
    assert node.operator is not None
    single = all(one is None or one.size == 1 for one in seen.inputs)
    for mistake in mistakes(node.operator, seen):
        made.setdefault(f"{node.type}: {mistake.name}", {})[place] = mistake
        yield Made((node,), (mistake,), stretch.with_mistakes({place: mistake}), (place,), place, single)
