"""Which known mistake explains a wrong tensor: a catalogue by family of operators, and the search."""

from collections.abc import Callable, Mapping

from parity.arithmetic import Array
from parity.graph import Graph
from parity.judging import walk
from parity.judging.causes.mistake import Mistake, catalogue, mistakes
from parity.judging.verdict import Report

__all__ = ["Mistake", "catalogue", "judge", "mistakes"]


def judge(
    graph: Graph,
    values: Mapping[str, Array],
    *,
    sample: int | None = None,
    progress: Callable[[str], None] = lambda tensor: None,
) -> Report:
    """Judge whether a candidate computes the graph, and name the mistakes that explain where it does not.

    As `parity.judging.judge`, which has the arguments and errors; without a wrong tensor it costs no more.
    """
    report = walk.judge(graph, values, sample=sample, progress=progress)
    if not any(one.wrong for one in report.tensors):
        return report
    from parity.judging.causes.search import explained  # here, as it needs the catalogue

    return explained(report, graph, values, sample)
