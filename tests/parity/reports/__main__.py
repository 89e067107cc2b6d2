"""`python -m tests.parity.reports > docs/reports.md` writes the table of the reports."""

from parity.judging.verdict import TensorReport
from tests.parity.reports import CASES, Case

HEAD = """# Rounding or a bug? 25 reports

People asked "rounding or a bug?" in these public threads. Each is rebuilt small: a reference, an ONNX
graph, and a port, whose tensors the real framework computes. The code is in
[tests/parity/reports/](../tests/parity/reports), and `python -m tests.parity.reports` prints this page.
Sizes are those of the report, or smaller. Where TensorRT, Core ML or a GPU is not at hand, the row
says what computes the port instead.

`rounding` means that every value is within the worst case and as accurate as the plain loop
([parity.md](parity.md)). In these rows two right implementations break the tolerance that stands there.
"""


def link(where: str) -> str:
    """A report as a link in Markdown."""
    links = []
    for one in where.split(", "):
        repository, number = one.split("#")
        links.append(f"[{one}](https://github.com/{repository}/issues/{number})")
    return ", ".join(links)


def said(one: Case) -> str:
    """What `parity` says of a report, without numbers that depend on the machine."""
    report = one.judged()
    first = report.first
    if first is None:
        return f"`{report.verdict}`{_tolerance(one)}" + (
            f"; not reproduced: {one.mended}" if one.mended else ""
        )
    return f"`{first.verdict}` at `{first.tensor}` ({first.op}): {_why(first)}"


def _tolerance(one: Case) -> str:
    if one.tolerance is None:
        return ""
    absolute, relative = one.tolerance
    return f" (tolerance: {absolute:g} absolute and {relative:g} relative)"


def _why(first: TensorReport) -> str:
    names = [cause.name for cause in first.causes]
    if names:
        return "; or ".join(names)
    return first.note or f"cause unknown; {', '.join(first.clues) or 'no clue'}"


def table() -> str:
    """The page, in Markdown."""
    cases = [CASES[number] for number in sorted(CASES)]
    count = sum(one.answered for one in cases)
    rows = [f"| {n} | {link(c.where)} | {c.said} | {c.small} | {said(c)} |" for n, c in enumerate(cases, 1)]
    head = ["| # | report | what was reported | rebuilt as | `parity` says |", "|---|---|---|---|---|"]
    return "\n".join([HEAD, f"{count} of {len(cases)} are answered.", "", *head, *rows])


if __name__ == "__main__":
    print(table())
