"""The small charts of one tensor: its error on both yardsticks, and the histogram of its errors."""

from dataclasses import dataclass
from math import log2, log10

from parity.command.report import short
from parity.judging.verdict import LARGEST_POWER, TensorReport

DECADES = 5  # of a bar's scale on each side of 1
HEIGHT = 40.0  # of a histogram
AT_LEAST = (-4, 4)  # powers of two that a histogram shows


@dataclass(frozen=True)
class Bar:
    """A ratio on a logarithmic scale from 10^-DECADES to 10^DECADES.

    Attributes:
        text: the ratio.
        end, limit: how far the bar reaches, and where its limit stands, in percent of the scale.
        limit_text: the limit.
        beyond: whether the ratio is larger than the limit.
    """

    text: str
    end: float
    limit: float
    limit_text: str
    beyond: bool


def bar(ratio: float, limit: float = 1.0) -> Bar | None:
    """The bar of a ratio; None for NaN."""
    if ratio != ratio:
        return None
    limit = 1.0 if limit != limit else limit
    return Bar(short(ratio), _percent(ratio), _percent(limit), f"{limit:.3g}", ratio > limit)


def _percent(x: float) -> float:
    if x <= 0:
        return 0.0
    share = (min(log10(x), DECADES) + DECADES) / (2 * DECADES)
    return round(100 * max(share, 0.01), 2)  # any error is seen


@dataclass(frozen=True)
class Histogram:
    """The number of values by error over worst case, with bins of powers of two.

    Attributes:
        none, inside, outside: the number of values without an error, within the worst case, outside of it.
        width: in units of one bin.
        within, beyond: the bins on both sides of the limit, as paths of an SVG. Their heights are
            logarithms, so that one value shows beside many.
        limit: where 1 stands, in percent of the width.
        powers: the powers of two at both ends of the scale.
        start: where the scale begins, in percent of the width; before it stand the values without an error.
    """

    none: int
    inside: int
    outside: int
    width: float
    within: str
    beyond: str
    limit: float
    powers: tuple[int, int]
    start: float

    @property
    def counted(self) -> int:
        """The number of values in it."""
        return self.none + self.inside + self.outside


def histogram(report: TensorReport) -> Histogram | None:
    """The histogram of a tensor; None if nothing was compared."""
    if not report.histogram:
        return None
    none, *counts = report.histogram
    bins = {k: n for k, n in enumerate(counts, -LARGEST_POWER) if n}
    low, high = min([*bins, AT_LEAST[0]]), max([*bins, AT_LEAST[1]])
    start, most = 2.5, max(none, *counts)  # two bins' width for what has no error
    width = start + high - low + 1
    column = {k: start + k - low for k in bins}
    drawn = {k: _column(column[k], 1, n, most) for k, n in bins.items()}
    return Histogram(
        none=none,
        inside=sum(n for k, n in bins.items() if k <= 0),
        outside=sum(n for k, n in bins.items() if k > 0),
        width=width,
        within=(_column(0, 2, none, most) if none else "") + "".join(drawn[k] for k in bins if k <= 0),
        beyond="".join(drawn[k] for k in bins if k > 0),
        limit=round(100 * (start + 1 - low) / width, 2),
        powers=(low - 1, high),
        start=round(100 * start / width, 2),
    )


def _column(x: float, wide: float, n: int, most: int) -> str:
    height = max(HEIGHT * log2(1 + n) / log2(1 + most), 1)
    return f"M{x + 0.08:g} {HEIGHT:g}v{-height:.1f}h{wide - 0.16:g}v{height:.1f}z"
