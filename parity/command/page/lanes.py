"""Draws a graph beside a list of its nodes, as `git log --graph` draws commits.

Networks are chains with a few branches. A drawing in two dimensions is as wide as its longest connections
are many (DenseNet-121 by a layered layout: 34,000 pixels), and nobody can read names in it. Here each node
has a row, in order of execution, so that the first wrong node is the first from the top; each tensor keeps
one lane from the node that computes it to the last that reads it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count, filterfalse

PITCH = 16.0  # pixels from lane to lane
WIDEST = 128.0  # pixels for all lanes; more lanes stand closer
RADIUS = 9.0  # of a node's mark


@dataclass(frozen=True)
class Row:
    """The lanes at one node. They are numbered from 0 on, from left to right.

    Attributes:
        lane: where the node stands.
        passing: the lanes of tensors that later nodes read.
        coming: the lanes of the tensors that this node reads; some of them pass as well.
        going: the lanes on which its results leave.
    """

    lane: int
    passing: tuple[int, ...]
    coming: tuple[int, ...]
    going: tuple[int, ...]


def lay_out(nodes: Sequence[tuple[Iterable[str], Iterable[str]]]) -> list[Row]:
    """The lanes at each node.

    A node takes the leftmost lane that ends at it, so that a chain is a straight line, or else a free one.

    Args:
        nodes: the names that each node reads and computes, in an order of execution. Names that no node
            computes are not drawn.
    """
    last = {name: place for place, (reads, _) in enumerate(nodes) for name in reads}
    lanes: dict[str, int] = {}  # of the tensors that are still read
    rows = []
    for place, (reads, makes) in enumerate(nodes):
        read = {name: lanes[name] for name in reads if name in lanes}
        lanes = {name: lane for name, lane in lanes.items() if last[name] > place}
        passing = sorted(set(lanes.values()))
        ending = set(read.values()) - set(passing)
        own = min(ending) if ending else next(_free(passing))
        used = [name for name in makes if last.get(name, -1) > place]
        going = dict(zip(used, chain([own], _free([*passing, own])), strict=False))
        lanes |= going
        rows.append(Row(own, tuple(passing), tuple(sorted(set(read.values()))), tuple(going.values())))
    return rows


def _free(taken: Iterable[int]) -> Iterator[int]:
    """The lanes that are not taken, from left to right."""
    return filterfalse(set(taken).__contains__, count())


@dataclass(frozen=True)
class Gutter:
    """The column of the page in which the lanes are drawn.

    Attributes:
        lanes: how many there are.
    """

    lanes: int

    @property
    def width(self) -> float:
        """In pixels."""
        return self.at(self.lanes - 1) + RADIUS + 2

    def at(self, lane: int) -> float:
        """The horizontal place of a lane, in pixels."""
        pitch = min(PITCH, WIDEST / max(self.lanes - 1, 1))
        return round(RADIUS + 2 + lane * pitch, 1)

    def lines(self, row: Row, height: float) -> str:
        """All connections in a row of this height, as the path of an SVG: by, to and from its node."""
        own, middle = self.at(row.lane), height / 2
        parts = [f"M{self.at(lane):g} 0V{height:g}" for lane in row.passing]
        parts += [_curve(self.at(lane), 0, own, middle) for lane in row.coming]
        parts += [_curve(own, middle, self.at(lane), height) for lane in row.going]
        return "".join(parts)

    def below(self, row: Row) -> str:
        """The connections that go on below a row, as the path of an SVG of any height."""
        return "".join(f"M{self.at(lane):g} 0V9999" for lane in sorted({*row.passing, *row.going}))


def gutter(rows: Iterable[Row]) -> Gutter:
    """The column in which these rows fit."""
    return Gutter(1 + max((lane for row in rows for lane in (row.lane, *row.passing, *row.going)), default=0))


def _curve(x: float, y: float, to_x: float, to_y: float) -> str:
    """From a point to a lower one: it leaves and arrives vertically."""
    if x == to_x:
        return f"M{x:g} {y:g}V{to_y:g}"
    middle = (y + to_y) / 2
    return f"M{x:g} {y:g}C{x:g} {middle:g} {to_x:g} {middle:g} {to_x:g} {to_y:g}"
