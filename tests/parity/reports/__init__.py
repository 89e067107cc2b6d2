"""The reports of people who ask "rounding or a bug?", rebuilt: `CASES`, by number."""

from tests.parity.reports import functions, layout, normalizing, precision, rounding
from tests.parity.reports.report import CASES, Case

__all__ = ["CASES", "Case", "functions", "layout", "normalizing", "precision", "rounding"]
