"""What the page says of each node of a graph."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from parity.command.page.charts import Bar, Histogram, bar, histogram
from parity.command.page.lanes import Row, lay_out
from parity.command.report import figures
from parity.command.terminal import shown
from parity.graph import Graph, Node
from parity.judging.verdict import ORDER, WRONG, Report, TensorReport

INPUT, ABSENT = "input", "not recorded"
# What each kind of node means. The template draws a mark for each, with a shape and a sign of its own.
KINDS = {
    "different": "some value is outside the worst case of rounding: not the same function",
    "coarse": "less accurate than a plain loop: coarse arithmetic, another formula, or a small mistake",
    "undecided": "the error allowed is too wide to tell: record more tensors before it",
    "rounding": "the differences are rounding",
    "equal": "every value is the correctly rounded one",
    "unjudged": "no bound is known for this operator, or for what comes before it",
    ABSENT: "its values were not recorded: the bound is carried through it",
    INPUT: "an input of the graph",
}
TAIL = 20  # characters of a name that are shown in any case, because names differ at their end
LINKED = 8  # neighbours of a node that are named
HEIGHTS = {INPUT: 26, ABSENT: 26}  # pixels of a row
HEIGHT = 40  # of every other


@dataclass(frozen=True)
class Link:
    """Another node: its number and its name."""

    number: int
    name: str


@dataclass(frozen=True)
class Tensor:
    """The verdict on a tensor with its charts.

    Attributes:
        report: the verdict.
        worst_case, loop: its error on both yardsticks.
        histogram: of its errors.
    """

    report: TensorReport
    worst_case: Bar | None
    loop: Bar | None
    histogram: Histogram | None

    @property
    def without_cause(self) -> bool:
        """Whether it is wrong, and no known mistake explains it."""
        return self.report.wrong and not self.report.causes and not self.report.misshapen

    @property
    def judged(self) -> bool:
        """Whether its values were compared."""
        return self.report.verdict != "unjudged" and self.report.values > 0


@dataclass(frozen=True)
class Entry:
    """A node, or an input of the graph.

    Attributes:
        number: its place on the page.
        name: of the tensor that decides its verdict, or of its first output.
        op: its operator.
        kind: its verdict, the worst of its tensors; or another key of `KINDS`.
        figures: the last columns of its row.
        tensors: its recorded outputs.
        row: its lanes.
        reads, read_by: its neighbours, some of them if there are many.
        node: its own name, if that is not the tensor's.
        outputs: the names of its results.
        is_output: whether a result of the graph is among them.
        problem: why its operator cannot be judged.
        blamed: whether the mistake that explains a later tensor is made here.
    """

    number: int
    name: str
    op: str
    kind: str
    figures: tuple[str, ...]
    tensors: tuple[Tensor, ...]
    row: Row
    reads: tuple[Link, ...]
    read_by: tuple[Link, ...]
    node: str
    outputs: tuple[str, ...]
    is_output: bool
    problem: str = ""
    blamed: bool = False

    @property
    def height(self) -> int:
        """Of its row, in pixels."""
        return HEIGHTS.get(self.kind, HEIGHT)

    @property
    def parts(self) -> tuple[str, str]:
        """The beginning of its name, which may be cut, and its end."""
        name = shown(self.name)
        return (name[:-TAIL], name[-TAIL:]) if len(name) > TAIL else ("", name)

    @property
    def bar(self) -> Bar | None:
        """The bar of its row: of the tensor and the yardstick that decide."""
        for one in self.tensors:
            if one.report.tensor == self.name:
                return one.loop if self.by_loop and one.loop else one.worst_case
        return None

    @property
    def by_loop(self) -> bool:
        """Whether the plain loop decided, not the worst case."""
        return self.kind == "coarse"

    @property
    def wrong(self) -> bool:
        """Whether it is different or coarse."""
        return self.kind in WRONG


def entries(graph: Graph, report: Report) -> list[Entry]:
    """All inputs and nodes of a graph, in order of execution, with their verdicts."""
    inputs = [Node(name, INPUT, None, (), (name,)) for name in graph.inputs]
    nodes = [*inputs, *constants_late(graph)]
    blamed = {cause.node for one in report.tensors for cause in one.causes}
    rows = lay_out([(node.inputs, node.outputs) for node in nodes])
    reports = {one.tensor: one for one in report.tensors}
    maker = {name: place for place, node in enumerate(nodes) for name in node.outputs if name}
    read_by: dict[str, list[int]] = {}
    for place, node in enumerate(nodes):
        for name in dict.fromkeys(node.inputs):
            read_by.setdefault(name, []).append(place)

    def entry(place: int, node: Node, row: Row) -> Entry:
        found = [reports[name] for name in node.outputs if name in reports]
        decides = max(found, key=_badness, default=None)
        name = decides.tensor if decides else next((name for name in node.outputs if name), node.name)
        readers = {reader for one in node.outputs for reader in read_by.get(one, ()) if one}
        return Entry(
            number=place,
            name=name,
            op=node.type,
            kind=decides.verdict if decides else INPUT if place < len(inputs) else ABSENT,
            figures=figures(decides) if decides else ("", "", "", ""),
            tensors=tuple(map(_tensor, found)),
            row=row,
            reads=_links(nodes, (maker[one] for one in node.inputs if one in maker)),
            read_by=_links(nodes, sorted(readers)),
            node=node.name if node.name not in node.outputs else "",
            outputs=tuple(filter(None, node.outputs)),
            is_output=any(one in graph.outputs for one in node.outputs if one),
            problem=node.problem,
            blamed=node.name in blamed and not (decides and decides.causes),
        )

    return [entry(place, *both) for place, both in enumerate(zip(nodes, rows, strict=True))]


def constants_late(graph: Graph) -> list[Node]:
    """The nodes in order of execution; those that read constants alone stand before their first reader.

    Quantized weights, for one, are often all expanded at the beginning: their lanes would run through the
    whole drawing.
    """
    maker = {name: place for place, node in enumerate(graph.nodes) for name in node.outputs if name}
    needs = [[maker[name] for name in node.inputs if name in maker] for node in graph.nodes]
    constant: set[int] = set()
    for place, node in enumerate(graph.nodes):
        if constant.issuperset(needs[place]) and not any(name in graph.inputs for name in node.inputs):
            constant.add(place)
    order: dict[int, None] = {}
    for place in range(len(graph.nodes)):
        if place not in constant:
            missing, stack = {place}, [place]
            while stack:
                new = {one for one in needs[stack.pop()] if one in constant and one not in order} - missing
                missing |= new
                stack += new
            order |= dict.fromkeys(sorted(missing))
    order |= dict.fromkeys(sorted(constant))  # the rest: nobody reads them
    return [graph.nodes[place] for place in order]


def _badness(one: TensorReport) -> int:
    return ORDER.index(one.verdict) if one.verdict in ORDER else -1


def _tensor(one: TensorReport) -> Tensor:
    known = one.values > 0 and one.verdict != "unjudged"
    return Tensor(
        one,
        bar(one.ratio) if known else None,
        bar(one.loop_ratio, one.loop_limit) if known else None,
        histogram(one) if known else None,
    )


def _links(nodes: list[Node], places: Iterable[int]) -> tuple[Link, ...]:
    unique = list(dict.fromkeys(places))[:LINKED]
    return tuple(
        Link(place, next((one for one in nodes[place].outputs if one), nodes[place].name)) for place in unique
    )


def counts(found: Iterable[Entry]) -> Mapping[str, int]:
    """{kind: how many nodes have it}, from the worst to the least of interest, without empty ones."""
    kinds = [one.kind for one in found]
    return {kind: kinds.count(kind) for kind in KINDS if kind in kinds}


@dataclass(frozen=True)
class Stripe:
    """Neighbours of one kind in the overview: the first, the width in rows, and whether they are wrong."""

    start: float
    width: float
    kind: str
    wrong: bool


def stripes(found: list[Entry]) -> Iterator[Stripe]:
    """The overview: all nodes from left to right, the wrong ones last and wide enough to be seen."""
    runs = [(kind, list(group)) for kind, group in groupby(found, key=lambda one: one.kind)]
    for kind, group in sorted(runs, key=lambda run: run[0] in WRONG):
        least = len(found) / 200 if kind in WRONG else 0
        width = max(len(group), least)
        start = min(group[0].number, len(found) - width)
        yield Stripe(start, width, kind, kind in WRONG)
