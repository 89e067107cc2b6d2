"""Probes: inputs for one operator that settle whether its semantics and its precision are right.

Integers, for which nothing rounds, show wrong semantics; single products show coarse precision.
"""

from parity.judging.probes.examine import probe_operator
from parity.judging.probes.finding import Finding, ProbeReport
from parity.judging.probes.whole_graph import probe

__all__ = ["Finding", "ProbeReport", "probe", "probe_operator"]
