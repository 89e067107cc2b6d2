"""What a page and a plot show of the recorded originals, which the package `museum` keeps and judges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
