"""Prints a verdict: a headline in plain words, and a table with the worst tensors first."""

from collections.abc import Iterator
from math import isfinite, isinf, isnan

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from parity.command.terminal import shortened, shown
from parity.judging.verdict import ORDER, Report, TensorReport

VERDICT = 10  # columns of the terminal for "different" or "undecided", or for "rounding*"
FIGURES = {"error/\nworst case": 10, "error/\nloop": 6, "equal": 6, "blind\nbelow": 7}  # heading: columns
GAP = 2  # columns between two
NAME = 10  # the fewest columns for a name
ROWS = 12  # rows of the table, without --all
LATER = 5  # wrong tensors after the first whose causes are printed
STYLES = {
    "equal": "green",
    "rounding": "green",
    "undecided": "yellow",
    "coarse": "red",
    "different": "red",
    "unjudged": "dim",
}
HEADLINES = {
    "equal": "Same function: every value is the correctly rounded one.",
    "rounding": "Same function: the differences are rounding.",
    "undecided": "Undecided: what was recorded does not tell.",
    "coarse": "Coarser arithmetic, or a small mistake: within the worst case, but worse than a plain loop.",
    "different": "Not the same function.",
}


def rendered(report: Report, console: Console, every: bool = False) -> RenderableType:
    """The output of `parity judge`: the table, then its explanation."""
    parts: list[RenderableType] = []
    if report.tensors:
        parts.append(table(report, console.width, every))
    parts += [Text(line) for line in hints(report, console.width, every)]
    parts += [Text(""), Text(headline(report), style=f"bold {STYLES[report.verdict]}")]
    parts += [_indented(line) for line in explained(report)]
    return Group(*parts)


def _indented(line: str) -> RenderableType:
    """A line that keeps its indentation where it is wrapped."""
    text = line.lstrip(" ")
    return Padding(Text(text), (0, 0, 0, len(line) - len(text)), expand=False)


def headline(report: Report) -> str:
    """The verdict in plain words."""
    words = HEADLINES[report.verdict]
    ratios = [one.ratio for one in report.tensors if one.verdict == "coarse"]
    if report.verdict == "coarse" and all(ratio > 1 for ratio in ratios):
        words = "An overflow on the way: what comes after it is wrong."
    if report.verdict == "coarse" and all(isnan(ratio) for ratio in ratios):
        words = "The same function by another formula, which is less accurate."
    if report.same and report.unjudged:
        return words.replace("Same function:", "Same function, as far as it was judged:")
    return words


def worst_first(report: Report) -> list[TensorReport]:
    """The tensors sorted by verdict, then by distance to the limit; equal tensors in order of execution."""

    def rank(one: TensorReport) -> tuple[float, float, float]:
        order = ORDER.index(one.verdict) if one.verdict in ORDER else -1  # nothing is known of the unjudged
        near = (_number(one.ratio), _number(one.loop_ratio))
        first, second = near[::-1] if one.verdict == "coarse" else near
        return -order, -first, -second

    return sorted(report.tensors, key=rank)


def _number(x: float) -> float:
    return -1.0 if isnan(x) else x


def table(report: Report, width: int, every: bool = False) -> Table:
    """The worst tensors, or all."""
    rows = _rows(report, every)
    made = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    op_width = _op_width(rows, width)
    titles = _fitting(op_width, width)
    rest = width - _columns(0, op_width, VERDICT, *(FIGURES[title] for title in titles))
    name_width = max(NAME, min(rest, max([len(shown(one.tensor)) for one in rows] + [6])))
    made.add_column("tensor", no_wrap=True, width=name_width)
    made.add_column("op", no_wrap=True, width=op_width)
    made.add_column("verdict", no_wrap=True, min_width=9)
    for title in titles:
        made.add_column(title, justify="right", no_wrap=True)
    for one in rows:
        verdict = one.verdict + ("*" if _measured(one) else "")
        made.add_row(
            shortened(shown(one.tensor), name_width),
            shortened(shown(one.op), op_width),
            Text(verdict, style=STYLES[one.verdict]),
            *figures(one)[: len(titles)],
        )
    return made


def _rows(report: Report, every: bool) -> list[TensorReport]:
    return worst_first(report)[: None if every else ROWS]


def _op_width(rows: list[TensorReport], width: int) -> int:
    return min(max([len(shown(one.op)) for one in rows] + [2]), max(12, width // 6))


def _columns(*widths: int) -> int:
    return sum(width + GAP for width in widths) - GAP


def _fitting(op_width: int, width: int) -> list[str]:
    """The headings of the figures for which there is room beside a short name: none is cut off."""
    titles = list(FIGURES)
    while titles and _columns(NAME, op_width, VERDICT, *(FIGURES[title] for title in titles)) > width:
        titles.pop()
    return titles


def _measured(one: TensorReport) -> bool:
    return one.verdict == "rounding" and not one.proven


def figures(one: TensorReport) -> tuple[str, str, str, str]:
    """Error over worst case and over the loop, the share of equal values, and "blind below"."""
    if not one.values or one.verdict == "unjudged":
        return "", "", "", ""
    share = 100 * one.equal / one.values
    percent = "100%" if one.equal == one.values else f"{min(share, 99.9):.1f}%"
    return short(one.ratio), short(one.loop_ratio), percent, short(one.blind_below)


def short(x: float) -> str:
    """Two or three digits."""
    if isnan(x):
        return "-"
    if isinf(x):
        return "∞"
    if x == 0:
        return "0"
    if 0.01 <= x < 999.5:
        return f"{x:.2f}" if x < 10 else f"{x:.1f}" if x < 99.95 else f"{x:.0f}"
    mantissa, exponent = f"{x:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def hints(report: Report, width: int, every: bool) -> Iterator[str]:
    """Lines about what the table does not show."""
    hidden = 0 if every else len(report.tensors) - ROWS
    if hidden > 0:
        yield f"and {hidden} more, none of them worse: --all shows them"
    rows = _rows(report, every)
    if missing := list(FIGURES)[len(_fitting(_op_width(rows, width), width)) :]:
        names = ", ".join(title.replace("\n", " ").replace("/ ", "/") for title in missing)
        yield f"no room in {width} columns for: {names}"
    if any(_measured(one) for one in report.tensors):
        yield "* measured against the plain loop, not proven: the worst case is wider than the values"


def explained(report: Report) -> Iterator[str]:
    """Lines about the basis of the verdict."""
    yield f"{counted(report.judged, 'tensor')} judged{_counts(report)}."
    if report.first is not None:
        yield from first_wrong(report.first)
        yield from _others(report)
    for one in report.tensors:
        if one.verdict == "undecided" and one.tensor in report.outputs:
            yield f"{shown(one.tensor)} ({shown(one.op)}) is undecided: {shown(one.note)}"
    noted = [one for one in report.tensors if one.verdict in ORDER[:2] and one.note]
    if noted:
        yield f"{shown(noted[0].tensor)}: {shown(noted[0].note)}"
    if report.unjudged:
        listed = ", ".join(f"{shown(op)} {count}×" for op, count in report.unjudged.items())
        yield f"Not judged: {listed}."
        reasons = {
            one.note: one for one in reversed(report.tensors) if one.verdict == "unjudged" and one.note
        }
        for reason, one in list(reasons.items())[::-1][:3]:
            if reason != one.op:
                yield f"  {shown(one.tensor)}: {shown(reason)}"
    if report.judged and report.nothing:
        yield "No tensor has a value, so that nothing was compared."
    missing = [name for name in report.outputs if not _is_judged(report, name)]
    if missing:
        yield f"Of the outputs, {', '.join(map(shown, missing[:5]))} not judged."
    if report.sample is not None:
        yield (
            f"At most {counted(report.sample, 'value')} of each tensor judged: if {report.missed_share:.2%} "
            "of a larger tensor's values are wrong, this is found with 99.9% certainty."
        )


def _is_judged(report: Report, name: str) -> bool:
    return any(one.tensor == name and one.verdict != "unjudged" for one in report.tensors)


def _counts(report: Report) -> str:
    found = [one.verdict for one in report.tensors]
    parts = [f"{found.count(verdict)} {verdict}" for verdict in (*ORDER, "unjudged") if verdict in found]
    return f": {', '.join(parts)}" if parts else ""


def counted(n: int, word: str) -> str:
    """1 tensor, 2 tensors."""
    return f"{n:,} {word}" + ("" if n == 1 else "s")


def first_wrong(one: TensorReport) -> Iterator[str]:
    """Lines about the first wrong tensor: its place, its error, and the tensors from which it was judged."""
    yield f"First in order of execution: {shown(one.tensor)} ({shown(one.op)}), {one.verdict}."
    if one.worst is not None:
        yield f"  {one.worst}{_size(one)}"
    if one.note:
        yield f"  {shown(one.note)}"
    if one.sources:
        yield f"  Judged from the recorded {', '.join(map(shown, one.sources[:6]))}."
    yield from causes(one)


def causes(one: TensorReport) -> Iterator[str]:
    """Lines about the mistakes that explain a wrong tensor, or clues."""
    if one.causes:
        first = one.causes[0]
        where = "" if first.node in (one.tensor, one.node) else f" (in {shown(first.node)})"
        yield f"  Cause: {shown(first.name)}{where}."
        yield f"    {shown(first.explanation)}"
        yield f"    {shown(first.remedy)}" + (f" (Reported: {first.case})" if first.case else "")
        for other in one.causes[1:]:
            would = f": {shown(other.apart)} would" if other.apart else ""
            yield f"  Or: {shown(other.name)}. These values do not tell it from the first{would}."
    elif one.wrong:
        yield "  Cause: unknown."
        yield from (
            f"  It is {clue}." if clue.startswith("wrong") else f"  {clue.capitalize()}."
            for clue in one.clues
        )


def _others(report: Report) -> Iterator[str]:
    """Lines about the causes of later wrong tensors."""
    later = [one for one in report.tensors if one.causes and one is not report.first]
    for one in later[:LATER]:
        yield f"{shown(one.tensor)}: {shown(one.causes[0].name)}."
    if len(later) > LATER:
        yield f"and {len(later) - LATER} more tensors with a cause: the JSON has them"


def _size(one: TensorReport) -> str:
    if one.verdict == "coarse" and isnan(one.loop_ratio):
        return ""
    if one.verdict == "coarse":
        return f" The error of the whole tensor is {short(one.loop_ratio)} times that of a plain loop."
    if not isfinite(one.ratio):
        return " No rounding explains it."
    return f" That is {short(one.ratio)} times the worst case of rounding."
