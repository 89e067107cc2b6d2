"""Mistakes of precision, and fast algorithms."""

from parity.judging.causes.of_rounding import (
    of_constants,
    of_half_precision,
    of_half_sums,
    of_precision,
    of_quantization,
    of_results,
    of_storage,
    of_winograd,
)

__all__ = [
    "of_constants",
    "of_half_precision",
    "of_half_sums",
    "of_precision",
    "of_quantization",
    "of_results",
    "of_storage",
    "of_winograd",
]
