"""What a page and a plot show of the recorded originals, which the package `museum` keeps and judges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lenet.show.migrations import History

RECORDED = "the original, recorded"


@dataclass(frozen=True)
class Originals:
    """The recorded originals.

    Attributes:
        ported: the ports whose framework was recorded itself.
        others: {framework and version: year of that version}, of the frameworks that have no port here.
        columns, rows: a table of all recordings with their verdicts.
    """

    ported: frozenset[str]
    others: Mapping[str, int]
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, order=True)
class Event:
    """A row of the timeline.

    Attributes:
        year: of the framework's first release, or of the recorded version.
        name, told: the framework, and its main idea.
        port: its port; "" if it has none.
        recorded: whether the original was recorded.
    """

    year: int
    name: str
    told: str
    port: str = ""
    recorded: bool = False

    @property
    def recorded_alone(self) -> bool:
        """Whether it is an original without a port."""
        return self.recorded and not self.port

    @property
    def heading(self) -> str:
        """ "Caffe, 2013  (port caffe; the original, recorded)"."""
        also = f"; {RECORDED}" if self.recorded else ""
        return f"{self.name}, {self.year}" + (f"  (port {self.port}{also})" if self.port else "")


def timeline_events(frameworks: Mapping[str, History], originals: Originals) -> list[Event]:
    """LeNet-5, then every framework and recorded original, the oldest first."""
    told = f"{RECORDED}; the year is that of this version"
    return sorted(
        [
            Event(1998, "LeNet-5", "gradient-based learning, applied to documents"),
            *(Event(year, name, told, recorded=True) for name, year in originals.others.items()),
            *(
                Event(one.released, one.framework, one.stood_for, port, port in originals.ported)
                for port, one in frameworks.items()
            ),
        ]
    )
